"""Utilities that all parts of the package use: files, figures, boxes, distributed processes."""
