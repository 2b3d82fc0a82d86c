"""Score whole splits and rank the scores; independent of the model."""
