"""Image towers that run on parts of a batch return what they return for the batch."""

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from hf_prompt_models.utils import parts
from hf_prompt_models.utils.parts import images_per_part, run_in_parts


SMALL = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
BYTES_PER_IMAGE = 16 * 64 * 4  # 16 patches of 8 x 8 pixels, 64 wide, 4 bytes


@pytest.fixture(scope="module")
def clip() -> CLIPModel:
    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 8}
    return CLIPModel(CLIPConfig(vision_config=SMALL | sizes, text_config=SMALL | {"vocab_size": 9})).eval()


def set_images_per_part(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES_PER_THREAD", count * BYTES_PER_IMAGE)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_return_the_output_of_the_batch(clip: CLIPModel, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def run(**inputs: torch.Tensor) -> object:
        sizes.append(len(inputs["pixel_values"]))
        return clip.get_image_features(**inputs)

    pixels = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    set_images_per_part(3, monkeypatch)
    asked = {"return_dict": True, "output_hidden_states": True, "pixel_values": pixels}
    with torch.no_grad():
        found, expected = run_in_parts(run, clip.config.vision_config, **asked), clip.get_image_features(**asked)
    assert sizes == {1: [1], 2: [2], 3: [3], 7: [3, 3, 1]}[count]
    assert found.keys() == expected.keys()
    assert len(found.hidden_states) == 3
    torch.testing.assert_close(found.pooler_output, expected.pooler_output)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state)
    torch.testing.assert_close(found.hidden_states, expected.hidden_states)


def test_the_size_of_a_part_follows_the_largest_activation(clip: CLIPModel, monkeypatch: pytest.MonkeyPatch) -> None:
    set_images_per_part(10, monkeypatch)
    config, pixels = clip.config.vision_config, torch.zeros(1, 3, 32, 32)
    assert images_per_part(config, pixels) == 10
    with torch.autocast("cpu", torch.bfloat16):
        assert images_per_part(config, pixels) == 20
    assert images_per_part(config, torch.zeros(1, 3, 256, 256)) == 1  # never none
    assert images_per_part(config, torch.zeros(1, 8, 192)) == 20  # towers that take patches
    assert images_per_part(object(), pixels) is None  # convolutional towers
    assert images_per_part(config, pixels.to("meta")) is None  # only the memory of the CPU is requested so often
