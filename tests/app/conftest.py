"""Fixtures for the functions of the demos, without a browser."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app import models


@pytest.fixture(autouse=True)
def loops_that_gradio_leaves(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close them: gradio makes two for each page and closes none."""
    made: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def remembered() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", remembered)
    yield
    for loop in made:
        loop.close()


@pytest.fixture(scope="session")
def learned_prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.learned_prompt(tmp_path_factory.mktemp("coop"))


@pytest.fixture(scope="session")
def class_specific_prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.class_specific_prompt(tmp_path_factory.mktemp("class-specific"))


@pytest.fixture(scope="session")
def actions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.actions(tmp_path_factory.mktemp("actions"))
