"""Importers of the checkpoints that the authors of the methods published."""
