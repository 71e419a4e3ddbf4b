"""Starting a page's server."""

import socket

import gradio as gr

from hf_prompt_models.app.components.look import CSS, THEME
from hf_prompt_models.app.options import Options


MAX_UPLOAD = "200mb"
"""The largest file that is taken."""

MAX_SESSIONS = 100
"""Readers whose pictures are kept at once; the longest idle one's are forgotten first."""


def launch(
    blocks: gr.Blocks,
    host: str | None = None,
    port: int | None = None,
    options: Options = Options(),  # noqa: B008  it is frozen
    wait: bool = True,
) -> str:
    """Serve a page; returns its address, which is printed where it waits.

    Nothing is sent to anybody: no statistics, no public link, no history kept in the browser. Of this machine's files
    the server gives out none but what was uploaded to it, and the clips.

    Args:
        host: address to listen at. Default: the environment's GRADIO_SERVER_NAME, or this machine alone.
        port: Default: the first free one from 7860.
        options: what the page was made with.
        wait: whether to return only when the program is interrupted.

    Raises:
        OSError: if the address is not this machine's, or the port is taken.
        ValueError: if it is no port.
    """
    if host is not None:
        _check_address(host, port)
    blocks.queue(api_open=False, max_size=64)
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        theme=THEME,
        css=CSS,
        share=False,
        run_history=False,
        mcp_server=False,
        ssr_mode=False,
        footer_links=[],
        max_file_size=MAX_UPLOAD,
        state_session_capacity=MAX_SESSIONS,
        allowed_paths=[] if options.clips is None else [str(options.clips.resolve())],
        prevent_thread_lock=True,
        quiet=True,
    )
    if wait:
        print(f"The page is at {address} (Ctrl-C ends it).", flush=True)
        blocks.block_thread()
    return address


def _check_address(host: str, port: int | None) -> None:
    """Before gradio, whose errors speak of its own settings."""
    if port is not None and not 0 < port < 2**16:
        raise ValueError(f"{port} is no port: name one from 1024 to 65535.")
    try:
        socket.create_server((host, port or 0)).close()
    except OSError as error:
        place = host if port is None else f"{host}, port {port}"
        raise OSError(f"Cannot listen at {place}: {error.strerror}. Name another --host or --port.") from error
