"""A module for each command, with `main(argv)` and `parsers()`."""
