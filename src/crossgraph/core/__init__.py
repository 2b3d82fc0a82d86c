"""Types, settings, registries, plugins and errors; every other package imports these."""
