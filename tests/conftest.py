"""Settings for all tests: no Hub, few threads, and a test fails if transformers logs an unexpected warning."""

import atexit
import gc
import os
import shutil
import signal
import tempfile


# Read when huggingface_hub and torch are imported, so set before anything is.
os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
if "HF_PROMPT_TEST_HUB" not in os.environ:  # `make test-hub` needs the Hub, and the cache of what it downloaded before
    os.environ["HF_HUB_OFFLINE"] = "1"
    home = os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-prompt-models-tests-")  # features are for one test run
    atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ["OMP_NUM_THREADS"] = "1"  # models this small run slower on more, above all on a busy machine

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from transformers.utils import logging as transformers_logging

from tests import stand_ins, stand_ins_bert


ALLOWED_RECORDS: dict[str, str] = {
    # google/siglip*'s configurations do not name special tokens, and the defaults are CLIP's.
    "Model config: bos_token_id must be": "SigLIP's tower does not read it",
    "Model config: eos_token_id must be": "SigLIP's tower does not read it",
    "\x1b[1mResNetModel LOAD REPORT": "the checkpoint is an image classifier, whose last layer is left behind",
    "\x1b[1mCLIPVisionModel LOAD REPORT": "the text tower is left behind",
    "\x1b[1mSiglipVisionModel LOAD REPORT": "the text tower is left behind",
    "\x1b[1mClipResNetVisionModel LOAD REPORT": "the text tower is left behind",
    "mtime may not be reliable": "checkpoints of a test are written within one tick of the file system's clock",
}
"""Beginnings of `transformers` records that may pass, each with its reason."""

torch.set_num_threads(1)
# The same examples each time: a failure on one machine is a failure on all.
settings.register_profile("tests", deadline=None, max_examples=15, database=None, derandomize=True)
settings.load_profile("tests")


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not message.startswith(tuple(ALLOWED_RECORDS)):
            self.messages.append(f"{record.name}: {message}")


@pytest.fixture(autouse=True)
def transformers_records() -> Iterator[list[str]]:
    """Fail a test during which transformers logged a warning. A test that expects one clears the list."""
    # The library's own root does not propagate, so pytest's caplog never sees it.
    root, collector = logging.getLogger("transformers"), _Collector()
    for once in (logging.Logger.warning_once, logging.Logger.info_once):  # said to the first test alone otherwise
        once.cache_clear()
    level = root.level
    root.addHandler(collector)
    root.setLevel(min(level, logging.WARNING) if level else logging.WARNING)
    yield collector.messages
    root.removeHandler(collector)
    root.setLevel(level)
    if collector.messages:
        pytest.fail("transformers logged:\n" + "\n".join(collector.messages), pytrace=False)


collect_ignore = [] if find_spec("playwright") else ["web"]


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collections, of which the Trainer makes a full one in each run."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("hub"):
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A shell's background jobs ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def no_progress_bars() -> None:
    transformers_logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def openai_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of openai/clip-vit-base-patch32."""
    return stand_ins.openai_clip_vit_base_patch32(tmp_path_factory.mktemp("hub") / "clip-vit-base-patch32")


@pytest.fixture(scope="session")
def modern_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP whose configuration names its end token."""
    return stand_ins.modern_clip(tmp_path_factory.mktemp("hub") / "modern-clip")


@pytest.fixture(scope="session")
def other_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the sizes of `openai_clip` and other weights."""
    return stand_ins.openai_clip_vit_base_patch32(tmp_path_factory.mktemp("hub") / "clip-other", seed=1)


@pytest.fixture(scope="session")
def wider_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text tower of another width than `openai_clip`'s."""
    return stand_ins.openai_clip_vit_base_patch32(tmp_path_factory.mktemp("hub") / "clip-wider", text_width=64)


@pytest.fixture(scope="session")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of google/siglip-base-patch16-224."""
    return stand_ins.google_siglip_base_patch16_224(tmp_path_factory.mktemp("hub") / "siglip-base-patch16-224")


@pytest.fixture(scope="session")
def siglip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of google/siglip2-base-patch16-224."""
    return stand_ins.google_siglip2_base_patch16_224(tmp_path_factory.mktemp("hub") / "siglip2-base-patch16-224")


@pytest.fixture(scope="session")
def naflex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of google/siglip2-base-patch16-naflex."""
    return stand_ins.google_siglip2_base_patch16_naflex(tmp_path_factory.mktemp("hub") / "siglip2-base-patch16-naflex")


@pytest.fixture(scope="session")
def metaclip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of facebook/metaclip-2-worldwide-*."""
    return stand_ins.facebook_metaclip_2_worldwide(tmp_path_factory.mktemp("hub") / "metaclip-2-worldwide")


@pytest.fixture(scope="session")
def chinese_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of OFA-Sys/chinese-clip-vit-base-patch16."""
    folder = tmp_path_factory.mktemp("hub") / "chinese-clip-vit-base-patch16"
    return stand_ins_bert.ofa_sys_chinese_clip_vit_base_patch16(folder)


@pytest.fixture(scope="session")
def altclip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of BAAI/AltCLIP."""
    return stand_ins_bert.baai_altclip(tmp_path_factory.mktemp("hub") / "AltCLIP")


@pytest.fixture(scope="session")
def align(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint in the format of kakaobrain/align-base."""
    return stand_ins_bert.kakaobrain_align_base(tmp_path_factory.mktemp("hub") / "align-base")
