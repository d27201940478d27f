"""Every configuration name of mmsegmentation 1.2.2: our network for it, or a line saying why there is none.

`configurations.json` has a line for each: the canonical name here, what the configuration says about classes
and aligned corners, and the digest of its network's key names and shapes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from segstudio_zoo import UnknownModel, create_model
from segstudio_zoo.names import resolve
from tests.zoo.test_variants import layout

CONFIGURATIONS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("configurations.json").read_text())
OURS = [item for item in CONFIGURATIONS if "name" in item]

BEFORE = {
    "bisenetv1_r50-d32_lr5e-3_4x4_512x512_160k_coco-stuff164k": ("bisenetv1_r50-d32", 171, False),
    "bisenetv2_fcn_fp16_4x4_1024x1024_160k_cityscapes": ("bisenetv2", 19, False),
    "bisenetv2_fcn_ohem_4x4_1024x1024_160k_cityscapes": ("bisenetv2", 19, False),
    "deeplabv3_m-v2-d8_512x1024_80k_cityscapes": ("deeplabv3_mobilenet-v2-d8", 19, False),
    "deeplabv3_r101-d8_512x512_4x4_20k_coco-stuff10k": ("deeplabv3_r101-d8", 171, False),
    "deeplabv3_r50-d8_480x480_40k_pascal_context_59": ("deeplabv3_r50-d8", 59, False),
    "deeplabv3_s101-d8_512x512_160k_ade20k": ("deeplabv3_resnest101-d8", 150, False),
    "deeplabv3plus_r18-d8_4x4_896x896_80k_isaid": ("deeplabv3plus_r18-d8", 16, False),
    "deeplabv3plus_r50b-d8_769x769_80k_cityscapes": ("deeplabv3plus_r50b-d8", 19, True),
    "fcn_d6_r101b-d16_769x769_80k_cityscapes": ("fcn-d6_r101b-d16", 19, True),
    "fcn_hr48_480x480_80k_pascal_context": ("fcn_hr48", 60, False),
    "fpn_r101_512x512_160k_ade20k": ("sem_fpn_r101", 150, False),
    "icnet_r18-d8_in1k-pre_832x832_80k_cityscapes": ("icnet_r18-d8", 19, False),
    "lraspp_m-v3-d8_scratch_512x1024_320k_cityscapes": ("lraspp_mobilenet-v3-large-d8", 19, False),
    "lraspp_m-v3s-d8_512x1024_320k_cityscapes": ("lraspp_mobilenet-v3-small-d8", 19, False),
    "ocrnet_r101-d8_512x1024_80k_b16_cityscapes": ("ocrnet_r101-d8", 19, False),
    "pspnet_r50-d32_rsb-pretrain_512x1024_adamw_80k_cityscapes": ("pspnet_r50b-d32", 19, False),
    "pspnet_r50-d8_rsb-pretrain_512x1024_adamw_80k_cityscapes": ("pspnet_r50b-d8", 19, False),
    "segformer_mit-b0_8x1_1024x1024_160k_cityscapes": ("segformer_mit-b0", 19, False),
    "segmenter_vit-s_linear_8x1_512x512_160k_ade20k": ("segmenter_vit-s_fcn", 150, False),
    "upernet_beit-large_fp16_8x1_640x640_160k_ade20k": ("upernet_beit-large", 150, False),
    "upernet_convnext_tiny_fp16_512x512_160k_ade20k": ("upernet_convnext-tiny", 150, False),
    "upernet_deit-b16_ln_mln_512x512_160k_ade20k": ("upernet_vit-b16_ln_mln", 150, False),
    "upernet_deit-s16_512x512_160k_ade20k": ("upernet_vit-s16", 150, False),
    "upernet_mae-base_fp16_8x2_512x512_160k_ade20k": ("upernet_mae-base", 150, False),
    "upernet_vit-b16_mln_512x512_80k_ade20k": ("upernet_vit-b16_mln", 150, False),
}
"""Names of the 0.x versions, one of each kind: model, classes, aligned corners."""


def test_every_configuration_means_its_network() -> None:
    for item in OURS:
        found = resolve(item["configuration"])
        assert found.name == item["name"], item["configuration"]
        assert found.settings["num_classes"] == item["classes"], item["configuration"]
        assert found.settings.get("align_corners", False) == item["aligned"], item["configuration"]


def test_other_systems_are_unknown_and_not_taken_for_ours() -> None:
    for item in CONFIGURATIONS:
        if "name" not in item:
            assert item["why"]
            with pytest.raises(UnknownModel):
                resolve(item["configuration"])


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_names_of_older_versions_mean_the_same(name: str) -> None:
    found = resolve(name)
    aligned = bool(found.settings.get("align_corners", False))
    assert (found.name, found.settings["num_classes"], aligned) == BEFORE[name]


def distinct() -> list[Any]:
    groups: dict[tuple[str, int, bool, str], str] = defaultdict(str)
    for item in OURS:
        key = (item["name"], item["classes"], item["aligned"], item["digest"])
        groups[key] = groups[key] or item["configuration"]
    quick: set[str] = set()
    marked = []
    for key in sorted(groups):
        marked.append(pytest.param(groups[key], marks=[pytest.mark.long] if key[0] in quick else []))
        quick.add(key[0])
    return marked


@pytest.mark.parametrize("configuration", distinct())
def test_a_configuration_builds_with_the_published_key_layout(configuration: str) -> None:
    item = next(item for item in OURS if item["configuration"] == configuration)
    with torch.device("meta"):
        model = create_model(configuration)
    assert model.num_classes == item["classes"] and bool(model.align_corners) == item["aligned"]
    assert layout(model) == (item["keys"], item["digest"])
