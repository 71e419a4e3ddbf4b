"""Classifying many image files, a batch at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader
from transformers import ImageClassificationPipeline

from hf_prompt_models.data.image_files import ImageFiles


def classify_images(
    classifier: ImageClassificationPipeline,
    paths: Sequence[str],
    top_k: int = 5,
    batch_size: int = 32,
    num_workers: int = 0,
) -> Iterator[list[dict[str, Any]]]:
    """The best classes of each image, as `classifier(image, top_k=...)` gives them: dicts of `label` and `score`.

    The pipeline's own steps, on a loader of ours that decodes each image when its batch comes.

    Args:
        classifier: the pipeline of a model that was loaded with its image processor.
        paths: image files; each is decoded when its batch comes.
        top_k: classes for each image.
        batch_size: images that go through the model at once.
        num_workers: processes that decode and prepare images; 0 does it in this one.

    Raises:
        UnreadableImageError: naming the file.
    """
    images = ImageFiles(paths, classifier.image_processor)
    for batch in DataLoader(images, batch_size=batch_size, num_workers=num_workers):
        for logits in classifier.forward(batch).logits:
            yield classifier.postprocess({"logits": logits[None]}, top_k=top_k)
