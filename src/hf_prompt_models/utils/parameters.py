"""Parameters of models whose memory may be shared."""

from collections.abc import Iterable

from torch import nn


def own_weights(parameters: Iterable[nn.Parameter]) -> None:
    """Copy the values of parameters that may be views of a file, or share their memory with another model.

    Matrix products at the addresses of a file's tensors can also round differently.

    Args:
        parameters: the parameters, which are changed.
    """
    for parameter in parameters:
        parameter.data = parameter.data.clone()
