"""Names, aliases, options and errors of create_model and list_models."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from segstudio_zoo import UnknownModel, create_model, list_models
from segstudio_zoo.catalog.entry import IMAGENET
from segstudio_zoo.catalog.published import published
from segstudio_zoo.names import resolve
from tests.shared_data import shared
from tests.zoo.reference import needs_shared, reference_names


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("CCNet_R50-D8", "ccnet_r50-d8"),
        ("ccnet-r50_d8", "ccnet_r50-d8"),
        ("mobilenet-v2-d8_deeplabv3plus", "deeplabv3plus_mobilenet-v2-d8"),
        ("deeplabv3_r101-d16-mg124_4xb2-80k_cityscapes-512x1024", "deeplabv3_r101-d16-mg124"),
        ("mobilenet-v3-d8-scratch-s_lraspp", "lraspp_mobilenet-v3-small-d8"),
        ("psanet_r50-d8_769", "psanet_r50-d8"),
        ("pspnet_r50-d8-rsb_4xb2-adamw-80k_cityscapes-512x1024", "pspnet_r50b-d8"),
        ("deeplabv3+_r50-d8", "deeplabv3plus_r50-d8"),
        ("backbone_resnet50-v1c-d8", "resnet50-v1c-d8"),
        ("resnet50-v1c", "resnet50-v1c"),
        ("fcn_r18-d8", "fcn_r18-d8"),
        ("deeplabv3_resnet18-v1c-d8", "deeplabv3_r18-d8"),
        ("timm_mobilenetv2_140", "timm_mobilenetv2_140"),
        ("timm_mobilenetv3_small_075", "timm_mobilenetv3_small_075"),
        ("timm_resnet50c", "resnet50-v1c"),
        ("timm_resnet50s", "resnet50-v1s"),
        ("timm_deit_base_patch16_384", "timm_deit_base_patch16_224"),
        ("timm_vit_base_patch16_384", "timm_vit_base_patch16_224"),
        ("timm_vit_base_patch16_224.mae", "timm_vit_base_patch16_224_mae"),
        ("deit-small-patch16-224", "vit-s16"),
        ("facebook/deit-base-patch16-384", "vit-b16"),
        ("google/vit-large-patch16-384", "vit-l16"),
        ("segstudio_zoo/ccnet_r50-d8", "ccnet_r50-d8"),
        ("segmenter_vit-t_linear", "segmenter_vit-t_linear"),
        ("segmenter_vit-s_linear", "segmenter_vit-s_fcn"),
        ("segmenter_vit-l_linear", "segmenter_vit-l_linear"),
        ("timm_beit_large_patch16_512", "timm_beit_large_patch16_224"),
        ("transformers_dpt_hybrid", "transformers_dpt_hybrid"),
        ("segformer-b3", "segformer_mit-b3"),
        ("segformer_b5_8xb1-160k_cityscapes-1024x1024", "segformer_mit-b5"),
        ("segnext_l", "segnext_mscan-l"),
        ("segmenter_vit-b16_mask", "segmenter_vit-b_mask"),
        ("segmenter_vit-s16_linear", "segmenter_vit-s_fcn"),
        ("point_rend_r101", "pointrend_r101"),
        ("semfpn_r50", "sem_fpn_r50"),
        ("tf_mobilenetv3_large_100", "timm_tf_mobilenetv3_large_100"),
        ("lraspp_m-v3-d8", "lraspp_mobilenet-v3-large-d8"),
    ],
)
def test_spellings_and_published_configurations_mean_one_model(name: str, canonical: str) -> None:
    assert resolve(name).name == canonical


def test_a_familys_own_name_means_its_first_listed_network_with_its_settings() -> None:
    assert resolve("lraspp").settings == resolve("lraspp_mobilenet-v3-large-d8").settings != {}
    assert resolve("segnext").settings == resolve("segnext_mscan-t").settings != {}


def test_r50_has_the_deep_stem_and_r50b_the_torchvision_stem() -> None:
    assert resolve("fcn_r50-d8").variant.name == "resnet50-v1c"
    assert resolve("fcn_r50b-d8").variant.name == "resnet50"


def test_769_configurations_align_corners() -> None:
    assert create_model("deeplabv3plus_mobilenet-v2-d8_769").align_corners
    assert not create_model("deeplabv3plus_mobilenet-v2-d8").align_corners


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ann_r50-d8_4xb2-40k_cityscapes-769x769", {"num_classes": 19, "align_corners": True}),
        ("deeplabv3_r101-d8_4xb4-40k_pascal-context-59-480x480", {"num_classes": 59}),
        ("deeplabv3_r101-d8_4xb4-40k_pascal-context-480x480", {"num_classes": 60}),
        ("psanet_r50-d8_4xb4-80k_ade20k-512x512", {"num_classes": 150, "mask_size": (66, 66)}),
        ("psanet_r50-d8_4xb4-20k_voc12aug-512x512", {"num_classes": 21}),
        ("mobilenet-v2-d8_fcn_4xb4-160k_ade20k-512x512", {"num_classes": 150}),
        ("ann_r50-d8", {}),
    ],
)
def test_configurations_name_what_their_network_has_of_its_own(
    name: str, settings: dict[str, object]
) -> None:
    assert resolve(name).settings == settings


def test_every_published_configuration_has_its_data_sets_classes() -> None:
    for item in published():
        assert resolve(item.name).settings["num_classes"] == item.checkpoint.num_classes, item.name
        assert dict(item.options).items() <= resolve(item.name).settings.items()


@needs_shared
def test_every_published_configuration_has_a_model() -> None:
    listed = json.loads(shared("reference", "published_checkpoints.json").read_text())
    known = {item.url: item for item in published()}
    assert set(known) == {item["url"] for item in listed} and len(known) == 349
    unknown = sorted({item.name for item in known.values() if not item.model})
    assert not unknown
    for item in listed:
        ours = known[item["url"]]
        assert (ours.name, ours.dataset, ours.sha256_prefix) == (
            item["name"],
            item["dataset"],
            item["sha256_prefix"],
        )
        assert dict(ours.checkpoint.metrics) == item["metrics"]
        assert ours.url.startswith("https://") and ours.sha256_prefix in ours.url


def test_every_listed_name_resolves_to_itself() -> None:
    names = list_models()
    assert len(names) == len(set(names))
    for name in names:
        assert resolve(name).name == name


def test_every_reference_has_a_name_that_resolves() -> None:
    skipped = ("_mim_", "_mae_pretraining_")
    for name in reference_names():
        if not any(part in name for part in skipped):
            assert name.removeprefix("backbone_").startswith(resolve(name).name), name


def test_a_pair_means_the_same_whichever_way_it_is_spelled() -> None:
    named = create_model("deeplabv3_mobilenet-v2-d16")
    spelled = create_model("deeplabv3", backbone="MobileNetV2-D16")
    assert named.state_dict().keys() == spelled.state_dict().keys()
    assert named.num_classes == spelled.num_classes == 21


def test_unknown_name_gives_the_three_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        create_model("ccnett_r50-d8")
    message = str(caught.value)
    assert "ccnett_r50-d8" in message and "ccnet_r50-d8" in message
    assert message.split("Nearest: ")[1].count(",") == 2


@pytest.mark.parametrize(
    ("name", "meant"),
    [("psnet", "psanet_r50-d8"), ("PsNet_r101-d8", "psanet_r101-d8"), ("PointNet", "pointrend")],
)
def test_a_surveys_own_name_for_a_system_leads_to_it(name: str, meant: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        create_model(name)
    names = str(caught.value).split("Nearest: ")[1].rstrip(".").split(", ")
    assert names[0].startswith(meant) and {item.partition("_")[0] for item in names} == {
        meant.partition("_")[0]
    }


def test_deit_and_mae_know_imagenets_mean_and_vit_its_own() -> None:
    for name, mean in (
        ("deit_small_patch16_224", IMAGENET.mean),
        ("vit_base_patch16_224_mae", IMAGENET.mean),
    ):
        model = resolve(f"timm_{name}").model
        assert model is not None and model.preprocess is not None and model.preprocess.mean == mean
    plain = resolve("timm_vit_base_patch16_224")
    assert plain.model is not None and plain.model.preprocess is None
    assert plain.backbone.preprocess.mean == (127.5, 127.5, 127.5)


def test_linear_segmenters_have_no_mask_transformer() -> None:
    for size in "tbl":
        assert resolve(f"segmenter_vit-{size}_linear").settings["decoder"] == "linear"
    head = create_model("segmenter_vit-t_linear", num_classes=5).decode_head
    assert not hasattr(head, "cls_emb")


def test_unknown_option_is_a_type_error_with_the_valid_ones() -> None:
    with pytest.raises(TypeError, match=r"no option 'recurence'.*recurrence"):
        create_model("ccnet_r50-d8", recurence=3)


def test_unknown_family_and_backbone_say_what_there_is() -> None:
    with pytest.raises(UnknownModel, match="ccnet"):
        list_models("ccnett")
    with pytest.raises(UnknownModel, match="resnet"):
        create_model("ccnet", backbone="resnett50")


def test_output_stride_that_a_backbone_cannot_have_is_refused() -> None:
    with pytest.raises(UnknownModel, match="output strides"):
        create_model("segformer_mit-b0-d8")


def test_families_list_their_own_models() -> None:
    assert list_models("ccnet")[:2] == ["ccnet_r50-d8", "ccnet_r101-d8"]
    assert set(list_models("danet")) <= set(list_models())


@pytest.mark.parametrize("backbone", ["mobilenet-v2", "r18-d16", "mobilenet-v3-small", "resnet18"])
@pytest.mark.parametrize("name", ["ccnet", "danet", "psanet", "deeplabv3", "fcn"])
def test_any_segmentor_stands_on_any_backbone(name: str, backbone: str) -> None:
    model = create_model(name, backbone=backbone, num_classes=7, channels=16)
    assert not model.training and model.num_classes == 7
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 65, 81)).shape == (1, 7, 65, 81)


def test_a_backbone_whose_strides_do_not_suit_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"LR-ASPP cannot stand on resnet18.*stride.*strides 2 and 4"):
        create_model("lraspp", backbone="resnet18")


def test_bare_backbone_ignores_num_classes_and_gives_its_pyramid() -> None:
    model = create_model("mobilenet-v2", num_classes=5)
    with torch.no_grad():
        pyramid = model(torch.zeros(1, 3, 64, 64))
    assert [tuple(value.shape[1:]) for value in pyramid] == [
        (info.channels, 64 // info.stride, 64 // info.stride) for info in model.features
    ]


def test_catalog_plugin_and_names_need_neither_torch_nor_qt() -> None:
    code = (
        "import sys, segstudio_zoo.plugin as p; import segstudio_zoo;"
        "names = segstudio_zoo.list_models();"
        "assert len(p.PLUGIN.models) > 20 and len(names) > 40, (len(p.PLUGIN.models), len(names));"
        "assert not {'torch', 'PySide6'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_scores_resized_are_exactly_the_forward_output() -> None:
    model = create_model("ccnet", backbone="mobilenet-v2-d16", num_classes=4, width=0.35, channels=16)
    image = torch.randn(2, 3, 33, 47)
    with torch.no_grad():
        scores = model.scores(image)
        full = torch.nn.functional.interpolate(
            scores.logits, (33, 47), mode="bilinear", align_corners=scores.align_corners
        )
        assert torch.equal(full, model(image))
