"""Making a bundle: the index head is trained, the short list and the calibration chosen on dev."""
