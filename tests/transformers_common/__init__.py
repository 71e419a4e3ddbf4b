"""The common tests of the installed transformers, run on every class of this package: `make test-transformers`."""
