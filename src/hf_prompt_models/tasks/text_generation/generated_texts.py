"""Letting a model write behind prompts, in one process or several, and scoring what it wrote."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from hf_prompt_models.metrics.exact_match import exact_match
from hf_prompt_models.metrics.text_scores import text_scores
from hf_prompt_models.metrics.vqa import vqa_accuracy
from hf_prompt_models.prefix_lm.examples import Scoring, WritingDataset, WritingExample, prompt_collator
from hf_prompt_models.utils.files import write_text


@dataclass(frozen=True)
class WrittenTexts:
    """What a model wrote.

    Attributes:
        examples: behind their prompts.
        texts: for each, without special tokens.
        ended: whether the model wrote the end token.
    """

    examples: Sequence[WritingExample]
    texts: list[str]
    ended: list[bool]

    def metrics(self) -> dict[str, float]:
        """Scores by name, as the examples say.

        Descriptions and captions: `bleu_1` … `bleu_4`, `rouge_l`, `distinct_1`, `distinct_2` from 0 to 1, `cider_d`
        from 0 to 10. Answers: `exact_match`, with an end token. Answers of several people: `vqa_accuracy`.
        """
        references = [example.references for example in self.examples]
        match self.examples[0].scoring:
            case Scoring.VQA:
                return {"vqa_accuracy": vqa_accuracy(self.texts, references)}
            case Scoring.ANSWER:
                end = "\0"  # as no text has it
                marked = [text + end * ended for text, ended in zip(self.texts, self.ended, strict=True)]
                right = [only for (only,) in references]
                return {"exact_match": exact_match(marked, right, end)}
            case Scoring.TEXT:
                return text_scores(self.texts, references)

    def rows(self) -> list[dict[str, Any]]:
        """For each example its id, pictures, prompt (`title`), references, and what was written (`generated`)."""
        return [
            {
                "id": example.id,
                "images": [image.name for image in example.images],
                "title": example.prompt,
                "references": list(example.references),
                "generated": text,
                "ended": ended,
            }
            for example, text, ended in zip(self.examples, self.texts, self.ended, strict=True)
        ]


@torch.no_grad()
def write_texts(
    model: Any,
    processor: Any,
    examples: Sequence[WritingExample],
    decoding: Mapping[str, Any],
    batch_size: int = 16,
    num_workers: int = 0,
    progress: bool = True,
) -> WrittenTexts:
    """Write behind each example's prompt. Where several processes run, each writes a part, and all get all.

    Args:
        model: of a method over a language model, in eval mode.
        processor: its processor.
        examples: at least one.
        decoding: for `generate`.
        batch_size: prompts at a time, in each process.
        num_workers: processes that decode pictures.
        progress: whether to show a progress bar.
    """
    state = PartialState()
    if isinstance(model, FSDPModule):
        # Its parts are brought together in `forward`; `generate` calls this one by itself, before.
        if "get_image_features" not in vars(model):
            register_fsdp_forward_method(cast(nn.Module, model), "get_image_features")
        decoding = {**decoding, "synced_gpus": True}
    share = -(-len(examples) // state.num_processes)
    # Equally many in all processes, lest one wait for another that is done: the last is written again, and dropped.
    own = [min(state.process_index + state.num_processes * k, len(examples) - 1) for k in range(share)]
    loader = DataLoader(
        WritingDataset([examples[index] for index in own]),
        batch_size,
        collate_fn=prompt_collator(processor),
        num_workers=num_workers,
    )
    tokenizer, written = processor.tokenizer, []
    for batch in tqdm(loader, desc="Writing", leave=False, disable=not (progress and state.is_main_process)):
        inputs = batch.to(model.device)
        output = model.generate(**inputs, **decoding)
        for ids in output[:, inputs["input_ids"].shape[1] :].tolist():
            has_end = tokenizer.eos_token_id in ids
            ids = ids[: ids.index(tokenizer.eos_token_id)] if has_end else ids
            written.append((tokenizer.decode(ids, skip_special_tokens=True).strip(), has_end))
    by_index = dict(zip(gather_object(own), gather_object(written), strict=True))
    pairs = [by_index[index] for index in range(len(examples))]
    return WrittenTexts(examples, [text for text, _ in pairs], [has_end for _, has_end in pairs])


def write_rows(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSONL: an object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def rows_as_markdown(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The same rows to be read: pictures, prompt, references and what was written."""
    parts = [f"# {title}"]
    for row in rows:
        lines = [f"- picture: `{name}`" for name in row["images"]]
        lines += [f"- title: {row['title']}"] * bool(row["title"])
        lines += [f"- reference: {text}" for text in row["references"]]
        lines.append(f"- **generated: {row['generated']}**")
        parts.append("\n".join(" ".join(line.split()) for line in lines))
    return "\n\n".join(parts) + "\n"
