"""The command `hf-prompt`. Importing this package imports no torch; its commands do, when they run."""
