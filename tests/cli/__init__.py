"""The command hf-prompt."""
