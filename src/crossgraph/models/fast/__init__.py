"""Fast forms: the scores of a model from merged weights and without padding, where no gradient is wanted."""
