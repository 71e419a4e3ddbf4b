"""What all methods' processors share, and the one of methods over a CLIP or a model like it."""

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.backbones.packaged import CLIP_DIR, locate_backbone
from hf_prompt_models.checkpoints.untrusted import reading
from hf_prompt_models.data.images.loading import load_images
from hf_prompt_models.hub.reachable import check_reachable


logger = logging.getLogger(__name__)


def refuse_long_text(what: str, text: str, length: int, limit: int, in_python: bool = True) -> None:
    """Check that a text is read whole.

    Args:
        what: what an error calls it, such as "The question".
        text: the text.
        length: of the text with all that is read with it, in tokens.
        limit: what the model reads, in tokens.
        in_python: whether the caller can pass `truncation=True`.

    Raises:
        ValueError: with the length and the limit, if it is too long.
    """
    if length > limit:
        way_out = "Shorten it, or pass truncation=True, which cuts its end." if in_python else "Shorten it."
        raise ValueError(
            f"{what} is too long: it has {length} tokens, and the model reads {limit}: {text[:100]!r}. {way_out}"
        )


def report_cut_texts(texts: Iterable[tuple[str, int]], limit: int, source: str) -> int:
    """Warn once of all texts of a data set that are cut, with their number and the first of them.

    Args:
        texts: each with its length in tokens.
        limit: what the model reads, in tokens.
        source: where they are from.

    Returns:
        How many are cut.
    """
    given = list(texts)
    cut = [(text, length) for text, length in given if length > limit]
    if cut:
        text, length = cut[0]
        logger.warning(
            f"The ends of {len(cut)} of the {len(given)} texts of {source} are cut, as the model reads {limit} tokens."
            f" The first has {length}: {text[:100]!r}."
        )
    return len(cut)


