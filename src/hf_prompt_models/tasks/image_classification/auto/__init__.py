"""Search for the best image classifier for a folder of images: `hf-prompt train auto`."""
