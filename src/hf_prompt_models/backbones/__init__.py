"""Two-tower models that support prompts, and the tiny backbones that ship with the package."""
