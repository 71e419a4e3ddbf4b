"""Model cards, and safe reading of foreign checkpoints; knows no model."""
