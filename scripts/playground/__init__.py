"""Training of the packaged tiny backbones, run by `python scripts/train_playground.py`."""
