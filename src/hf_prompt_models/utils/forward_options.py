"""The common keyword arguments of transformers' models, for the models of this package."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from transformers.utils.generic import TransformersKwargs, can_return_tuple


CAPTURED = ("output_hidden_states", "output_attentions")
OPTIONS = (frozenset(TransformersKwargs.__annotations__) - {"position_ids"}) | {"return_dict"}
"""The keyword arguments that transformers' models take in addition to their own."""


def forward_options(function: Callable) -> Callable:
    """Decorate a method of a model that takes `**kwargs: Unpack[TransformersKwargs]`.

    `output_hidden_states` and `output_attentions` default to the values of the configuration, `return_dict=False`
    returns a tuple, and a keyword that is neither an argument of the method nor an option raises a `TypeError`.
    transformers itself ignores such keywords, so that a misspelt `attention_mask` silently changes the result.

    Args:
        function: the method. If it passes on other keywords, the model returns them from `passed_on_keywords`.
    """
    arguments = [name for name in inspect.signature(function).parameters if name not in ("self", "kwargs")]
    own = frozenset(arguments)
    returning = can_return_tuple(function)

    @wraps(function)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        unknown = kwargs.keys() - own - OPTIONS
        if unknown and (unknown := unknown - self.passed_on_keywords()):
            raise TypeError(
                f"{type(self).__name__}.{function.__name__}() does not take {', '.join(sorted(unknown))}. It takes "
                f"{', '.join([*arguments, *CAPTURED, 'return_dict'])}."
            )
        for name in CAPTURED:
            if kwargs.get(name) is None:
                kwargs.pop(name, None)  # without the argument, a tower uses its own configuration
                if getattr(self.config, name):
                    kwargs[name] = getattr(self.config, name)
        return returning(self, *args, **kwargs)

    return wrapper


def captured(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that request hidden states and attentions, for towers that take no others."""
    return {name: kwargs[name] for name in CAPTURED if name in kwargs}


def asks_for_states(kwargs: Mapping[str, Any]) -> bool:
    """Return whether hidden states or attentions are requested. Layer indices, including 0, also request them."""
    return any(kwargs.get(name) is not None and kwargs[name] is not False for name in CAPTURED)
