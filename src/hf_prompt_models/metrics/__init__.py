"""Plain functions on arrays and texts, and `evaluate.Metric` wrappers of them."""
