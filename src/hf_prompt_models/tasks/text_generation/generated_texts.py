"""Generate text for prompts, in one process or several, and score it."""

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
from hf_prompt_models.prefix_lm.examples import GenerationDataset, GenerationExample, Scoring, prompt_collator


@dataclass(frozen=True)
class GeneratedTexts:
    """Texts that a model generated.

    Attributes:
        examples: Examples with the prompts.
        texts: Generated text of each example, without special tokens.
        ended: Whether the model generated the end token, for each example.
    """

    examples: Sequence[GenerationExample]
    texts: list[str]
    ended: list[bool]

    def metrics(self) -> dict[str, float]:
        """Return scores by name, which depend on the kind of example.

        Descriptions and captions have `bleu_1` … `bleu_4`, `rouge_l`, `distinct_1` and `distinct_2` from 0 to 1, and
        `cider_d` from 0 to 10. Answers have `exact_match`, which includes the end token. Answers of several people
        have `vqa_accuracy`.
        """
        references = [example.references for example in self.examples]
        match self.examples[0].scoring:
            case Scoring.VQA:
                return {"vqa_accuracy": vqa_accuracy(self.texts, references)}
            case Scoring.ANSWER:
                end = "\0"  # a character that no text contains
                marked = [text + end * ended for text, ended in zip(self.texts, self.ended, strict=True)]
                right = [only for (only,) in references]
                return {"exact_match": exact_match(marked, right, end)}
            case Scoring.TEXT:
                return text_scores(self.texts, references)

    def rows(self) -> list[dict[str, Any]]:
        """Return id, images, prompt (`title`), references and generated text (`generated`) of each example."""
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
def generate_texts(
    model: Any,
    processor: Any,
    examples: Sequence[GenerationExample],
    decoding: Mapping[str, Any],
    batch_size: int = 16,
    num_workers: int = 0,
    progress: bool = True,
) -> GeneratedTexts:
    """Generate a text for the prompt of each example.

    With several processes, each generates a share, and all return all texts.

    Args:
        model: Model of a method with a language model, in eval mode.
        processor: Its processor.
        examples: At least one example.
        decoding: Keyword arguments for `generate`.
        batch_size: Number of prompts per batch, in each process.
        num_workers: Number of processes that decode images.
        progress: Whether to show a progress bar.
    """
    state = PartialState()
    if isinstance(model, FSDPModule):
        # FSDP gathers parameters in `forward`, but `generate` calls this method directly before it.
        if "get_image_features" not in vars(model):
            register_fsdp_forward_method(cast(nn.Module, model), "get_image_features")
        decoding = {**decoding, "synced_gpus": True}
    share = -(-len(examples) // state.num_processes)
    # All processes get equally many, so that none waits forever. The surplus repeats the last one and is dropped.
    own = [min(state.process_index + state.num_processes * k, len(examples) - 1) for k in range(share)]
    loader = DataLoader(
        GenerationDataset([examples[index] for index in own]),
        batch_size,
        collate_fn=prompt_collator(processor),
        num_workers=num_workers,
    )
    tokenizer, written = processor.tokenizer, []
    for batch in tqdm(loader, desc="Generating", leave=False, disable=not (progress and state.is_main_process)):
        inputs = batch.to(model.device)
        output = model.generate(**inputs, **decoding)
        for ids in output[:, inputs["input_ids"].shape[1] :].tolist():
            has_end = tokenizer.eos_token_id in ids
            ids = ids[: ids.index(tokenizer.eos_token_id)] if has_end else ids
            written.append((tokenizer.decode(ids, skip_special_tokens=True).strip(), has_end))
    by_index = dict(zip(gather_object(own), gather_object(written), strict=True))
    pairs = [by_index[index] for index in range(len(examples))]
    return GeneratedTexts(examples, [text for text, _ in pairs], [has_end for _, has_end in pairs])


def rows_as_markdown(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return rows as Markdown: images, prompt, references and generated text."""
    parts = [f"# {title}"]
    for row in rows:
        lines = [f"- image: `{name}`" for name in row["images"]]
        lines += [f"- title: {row['title']}"] * bool(row["title"])
        lines += [f"- reference: {text}" for text in row["references"]]
        lines.append(f"- **generated: {row['generated']}**")
        parts.append("\n".join(" ".join(line.split()) for line in lines))
    return "\n\n".join(parts) + "\n"
