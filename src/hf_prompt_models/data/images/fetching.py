"""Fetching images and videos that are given by a link."""

from huggingface_hub.utils import httpx

from hf_prompt_models.utils.files import UnreadableFileError


MAX_BYTES = 2**30
"""The largest file that is fetched: it is kept in memory."""
TIMEOUT = 60.0
"""Seconds without an answer after which fetching ends."""


def is_link(source: object) -> bool:
    """Return whether a source is an `http://` or `https://` URL."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def fetch(link: str) -> bytes:
    """Return what a link leads to.

    Args:
        link: an `http://` or `https://` URL; redirections are followed.

    Raises:
        UnreadableFileError: naming the link, if there is no answer, an error, or more than `MAX_BYTES`.
    """
    content = bytearray()
    try:
        with httpx.stream("GET", link, follow_redirects=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise UnreadableFileError(f"{link} is larger than {MAX_BYTES} bytes. Fetch it to a file first.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreadableFileError(f"Cannot fetch {link}: {str(error) or type(error).__name__}") from error
    return bytes(content)
