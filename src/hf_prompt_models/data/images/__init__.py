"""Images: loading, listing, labelled folders and lists, and PyTorch datasets."""
