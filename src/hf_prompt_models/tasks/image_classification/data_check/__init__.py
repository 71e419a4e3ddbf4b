"""Checks of labelled images: confident errors, near-duplicates, labels that look wrong, unknown class names."""
