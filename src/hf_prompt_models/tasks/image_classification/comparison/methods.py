"""Methods that can be compared: those that train an image classifier, and the types of feature adapters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models import PACKAGES, has_part, recipe_of
from hf_prompt_models.recipe_utils import ImageClassificationRecipe


ZERO_SHOT = "zero_shot"
"""Row of the hand-written prompts, which every comparison has."""


@dataclass(frozen=True)
class Method:
    """A method of a comparison.

    Attributes:
        name: Name of its row.
        command: Name in `hf-prompt train`.
        recipe: Recipe of the method.
        flags: Flags that make this type of the method.
    """

    name: str
    command: str
    recipe: ImageClassificationRecipe[Any]
    flags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Words of the command line that train this method."""
        return " ".join([self.command, *(f"--{name} {value}" for name, value in self.flags.items())])


def all_methods() -> dict[str, Method]:
    """Return all methods that can be compared, by name."""
    found: dict[str, Method] = {}
    for command in sorted(PACKAGES):
        if not has_part(command, "recipe"):
            continue
        recipe = recipe_of(command)
        if isinstance(recipe, ImageClassificationRecipe):
            variants = recipe.variants or {command: {}}
            found |= {name: Method(name, command, recipe, flags) for name, flags in variants.items()}
    return found


def methods_named(names: Sequence[str]) -> list[Method]:
    """Return the methods with these names, without zero-shot.

    `feature_adapter:clap` is the same as `clap`, and `feature_adapter` is its default type.

    Args:
        names: Names of methods.

    Raises:
        ValueError: If there is no such method, or a method is named twice.
    """
    known = all_methods()
    by_word = known | {f"{each.command}:{name}": each for name, each in known.items() if each.flags}
    for method in reversed(known.values()):
        by_word.setdefault(method.command, method)
        if method.flags:
            by_word[method.command] = next(each for each in known.values() if each.command == method.command)
    chosen: dict[str, Method] = {}
    for name in names:
        if name == ZERO_SHOT:
            continue
        if name not in by_word:
            raise ValueError(f"There is no method {name!r}. Choose from {', '.join([ZERO_SHOT, *known])}.")
        method = by_word[name]
        if method.name in chosen:
            raise ValueError(f"--methods names {method.name} twice. Name each method once.")
        chosen[method.name] = method
    return list(chosen.values())
