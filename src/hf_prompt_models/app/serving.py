"""Launching the server of a demo."""

import socket

import gradio as gr

from hf_prompt_models.app.components.look import CSS, THEME
from hf_prompt_models.app.options import Options


MAX_UPLOAD = "200mb"
"""Maximum size of an uploaded file."""

MAX_SESSIONS = 100
"""Maximum number of sessions whose state is kept; beyond that, the session that was idle longest is dropped."""


def launch(
    blocks: gr.Blocks,
    host: str | None = None,
    port: int | None = None,
    options: Options = Options(),  # noqa: B008  it is frozen
    wait: bool = True,
) -> str:
    """Launch the server of a demo.

    The server sends no usage statistics, creates no public link and keeps no history in the browser. It serves no
    files of this machine except uploads and the folder of clips.

    Args:
        blocks: the demo, as returned by `build`.
        host: address to listen on. Default: the environment variable GRADIO_SERVER_NAME, else this machine only.
        port: port to listen on. Default: the first free port from 7860.
        options: the options that the demo was built with.
        wait: whether to print the URL and block until the program is interrupted.

    Returns:
        The URL of the demo.

    Raises:
        OSError: if the address does not belong to this machine, or the port is already in use.
        ValueError: if `port` is not a valid port number.
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
        print(f"The web page is at {address} (press Ctrl-C to stop).", flush=True)
        blocks.block_thread()
    return address


def _check_address(host: str, port: int | None) -> None:
    """Check host and port before gradio does, because its error messages name its own settings."""
    if port is not None and not 0 < port < 2**16:
        raise ValueError(f"{port} is not a valid port. Choose one from 1024 to 65535.")
    try:
        socket.create_server((host, port or 0)).close()
    except OSError as error:
        place = host if port is None else f"{host}, port {port}"
        raise OSError(f"Cannot listen on {place}: {error.strerror}. Choose another --host or --port.") from error
