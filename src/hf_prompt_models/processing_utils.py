"""Base class of all processors, and the processor of methods with a CLIP-like backbone."""

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.backbones.clip_checkpoints import is_open_clip, load_tokenizer, read_image_processor
from hf_prompt_models.backbones.packaged import CLIP_DIR, locate_backbone
from hf_prompt_models.checkpoints.untrusted import reading
from hf_prompt_models.data.images.loading import load_images
from hf_prompt_models.hub.reachable import check_reachable


logger = logging.getLogger(__name__)


def refuse_long_text(what: str, text: str, length: int, limit: int, in_python: bool = True) -> None:
    """Check that a text is not too long for the model.

    Args:
        what: name of the text in the error message, such as "The question".
        text: the text.
        length: number of tokens of the text and everything that is read with it.
        limit: number of tokens that the model reads.
        in_python: whether the caller can pass `truncation=True`.

    Raises:
        ValueError: if it is too long. The message contains the length and the limit.
    """
    if length > limit:
        way_out = "Shorten it, or pass truncation=True to truncate it." if in_python else "Shorten it."
        raise ValueError(
            f"{what} is too long: it has {length} tokens, but the model has {limit} positions: "
            f"{text[:100]!r}. {way_out}"
        )


def report_cut_texts(texts: Iterable[tuple[str, int]], limit: int, source: str) -> int:
    """Log one warning about all texts of a dataset that are truncated, with their number and the first of them.

    Args:
        texts: pairs of a text and its number of tokens.
        limit: number of tokens that the model reads.
        source: name of the dataset in the message.

    Returns:
        The number of texts that are truncated.
    """
    given = list(texts)
    cut = [(text, length) for text, length in given if length > limit]
    if cut:
        text, length = cut[0]
        logger.warning(
            f"Truncated {len(cut)} of the {len(given)} texts of {source} to the {limit} tokens of the model. "
            f"The first has {length} tokens: {text[:100]!r}."
        )
    return len(cut)


