"""Fast forms: a model's scores from merged weights and without padding, for use without gradients."""
