"""Training and evaluation with the Hugging Face Trainer."""
