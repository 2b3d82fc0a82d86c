"""Image side: finding and reading pictures, and region encoders."""
