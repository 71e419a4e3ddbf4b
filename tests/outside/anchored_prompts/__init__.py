"""A third-party package that adds the method "anchored", as a user would write it."""
