"""Two-tower models that prompts can be put through, and the tiny ones that ship with the package."""
