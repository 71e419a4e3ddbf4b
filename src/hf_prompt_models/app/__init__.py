"""A page in the browser for each kind of model: `build` makes it, `serve` shows it, `export_space` packs it up.

Needs gradio: `pip install "hf_prompt_models[app]"`.
"""

try:
    import gradio as gr
except ImportError as error:
    raise ImportError('The pages need gradio: pip install "hf_prompt_models[app]"') from error

import os

from hf_prompt_models.app.options import Options
from hf_prompt_models.app.pages import find_page
from hf_prompt_models.app.serving import launch
from hf_prompt_models.app.space import export_space


def build(model_dir: str | os.PathLike, options: Options = Options()) -> gr.Blocks:  # noqa: B008  it is frozen
    """The page that fits a model.

    Args:
        model_dir: the model's folder, the folder of a run that trained one, or a Hub id.
        options: what the page may be told beyond that.

    Raises:
        OSError: if there is no such model, or its files are damaged.
        ValueError: if there is no page for such a model, or the options do not fit.
    """
    place, page = find_page(model_dir)
    return page(place, options)


def serve(
    model_dir: str | os.PathLike,
    options: Options = Options(),  # noqa: B008
    host: str = "127.0.0.1",
    port: int | None = None,
) -> None:
    """Show the page that fits a model until the program is interrupted.

    Args:
        model_dir, options: as for `build`.
        host: address to listen at; `"0.0.0.0"` lets other machines in, of whom nobody is asked who they are.
        port: Default: the first free one from 7860.

    Raises:
        OSError: as `build` does; or if the port is taken.
        ValueError: as `build` does.
    """
    launch(build(model_dir, options), host, port, options)


__all__ = ["Options", "build", "export_space", "launch", "serve"]
