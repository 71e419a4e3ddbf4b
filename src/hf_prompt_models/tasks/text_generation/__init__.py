"""Generating text about images."""
