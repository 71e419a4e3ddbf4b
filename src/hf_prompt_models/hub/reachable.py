"""Check that a model can be loaded, before any work that takes time."""

import os
from typing import Any

from huggingface_hub import is_offline_mode
from transformers.utils import CONFIG_NAME
from transformers.utils.hub import cached_file

from hf_prompt_models.backbones.clip_checkpoints import has_open_clip_config
from hf_prompt_models.backbones.packaged import PLAYGROUND
from hf_prompt_models.utils.describing import describe_value


LOCATING = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


def check_name(name_or_path: Any) -> None:
    """Check that a value can name a model.

    Raises:
        TypeError: if it is neither a string nor a path.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(f"Expected a folder or a Hub id as the name of a model, got {describe_value(name_or_path)}.")


def check_reachable(name_or_path: str | os.PathLike, /, **kwargs: Any) -> None:
    """Check that the configuration of a model is in a folder, in the cache of the Hub or on the Hub.

    Args:
        name_or_path: Hub id, folder, or "playground".
        kwargs: keyword arguments for loading the model. `revision`, `token`, `cache_dir`, … are used, others ignored.

    Raises:
        OSError: if it cannot be found; the message says what to pass instead.
        TypeError: if the name is neither a string nor a path.
    """
    check_name(name_or_path)
    name = os.fspath(name_or_path)
    if name == PLAYGROUND or os.path.isdir(name):
        return
    if os.path.isfile(name):
        raise OSError(
            f"{name!r} is a file. Pass the folder of a model, which contains a {CONFIG_NAME}, or a Hub id. "
            "`hf-prompt convert clip` makes such a folder of OpenAI's CLIP files."
        )
    if os.path.isabs(name) or name.startswith((".", "~")) or name.count("/") > 1 or (os.sep != "/" and os.sep in name):
        raise OSError(f"There is no folder {name!r}. Pass the folder of a model, or a Hub id such as 'user/model'.")
    where = {key: value for key, value in kwargs.items() if key in LOCATING}
    try:
        cached_file(name, CONFIG_NAME, **where)
    except OSError as error:
        if has_open_clip_config(name, **where):
            return
        if not is_offline_mode():
            raise
        raise OSError(
            f"There is no folder {name!r}, the model is not in the cache of the Hub, and offline mode "
            "(HF_HUB_OFFLINE) forbids downloading it. Pass a local folder or 'playground', or unset HF_HUB_OFFLINE."
        ) from error
