"""Demos in a real browser: `make test-web` runs these tests.

A test serves a demo in its own process (`served`), opens it at a given width (`open_page`), and fails at its end if
the browser reported an error, or if anything was requested from another machine.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hf_prompt_models.app import Options, launch


CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {1280: 900, 390: 844}
"""Of the window, each with its height."""

PATIENCE = 60_000
"""Milliseconds until a test gives up waiting for the page."""

expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.web)
            # Warnings in the server's threads are gradio's own; tests/app holds the pages' functions to the rule.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[[gr.Blocks, Options], str]]:
    """Serve a page and return its URL."""
    running = []

    def serve(blocks: gr.Blocks, options: Options = Options()) -> str:  # noqa: B008
        running.append(blocks)
        return launch(blocks, options=options, wait=False)

    yield serve
    for blocks in running:
        blocks.close(verbose=False)


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width}px")
def width(request: pytest.FixtureRequest) -> int:
    """Width of the window."""
    return int(request.param)


@pytest.fixture
def open_page(chromium: Browser, width: int) -> Iterator[Callable[[str], Page]]:
    """Open a URL in a window of the given width."""
    context = chromium.new_context(
        viewport={"width": width, "height": WIDTHS[width]}, locale="en-GB", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    elsewhere: list[str] = []

    def open_at(address: str) -> Page:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((address, "data:", "blob:")) else elsewhere.append(request.url)
            ),
        )
        page.on("filechooser", lambda chooser: None)  # from now on choosers are the test's, not the browser's
        page.goto(address)
        page.locator("h1").wait_for()
        return page

    yield open_at
    context.close()
    assert not complaints, f"the browser complained: {complaints}"
    assert not elsewhere, f"the page asked other machines: {elsewhere}"
