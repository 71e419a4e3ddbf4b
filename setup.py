"""What the package is stands in setup.cfg; this puts the texts of the model cards, which lie beside src/, into it."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCards(build_py):
    """Builds the package with `model_cards/*.md` in it. In an editable install they are found where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "hf_prompt_models", "model_cards")
        self.mkpath(str(folder))
        for text in sorted(Path("model_cards").glob("*.md")):
            self.copy_file(str(text), str(folder / text.name))


setup(cmdclass={"build_py": BuildWithCards})
