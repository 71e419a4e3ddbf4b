"""Load a published text generation model, as another user with an empty cache, and compare its results.

The arguments are the repository; a folder with the expected outputs, `predictions.jsonl`; and the scope of its
weights, `whole`.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, pipeline

import hf_prompt_models  # noqa: F401


def main(repo_id: str, folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(repo_id)
    weights = model.state_dict()
    for name, tensor in load_file(folder / "whole" / "model.safetensors").items():
        assert torch.equal(weights[name], tensor), name
    pipe = pipeline(model=repo_id)  # the task is on the card
    for line in (folder / "predictions.jsonl").read_text().splitlines():
        row = json.loads(line)
        (answer,) = pipe(images=row["images"], text=row["title"], return_full_text=False)
        assert answer["generated_text"].strip() == row["generated"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
