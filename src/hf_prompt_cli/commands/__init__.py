"""Commands of `hf-prompt`, each in a module with `main(argv)` and `parsers()`."""
