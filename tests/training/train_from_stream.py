"""Train for a few steps on a stream that starts over; run by `test_streaming.py` in one process or several."""

import sys
from typing import Any

import datasets
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainingArguments

from hf_prompt_models.data.streaming import undecoded
from hf_prompt_models.prefix_lm.collators import TrainingCollator
from hf_prompt_models.training.trainer import PromptTrainer


def train(folder: str, rows: str, output_dir: str, batch_size: str, resume: str = "", **more: Any) -> PromptTrainer:
    torch.set_num_threads(1)
    stream = datasets.load_from_disk(rows).to_iterable_dataset(num_shards=2).shuffle(seed=3, buffer_size=4)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    settings = {
        "output_dir": output_dir,
        "per_device_train_batch_size": int(batch_size),
        "max_steps": 4,
        "optim": "sgd",
        "learning_rate": 0.1,
        "max_grad_norm": 0.0,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 3,
    }
    trainer = PromptTrainer(
        model=model,
        args=TrainingArguments(**settings | more),
        train_dataset=undecoded(stream),
        data_collator=TrainingCollator(AutoProcessor.from_pretrained(folder), images="image"),
    )
    trainer.train(resume_from_checkpoint=resume or None)
    trainer.save_model(output_dir)
    return trainer


if __name__ == "__main__":
    train(*sys.argv[1:])
