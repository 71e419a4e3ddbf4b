"""Properties of every backbone that CPT supports."""

from pathlib import Path

import pytest
import torch

from hf_prompt_models import CptForVisualGrounding, CptProcessor
from tests.backbones.clip_resnet.stand_in import openai_rn50
from tests.models.cpt.oscar import write_backbone
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import random_image
from tests.vision_language_stand_ins import (
    bridgetower_base_itm_mlm,
    dandelin_vilt_b32_mlm,
    facebook_flava_full,
    uclanlp_visualbert_vqa_coco_pre,
    unc_nlp_lxmert_base_uncased,
)


def any_batch(model: CptForVisualGrounding, processor: CptProcessor) -> dict[str, torch.Tensor]:
    """An example with two regions, for a backbone that reads pixels or one that reads features of regions."""
    if not model.adapter.reads_regions:
        boxes = [[1, 1, 20, 20], [22, 5, 50, 30]]
        return dict(processor(images=[random_image()], text=["a dog"], boxes=[boxes], target_boxes=[boxes[0]]))
    config = model.tower.config.to_dict()
    width = next(
        config[name] for name in ("visual_embedding_dim", "visual_feat_dim", "region_feature_size") if name in config
    )
    ids = torch.randint(5, 20, (1, 2, 1, 7))
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
        "mask_positions": torch.ones(1, 2, 1, 1, dtype=torch.long),
        "copy_mask": torch.ones(1, 2, dtype=torch.long),
        "region_mask": torch.ones(1, 2, dtype=torch.long),
        "region_index": torch.tensor([[[0], [1]]]),
        "color_token_ids": torch.full((1, 2, 1), 9),
        "none_token_ids": torch.full((1, 2), 10),
        "region_features": torch.rand(1, 2, 2, width),
        "region_geometry": torch.rand(1, 2, 6),
        "labels": torch.tensor([[1.0, 0.0]]),
    }


WRITERS = {
    "vilt": dandelin_vilt_b32_mlm,
    "bridgetower": bridgetower_base_itm_mlm,
    "flava": facebook_flava_full,
    "visualbert": uclanlp_visualbert_vqa_coco_pre,
    "lxmert": unc_nlp_lxmert_base_uncased,
    "oscar": write_backbone,
    "clip": openai_clip_vit_base_patch32,
    "clip_resnet": openai_rn50,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_trained_parameter_gets_a_gradient(name: str, tmp_path: Path) -> None:
    """Processes that train together wait for all of them; hidden states come out of every backbone, too."""
    WRITERS[name](tmp_path / "backbone")
    model = CptForVisualGrounding.from_backbone(
        tmp_path / "backbone", trainable="all", loss="listwise", score="logit", attn_implementation="eager"
    )
    choices = {"mode": ["circle"]} if name.startswith("clip") else {}
    batch = any_batch(model, CptProcessor.from_backbone(tmp_path / "backbone", **choices))
    with torch.no_grad():
        plain = model(**batch)
        together = model(**batch, output_hidden_states=True, output_attentions=True)
        model.config.max_copies_per_forward = 1
        in_parts = model(**batch, output_hidden_states=True, output_attentions=True)
        model.config.max_copies_per_forward = None
    assert plain.hidden_states is None
    assert plain.attentions is None
    assert len(together.hidden_states) > 1
    assert len(together.attentions) > 0
    torch.testing.assert_close(in_parts.hidden_states, together.hidden_states, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(in_parts.attentions, together.attentions, rtol=1e-4, atol=1e-4)
    model.train()(**batch).loss.backward()
    for parameter_name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
