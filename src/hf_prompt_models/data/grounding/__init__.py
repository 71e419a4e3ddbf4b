"""Phrases about regions of images: expressions, candidate regions, features, relations."""
