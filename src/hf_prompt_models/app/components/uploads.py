"""Loading of uploaded files."""

from pathlib import Path

from PIL import Image

from hf_prompt_models.data.images.loading import UnreadableImageError, load_image, readable_formats


def open_image(path: str) -> Image.Image:
    """Load an uploaded image in RGB.

    Raises:
        UnreadableImageError: if the image cannot be read; the message names the file without its folder.
    """
    name = Path(path).name
    try:
        return load_image(path, name)
    except UnreadableImageError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError | Image.DecompressionBombWarning):
            raise UnreadableImageError(f"{name} has more than 89 million pixels. Scale it down.") from error
        raise UnreadableImageError(
            f"{name} cannot be read as an image. It may be damaged or incomplete, or in a format other than "
            f"{', '.join(readable_formats())}. Save it again as JPEG or PNG."
        ) from error
