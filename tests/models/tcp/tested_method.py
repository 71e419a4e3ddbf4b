"""TCP for the common tests."""

from hf_prompt_models import TCPForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(
    TCPForImageClassification,
    ["context", *(f"meta_net.linear{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias"))],
    class_token_layer=1,
)
