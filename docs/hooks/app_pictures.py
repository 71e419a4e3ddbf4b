"""Puts the pictures of the web page that its browser tests took, docs/images/app-<page>-1280.png, onto app.md."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri != "app.md":
        return markdown
    taken = sorted(Path(config.docs_dir, "images").glob("app-*-1280.png"))
    names = [file.name.removeprefix("app-").removesuffix("-1280.png") for file in taken]
    return markdown + "".join(
        f"\n## {name.replace('-', ' ').capitalize()}\n\n![The page]({file.relative_to(config.docs_dir).as_posix()})\n"
        for name, file in zip(names, taken, strict=True)
    )
