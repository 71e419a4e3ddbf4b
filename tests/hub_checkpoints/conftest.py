"""Tests of published checkpoints are skipped where no Hub answers, and say what they would have checked."""

import inspect
import threading
from functools import cache

import httpx
import pytest
from huggingface_hub import constants


SECONDS = 15
"""How long to wait for an answer, including the name of the host, which has no time limit of its own."""


@cache
def why_no_hub() -> str | None:
    """Return why the Hub cannot be reached, or `None` if it answers."""
    said = [f"no answer in {SECONDS} s"]

    def ask() -> None:
        try:
            httpx.head(constants.ENDPOINT, timeout=SECONDS, follow_redirects=True)
            said[0] = ""
        except httpx.HTTPError as error:
            said[0] = f"{type(error).__name__}: {error}"

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return f"no Hub at {constants.ENDPOINT} ({said[0]})" if said[0] else None


def pytest_runtest_setup(item: pytest.Function) -> None:
    """Skip a test that needs the Hub before its fixtures download anything."""
    if item.get_closest_marker("hub") and (reason := why_no_hub()) is not None:
        about = " ".join((inspect.getdoc(item.function) or "").split())
        pytest.skip(f"{reason}. It would have checked{item.name.removeprefix(item.originalname)}: {about}")


@pytest.fixture(autouse=True)
def transformers_records() -> list[str]:
    """Let transformers log what it likes about published checkpoints, such as fields of older versions."""
    return []
