"""Lists and annotations of `data/`, and the files that runs leave behind."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.data.class_prompts_file import read_class_prompts
from hf_prompt_models.data.few_shot import read_few_shot_sample, read_few_shot_shots
from hf_prompt_models.data.grounding import region_features
from hf_prompt_models.data.grounding.referring_expressions import (
    read_annotations,
    read_referring_expressions,
    read_sampled_expressions,
)
from hf_prompt_models.data.grounding.region_proposals import read_proposals
from hf_prompt_models.data.grounding.relations import read_relation_vocabulary, read_relations
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.data.text.captioned_videos import VideoTexts, read_captioned_videos, read_video_questions
from hf_prompt_models.data.text.captions import read_captions
from hf_prompt_models.data.text.entity_vocabulary import read_captions as read_nouns_captions
from hf_prompt_models.data.text.facad import read_facad
from hf_prompt_models.data.text.few_shot_episodes import read_episodes
from hf_prompt_models.data.text.products import read_products
from hf_prompt_models.data.text.records import Records
from hf_prompt_models.data.text.visual_questions import read_visual_questions, with_shots
from hf_prompt_models.data.videos.labelled import read_labelled_videos
from hf_prompt_models.tasks.results import read_results
from hf_prompt_models.training.run_folder import check_same_run, model_directories
from tests.data.grounding import test_referring_expressions, test_relations
from tests.data.grounding import test_region_features as features
from tests.data.text import (
    test_captions,
    test_facad,
    test_few_shot_episodes,
    test_products,
    test_visual_questions,
)
from tests.fuzz.cases import Case, refusing, write_json, write_text
from tests.tasks.test_report import few_shot, run


SIZE = (20, 12)


def write_image(file: Path, format: str | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (90, 0, 0)).save(file, format)
    return file


def open_all(records: Records[Any]) -> None:
    for record in records:
        with refusing("Cannot read the image", "There is no image file"):
            record.load_images()


# -- captions, products, questions -----------------------------------------------------------------------------------


def captions(name: str, content: Any) -> Case:
    def write(folder: Path) -> None:
        for number in (1, 2):
            write_image(folder / f"{number}.png")
        if name.endswith(".jsonl"):
            write_text(folder / name, *map(json.dumps, content))
        else:
            write_json(folder / name, content)

    return Case(write, lambda folder: open_all(read_captions(folder / name)), (name,))


def write_facad(folder: Path) -> None:
    write_json(folder / "meta.json", test_facad.ENTRIES)
    for name in ("r0", "r2", "r10", "b0", "h0"):
        write_image(folder / "pictures" / f"{name}.png")


def write_products(folder: Path) -> None:
    write_text(folder / "products.jsonl", *map(json.dumps, test_products.ROWS))
    write_image(folder / "a.png")
    write_image(folder / "sub" / "b.png")


def write_questions(folder: Path) -> None:
    write_json(folder / "questions.json", test_visual_questions.QUESTIONS)
    write_json(folder / "annotations.json", test_visual_questions.ANNOTATIONS)
    for number in (42, 7):
        write_image(folder / "pictures" / f"COCO_val2014_{number:012}.jpg")


def read_questions(folder: Path) -> None:
    questions = read_visual_questions(folder / "questions.json", folder / "annotations.json", folder / "pictures")
    open_all(questions)
    if len({question.id for question in questions}) > 1:
        with_shots(questions[0], questions, 1, seed=0)


def write_episodes(folder: Path) -> None:
    entry = test_few_shot_episodes.ENTRY
    write_json(folder / "episodes.json", [entry, entry | {"question_id": "x"}])
    for name in ("image_1", "image_2", "question_image"):
        write_image(folder / entry[name])


# -- regions ---------------------------------------------------------------------------------------------------------


PROPOSALS: dict[str, Any] = {
    "42": [
        {"box": [2, 3, 4, 5], "rle": {"size": [12, 20], "counts": [12, 24, 204]}},
        {"rle": {"size": [12, 20], "counts": "<h0\\6"}},
    ],
    "other.jpg": [{"polygons": [[1, 1, 2, 2, 1, 5], [[3, 3], [4, 4], [9.5, 1]]]}],
}
MDETR = {
    "images": [{"id": 1, "file_name": "COCO_train2014_000000000042.jpg", "caption": "a"}],
    "annotations": [{"image_id": 1, "bbox": [2, 3, 4, 5]}],
}


def write_proposals(folder: Path) -> None:
    write_json(folder / "proposals.json", PROPOSALS)


def read_all_masks(folder: Path) -> None:
    for picture, regions in read_proposals(folder / "proposals.json").items():
        with refusing("Region "):
            regions.read_masks(SIZE, str(folder / picture))


def write_expressions(folder: Path, content: Any = test_referring_expressions.ITEMS) -> None:
    write_json(folder / "annotations.json", content)
    write_json(folder / "proposals.json", test_referring_expressions.PROPOSALS)
    for item in test_referring_expressions.ITEMS:
        write_image(folder / str(item["file_name"]))


def read_expressions(folder: Path) -> None:
    expressions = read_referring_expressions(folder, "train")
    for index in range(min(len(expressions), 10)):
        with refusing("Cannot read the image"):
            expressions.load(index)


def write_drawn(folder: Path) -> None:
    write_expressions(folder)
    write_json(folder / "few_shot.json", {"source": "D", "shots": 1, "seed": 0, "expressions": [{"id": "7"}]})


def read_drawn(folder: Path) -> list[int]:
    return read_sampled_expressions(folder / "few_shot.json", read_annotations(folder / "annotations.json"))


def write_relations(folder: Path) -> None:
    write_json(folder / "relations.json", [test_relations.PICTURE])
    names = {"idx_to_label": {"2": "horse", "1": "man"}, "idx_to_predicate": {"1": "riding", "2": "near"}}
    write_json(folder / "vocabulary.json", names)


def read_all_relations(folder: Path) -> None:
    for picture in read_relations(folder / "relations.json", read_relation_vocabulary(folder / "vocabulary.json")):
        picture.overlapping_pairs()


def write_features(folder: Path) -> None:
    painted = [[[0, 1, 4, 9]], [[1, 1, 5, 9]]]
    prompt = [[features.encoded(2, 1), features.encoded(2, 2)], "the cat", [["red"], ["red"]], painted]
    relation = [[features.encoded(3)], ["red", "blue"], ["man", "horse"], "riding"]
    rows = [("1", features.encoded(2)), ("2", prompt), ("5_0_1", relation)]
    region_features.write_region_features(folder / "f.tsv", [(key, {"objects": value}) for key, value in rows])


def read_features(folder: Path) -> None:
    file = region_features.RegionFeatureFile(folder / "f.tsv", features.SIZE)
    for read in (file.regions, file.grounding_prompt, file.relation_prompt):
        for index in range(min(len(file), 4)):
            with refusing(f"f.tsv, line {index + 1}: "):
                read(index)


# -- labelled images and videos --------------------------------------------------------------------------------------


def write_split_file(folder: Path) -> None:
    entries = [["a.png", 0, "a"], ["sub/b.png", 1, "b"]]
    write_json(folder / "split_zhou_Mine.json", {"train": entries, "val": entries[:1], "test": entries})
    write_image(folder / "a.png")
    write_image(folder / "sub" / "b.png")


def open_images(images: LabelledImages) -> None:
    for index in range(min(len(images), 10)):
        images.check(index)


def write_aircraft(folder: Path) -> None:
    write_text(folder / "fgvc_aircraft" / "variants.txt", "A300B4", "707-320")
    for split in ("train", "test"):
        write_text(folder / "fgvc_aircraft" / f"images_variant_{split}.txt", "1 707-320", "2 A300B4")
    for number in (1, 2):
        write_image(folder / "fgvc_aircraft" / "images" / f"{number}.jpg")


def write_imagenet(folder: Path) -> None:
    write_text(folder / "imagenet" / "classnames.txt", "n01440764 tench", "n01443537 goldfish")
    for name in ("n01440764", "n01443537"):
        for split in ("train", "val"):
            write_image(folder / "imagenet" / "images" / split / name / "1.jpg")


def write_video_list(folder: Path) -> None:
    write_text(folder / "train.txt", "clips/one 2 0", "clips/two 2 1")
    write_text(folder / "labels.csv", "id,name", "0,run", '1,"sit, down"')
    write_text(folder / "several.csv", "path,labels", "clips/one,run;jump", "clips/two,jump")
    for name in ("one", "two"):
        for number in (1, 2):
            write_image(folder / "clips" / name / f"img_{number:05}.jpg")


def read_video_list(folder: Path, name: str, labels: str | None) -> None:
    videos = read_labelled_videos(folder / name, "train", None if labels is None else folder / labels)
    for index in range(min(len(videos), 5)):
        with refusing("Cannot read"):
            videos.check(index)


TEXTS: list[dict[str, Any]] = [
    {"video": "one", "caption": "a dog", "question": "what runs?", "answer": "dog", "answer_type": "what"},
    {"video": "two", "caption": "a cat", "question": "who?", "answer": "cat"},
]


def write_video_texts(folder: Path) -> None:
    write_text(folder / "texts.jsonl", *map(json.dumps, TEXTS))
    write_json(folder / "texts.json", TEXTS)
    write_text(folder / "texts.csv", "video,caption,question,answer", "one,a dog,what runs?,dog", "two,a cat,who?,cat")
    for name in ("one", "two"):
        for number in (1, 2):
            write_image(folder / name / f"img_{number:05}.jpg")


def check_videos(texts: VideoTexts[Any]) -> None:
    for item in texts.items[:5]:
        with refusing("Cannot read"):
            item.check()


def read_video_texts(folder: Path, name: str) -> None:
    read_nouns_captions(folder / name)
    check_videos(read_captioned_videos(folder / name))
    check_videos(read_video_questions(folder / name))


# -- what runs leave -------------------------------------------------------------------------------------------------


def sample_images(folder: Path) -> LabelledImages:
    return LabelledImages(str(folder), ["cat", "dog"], [0, 1], ["cat/1.png", "dog/1.png"], str)


def write_sample(folder: Path) -> None:
    classes = [{"class": name, "images": [f"{name}/1.png"]} for name in ("cat", "dog")]
    write_json(folder / "few_shot.json", {"source": "D", "shots": 1, "seed": 1, "classes": classes})


def read_sample(folder: Path) -> None:
    read_few_shot_shots(folder / "few_shot.json")
    read_few_shot_sample(folder / "few_shot.json", sample_images(folder))


def write_results(folder: Path) -> None:
    write_json(folder / "a" / "results.json", few_shot("pets", 4, 0.5))
    tests = {role: few_shot("pets", 4, 0.5)["tests"]["test"] for role in ("base", "new")}
    seeds = {str(seed): {"model": f"b/seed-{seed}"} for seed in (1, 2)}
    write_json(folder / "b" / "results.json", run("base-to-new", "pets", tests, seeds=2) | {"seeds": seeds})
    for model in ("b/seed-1", "b"):
        write_json(folder / model / "config.json", {"model_type": "coop"})


def read_all_results(folder: Path) -> None:
    read_results([folder])
    for path in model_directories(str(folder / "b")).values():
        assert path.resolve().is_relative_to(folder.resolve()), path


RECORD = {"method": "coop", "shots": 4, "images": {"cat": ["1.png"]}, "data": {"train": "D"}}


def write_record(folder: Path) -> None:
    write_json(folder / "run.json", RECORD)


def read_record(folder: Path) -> None:
    with refusing("run.json", "belongs to another run"):
        check_same_run(folder / "run.json", RECORD, str(folder / "checkpoint-1"))


CASES: dict[str, Case] = {
    "captions, COCO": captions("captions_val2014.json", test_captions.COCO),
    "captions, list": captions("captions.json", test_captions.ROWS),
    "captions, lines": captions("captions.jsonl", test_captions.ROWS),
    "products": Case(
        write_products, lambda folder: open_all(read_products(folder / "products.jsonl")), ("products.jsonl",)
    ),
    "FACAD": Case(
        write_facad, lambda folder: open_all(read_facad(folder / "meta.json", folder / "pictures")), ("meta.json",)
    ),
    "visual questions": Case(write_questions, read_questions, ("questions.json", "annotations.json")),
    "few-shot episodes": Case(
        write_episodes, lambda folder: open_all(read_episodes(folder / "episodes.json")), ("episodes.json",)
    ),
    "region proposals and masks": Case(write_proposals, read_all_masks),
    "referring expressions": Case(write_expressions, read_expressions, ("*.json",)),
    "referring expressions, MDETR": Case(
        lambda folder: write_expressions(folder, MDETR), read_expressions, ("annotations.json",)
    ),
    "drawn expressions": Case(write_drawn, read_drawn, ("few_shot.json",)),
    "relations": Case(write_relations, read_all_relations),
    "region features": Case(write_features, read_features),
    "split file": Case(
        write_split_file, lambda folder: open_images(read_labelled_images(folder, "train")), ("split_zhou_Mine.json",)
    ),
    "FGVCAircraft's lists": Case(
        write_aircraft,
        lambda folder: open_images(read_labelled_images(folder / "fgvc_aircraft", "train")),
        ("*/variants.txt", "*/*_train.txt"),
    ),
    "ImageNet's names": Case(
        write_imagenet, lambda folder: open_images(read_labelled_images(folder / "imagenet", "train")), ("*/*.txt",)
    ),
    "frame list": Case(
        write_video_list,
        lambda folder: read_video_list(folder, "train.txt", "labels.csv"),
        ("train.txt", "labels.csv"),
    ),
    "multi-label list": Case(
        write_video_list, lambda folder: read_video_list(folder, "several.csv", None), ("several.csv",)
    ),
    **{
        f"video texts, {kind}": Case(
            write_video_texts, partial(read_video_texts, name=f"texts.{kind}"), (f"texts.{kind}",)
        )
        for kind in ("jsonl", "json", "csv")
    },
    "class names": Case(
        lambda folder: write_text(folder / "names.txt", "n01440764 tench", "n01443537 goldfish"),
        lambda folder: read_class_names(folder / "names.txt"),
    ),
    "class prompts": Case(
        lambda folder: write_text(folder / "a.json", '{"cat": ["A cat.", "It purrs."], "a_dog": ["Barks \\u00e9."]}'),
        lambda folder: read_class_prompts(folder / "a.json"),
    ),
    "few_shot.json": Case(write_sample, read_sample),
    "results.json": Case(write_results, read_all_results, ("*/results.json",)),
    "run.json": Case(write_record, read_record),
}
