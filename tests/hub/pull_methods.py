"""Load the models that `push_methods.py` published, as another user with an empty cache, and compare their results."""

import re
import sys
from pathlib import Path

import torch
import transformers
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor, pipeline

import hf_prompt_models  # noqa: F401
from tests.models.action_clip.clips import write_mp4
from tests.tested_method import find_methods, random_image


def pull(folder: Path) -> None:
    name, _, kind = folder.name.partition("-")
    method, repo_id = find_methods().get(name), f"user/{folder.name}"
    auto_class = AutoModel if method is None else getattr(transformers, method.auto_class.__name__)
    model = auto_class.from_pretrained(repo_id)
    with torch.no_grad():
        output = model(**load_file(folder / "inputs.safetensors"))
    answer = output.get("logits", output.get("proposal_logits"))
    assert torch.equal(answer, load_file(folder / "answer.safetensors")["logits"])
    processor = AutoProcessor.from_pretrained(repo_id)
    assert type(processor) is type(AutoProcessor.from_pretrained(f"user/{name}-processor"))
    pipe = pipeline(model=repo_id)  # the task is on the card
    assert pipe.task == model.pipeline_task
    if method is not None:
        assert pipe.task == method.pipeline_task
        model.processor = processor
        method.check_pipeline(pipeline(method.pipeline_task, repo_id), model)
        if kind == "prompt":
            run_card_code(repo_id)


def run_card_code(repo_id: str) -> None:
    card = Path(hf_hub_download(repo_id, "README.md")).read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert repo_id in code
    exec(code, {})


if __name__ == "__main__":
    torch.set_num_threads(1)
    for picture in ("photo.jpg", "front.jpg", "back.jpg"):
        random_image(0, (320, 200)).save(picture)
    write_mp4(Path("clip.mp4"), [random_image(seed) for seed in range(5)])
    for each in sorted(Path(sys.argv[1]).iterdir()):
        try:
            pull(each)
        except Exception as error:
            raise AssertionError(each.name) from error
