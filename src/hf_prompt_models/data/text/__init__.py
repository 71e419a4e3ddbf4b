"""Texts about images and videos: captions, products and questions."""
