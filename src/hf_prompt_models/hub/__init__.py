"""The Hugging Face Hub: model cards, repositories, and checks that a model can be loaded."""
