"""Makes bundles: trains the retriever on train, chooses short lists and calibration on dev."""
