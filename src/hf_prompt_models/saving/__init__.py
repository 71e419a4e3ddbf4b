"""What a checkpoint of this package holds: learned tensors, complete models, adapters."""
