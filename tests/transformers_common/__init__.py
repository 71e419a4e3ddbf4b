"""The common tests of the installed transformers, run over every class of this package: `make test-transformers`."""