def sort_options(
    kwargs: Mapping[str, Any], text_defaults: Mapping[str, Any], image_options: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort the settings of one call, given flat or as `text_kwargs`, `images_kwargs` and `common_kwargs`.

    Args:
        kwargs: as they were passed. `common_kwargs` are for texts and images, whichever take them.
        text_defaults: the settings for texts, with their defaults.
        image_options: the names of the settings for images.

    Returns:
        All settings for texts, and those for images that were passed.

    Raises:
        TypeError: for a setting that the processor does not have.
        ValueError: for a setting that is given flat and in a dictionary.
    """
    groups = {name: dict(kwargs.get(name) or {}) for name in ("text_kwargs", "images_kwargs", "common_kwargs")}
    flat = {name: value for name, value in kwargs.items() if name not in groups}
    text, images = groups["text_kwargs"], groups["images_kwargs"]
    if twice := sorted(flat.keys() & (text.keys() | images.keys())):
        raise ValueError(
            f"{', '.join(twice)} is passed twice, by itself and in a dictionary of settings: pass it once."
        )
    everywhere = groups["common_kwargs"] | flat
    unknown = (
        {*everywhere} - {*text_defaults, *image_options} | {*text} - {*text_defaults} | {*images} - {*image_options}
    )
    if unknown:
        raise TypeError(
            f"The processor does not take {', '.join(sorted(unknown))}. For texts it takes "
            f"{', '.join(sorted(text_defaults))}; for images {', '.join(sorted(image_options)) or 'nothing'}."
        )
    text = {name: value for name, value in everywhere.items() if name in text_defaults} | text
    images = {name: value for name, value in everywhere.items() if name in image_options} | images
    return dict(text_defaults) | text, images


class PromptProcessor(ProcessorMixin):
    """Base of all processors here."""

    def prepare_inputs_layout(self, images: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, with images opened by `data.images.load_image`, whatever they are given as.

        With `do_rescale=False` arrays and tensors are taken as they are.
        """
        if images is not None:
            settings = kwargs | kwargs.get("images_kwargs", {})
            images = load_images(images, arrays=settings.get("do_rescale") is not False)
        return super().prepare_inputs_layout(images, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As in transformers.

        Raises:
            OSError: if files are missing.
            ValueError: naming the place, if a file does not describe such a processor.
        """
        with reading(pretrained_model_name_or_path, "processor_config.json"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """As in transformers, and what was saved needs no code of the repository that this came from."""
        self.__dict__.pop("auto_map", None)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Nothing: transformers would copy this package's source into saved folders."""


class ClipPromptProcessor(PromptProcessor):
    """An image processor for the image tower's inputs and the backbone's tokenizer for class names.

    Images are prepared by PIL, as the published numbers were (torchvision's interpolation differs slightly).
    """

    vocabulary_from: dict[str, str | None] | None = None
    """`name` and `revision` of the backbone whose tokenizer this is, where saved folders leave the tokenizer out."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any):
        super().__init__(image_processor, tokenizer, **kwargs)

    def leave_out_tokenizer(self, backbone: str, revision: str | None = None) -> None:
        """Save no tokenizer from now on: loading takes that of the backbone.

        Args:
            backbone: a Hub id, or "playground".
            revision: its commit.

        Raises:
            ValueError: for a local folder, which may move without its checkpoints.
        """
        if os.path.exists(backbone):
            raise ValueError(
                f"The tokenizer can only be left out if the backbone is on the Hub, and {backbone!r} is a local path."
            )
        self.vocabulary_from = {"name": backbone, "revision": revision}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As in transformers; a folder that leaves the tokenizer out takes it from the backbone that it names.

        Raises:
            OSError: if files are missing.
            ValueError: naming the place, if a file does not describe such a processor.
        """
        path = pretrained_model_name_or_path
        with reading(path, "processor_config.json"):
            source = cls.get_processor_dict(path, **kwargs)[0].get("vocabulary_from")
            if source is None:
                return super().from_pretrained(path, **kwargs)
            if not isinstance(source, dict) or not isinstance(source.get("name"), str):
                raise ValueError(f"vocabulary_from must name a backbone, not {str(source)[:80]}.")
        hub_kwargs: dict[str, Any] = {
            name: kwargs[name] for name in ("cache_dir", "token", "local_files_only") if name in kwargs
        }
        backbone = locate_backbone(source["name"], CLIP_DIR)
        if source.get("revision") is not None:
            hub_kwargs["revision"] = source["revision"]
        try:
            tokenizer = AutoTokenizer.from_pretrained(backbone, **hub_kwargs)
        except OSError as error:
            raise OSError(
                f"{str(path)!r} holds no tokenizer, and that of its backbone cannot be loaded: {error}"
            ) from error
        processor = cls(AutoImageProcessor.from_pretrained(path, **kwargs), tokenizer)
        processor.vocabulary_from = source
        return processor

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """As in transformers, without the tokenizer's files after `leave_out_tokenizer`."""
        saved = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        if self.vocabulary_from is not None:
            for file in self.tokenizer.save_pretrained(save_directory):
                Path(file).unlink(missing_ok=True)
        return saved

    def to_dict(self) -> dict[str, Any]:
        """As in transformers, with the backbone whose tokenizer is left out."""
        left_out = {} if self.vocabulary_from is None else {"vocabulary_from": self.vocabulary_from}
        return super().to_dict() | left_out

    @classmethod
    def from_backbone(
        cls, name_or_path: str | os.PathLike, tokenizer: PreTrainedTokenizerBase | None = None, **kwargs: Any
    ) -> Self:
        """Load the backbone's own image processor and tokenizer.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP in this package.
            tokenizer: used instead of the backbone's.
            kwargs: `revision`, `token`, `cache_dir`, … for the loading.
        """
        name_or_path = locate_backbone(name_or_path, CLIP_DIR)
        check_reachable(name_or_path, **kwargs)
        image_processor = AutoImageProcessor.from_pretrained(name_or_path, backend="pil", **kwargs)
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, **kwargs)
        return cls(image_processor, tokenizer)
