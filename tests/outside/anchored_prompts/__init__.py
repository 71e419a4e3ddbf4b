"""A package outside this one that adds the method "anchored", as its users would write it."""