def sort_options(
    kwargs: Mapping[str, Any], text_defaults: Mapping[str, Any], image_options: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort the keyword arguments of a processor call into those for texts and those for images.

    They may be passed flat or in the dictionaries `text_kwargs`, `images_kwargs` and `common_kwargs`.

    Args:
        kwargs: keyword arguments of the call. `common_kwargs` apply to texts and images, as far as they accept them.
        text_defaults: keyword arguments for texts, with their defaults.
        image_options: names of the keyword arguments for images.

    Returns:
        All keyword arguments for texts, and those for images that were passed.

    Raises:
        TypeError: if the processor does not accept one of the keyword arguments.
        ValueError: if one is passed both flat and in a dictionary.
    """
    groups = {name: dict(kwargs.get(name) or {}) for name in ("text_kwargs", "images_kwargs", "common_kwargs")}
    flat = {name: value for name, value in kwargs.items() if name not in groups}
    text, images = groups["text_kwargs"], groups["images_kwargs"]
    if twice := sorted(flat.keys() & (text.keys() | images.keys())):
        raise ValueError(
            f"{', '.join(twice)} is passed twice, as an argument and in a dictionary of settings. Pass it once."
        )
    everywhere = groups["common_kwargs"] | flat
    unknown = (
        {*everywhere} - {*text_defaults, *image_options} | {*text} - {*text_defaults} | {*images} - {*image_options}
    )
    if unknown:
        raise TypeError(
            f"The processor does not accept {', '.join(sorted(unknown))}. It accepts "
            f"{', '.join(sorted(text_defaults))} for texts, and "
            f"{', '.join(sorted(image_options)) or 'nothing'} for images."
        )
    text = {name: value for name, value in everywhere.items() if name in text_defaults} | text
    images = {name: value for name, value in everywhere.items() if name in image_options} | images
    return dict(text_defaults) | text, images


class PromptProcessor(ProcessorMixin):
    """Base class of all processors of this package.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpProcessor, PromptProcessor
        >>> issubclass(CoOpProcessor, PromptProcessor)
        True

        ```
    """

    def prepare_inputs_layout(self, images: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Prepare the layout of inputs, as in transformers, after opening images with `data.images.load_image`.

        With `do_rescale=False` arrays and tensors are not changed.

        Args:
            images: images in any form that `load_image` opens.
            args: as in transformers.
            kwargs: as in transformers.
        """
        if images is not None:
            settings = kwargs | kwargs.get("images_kwargs", {})
            images = load_images(images, arrays=settings.get("do_rescale") is not False)
        return super().prepare_inputs_layout(images, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """Load the processor, as in transformers.

        Args:
            pretrained_model_name_or_path: Hub id or folder.
            kwargs: as in transformers.

        Raises:
            OSError: if files are missing.
            ValueError: if a file does not describe such a processor. The message contains the path.
        """
        with reading(pretrained_model_name_or_path, "processor_config.json"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save the processor, as in transformers, without a reference to code of the repository it was loaded from.

        Args:
            save_directory: folder to save to.
            push_to_hub: as in transformers.
            kwargs: as in transformers.
        """
        self.__dict__.pop("auto_map", None)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """No-op: transformers would copy the source code of this package into saved folders."""


class ClipPromptProcessor(PromptProcessor):
    """Processor with an image processor for the image tower and the backbone's tokenizer for class names.

    Images are prepared with PIL, as for the published results, because torchvision's interpolation differs slightly.
    """

    vocabulary_from: dict[str, str | None] | None = None
    """`name` and `revision` of the backbone to load the tokenizer from, if saved folders do not contain it."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any):
        super().__init__(image_processor, tokenizer, **kwargs)

    def leave_out_tokenizer(self, backbone: str, revision: str | None = None) -> None:
        """Leave the tokenizer out of saved folders; it is loaded from the backbone instead.

        Args:
            backbone: Hub id of the backbone, or "playground".
            revision: commit of the backbone.

        Raises:
            ValueError: if the backbone is a local folder, which may be moved without its checkpoints.
        """
        if os.path.exists(backbone):
            raise ValueError(
                f"The tokenizer can only be left out if the backbone is on the Hub, but {backbone!r} is a "
                "local path. Save the tokenizer too."
            )
        self.vocabulary_from = {"name": backbone, "revision": revision}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """Load the processor, as in transformers.

        If the folder has no tokenizer but names a backbone, the tokenizer is loaded from that backbone.

        Args:
            pretrained_model_name_or_path: Hub id or folder.
            kwargs: as in transformers.

        Raises:
            OSError: if files are missing.
            ValueError: if a file does not describe such a processor. The message contains the path.
        """
        path = pretrained_model_name_or_path
        with reading(path, "processor_config.json"):
            source = cls.get_processor_dict(path, **kwargs)[0].get("vocabulary_from")
            if source is None:
                return super().from_pretrained(path, **kwargs)
            if not isinstance(source, dict) or not isinstance(source.get("name"), str):
                raise ValueError(f"Expected the name of a backbone as vocabulary_from, got {str(source)[:80]}.")
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
                f"{str(path)!r} contains no tokenizer, and the tokenizer of its backbone cannot be loaded: {error}"
            ) from error
        processor = cls(AutoImageProcessor.from_pretrained(path, **kwargs), tokenizer)
        processor.vocabulary_from = source
        return processor

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save the processor, as in transformers, without the files of the tokenizer after `leave_out_tokenizer`.

        Args:
            save_directory: folder to save to.
            push_to_hub: as in transformers.
            kwargs: as in transformers.
        """
        saved = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        if self.vocabulary_from is not None:
            for file in self.tokenizer.save_pretrained(save_directory):
                Path(file).unlink(missing_ok=True)
        return saved

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as in transformers, and the backbone to load the tokenizer from if it is left out."""
        left_out = {} if self.vocabulary_from is None else {"vocabulary_from": self.vocabulary_from}
        return super().to_dict() | left_out

    @classmethod
    def from_backbone(
        cls, name_or_path: str | os.PathLike, tokenizer: PreTrainedTokenizerBase | None = None, **kwargs: Any
    ) -> Self:
        """Load the image processor and the tokenizer of a backbone.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
                Folders and repositories of open_clip are read, too.
            tokenizer: tokenizer to use instead of the backbone's.
            kwargs: keyword arguments for loading: `revision`, `token`, `cache_dir`, ….
        """
        name_or_path = locate_backbone(name_or_path, CLIP_DIR)
        check_reachable(name_or_path, **kwargs)
        if is_open_clip(name_or_path, **kwargs):
            image_processor = read_image_processor(name_or_path, **kwargs)
            tokenizer = load_tokenizer(name_or_path, **kwargs) if tokenizer is None else tokenizer
            if tokenizer is None:
                raise OSError(
                    f"{str(name_or_path)!r} has no tokenizer files. Convert it with `hf-prompt convert clip "
                    "--tokenizer …`, or copy the files of its tokenizer into it."
                )
            return cls(image_processor, tokenizer)
        image_processor = AutoImageProcessor.from_pretrained(name_or_path, backend="pil", **kwargs)
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, **kwargs)
        return cls(image_processor, tokenizer)
