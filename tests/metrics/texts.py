"""Random texts of few words, so that n-grams are repeated."""

from hypothesis import strategies as st


TEXT = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3)), min_size=1, max_size=5)
"""Predictions, each with its references."""
