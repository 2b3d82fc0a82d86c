"""Sweeps: a base recipe and named variants of it, trained, evaluated and laid out in one table."""
