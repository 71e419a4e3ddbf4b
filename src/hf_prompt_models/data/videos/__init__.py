"""Videos: decoding, frame sampling, labelled folders and lists, and PyTorch datasets."""
