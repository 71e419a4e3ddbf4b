"""Save and load checkpoints of this package: learned tensors, complete models, adapters."""
