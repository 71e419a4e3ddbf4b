"""Command `hf-prompt`. Importing this package does not import torch; its commands do when they run."""
