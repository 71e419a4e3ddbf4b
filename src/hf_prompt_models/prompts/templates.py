"""Published lists of hand-written prompt templates.

A template is a sentence with one ``{}`` for the class name. Sources: OpenAI's notebook "Prompt Engineering for
ImageNet" (80 templates, and 7 selected from them), CoOp's `trainers/zsclip.py` (one template per dataset), and
ActionCLIP's `utils/Text_Prompt.py` (16 templates for actions).
"""

from collections.abc import Sequence
from typing import NamedTuple

from hf_prompt_models.utils.describing import describe_value


PLACEHOLDER = "{}"

DEFAULT_TEMPLATE = "a photo of a {}."

IMAGENET_TEMPLATES_SELECT = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""The 7 templates that forward selection chose from the 80. OpenAI reports that they are slightly better than all."""

IMAGENET_TEMPLATES = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)
"""OpenAI's 80 templates for ImageNet."""

PROMPTSRC_TEMPLATES = (
    DEFAULT_TEMPLATE,
    *(template for template in IMAGENET_TEMPLATES[:60] if template != DEFAULT_TEMPLATE),
)
"""The 60 templates of PromptSRC's teacher (`trainers/promptsrc.py`): the first 60 of the 80, the default one first."""

DATASET_TEMPLATES = {
    "imagenet": "a photo of a {}.",
    "caltech101": "a photo of a {}.",
    "oxford_pets": "a photo of a {}, a type of pet.",
    "stanford_cars": "a photo of a {}.",
    "oxford_flowers": "a photo of a {}, a type of flower.",
    "food101": "a photo of {}, a type of food.",
    "fgvc_aircraft": "a photo of a {}, a type of aircraft.",
    "sun397": "a photo of a {}.",
    "dtd": "{} texture.",
    "eurosat": "a centered satellite photo of {}.",
    "ucf101": "a photo of a person doing {}.",
}
"""Templates that CoOp uses for zero-shot classification, by dataset (11 datasets)."""


class ActionTemplate(NamedTuple):
    """Template for an action, and its kind.

    Attributes:
        text: the template.
        kind: position of the label in the sentence: "prefix", "cloze", "suffix" or "bare".
    """

    text: str
    kind: str


ACTION_TEMPLATES = (
    ActionTemplate("a photo of action {}", "suffix"),
    ActionTemplate("a picture of action {}", "suffix"),
    ActionTemplate("Human action of {}", "suffix"),
    ActionTemplate("{}, an action", "prefix"),
    ActionTemplate("{} this is an action", "prefix"),
    ActionTemplate("{}, a video of action", "prefix"),
    ActionTemplate("Playing action of {}", "suffix"),
    ActionTemplate("{}", "bare"),
    ActionTemplate("Playing a kind of action, {}", "suffix"),
    ActionTemplate("Doing a kind of action, {}", "suffix"),
    ActionTemplate("Look, the human is {}", "suffix"),
    ActionTemplate("Can you recognize the action of {}?", "cloze"),
    ActionTemplate("Video classification of {}", "suffix"),
    ActionTemplate("A video of {}", "suffix"),
    ActionTemplate("The man is {}", "suffix"),
    ActionTemplate("The woman is {}", "suffix"),
)
"""ActionCLIP's 16 templates, in the order of the released code."""


def fill_template(template: str, class_name: str) -> str:
    """Replace the ``{}`` of a template by a class name; braces in the name are kept.

    Args:
        template: sentence with one ``{}``.
        class_name: the class name.
    """
    return template.replace(PLACEHOLDER, class_name)


def check_templates(templates: Sequence[str] | None) -> list[str]:
    """Return the templates as a list.

    Args:
        templates: sentences with one ``{}``.

    Raises:
        ValueError: if there are no templates, or one does not contain ``{}`` exactly once.
    """
    if isinstance(templates, str):
        raise ValueError(f"Expected a list of templates, got one string. Pass [{templates!r}].")
    if not templates:
        raise ValueError(f'Expected at least one template. Pass, for example, ["{DEFAULT_TEMPLATE}"].')
    for template in templates:
        if template.count(PLACEHOLDER) != 1:
            raise ValueError(
                f"The template {describe_value(template)} must contain {PLACEHOLDER!r} exactly once. Put it "
                f"where the class name goes, as in {DEFAULT_TEMPLATE!r}."
            )
    return list(templates)
