"""CoOp's learning rate schedule: one constant warm-up epoch, then a cosine that is updated once per epoch."""

import math


WARMUP_LEARNING_RATE = 1e-5


def epoch_cosine_learning_rate(epoch: int, num_epochs: int, learning_rate: float) -> float:
    """Return the learning rate of an epoch, counted from 0 (Dassl's `ConstantWarmupScheduler` with a cosine).

    The cosine starts at the full rate in epoch 1 and spans `num_epochs`, so the rate of the last epoch is not quite 0.
    """
    if epoch == 0:
        return WARMUP_LEARNING_RATE
    return learning_rate / 2 * (1 + math.cos(math.pi * (epoch - 1) / num_epochs))
