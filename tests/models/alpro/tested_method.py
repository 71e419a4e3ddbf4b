"""ALPRO borrows no backbone and all of it is learned: the common tests' questions are asked in `test_saving.py`."""

METHOD = None
