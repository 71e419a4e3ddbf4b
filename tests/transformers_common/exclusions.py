"""Tests of transformers that do not apply to classes of this package, each with its reason.

A key is the name of a test class, or a pattern of names; the name of a test may be a pattern, too. An excluded test is
run and expected to fail. If it passes, the table that `make test-transformers` prints counts it separately.
"""

FROZEN = "the image tower is frozen, as it is by design: nothing goes backward through its hidden states"
NOTHING_TRAINED = "nothing is trained: a loss has no gradient"
PLACE = "looks for text_config and vision_config at the top of the configuration; here they are in clip_config"
IN_CHUNKS = (
    "counts runs of a layer of the text tower, which is frozen: prompts are checkpointed in chunks of their own"
)
NO_BASE = "there is no base model apart from the language model, whose prefix is its attribute's name"
CONVOLUTIONAL = "ALIGN's image tower has no attentions, and says so; its hidden states are maps, one for each block"
RESNET = "a ResNet has no attentions, and says so"
NO_WORDS = "no token ids go in, so that there are no input embeddings, as with transformers' CLIPModel"
TWO_TOWERS = "hidden states and attentions are those of the outputs of both towers, as with transformers' CLIPModel"
PLACEHOLDER = (
    "embeds the placeholder, which lies behind the vocabulary and has no vector; images with vectors are refused"
)

RETAIN = "test_retain_grad_hidden_states_attentions"
CLIP_PROMPTS = {
    "test_training_gradient_checkpointing*": IN_CHUNKS,
    "test_get_text_features_output_[02]": PLACE,
    "test_model_get_set_embeddings": NO_WORDS,
}

FOUR_STAGES = "the four stages of the image tower count as layers, each of another size, and the pool alone attends"

EXCLUSIONS: dict[str, dict[str, str]] = {
    "ClipResNetVisionTest": {
        "test_config": "passes problem_type with one label, which transformers' own validation refuses",
        "test_attention_outputs": FOUR_STAGES,
        "test_hidden_states_output": FOUR_STAGES,
        "test_model_get_set_embeddings": "the first layer is a convolution, not an embedding",
        "test_num_layers_is_small": FOUR_STAGES,
        "test_retain_grad_hidden_states_attentions": "the pool attends to the last hidden state, which the test reads",
        "test_training": "a tower has no loss, as with transformers' CLIPVisionModel",
    },
    "ClipResNetTest": {
        "test_attention_outputs": TWO_TOWERS,
        "test_hidden_states_output": TWO_TOWERS,
        "test_retain_grad_hidden_states_attentions": TWO_TOWERS,
        "test_eager_matches_sdpa_inference_*": "passes texts alone, and the model compares them with images",
        "test_get_image_features_attentions": FOUR_STAGES,
        "test_get_text_features_attentions": "counts the layers of the image tower",
        "test_get_text_features_hidden_states": "counts the layers of the image tower",
        "test_model_get_set_embeddings": "each tower has its own, as with transformers' CLIPModel",
        "test_num_layers_is_small": FOUR_STAGES,
    },
    "CoOp*": CLIP_PROMPTS | {RETAIN: FROZEN},
    "CoOpAltClip*": {
        "test_reverse_loading_mapping": "checkpoints hold the names of today, never the older names of a backbone",
    },
    "CoOpAlign*": {
        "test_attention_outputs": CONVOLUTIONAL,
        "test_get_image_features_attentions": CONVOLUTIONAL,
        "test_get_image_features_hidden_states": CONVOLUTIONAL,
        "test_hidden_states_output": CONVOLUTIONAL,
    },
    **dict.fromkeys(("KgCoOp*", "ProGrad*", "CoCoOp*", "TCP*", "MMRL*"), CLIP_PROMPTS | {RETAIN: FROZEN}),
    **dict.fromkeys(("IVLP*", "MaPLe*", "PromptSRC*"), CLIP_PROMPTS),
    "ClipLora*": CLIP_PROMPTS | {RETAIN: "the embedded patches, which are the first hidden state, have no gradient"},
    "CoCoOpTest": {
        "test_get_text_features_*": "class features depend on the image, whose features the test does not pass",
        "test_eager_matches_sdpa_inference_*_[bf][fp]16_*": "16 bits keep 3 digits of cosines; logits are 100 times",
    },
    "ClipZeroShot*": {
        "test_retain_grad_hidden_states_attentions": FROZEN,
        "test_get_text_features_output_[02]": PLACE,
        "test_model_get_set_embeddings": NO_WORDS,
        "test_training": NOTHING_TRAINED,
        "test_training_gradient_checkpointing*": NOTHING_TRAINED,
    },
    "ActionClip*": {
        "test_get_video_features_output_[02]": "the last hidden state has a row for each frame",
        "test_get_text_features_output_[02]": PLACE,
        "test_model_get_set_embeddings": NO_WORDS,
        "test_keep_in_fp32_modules_exist": "the list names the visual prompts of all forms; one form has some of them",
        "test_retain_grad_hidden_states_attentions": "a model in train mode returns its loss and needs labels",
    },
    "ActionClipHead*": {
        "test_training_gradient_checkpointing*": "the towers are frozen: there is nothing to checkpoint",
    },
    "ActionClipTest": {
        "test_eager_matches_sdpa_inference_0[1357]_fp16_*": "16 bits keep 3 digits of cosines; logits are 100 times",
    },
    "Cpt*": {
        "test_eager_matches_sdpa_inference_*_no_attn_mask*": "attention_mask is required, for texts are padded",
        "test_model_main_input_name": "backbones read pixels or features of regions: the first argument is the text",
        "test_model_get_set_embeddings": "the backbone of the prompt has the embeddings: model.tower",
    },
    "CptGrounding*": {
        "test_batching_equivalence": "the score of a region that an example does not have is -inf, as documented",
    },
    "CptGroundingOscar*": {
        "test_eager_matches_sdpa_inference_*": "main_input_name is pixel_values, an Oscar reads features of regions",
    },
    "Frozen*": {"test_inputs_embeds": PLACEHOLDER, "test_model_base_model_prefix": NO_BASE},
    "Mantis*": {"test_inputs_embeds": PLACEHOLDER, "test_model_base_model_prefix": NO_BASE},
    "*LlamaVit*": {
        "test_reverse_loading_mapping": "checkpoints hold the names of today, never the older names of a backbone",
    },
    "FrozenTest": {"test_get_image_features_attentions": RESNET},
    "FrozenInVocabularyTest": {"test_get_image_features_attentions": RESNET},
    "MantisTest": {"test_get_image_features_attentions": RESNET},
    "MantisInVocabularyTest": {"test_get_image_features_attentions": RESNET},
    "AlproPreTraining*": {
        "test_init_weights_can_init_buffers": "the prompter's own class fills its buffers, the test asks its parent's",
    },
    "Oscar*": {
        "test_config": "passes problem_type with one label, which transformers' own validation refuses",
    },
}
