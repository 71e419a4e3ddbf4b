"""Configuration of Oscar, BERT over words and detected regions."""

from huggingface_hub.dataclasses import strict
from transformers import BertConfig


@strict
class OscarConfig(BertConfig):
    r"""
    BERT's configuration and how regions enter it.

    region_feature_size (`int`, *optional*, defaults to 2054):
        Numbers that describe a region: with VinVL's detector 2,048 pooled features and 6 of its box, x1/W, y1/H, x2/W,
        y2/H, (x2 - x1)/W, (y2 - y1)/H.
    use_region_layer_norm (`bool`, *optional*, defaults to `False`):
        Whether projected regions are layer-normalised before they join the words (Oscar's `use_img_layernorm`).
    region_layer_norm_eps (`float`, *optional*, defaults to 1e-12):
        Of that normalisation (`img_layer_norm_eps`).
    """

    model_type = "oscar"

    region_feature_size: int = 2054
    use_region_layer_norm: bool = False
    region_layer_norm_eps: float = 1e-12
