"""Keyboard navigation of a page."""

from playwright.sync_api import Locator, Page


MOST_STOPS = 60


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the focus is there; it must be seen where it is.

    Raises:
        AssertionError: if Tab does not lead there, or nothing marks the focus.
    """
    for _ in range(MOST_STOPS):
        if target.evaluate("each => each === document.activeElement"):
            style = target.evaluate(
                "each => { const s = getComputedStyle(each); return [s.outlineStyle, s.outlineWidth, s.boxShadow] }"
            )
            assert style[0] != "none" or style[2] != "none", f"nothing marks the focus: {style}"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {target}")


def choose_files(page: Page, button: Locator, files: list[str]) -> None:
    """Reach an upload area by Tab and open its file chooser by Enter."""
    tab_to(page, button)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(files)
