"""CPT with words as answers: classification of regions, and relations between regions."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.configuration_utils import class_fields, ids_from_string, ids_to_string
from hf_prompt_models.models.cpt.configuration_cpt import CptConfig
from hf_prompt_models.models.cpt.modeling_cpt import CptPreTrainedModel
from hf_prompt_models.models.cpt.processing_cpt_base import word_pieces
from hf_prompt_models.utils.forward_options import forward_options
from hf_prompt_models.utils.padding import pad_entries, unpadded_indices


NO_RELATION = "no relation"
NEGATIVES = {1: "irrelevant", 2: "no relation", 3: "no relation with"}
"""Words that the released code is trained to predict if there is no relation, for each number of blanks."""


@dataclass
class CptRegionOutput(ModelOutput):
    """Output of [`CptForRegionClassification`] and [`CptForRelationDetection`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): the loss, if labels were given.
        logits (`torch.FloatTensor` of shape `(batch, regions, classes)`, or `(batch, pairs, 2, 1 + predicates)`):
            scores of the classes, 0 if an example has fewer regions or pairs.
        hidden_states, attentions (`tuple(torch.FloatTensor)`, *optional*): of the backbone, with
            `output_hidden_states=True` and `output_attentions=True`: a row for each text of each copy, in order,
            `(copies * texts, tokens, width)`; for a CLIP those of its image tower, a row for each copy. Attentions
            need `attn_implementation="eager"`.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class CptWordModel(CptPreTrainedModel):
    """Base of the models that score words, of one or several tokens, in the blanks of a sentence.

    Attributes:
        sentences_per_number: number of sentences per copy for each number of blanks.
    """

    names_its_classes = True
    sentences_per_number: ClassVar[int] = 1

    def __init__(self, config: CptConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        if self.adapter.matches_sentences:
            raise TypeError(
                f"{type(self).__name__} needs a backbone with a masked-language head, but "
                f"{self.adapter.model_class.__name__} has none. Pass another backbone."
            )

    @property
    def label_pieces(self) -> list[list[int]]:
        """Token ids of each label."""
        return [ids_from_string(ids) for ids in self.config.label_token_ids or []]

    @property
    def num_blanks(self) -> list[int]:
        """The different numbers of tokens that labels have. The processor writes a sentence for each."""
        return sorted({len(pieces) for pieces in self.label_pieces})

    def _check_texts(self, input_ids: torch.Tensor, expected: int) -> None:
        if input_ids.shape[2] != expected:
            raise ValueError(
                f"These inputs have {input_ids.shape[2]} sentences per copy, but the labels of this model "
                f"need {expected}. Pass num_blanks={self.num_blanks} (model.num_blanks) to the processor."
            )

    def word_scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean log-probability of each label's tokens.

        Args:
            logits: (rows, numbers of blanks, blanks, vocabulary).

        Returns:
            (rows, labels).
        """
        blanks = self.num_blanks
        texts = torch.tensor([blanks.index(len(pieces)) for pieces in self.label_pieces], device=logits.device)
        most = logits.shape[2]
        pieces = torch.tensor([ids + [-1] * (most - len(ids)) for ids in self.label_pieces], device=logits.device)
        places = torch.arange(most, device=logits.device)
        log_probs = logits[:, texts[:, None], places, pieces.clamp(min=0)] - logits.logsumexp(-1)[:, texts]
        there = pieces >= 0
        return (log_probs * there).sum(dim=-1) / there.sum(dim=-1)

    def region_logits(
        self, blanks: torch.Tensor, copy_mask: torch.Tensor, labels: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits and, if labels are given, the loss.

        Args:
            blanks: (copies, sentences, blanks, vocabulary) logits of the backbone.
            copy_mask: (batch, most copies), 1 for copies, 0 for padding.
            labels: as in `forward`.
        """
        raise NotImplementedError

    @forward_options
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        copy_mask: torch.Tensor,
        region_mask: torch.Tensor,
        mask_positions: torch.Tensor,
        token_type_ids: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        region_features: torch.Tensor | None = None,
        region_geometry: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CptRegionOutput | tuple:
        """Score the classes of each region or pair, and compute the loss if labels are given.

        The processor creates all inputs except `labels`.

        Args:
            input_ids: as in [`CptForVisualGrounding.forward`].
            attention_mask: as in [`CptForVisualGrounding.forward`].
            copy_mask: as in [`CptForVisualGrounding.forward`].
            region_mask: as in [`CptForVisualGrounding.forward`].
            mask_positions: as in [`CptForVisualGrounding.forward`], with a column for each blank.
            token_type_ids: as in [`CptForVisualGrounding.forward`].
            pixel_values: as in [`CptForVisualGrounding.forward`].
            image_sizes: as in [`CptForVisualGrounding.forward`].
            region_features: as in [`CptForVisualGrounding.forward`].
            region_geometry: as in [`CptForVisualGrounding.forward`].
            labels: as described in the class.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.
        """
        self._check_texts(input_ids, self.sentences_per_number * len(self.num_blanks))
        filled = self.fill_blanks(
            input_ids=input_ids,
            attention_mask=attention_mask,
            copy_mask=copy_mask,
            token_type_ids=token_type_ids,
            mask_positions=mask_positions,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            region_features=region_features,
            region_mask=region_mask,
            region_geometry=region_geometry,
            **kwargs,
        )
        logits, loss = self.region_logits(filled.logits, copy_mask, labels)
        return CptRegionOutput(loss, logits, filled.hidden_states, filled.attentions)


class CptForRegionClassification(CptWordModel):
    """Region classification: name each region by the words that fit into "the [MASK] is in red color".

    The inputs contain a copy for each region (`CptProcessor.for_region_classification`). `labels` are (batch,
    regions), the class of each region, -100 for none. The loss is the cross-entropy over the classes.
    """

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        max_copies_per_forward: int | None = None,
        trainable: str = "none",
        tokenizer: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,
    ) -> Self:
        """Create a zero-shot classifier of regions from a pretrained backbone.

        Args:
            name_or_path: Hub id or folder of the backbone.
            class_names: the labels, each of one or several tokens.
            max_copies_per_forward: as in [`CptConfig`].
            trainable: as in [`CptConfig`].
            tokenizer: the tokenizer, if it is not stored with the backbone.
            kwargs: arguments of the backbone's `from_pretrained`.

        Raises:
            ValueError: if the tokenizer does not know a name.
            TypeError: if the backbone is of another type, or fills in no blanks.

        Example:
            ```python
            >>> from PIL import Image
            >>> from hf_prompt_models import CptForRegionClassification, CptProcessor
            >>> model = CptForRegionClassification.from_backbone("playground", ["key", "tree", "ring"])
            >>> processor = CptProcessor.from_backbone("playground")
            >>> images, boxes = [Image.new("RGB", (64, 64))], [[[0, 0, 30, 30], [30, 30, 60, 60]]]
            >>> model(**processor.for_region_classification(images, model.num_blanks, boxes)).logits.shape
            torch.Size([1, 2, 3])

            ```
        """
        fields = {"max_copies_per_forward": max_copies_per_forward, "trainable": trainable}

        return cls._load_new(name_or_path, fields, tokenizer, kwargs, lambda known: _class_words(class_names, known))

    def _change_classes(self, class_names: list[str]) -> None:
        processor = self._find_processor()
        if processor is None:
            raise ValueError(
                f"The classes {class_names[:3]} cannot be tokenized, because no processor was saved with this "
                "model. Save one into its folder, or leave id2label out."
            )
        self.config.update(_class_words(class_names, processor.tokenizer))

    def region_logits(
        self, blanks: torch.Tensor, copy_mask: torch.Tensor, labels: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits (batch, regions, classes) and, if labels are given, the loss."""
        logits = pad_entries(self.word_scores(blanks), copy_mask)
        return logits, None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _class_words(class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the configuration fields for the classes and the tokens of their names."""
    ids = [ids_to_string(word_pieces(name, tokenizer)) for name in class_names]
    return {"label_token_ids": ids, **class_fields(class_names)}


class CptForRelationDetection(CptWordModel):
    """Relation detection: predict the words in "horse in red color is [MASK] a woman in blue color".

    Class 0 is "no relation", and its logit is 0. The inputs contain a copy for each pair
    (`CptProcessor.for_relation_detection`). In the third dimension of the output's `logits`, index 0 is from subject
    to object and index 1 from object to subject.

    `labels` are (batch, pairs), the predicate from subject to object, 0 for no relation, -100 if it is unknown. The
    loss is the cross-entropy over the vocabulary at all blanks. The target of the sentence with as many blanks as the
    predicate has tokens is the predicate; the targets of the others are their negative words.
    """

    sentences_per_number = 2

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        predicates: Sequence[str],
        negatives: Mapping[int, str] | None = None,
        max_copies_per_forward: int | None = None,
        trainable: str = "none",
        tokenizer: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,
    ) -> Self:
        """Create a zero-shot relation detector from a pretrained backbone.

        Args:
            name_or_path: Hub id or folder of the backbone.
            predicates: predicates of 1 to 3 tokens, such as "riding" or "in front of".
            negatives: for each number of tokens, the words that are the target in training if there is no relation.
                Default: `NEGATIVES`, those of the released code.
            max_copies_per_forward: as in [`CptConfig`].
            trainable: as in [`CptConfig`].
            tokenizer: the tokenizer, if it is not stored with the backbone.
            kwargs: arguments of the backbone's `from_pretrained`.

        Raises:
            ValueError: if predicates or negative words have a wrong number of tokens, or are unknown to the tokenizer.
            TypeError: if the backbone is of another type, or fills in no blanks.

        Example:
            ```python
            >>> from hf_prompt_models import CptForRelationDetection
            >>> model = CptForRelationDetection.from_backbone("playground", ["above", "below"], negatives={1: "the"})
            >>> model.config.id2label
            {0: 'no relation', 1: 'above', 2: 'below'}

            ```
        """
        fields = {"max_copies_per_forward": max_copies_per_forward, "trainable": trainable}
        said = NEGATIVES if negatives is None else negatives
        return cls._load_new(
            name_or_path, fields, tokenizer, kwargs, lambda known: cls._fields(predicates, said, known)
        )

    @staticmethod
    def _fields(
        predicates: Sequence[str], negatives: Mapping[int, str], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, Any]:
        ids = [word_pieces(predicate, tokenizer) for predicate in predicates]
        for predicate, pieces in zip(predicates, ids, strict=True):
            if len(pieces) > 3:
                raise ValueError(
                    f"The predicate {predicate!r} has {len(pieces)} tokens, but predicates may have 1 to 3. "
                    "Shorten it."
                )
        negative_ids = []
        for count in sorted({len(pieces) for pieces in ids}):
            if count not in negatives:
                raise ValueError(
                    f"negatives= has no words of {count} tokens, but a predicate has that many. Add them."
                )
            pieces = word_pieces(negatives[count], tokenizer)
            if len(pieces) != count:
                raise ValueError(
                    f"The negative words {negatives[count]!r} have {len(pieces)} tokens instead of {count}. "
                    "Pass negatives= with words of this length."
                )
            negative_ids.append(ids_to_string(pieces))
        return {
            "label_token_ids": [ids_to_string(pieces) for pieces in ids],
            "negative_token_ids": negative_ids,
            **class_fields([NO_RELATION, *predicates]),
        }

    def region_logits(
        self, blanks: torch.Tensor, copy_mask: torch.Tensor, labels: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits (batch, pairs, 2, 1 + predicates) and, if labels are given, the loss."""
        blanks = blanks.unflatten(1, (2, len(self.num_blanks)))
        scores = F.pad(self.word_scores(blanks.flatten(0, 1)), (1, 0)).unflatten(0, (len(blanks), 2))
        logits = pad_entries(scores, copy_mask)
        return logits, None if labels is None else self._loss(blanks[:, 0], labels[unpadded_indices(copy_mask)])

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss at the blanks from subject to object, (pairs, numbers of blanks, blanks, vocabulary)."""
        negatives = [ids_from_string(ids) for ids in self.config.negative_token_ids or []]
        most, pieces = logits.shape[2], self.label_pieces
        said = []
        for label in labels.tolist():
            words = [list(negative) for negative in negatives]
            if label > 0:
                words[self.num_blanks.index(len(pieces[label - 1]))] = pieces[label - 1]
            if label < 0:
                words = [[] for _ in negatives]
            said.append([ids + [-100] * (most - len(ids)) for ids in words])
        return F.cross_entropy(logits.flatten(0, 2), torch.tensor(said, device=logits.device).flatten())


__all__ = ["CptForRegionClassification", "CptForRelationDetection", "CptRegionOutput", "CptWordModel"]
