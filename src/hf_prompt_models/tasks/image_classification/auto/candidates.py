"""Candidates of `hf-prompt train auto`: zero-shot prompts, feature adapters and CoOp, each with a few settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hf_prompt_models.models import recipe_of
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import ADAPTER_TYPES
from hf_prompt_models.prompts.class_prompts import ClassPrompts
from hf_prompt_models.tasks.classification.templates import TEMPLATE_LISTS


ZERO_SHOT, ADAPTER, COOP = "clip_zero_shot", "feature_adapter", "coop"
TITLES = {ZERO_SHOT: "zero-shot", COOP: "coop"}
KINDS = (TITLES[ZERO_SHOT], *ADAPTER_TYPES, TITLES[COOP])
"""Kinds of candidates."""
VIEWS = 4
"""Number of random crops of each image, for candidates that train on crops."""
MIN_CROP_AREA = 0.5
"""Smallest crop. All candidates share one area, so that the image tower encodes each crop once."""
SAFE = "clap"
"""Type of adapter without settings, which stays close to zero-shot: the choice where nothing can be compared."""


@dataclass(frozen=True)
class Prompts:
    """Hand-written prompts of the classes.

    Attributes:
        name: Name of the prompts in tables, such as "imagenet_7".
        templates: Sentences with one `{}` for the class name, or `None`.
        class_prompts: Sentences about each class, or `None`.
    """

    name: str
    templates: Sequence[str] | None
    class_prompts: ClassPrompts | None = None


@dataclass(frozen=True)
class Candidate:
    """A method with its settings.

    Attributes:
        method: Name of the method, whose recipe trains it; zero-shot has no recipe.
        prompts: Hand-written prompts that it uses or starts from; CoOp learns its own.
        arguments: The recipe's arguments, or `None` for zero-shot.
    """

    method: str
    prompts: Prompts
    arguments: Any = None

    @property
    def views(self) -> int:
        """Number of crops of each image; 0: the images as they are prepared for testing."""
        return 0 if self.arguments is None else self.arguments.augmented_views

    @property
    def kind(self) -> str:
        """Type of the adapter, "zero-shot" or "coop"."""
        if self.method == ADAPTER:
            return self.arguments.adapter_type
        return TITLES[self.method]

    @property
    def name(self) -> str:
        """Name in tables, such as "linear, 4 crops, imagenet_7"."""
        views = f"{self.views} crops" if self.views else ""
        return ", ".join(filter(None, [self.kind, views, "" if self.method == COOP else self.prompts.name]))


def adapter(kind: str, prompts: Prompts, views: int = 0) -> Candidate:
    """Return a candidate of a type of feature adapter."""
    arguments = recipe_of(ADAPTER).arguments_class(
        adapter_type=kind, augmented_views=views, min_crop_area=MIN_CROP_AREA
    )
    return Candidate(ADAPTER, prompts, arguments)


def candidates(own: Prompts, others: Sequence[Prompts]) -> Iterator[Candidate]:
    """Yield the candidates, those first that are quick and often good, because the time may end.

    Args:
        own: The prompts of the user, of the published dataset, or the default.
        others: Ensembles that are also tried.
    """
    ensembles = [own, *others]
    yield from (Candidate(ZERO_SHOT, prompts) for prompts in ensembles)
    yield from (adapter(kind, own) for kind in (SAFE, "linear", "tip_adapter", "lp++", "tip_adapter_f"))
    yield from (adapter("linear", prompts) for prompts in others)
    yield from (adapter("tip_adapter_f", prompts) for prompts in others[:1])
    yield from (adapter(kind, own, VIEWS) for kind in ("linear", "tip_adapter_f"))
    yield from (adapter(kind, own) for kind in ("taskres", "clip_adapter", "prolip"))
    arguments = recipe_of(COOP).arguments_class
    yield from (
        Candidate(COOP, own, arguments(augmented_views=views, min_crop_area=MIN_CROP_AREA)) for views in (0, VIEWS)
    )


def published_ensembles(class_prompts: ClassPrompts | None) -> list[Prompts]:
    """Return the ensembles that are tried in addition to the user's prompts.

    Args:
        class_prompts: Random descriptors of WaffleCLIP, or `None`.
    """
    waffle = [] if class_prompts is None else [Prompts("waffle", None, class_prompts)]
    return [Prompts("imagenet_7", TEMPLATE_LISTS["imagenet_7"]), *waffle]
