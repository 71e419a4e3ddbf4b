"""Plain functions on arrays, and `evaluate.Metric` wrappers of them."""
