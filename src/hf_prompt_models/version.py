"""Version of the package, in a module that can be read without importing torch."""

__version__ = "0.1.0"
