"""Training: a recipe and captioned pictures in, a run out."""
