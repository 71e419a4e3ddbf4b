"""Collating records to batches."""

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from hf_prompt_models.prefix_lm.collators import PromptCollator, TrainingCollator
from tests.prefix_lm.backbones import made, make
from tests.tested_method import random_image


RECORDS = [
    {"images": [random_image(0), random_image(1)], "title": "a red mug", "description": "it is red"},
    {"images": [], "title": "mug", "description": "a thing"},
    {"images": [random_image(2)], "title": "", "description": "the mug " * 50},
]


def test_a_training_batch_is_what_the_processor_makes_of_the_records() -> None:
    processor = made("mantis", "gpt2").processor
    batch = TrainingCollator(processor, max_length=20)(RECORDS)
    expected = processor(
        images=[record["images"] for record in RECORDS],
        text=[record["title"] for record in RECORDS],
        suffix=["it is red", "a thing", "the mug " * 50],
        padding=True,
        truncation=True,
        max_length=20,
        return_tensors="pt",
    )
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[name], expected[name]) for name in batch)
    assert batch["input_ids"].shape == (3, 20)
    assert batch["attention_mask"][1, -1] == 0


def test_a_prompt_batch_ends_where_generation_begins() -> None:
    model = made("mantis", "gpt2")
    batch = PromptCollator(model.processor)(RECORDS)
    assert "labels" not in batch
    assert batch["input_ids"][:, -1].tolist() == [model.config.separator_token_id] * 3


def test_fields_may_have_other_names_and_one_image() -> None:
    processor = made("frozen", "gpt2").processor
    records = [{"image": random_image(0), "question": "what is it?", "answer": "red"}]
    batch = TrainingCollator(processor, images="image", text="question", target="answer")(records)
    ids = batch["input_ids"][0].tolist()
    assert ids[2:] == [*processor.tokenizer("what is it?").input_ids, *processor.tokenizer("red").input_ids, 0]
    assert len(PromptCollator(processor, images="image", text="question")(records)["pixel_values"]) == 1


def test_the_trainer_takes_records_and_the_collator(tmp_path: object) -> None:
    model = make("mantis", "gpt2")
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=8,
        learning_rate=1e-2,
        remove_unused_columns=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        logging_steps=4,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list([{"index": index} for index in range(4)]).with_transform(
            lambda rows: {field: [RECORDS[index % 3][field] for index in rows["index"]] for field in RECORDS[0]}
        ),
        data_collator=TrainingCollator(model.processor, max_length=20),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[1] < losses[0]
