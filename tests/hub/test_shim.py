"""The two lines of remote code in a folder: what they do for users who trust them, and that nothing runs otherwise."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
    pipeline,
)

import hf_prompt_models
from hf_prompt_models.hub.shim import write_shim
from hf_prompt_models.models import PACKAGES
from tests.models.alpro import little
from tests.programs import run_program
from tests.tested_method import few_by_default, find_methods


TESTED = {name: method for name, method in find_methods().items() if name in PACKAGES}


@pytest.fixture(scope="module", params=few_by_default(PACKAGES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    if request.param == "alpro":  # it has no backbone of its own
        alpro = little.lively(hf_prompt_models.AlproForVideoTextRetrieval(little.config()))
        alpro.processor = little.processor()
        return alpro
    method = TESTED[request.param]
    return method.build(method.write_backbone(tmp_path_factory.mktemp("hub") / "backbone"))


def save_with_shim(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    write_shim(folder, "hf_prompt_models", model._auto_classes())
    return folder


def test_a_shim_is_two_lines_that_import_what_auto_classes_look_for(model: PreTrainedModel, tmp_path: Path) -> None:
    folder = save_with_shim(model, tmp_path)
    lines = (folder / "hub_shim.py").read_text().splitlines()
    assert len(lines) == 2
    assert "pip install hf_prompt_models" in lines[0]
    namespace: dict[str, Any] = {}
    exec(lines[1], namespace)
    auto_map = json.loads((folder / "config.json").read_text())["auto_map"]
    assert auto_map["AutoConfig"] == f"hub_shim.{type(model.config).__name__}"
    method = TESTED.get(model._method())
    auto_class = AutoModel if method is None else method.auto_class
    assert auto_map[auto_class.__name__] == f"hub_shim.{type(model).__name__}"
    for reference in auto_map.values():
        name = reference.removeprefix("hub_shim.")
        assert namespace[name] is getattr(hf_prompt_models, name)
    processor = json.loads((folder / "processor_config.json").read_text())
    assert processor["auto_map"] == {"AutoProcessor": auto_map["AutoProcessor"]}


def test_what_came_with_a_shim_is_saved_without(model: PreTrainedModel, tmp_path: Path) -> None:
    folder = save_with_shim(model, tmp_path / "with")
    loader = AutoModel if TESTED.get(model._method()) is None else TESTED[model._method()].auto_class
    loader.from_pretrained(folder, trust_remote_code=True).save_pretrained(tmp_path / "without")
    AutoProcessor.from_pretrained(folder, trust_remote_code=True).save_pretrained(tmp_path / "processor")
    for saved in (tmp_path / "without", tmp_path / "processor"):
        assert not list(saved.glob("*.py"))
        assert not [file for file in saved.glob("*.json") if "auto_map" in file.read_text()]


STRANGER = """
import sys
from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor, pipeline
assert "hf_prompt_models" not in sys.modules
folder, first = sys.argv[1:]
for auto_class in (AutoModelForImageClassification, AutoConfig):  # no consent, no code
    try:
        auto_class.from_pretrained(folder)
    except ValueError as error:
        assert "trust_remote_code=True" in str(error), error
    else:
        raise AssertionError(auto_class)
assert "hf_prompt_models" not in sys.modules
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name == "hf_prompt_models":
            raise ModuleNotFoundError("No module named 'hf_prompt_models'")
sys.meta_path.insert(0, NotInstalled())
try:
    AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
except ImportError as error:
    assert "pip install hf_prompt_models" in str(error), error
else:
    raise AssertionError
del sys.meta_path[0]
loaders = {"model": AutoModelForImageClassification, "processor": AutoProcessor}
loaded = loaders[first].from_pretrained(folder, trust_remote_code=True)
import hf_prompt_models
model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
assert type(model) is hf_prompt_models.CoOpForImageClassification
assert type(AutoProcessor.from_pretrained(folder, trust_remote_code=True)) is hf_prompt_models.CoOpProcessor
assert type(loaded) in (hf_prompt_models.CoOpForImageClassification, hf_prompt_models.CoOpProcessor)
assert pipeline("image-classification", folder, trust_remote_code=True).model.num_labels == 3
# Nothing of the package's source is copied, though transformers registers what it loads so for copying.
model.save_pretrained(folder + "-again")
loaded.save_pretrained(folder + "-again")
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["model", "processor"])
def test_strangers_who_trust_it_get_the_installed_class_or_the_way_to_it(
    first: str, openai_clip: Path, tmp_path: Path
) -> None:
    folder = save_with_shim(TESTED["coop"].build(openai_clip), tmp_path / "coop")
    done = run_program([sys.executable, "-W", "error", "-c", STRANGER, str(folder), first])
    assert done.returncode == 0, done.stderr
    again = Path(f"{folder}-again")
    assert not list(again.glob("*.py"))
    assert "auto_map" not in (again / "config.json").read_text()


# -- nothing in a folder runs ----------------------------------------------------------------------------------------


@pytest.fixture
def trap(model: PreTrainedModel, tmp_path: Path) -> Path:
    """A checkpoint whose every file that could be run, or unpickled, leaves a mark when it is."""
    folder = tmp_path / "trap"
    model.save_pretrained(folder, **({} if model._method() == "alpro" else {"save_backbone": True}))
    write_shim(folder, "hf_prompt_models", model._auto_classes())
    code = f"open({str(tmp_path / 'executed')!r}, 'w')\n" + (folder / "hub_shim.py").read_text()
    for name in ("hub_shim.py", "modeling.py", "generate.py", "setup.py", "__init__.py", "sitecustomize.py"):
        (folder / name).write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["custom_pipelines"] = {"sneaky": {"impl": "hub_shim.Sneaky", "pt": ["AutoModel"], "type": "text"}}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(b"cbuiltins\nopen\n(V" + str(tmp_path / "executed").encode() + b"\nVw\ntR.")
    return folder


def test_loading_a_folder_runs_nothing_from_it(model: PreTrainedModel, trap: Path, tmp_path: Path) -> None:
    method = TESTED.get(model._method())
    auto_class: Any = AutoModel if method is None else method.auto_class
    loaders: list[Callable[[], Any]] = [
        lambda: AutoConfig.from_pretrained(trap),
        lambda: auto_class.from_pretrained(trap),
        lambda: auto_class.from_pretrained(trap, trust_remote_code=False),
        lambda: type(model).from_pretrained(trap),
        lambda: AutoProcessor.from_pretrained(trap),
        lambda: AutoTokenizer.from_pretrained(trap),
        lambda: AutoImageProcessor.from_pretrained(trap),
        lambda: pipeline(model.pipeline_task, str(trap)),
    ]
    for load in loaders:
        load()
        assert not (tmp_path / "executed").exists()
    (trap / "model.safetensors").unlink()  # the pickle next to it is not read instead
    with pytest.raises(OSError, match=r"model\.safetensors"):
        type(model).from_pretrained(trap)
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_a_trap_works_for_those_who_trust_it(openai_clip: Path, tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    folder = save_with_shim(TESTED["coop"].build(openai_clip), tmp_path / "coop")
    (folder / "hub_shim.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\nclass CoOpConfig: ...\n")
    code = f"from transformers import AutoConfig; AutoConfig.from_pretrained({str(folder)!r}, trust_remote_code=True)"
    run_program([sys.executable, "-c", code])
    assert (tmp_path / "executed").exists()
