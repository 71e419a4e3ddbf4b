"""Comparison of methods on the same data: cells of methods, shots and seeds, their table, and what is significant."""
