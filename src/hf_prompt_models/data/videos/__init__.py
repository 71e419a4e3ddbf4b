"""Videos: decoding, sampling of frames, labelled folders and lists, data sets of tensors."""
