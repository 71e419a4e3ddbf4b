"""Makes what the playground is made of: the tiny models that ship with the package, or a demo's pictures or clips."""

import argparse

from hf_prompt_models.playground import ALPRO_DIR, write_image_folder
from hf_prompt_models.playground.scene_files import KINDS, write_scene_folder
from hf_prompt_models.playground.scenes import MOST_OBJECTS, SCENE_SIZE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    show_defaults = argparse.ArgumentDefaultsHelpFormatter

    backbone = commands.add_parser(
        "backbone",
        help="train the tiny CLIP and write it in the layout of a Hub checkpoint",
        formatter_class=show_defaults,
    )
    backbone.add_argument("--output_dir", required=True, help="the folder to write")
    backbone.add_argument("--seed", type=int, default=0, help="of pictures, captions, initial weights and order")
    backbone.add_argument("--steps", type=int, default=3500, help="optimizer steps")
    backbone.add_argument("--pictures", type=int, default=50_000, help="pictures to draw")

    images = commands.add_parser(
        "images",
        help="write the demo's few-shot task, OUTPUT_DIR/{train,test}/<class name>/*.png",
        formatter_class=show_defaults,
    )
    images.add_argument("output_dir", help="the folder to write")
    images.add_argument("--seed", type=int, default=0, help="names the task: another seed, other pictures")
    images.add_argument("--train_per_class", type=int, default=32, help="training pictures of each class")
    images.add_argument("--test_per_class", type=int, default=50, help="test pictures of each class")

    clips = commands.add_parser(
        "clips",
        help="write clips whose class no single frame tells, OUTPUT_DIR/{train,test}/<class name>/*.mp4",
        formatter_class=show_defaults,
    )
    clips.add_argument("output_dir", help="the folder to write")
    clips.add_argument(
        "--task",
        choices=("motions", "combinations"),
        default="motions",
        help="motions: 12 classes such as 'moving left'; combinations: 60 labels such as 'a key moving left' to learn "
        "from, and 20 others of the same words to test on",
    )
    clips.add_argument("--seed", type=int, default=0, help="names the task: another seed, other clips")
    clips.add_argument("--train_per_class", type=int, default=32, help="training clips of each class")
    clips.add_argument("--test_per_class", type=int, default=10, help="test clips of each class")

    scenes = commands.add_parser(
        "scenes",
        help="write scenes to ground phrases in, OUTPUT_DIR/{train,test}/{annotations.json,proposals.json,*.png}",
        formatter_class=show_defaults,
    )
    scenes.add_argument("output_dir", help="the folder to write")
    scenes.add_argument("--seed", type=int, default=0, help="names the scenes: another seed, other scenes")
    scenes.add_argument(
        "--phrases",
        choices=tuple(KINDS),
        default="attributes",
        help="attributes: by shape and size; positions: 'the ring on the left'; colors: 'the red ring', which paint "
        "over it hides in part; relations: 'the ring left of the heart'",
    )
    scenes.add_argument("--train", type=int, default=500, help="examples to learn from")
    scenes.add_argument("--test", type=int, default=1000, help="examples to test on")
    scenes.add_argument("--objects", type=int, default=MOST_OBJECTS, help="objects in every scene")
    scenes.add_argument("--size", type=int, default=SCENE_SIZE, help="height and width in pixels")

    vilt = commands.add_parser(
        "vilt",
        help="train the tiny ViLT on scenes and write it in the layout of a Hub checkpoint",
        formatter_class=show_defaults,
    )
    vilt.add_argument("output_dir", help="the folder to write")
    vilt.add_argument("--seed", type=int, default=0, help="of scenes, captions, initial weights and order")
    vilt.add_argument("--steps", type=int, default=5000, help="optimizer steps at the full learning rate")
    vilt.add_argument("--cooldown_steps", type=int, default=2600, help="further steps, while it falls")

    captioned = commands.add_parser(
        "captioned_clips",
        help="write clips with sentences, OUTPUT_DIR/{train,test}/{captions.jsonl,questions.jsonl,*.mp4}",
        formatter_class=show_defaults,
    )
    captioned.add_argument("output_dir", help="the folder to write")
    captioned.add_argument("--seed", type=int, default=0, help="names the clips: another seed, other clips")
    captioned.add_argument("--train", type=int, default=300, help="clips to learn from")
    captioned.add_argument("--test", type=int, default=200, help="clips to test on, no two with the same caption")
    captioned.add_argument("--questions", type=int, default=3, help="about each clip, at most")
    captioned.add_argument("--size", type=int, default=64, help="height and width in pixels")

    alpro = commands.add_parser(
        "alpro",
        help="train the tiny ALPRO on captioned clips and write it in the layout of a Hub checkpoint",
        formatter_class=show_defaults,
    )
    alpro.add_argument("output_dir", help="the folder to write")
    alpro.add_argument("--seed", type=int, default=0, help="of clips, sentences, initial weights and order")
    alpro.add_argument("--clips", type=int, default=6000, help="clips to draw")
    alpro.add_argument("--still_steps", type=int, default=1200, help="steps of the prompter, by single frames")
    alpro.add_argument("--contrast_steps", type=int, default=300, help="its further steps, by clips")
    alpro.add_argument("--steps", type=int, default=900, help="steps with all four losses")

    measure = commands.add_parser(
        "measure_alpro",
        help="measure the tiny ALPRO on clips that it has not seen: retrieval, entities, answers",
        formatter_class=show_defaults,
    )
    measure.add_argument("directory", nargs="?", default=ALPRO_DIR, help="a folder that `alpro` wrote")
    measure.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the clips, and of fine-tuning")
    measure.add_argument(
        "--no_questions", dest="questions", action="store_false", help="leave out what needs fine-tuning"
    )

    arguments = vars(parser.parse_args())
    # What only one command needs (PyAV, torch) is imported by that command.
    match arguments.pop("command"):
        case "images":
            write_image_folder(**arguments)
        case "clips":
            from hf_prompt_models.playground.clips import write_clip_folder

            write_clip_folder(**arguments)
        case "backbone":
            from hf_prompt_models.playground.pretraining import pretrain

            pretrain(**arguments)
        case "scenes":
            write_scene_folder(**arguments)
        case "vilt":
            from hf_prompt_models.playground.grounding_pretraining import pretrain_vilt

            pretrain_vilt(**arguments)
        case "captioned_clips":
            from hf_prompt_models.playground.captioned_clip_files import write_captioned_clips

            write_captioned_clips(**arguments)
        case "alpro":
            from hf_prompt_models.playground.alpro_pretraining import pretrain_alpro

            pretrain_alpro(**arguments)
        case "measure_alpro":
            from hf_prompt_models.playground.alpro_measures import measure_alpro

            measure_alpro(**arguments)


if __name__ == "__main__":
    main()
