"""Generate with a model whose weights are sharded over several processes; run by `test_generated_texts.py`."""

import json
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageTextToText, AutoProcessor

from hf_prompt_models.tasks.text_generation.generated_texts import generate_texts
from tests.tasks.text_generation.examples import EXAMPLES


def main(folder: str, output: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    for layer in model.language_model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    processor = AutoProcessor.from_pretrained(folder)
    # Twice, as evaluations during training come again and again.
    written = [generate_texts(model, processor, EXAMPLES, {"max_new_tokens": 5}, 2, progress=False) for _ in range(2)]
    if distributed.get_rank() == 0:
        Path(output).write_text(json.dumps([each.texts for each in written]))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
