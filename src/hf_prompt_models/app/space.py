"""Export of a demo as a folder that runs as a Hugging Face Space."""

import os
import shutil
from pathlib import Path

import gradio as gr
from huggingface_hub import SpaceCard, SpaceCardData
from transformers import AutoConfig

from hf_prompt_models.app.options import Options
from hf_prompt_models.app.pages import find_page
from hf_prompt_models.backbones.packaged import PLAYGROUND
from hf_prompt_models.utils.files import move_folder, naming_what_fails, staging
from hf_prompt_models.version import __version__


MODEL, CLIPS = "model", "clips"
"""Subfolders of the exported Space."""

HEADER = '"""A page written by `hf-prompt app --export_space`."""'
WRITTEN = frozenset({"app.py", "requirements.txt", "README.md", MODEL, CLIPS})

ADAPTER_CONFIG = "adapter_config.json"
CHECKPOINT_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",  # sentencepiece
    "chat_template.jinja",
    ADAPTER_CONFIG,  # adapter of a language model; requires peft
    "adapter_model.safetensors",
)
"""Files that `from_pretrained` needs. A run folder has more, such as the paths of the training data."""


def export_space(
    model_dir: str | os.PathLike,
    folder: str | os.PathLike,
    options: Options = Options(),  # noqa: B008  it is frozen
) -> None:
    """Export a demo as a folder that runs as a Hugging Face Space, or on any machine with `python app.py`.

    The folder has `app.py`, `requirements.txt`, `README.md` with the settings of the Space, the files of the model
    unless it is on the Hub, and the clips if `options.clips` is set. It is written to a temporary folder first and
    then moved into place.

    Args:
        model_dir: folder of a model, folder of a training run, or Hub id.
        folder: output folder. It is created, or must be empty or have nothing but an earlier export.
        options: settings of the demo; `device` is ignored because the Space chooses its own.

    Raises:
        FileExistsError: if `folder` has other files.
        OSError: if the model does not exist, or the folder cannot be written, for example because the disk is full.
        ValueError: if there is no demo for the model, or the demo needs files of this machine that are not in the
            folder of the model.
    """
    folder = Path(folder)
    _check_free(folder)
    place, _ = find_page(model_dir)
    base = _check_complete(place)
    if options.proposals is not None and os.path.isdir(options.proposals):
        raise ValueError(
            f"The model that proposes regions is a folder of this machine ({options.proposals}), which a Space does "
            "not have: name one on the Hub."
        )
    if options.backbone is not None:
        raise ValueError(
            f"A Space loads the backbone that the checkpoint names, not {options.backbone!r}: leave out --backbone."
        )
    local = place.is_dir()
    with naming_what_fails(f"write the Space into {str(folder)!r}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staging(folder.parent) as temporary:
            written = temporary / folder.name
            written.mkdir()
            (written / "app.py").write_text(_app(None if local else place.as_posix(), options), encoding="utf-8")
            extras = "app,peft" if (place / ADAPTER_CONFIG).is_file() else "app"
            (written / "requirements.txt").write_text(f"hf_prompt_models[{extras}]=={__version__}\n", encoding="utf-8")
            on_hub = base if local else place.as_posix()
            _card(_title(place), [on_hub] if on_hub else []).save(written / "README.md")
            if local:
                _copy_checkpoint(place, written / MODEL)
            if options.clips is not None:
                shutil.copytree(options.clips, written / CLIPS)
            move_folder(written, folder)  # replaces an empty folder or an earlier export


def _check_free(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: name a folder for the Space.")
    entries = {entry.name for entry in folder.iterdir()}
    app = folder / "app.py"
    ours = entries <= WRITTEN and app.is_file() and app.read_bytes().startswith(HEADER.encode())
    if entries and not ours:
        raise FileExistsError(
            f"{folder} holds files of yours, such as {min(entries)}: name a folder that does not exist or is empty."
        )


def _check_complete(place: Path) -> str | None:
    """Return the Hub id of the backbone that a checkpoint needs, unless it has or ships with its backbone.

    Raises:
        ValueError: if the backbone is a folder of this machine.
    """
    config = AutoConfig.from_pretrained(place).to_dict()
    if config.get("weights_scope") != "prompt":
        return None
    base: str | None = config.get("base_model_name_or_path")
    if base == PLAYGROUND:
        return None
    if base is not None and (os.path.isabs(base) or os.path.isdir(base)):
        raise ValueError(
            f"{place} holds a prompt alone, and its backbone is a folder of this machine ({base}), which a Space does "
            "not have. Either save the model with its backbone: in Python, "
            f"AutoModelFor….from_pretrained({str(place)!r}).save_pretrained(another_folder, save_backbone=True); or, "
            "if the backbone is on the Hub, write its id as base_model_name_or_path into the model's config.json."
        )
    return base


def _copy_checkpoint(source: Path, target: Path) -> None:
    target.mkdir()
    for pattern in CHECKPOINT_FILES:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)


def _title(place: Path) -> str:
    return place.absolute().name


def _app(hub_id: str | None, options: Options) -> str:
    """Return the source of `app.py`, which loads the model from the Hub or from the subfolder next to it."""
    model = f'HERE / "{MODEL}"' if hub_id is None else repr(hub_id)
    arguments = [f'clips=HERE / "{CLIPS}"'] if options.clips is not None else []
    if options.proposals is not None:
        arguments.append(f"proposals={options.proposals!r}")
    return f"""{HEADER}

from pathlib import Path

from hf_prompt_models.app import Options, build, launch


HERE = Path(__file__).parent
OPTIONS = Options({", ".join(arguments)})

demo = build({model}, OPTIONS)

if __name__ == "__main__":
    launch(demo, options=OPTIONS)
"""


def _card(title: str, models: list[str]) -> SpaceCard:
    data = SpaceCardData(
        title=title,
        emoji="🖍️",
        colorFrom="blue",
        colorTo="yellow",
        sdk="gradio",
        sdk_version=gr.__version__,
        app_file="app.py",
        pinned=False,
        models=models or None,
    )
    text = (
        f"# {title}\n\nA page for a model of [hf_prompt_models](https://pypi.org/project/hf_prompt_models), version "
        f"{__version__}. On a machine of your own:\n\n```bash\npip install -r requirements.txt\npython app.py\n```\n"
    )
    return SpaceCard(f"---\n{data.to_yaml()}\n---\n\n{text}")
