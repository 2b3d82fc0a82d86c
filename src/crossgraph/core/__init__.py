"""The nouns, settings, registries and errors that everything else stands on."""
