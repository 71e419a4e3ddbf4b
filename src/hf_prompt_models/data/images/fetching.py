"""Download of images and videos from URLs."""

from huggingface_hub.utils import httpx

from hf_prompt_models.utils.files import UnreadableFileError


MAX_BYTES = 2**30
"""Largest file in bytes that is downloaded. Files are kept in memory."""
TIMEOUT = 60.0
"""Seconds without a response after which the download fails."""


def is_link(source: object) -> bool:
    """Return whether a source is an `http://` or `https://` URL."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def fetch(link: str) -> bytes:
    """Return the content of a URL.

    Args:
        link: an `http://` or `https://` URL. Redirects are followed.

    Raises:
        UnreadableFileError: if there is no response, the server returns an error, or the content is larger than
            `MAX_BYTES`. The message names the URL.
    """
    content = bytearray()
    try:
        with httpx.stream("GET", link, follow_redirects=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise UnreadableFileError(f"{link} is larger than {MAX_BYTES} bytes. Download it to a file first.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreadableFileError(f"Cannot download {link}: {str(error) or type(error).__name__}") from error
    return bytes(content)
