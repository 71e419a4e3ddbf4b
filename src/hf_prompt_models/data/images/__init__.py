"""Images: opening, listing, labelled folders and lists, data sets of tensors."""
