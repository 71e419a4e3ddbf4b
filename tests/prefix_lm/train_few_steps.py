"""Train a saved model for a few steps with the Trainer; run by `test_distributed.py` in one process or several."""

import sys

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, Trainer, TrainingArguments

from hf_prompt_models.prefix_lm.collators import TrainingCollator
from tests.tested_method import random_image


RECORDS = [
    {"images": [random_image(index)] * (index % 3), "title": "a red mug"[:index], "description": "red " * (index + 1)}
    for index in (0, 3, 1, 4, 6, 2, 5, 7)  # neighbours without an image come together
]


def main(folder: str, output_dir: str, batch_size: str) -> None:
    torch.set_num_threads(1)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=output_dir,
            per_device_train_batch_size=int(batch_size),
            max_steps=2,
            optim="sgd",
            learning_rate=0.1,
            max_grad_norm=0.0,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            activation_checkpointing=True,
            ddp_find_unused_parameters=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
        ),
        train_dataset=RECORDS,
        data_collator=TrainingCollator(AutoProcessor.from_pretrained(folder)),
    )
    trainer.train()
    trainer.save_model(output_dir)


if __name__ == "__main__":
    main(*sys.argv[1:])
