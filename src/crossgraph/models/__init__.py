"""Matching models, a file each: their contract and registry (`base`), fast forms (`fast`), importers (`published`)."""
