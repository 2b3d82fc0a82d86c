"""Text side: tokens, vocabularies and text encoders."""
