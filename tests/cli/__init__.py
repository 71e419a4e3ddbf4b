"""The command `hf-prompt`."""
