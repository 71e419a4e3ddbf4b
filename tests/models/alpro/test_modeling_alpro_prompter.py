"""The prompter: entity prompts that are encoded once, and the entities of crops."""

import pytest
import torch
from torch.nn import functional as F

from hf_prompt_models import AlproForPreTraining, AlproModel, AlproPrompter
from hf_prompt_models.models.alpro.modeling_alpro_prompter import IMAGE_TEMPLATES, VIDEO_TEMPLATES
from tests.models.alpro import little


ENTITIES = ["dog", "big cat", "ball"]


@pytest.fixture(scope="module")
def model() -> AlproForPreTraining:
    return little.lively(AlproForPreTraining(little.config(num_entities=0)))


@pytest.fixture(scope="module")
def prompter(model: AlproForPreTraining) -> AlproPrompter:
    return AlproPrompter.from_entities(model, ENTITIES, little.processor())


def test_there_are_12_prompts_for_videos_and_12_for_images() -> None:
    """Paper, table 8."""
    assert len(set(VIDEO_TEMPLATES)) == len(set(IMAGE_TEMPLATES)) == 12
    assert VIDEO_TEMPLATES[0] == "A footage of a {}."
    assert VIDEO_TEMPLATES[4] == "A video of the {}."
    assert VIDEO_TEMPLATES[-1] == "A video footage of one {}."
    assert IMAGE_TEMPLATES[0] == "A photo of a {}."
    assert IMAGE_TEMPLATES[-1] == "A good picture of one {}."


@torch.no_grad()
def test_a_prompt_is_the_mean_of_its_sentences_features(model: AlproForPreTraining, prompter: AlproPrompter) -> None:
    tokenizer = little.tokenizer()
    for prompts, templates in ((prompter.video_prompts, VIDEO_TEMPLATES), (prompter.image_prompts, IMAGE_TEMPLATES)):
        assert prompts.shape == (3, 16)
        for name, prompt in zip(ENTITIES, prompts, strict=True):
            features = [
                model.get_text_features(**_ids(tokenizer, template.format(name))).pooler_output[0]
                for template in templates
            ]
            torch.testing.assert_close(prompt, torch.stack(features).mean(dim=0), rtol=0, atol=1e-5)
            assert prompt.norm() < 0.9999  # not brought back to length 1


def _ids(tokenizer: object, sentence: str) -> dict[str, torch.Tensor]:
    return {"input_ids": tokenizer(sentence, return_tensors="pt").input_ids}


def test_it_does_not_matter_how_many_sentences_are_encoded_at_a_time(
    model: AlproForPreTraining, prompter: AlproPrompter
) -> None:
    other = AlproPrompter.from_entities(model, ENTITIES, little.tokenizer(), batch_size=5)
    torch.testing.assert_close(other.video_prompts, prompter.video_prompts, rtol=0, atol=1e-5)


def test_soft_labels_are_of_the_kind_of_each_example(prompter: AlproPrompter) -> None:
    crops = little.videos(3).float()
    features = F.normalize(prompter.get_video_features(crops).pooler_output, dim=-1)
    is_video = torch.tensor([True, False, True])
    found = prompter.soft_labels(crops, is_video)
    for row, video in enumerate(is_video):
        prompts = prompter.video_prompts if video else prompter.image_prompts
        expected = (prompts @ features[row] / 0.3).softmax(dim=0)
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-6)
    assert torch.equal(prompter.soft_labels(crops), prompter.soft_labels(crops, torch.ones(3, dtype=torch.bool)))
    assert not torch.allclose(prompter.video_prompts, prompter.image_prompts, atol=1e-3)


def test_the_prompter_is_a_frozen_copy(model: AlproForPreTraining) -> None:
    source = little.lively(AlproModel(little.config()), seed=1)
    made = AlproPrompter.from_entities(source, ENTITIES, little.processor())
    before = made.alpro.video_projection.weight.clone()
    with torch.no_grad():
        source.video_projection.weight.add_(1)
    assert torch.equal(made.alpro.video_projection.weight, before)
    assert not any(parameter.requires_grad for parameter in made.parameters())
    made.train()
    assert not any(module.training for module in made.modules())
    assert made.config.entities == ENTITIES
    assert made.config.num_entities == 3
    assert source.config.num_entities == 5


def test_a_model_is_trained_on_the_entities_of_its_prompter(prompter: AlproPrompter, tmp_path: object) -> None:
    model = little.lively(AlproForPreTraining(little.config(num_entities=0)), seed=2).train()
    model.set_prompter(prompter)
    assert not any(module.training for module in model.prompter.modules())
    assert not any(each.requires_grad for name, each in model.named_parameters() if name.startswith("prompter."))
    batch = {
        "pixel_values": little.videos(2).float(),
        **little.texts(2),
        "crop_pixel_values": little.videos(2, seed=1).float(),
        "crop_boxes": torch.tensor([[0, 0, 16, 16], [8, 8, 32, 32]]),
    }
    mixed = torch.tensor([True, False])
    output = model(**batch, is_video=mixed)
    assert torch.equal(output.entity_labels, prompter.soft_labels(batch["crop_pixel_values"], mixed))
    assert output.entity_logits.shape == (2, 3)
    output.pem_loss.backward()
    assert model.pem_head[0].weight.grad.any()
    model.save_pretrained(tmp_path)
    loaded = AlproForPreTraining.from_pretrained(tmp_path)
    assert loaded.config.entities == ENTITIES
    assert torch.equal(loaded(**batch).entity_labels, model.eval()(**batch).entity_labels)
    assert not any(each.requires_grad for each in loaded.prompter.parameters())
    head = model.pem_head[0].weight
    model.set_prompter(prompter)  # same entities, so the trained head is kept
    assert model.pem_head[0].weight is head


def test_a_prompter_of_another_size_is_refused(prompter: AlproPrompter) -> None:
    with pytest.raises(ValueError, match="another number of frames"):
        AlproForPreTraining(little.config(num_frames=4)).set_prompter(prompter)


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        (["dog", "cat", "dog"], "Entity 2, 'dog', has the same name as entity 0"),
        (["Dog", "cat", " dog"], "has the same name as entity 0"),
        (["dog", "  "], "Entity 1 has no name"),
        ([], "empty"),
    ],
)
def test_lists_that_cannot_be_distinguished_are_refused(
    entities: list[str], message: str, model: AlproForPreTraining
) -> None:
    with pytest.raises(ValueError, match=message):
        AlproPrompter.from_entities(model, entities, little.processor())
