"""Reading and writing checkpoints of other people's code, safely. Knows no model."""
