"""Scores of a whole split, and their ranks. Knows no model by name."""
