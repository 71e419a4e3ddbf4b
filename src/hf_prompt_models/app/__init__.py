"""Gradio demos, one for each task: `build` creates a demo, `serve` runs it and `export_space` exports it as a Space.

Requires gradio: `pip install "hf_prompt_models[app]"`.
"""

try:
    import gradio as gr
except ImportError as error:
    raise ImportError(
        'The web page needs gradio, which is not installed. Install it with pip install "hf_prompt_models[app]"'
    ) from error

import os

from hf_prompt_models.app.options import Options
from hf_prompt_models.app.pages import find_page
from hf_prompt_models.app.serving import launch
from hf_prompt_models.app.space import export_space


def build(model_dir: str | os.PathLike, options: Options = Options()) -> gr.Blocks:  # noqa: B008  it is frozen
    """Build the Gradio demo for the task of a model.

    Args:
        model_dir: folder of a model, folder of a training run, or Hub id.
        options: optional settings of the demo.

    Returns:
        The demo as Gradio blocks, not launched yet.

    Raises:
        OSError: if the model does not exist or its files are damaged.
        ValueError: if there is no demo for this kind of model, or the options do not fit the model.
    """
    place, page = find_page(model_dir)
    return page(place, options)


def serve(
    model_dir: str | os.PathLike,
    options: Options = Options(),  # noqa: B008
    host: str = "127.0.0.1",
    port: int | None = None,
) -> None:
    """Serve the Gradio demo of a model until the program is interrupted.

    Args:
        model_dir: folder of a model, folder of a training run, or Hub id.
        options: optional settings of the demo.
        host: address to listen on. `"0.0.0.0"` accepts connections from other machines, without authentication.
        port: port to listen on. Default: the first free port from 7860.

    Raises:
        OSError: if the model does not exist, its files are damaged, or the port is already in use.
        ValueError: if there is no demo for this kind of model, or the options do not fit the model.
    """
    launch(build(model_dir, options), host, port, options)


__all__ = ["Options", "build", "export_space", "launch", "serve"]
