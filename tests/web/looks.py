"""Layout of a page: nothing is outside the window or overlaps anything else; and screenshots for the documentation."""

import os
from pathlib import Path

from playwright.sync_api import Page


IMAGES = Path(__file__).parent.parent.parent / "docs/images"

# Rectangles of the visible parts of texts, images and fields, clipped to their containers.
_OVERLAPS = """
() => {
  const seen = [];
  const cut = (rect, element) => {
    let [left, top, right, bottom] = [rect.left, rect.top, rect.right, rect.bottom];
    for (let each = element; each && each !== document.body; each = each.parentElement) {
      const style = getComputedStyle(each);
      if (each.classList.contains("toast-wrap")) return null;  // lies over the page for a while, and may
      if (style.visibility === "hidden" || style.opacity === "0" || style.clipPath !== "none") return null;
      const box = each.getBoundingClientRect();
      if (style.overflowX !== "visible") { left = Math.max(left, box.left); right = Math.min(right, box.right); }
      if (style.overflowY !== "visible") { top = Math.max(top, box.top); bottom = Math.min(bottom, box.bottom); }
    }
    return right - left > 1 && bottom - top > 1 ? { left, top, right, bottom } : null;
  };
  const add = (rect, element, what) => {
    const shown = cut(rect, element);
    if (shown) seen.push({ ...shown, what, element });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) {
      const parent = node.parentElement;
      if (!node.textContent.trim() || ["SCRIPT", "STYLE", "TEXTAREA", "OPTION"].includes(parent.tagName)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const rect of range.getClientRects()) add(rect, parent, "text " + node.textContent.trim().slice(0, 40));
    } else if (["IMG", "VIDEO", "CANVAS", "INPUT", "TEXTAREA", "SELECT"].includes(node.tagName)) {
      if (node.type === "file" || node.type === "hidden") continue;
      add(node.getBoundingClientRect(), node, node.tagName.toLowerCase() + " " + (node.alt || node.id || ""));
    }
  }
  const found = [];
  for (let i = 0; i < seen.length; i++) for (let j = i + 1; j < seen.length; j++) {
    const [a, b] = [seen[i], seen[j]];
    if (a.element === b.element || a.element.contains(b.element) || b.element.contains(a.element)) continue;
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 2 && down > 4) found.push(`${a.what} | ${b.what} (${across.toFixed(0)} x ${down.toFixed(0)} px)`);
  }
  return found;
}
"""

_WIDER = """
() => {
  const width = document.documentElement.clientWidth;
  return document.documentElement.scrollWidth > width || document.body.scrollWidth > width
    ? [...document.querySelectorAll("body *")].filter(each => each.getBoundingClientRect().right > width + 1)
        .map(each => each.tagName + "." + each.className).slice(0, 10).concat("scrolls sideways")
    : [];
}
"""


def check_looks(page: Page) -> None:
    """Check that no elements overlap and that the page does not scroll horizontally."""
    page.wait_for_timeout(300)  # what unfolds has done so
    wider, over = page.evaluate(_WIDER), page.evaluate(_OVERLAPS)
    assert not wider, f"beside the window: {wider}"
    assert not over, f"over each other: {over}"


def keep_picture(page: Page, name: str, width: int) -> None:
    """Write docs/images/app-<name>-<width>.png, if HF_PROMPT_SCREENSHOTS is set; to that folder, if it names one."""
    if wanted := os.environ.get("HF_PROMPT_SCREENSHOTS"):
        folder = Path(wanted) if Path(wanted).is_dir() else IMAGES
        folder.mkdir(parents=True, exist_ok=True)
        page.mouse.move(0, 0)
        page.screenshot(path=folder / f"app-{name}-{width}.png", full_page=True)
