"""Backbones for the tests of CPT."""

from pathlib import Path

import pytest

from tests import vision_language_stand_ins as stand_ins


@pytest.fixture(scope="session")
def vilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.dandelin_vilt_b32_mlm(tmp_path_factory.mktemp("hub") / "vilt-b32-mlm")


@pytest.fixture(scope="session")
def bridgetower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.bridgetower_base_itm_mlm(tmp_path_factory.mktemp("hub") / "bridgetower-base-itm-mlm")


@pytest.fixture(scope="session")
def flava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.facebook_flava_full(tmp_path_factory.mktemp("hub") / "flava-full")


@pytest.fixture(scope="session")
def visualbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.uclanlp_visualbert_vqa_coco_pre(tmp_path_factory.mktemp("hub") / "visualbert-vqa-coco-pre")


@pytest.fixture(scope="session")
def lxmert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.unc_nlp_lxmert_base_uncased(tmp_path_factory.mktemp("hub") / "lxmert-base-uncased")
