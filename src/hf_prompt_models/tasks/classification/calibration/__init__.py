"""Calibration of classifiers: a temperature fitted on held-out training data, and reliability diagrams."""
