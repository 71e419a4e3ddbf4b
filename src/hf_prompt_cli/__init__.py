"""The command line: `hf-prompt`. Importing this package imports no torch."""
