"""Commands that make published tables, and their numbers."""
