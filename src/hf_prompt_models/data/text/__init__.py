"""Texts about images and videos: products, captions, questions."""
