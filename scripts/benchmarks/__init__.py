"""The benchmarks of `python scripts/benchmark.py`: one module per method, and what they share."""
