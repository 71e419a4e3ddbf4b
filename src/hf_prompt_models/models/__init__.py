"""The prompt methods, one package each. Importing this package registers all of them with the Auto classes.

Other installed packages can add methods with the entry point group `hf_prompt_models`. The name of the entry point is
that of the method, which is the `model_type` of its configuration, or the attribute `method` of its configuration if
that is set. The value is a package with the same layout as the packages here: `configuration_`, `modeling_`,
`processing_` and `recipe_<method>.py`. `convert_<method>.py` and `model_card.md` are optional.
"""

import pkgutil
import warnings
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.modeling_utils import CompletePreTrainedModel


if TYPE_CHECKING:  # it imports the Trainer, which inference does not need
    from hf_prompt_models.recipe_utils import Recipe


ENTRY_POINTS = "hf_prompt_models"
"""Entry point group in which installed packages register methods (packages) and tasks (instances of `Task`)."""

PACKAGES = {each.name: f"{__name__}.{each.name}" for each in pkgutil.iter_modules(__path__) if each.ispkg}
"""Names of the methods' packages, by method."""

for _package in PACKAGES.values():
    import_module(_package)

for _entry in entry_points(group=ENTRY_POINTS):
    if _entry.attr:  # an instance of `Task`, not a method
        continue
    try:
        if _entry.name in PACKAGES:
            raise ImportError(f"there is already a method with this name, in {PACKAGES[_entry.name]}")
        import_module(_entry.value)
        PACKAGES[_entry.name] = _entry.value
    except Exception as _error:  # a broken third-party package only disables its own methods
        warnings.warn(f"The method {_entry.name!r} of {_entry.value} is not available: {_error}", stacklevel=2)


def has_part(method: str, part: str) -> bool:
    """Return whether a method has a module `<part>_<method>.py`.

    Args:
        method: name of the method.
        part: prefix of the module, such as "recipe".
    """
    return method in PACKAGES and find_spec(f"{PACKAGES[method]}.{part}_{method}") is not None


def recipe_of(method: str) -> "Recipe[Any]":
    """Return the training recipe of a method.

    Args:
        method: name of a method that has a recipe.
    """
    return import_module(f"{PACKAGES[method]}.recipe_{method}").RECIPE


def model_class_of(config: PromptConfig) -> type[CompletePreTrainedModel]:
    """Return the class of a saved model, looked up by the method and the architecture in its configuration.

    Args:
        config: configuration of the saved model.

    Raises:
        ValueError: if the method has no such class.
    """
    architecture = (config.architectures or [""])[0]
    package = import_module(PACKAGES[config.method_name()])
    if architecture not in package.__all__:
        raise ValueError(f"{config.model_type} has no model class {architecture!r}, which is in its configuration.")
    return getattr(package, architecture)
