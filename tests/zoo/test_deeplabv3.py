"""DeepLabV3 and V3+: parity, the real VOC weights, plain formulas, probes, switches, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.resnet import other_multi_grid
from segstudio_zoo.catalog.deeplabv3 import ENTRY
from segstudio_zoo.layers.aspp import valid_taps
from segstudio_zoo.plugin import PLUGIN, absent_parts
from segstudio_zoo.probes import deeplabv3 as deeplabv3_probes
from segstudio_zoo.segmentors import deeplabv3, deeplabv3plus
from tests.shared_data import shared
from tests.zoo.attention_nets import picture, small
from tests.zoo.reference import (
    check_reference,
    load_reference,
    mean_over_valid_pixels,
    needs_shared,
)

VOC = "data/weights/deeplabv3_mobilenetv2_voc"


@pytest.mark.parametrize(
    "name",
    [
        "deeplabv3_r50-d8",
        "deeplabv3plus_r50-d8",
        "deeplabv3plus_r50-d8_769",
        "deeplabv3plus_mobilenet-v2-d8",
    ],
)
def test_outputs_losses_and_gradients_equal_the_reference(name: str) -> None:
    ref, _ = check_reference(name)
    ref.assert_all_seen()


@pytest.mark.parametrize(
    ("name", "auxiliary"),
    [("torchvision_deeplabv3_resnet50", 2), ("torchvision_deeplabv3_mobilenet_v3_large", 2)],
)
def test_torchvision_networks_give_the_same_outputs(name: str, auxiliary: int) -> None:
    ref, model = load_reference(name)
    image = ref.image()
    with torch.no_grad():
        features = model.extract(image)
        ref.assert_close("feature.out", features[-1])
        ref.assert_close("feature.aux", features[auxiliary])
        ref.assert_close("logits.out", model(image))
        side = model.side_outputs(image)["auxiliary"].logits
        full = torch.nn.functional.interpolate(side, image.shape[-2:], mode="bilinear")
        ref.assert_close("logits.aux", full)
    ref.assert_all_seen()


def _class_map(model: nn.Module, path: str) -> NDArray[np.int64]:
    spec = next(spec for spec in PLUGIN.models if spec.name == "deeplabv3_mobilenet-v2-d16")
    mean, std = np.array(spec.preprocess.mean), np.array(spec.preprocess.std)
    pixels = np.asarray(Image.open(shared(path)).convert("RGB"))
    image = torch.from_numpy(((pixels - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        result: NDArray[np.int64] = model(image)[0].argmax(0).numpy()
    return result


@needs_shared
@pytest.mark.parametrize(
    "file", ["deeplabv3_mobilenetv2_voc.pth", "deeplabv3_mobilenetv2_voc_compact_fp16.safetensors"]
)
def test_real_voc_weights_reproduce_the_class_maps(file: str) -> None:
    model = create_model("deeplabv3_mobilenet-v2-d16")
    report = load_checkpoint(model, shared(VOC, file))
    assert not (report.missing or report.unexpected or report.mismatched or report.unused)
    pictures = {path.stem: path for path in shared(VOC, "example").glob("*.png")}
    assert len(pictures) >= 2
    for name, source in (
        ("voc_0023", "data/voc_samples/images/voc_0023.png"),
        ("bird_segmentation", "data/photos/bird_segmentation.bmp"),
    ):
        expected = np.asarray(Image.open(next(p for stem, p in pictures.items() if name in stem)))
        got = _class_map(model, source)
        present = [c for c in np.unique(expected) if (expected == c).mean() >= 0.02]
        assert len(present) >= 2
        assert (got == expected).mean() >= 0.995, (name, (got == expected).mean())


@needs_shared
def test_voc_weights_identify_as_the_stride_16_network() -> None:
    state = torch.load(shared(VOC, "deeplabv3_mobilenetv2_voc.pth"), weights_only=True)
    found = identify(state)[0]
    assert (found.name, found.num_classes, found.options) == ("deeplabv3_mobilenet-v2-d16", 21, {})


def test_valid_taps_equal_a_convolution_with_ones() -> None:
    for rate in (1, 3, 6, 12):
        ones = torch.ones(1, 1, 9, 14)
        counted = torch.nn.functional.conv2d(ones, torch.ones(1, 1, 3, 3), padding=rate, dilation=rate)
        for y in range(9):
            for x in range(14):
                assert valid_taps(y, x, 9, 14, rate) == int(counted[0, 0, y, x])


def test_gridding_equals_the_gradient_of_convolutions_with_ones() -> None:
    x = torch.ones(1, 1, 15, 19, requires_grad=True)
    out = x
    for rate in (2, 4, 6):
        out = torch.nn.functional.conv2d(out, torch.ones(1, 1, 3, 3), padding=rate, dilation=rate)
    out[0, 0, 3, 11].backward()
    expected = (x.grad[0, 0] / x.grad.sum()).numpy()
    assert np.allclose(deeplabv3_probes.path_share((15, 19), (3, 11), (2, 4, 6)), expected, atol=1e-6)


def test_probes_name_rates_taps_and_cells() -> None:
    model = create_model("deeplabv3_r18-d8", num_classes=3, channels=8, auxiliary=False)
    probe = deeplabv3_probes.taps()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(picture(128, 160))
    result = probe.map(captured, Query(y=0.0, x=0.0))
    assert result.extras["valid"] == {"12": 4, "24": 1, "36": 1}
    assert result.values.shape == (27, 3) and result.labels.count("rate 12") == 9
    assert int(result.values[:9, 2].sum()) == 4
    grid = deeplabv3_probes.gridding()
    assert grid.map(captured, Query(y=64.0, x=80.0)).extras["rates"] == [2, 1, 2, 1, 4, 1]
    since = grid.map(captured, Query(y=64.0, x=80.0), start="last stride").extras["rates"]
    assert since == [1, 1, 1, 1, 1, 2, 1, 2, 1, 4, 1]
    with pytest.raises(ValueError, match="rates are 1, 12, 24, 36"):
        grid.map(captured, Query(y=64.0, x=80.0), rate=5)


@pytest.mark.parametrize(("stride", "expected"), [(16, [4, 8, 16]), (8, [8, 16, 32])])
def test_cascaded_blocks_double_their_unit_rate(stride: int, expected: list[int]) -> None:
    model = create_model(
        "deeplabv3",
        backbone="r18",
        output_stride=stride,
        num_classes=3,
        arrangement="cascaded",
        cascade_grid=(1, 2, 1),
    )
    for number, unit in zip((5, 6, 7), expected, strict=True):
        block = model.decode_head.get_submodule(f"block{number}")
        assert [unit_block.conv2.in_channels for unit_block in block] == [512] * 3
        assert [unit_block.conv1.dilation[0] for unit_block in block] == [unit, 2 * unit, unit]
    image = picture(65, 81)
    with torch.no_grad():
        features = model.extract(image)
        x = features[-1]
        for number in (5, 6, 7):
            for block in model.decode_head.get_submodule(f"block{number}"):
                out = torch.relu(block.bn1(block.conv1(x)))
                x = torch.relu(block.bn2(block.conv2(out)) + x)
        assert torch.allclose(model.scores(image).logits, model.decode_head.conv_seg(x), atol=1e-5)


def _rates(stage: nn.Module) -> list[int]:
    return [block.conv1.dilation[0] for block in stage]


def _cascade(**options: Any) -> nn.Module:
    settings = {"num_classes": 3, "arrangement": "cascaded", "output_stride": 16, "auxiliary": False}
    return create_model("deeplabv3", backbone="r34", **{**settings, **options})


@pytest.mark.parametrize(("stride", "unit"), [(16, 2), (8, 4)])
@pytest.mark.parametrize("multiply", [False, True])
def test_one_multi_grid_multiplies_in_blocks_4_to_7_of_the_cascade(
    stride: int, unit: int, multiply: bool
) -> None:
    model = _cascade(output_stride=stride, multi_grid=(1, 2, 1), multiply_multi_grid=multiply)
    assert _rates(model.backbone.layer4) == [unit, 2 * unit, unit]
    for number, rate in zip((5, 6, 7), (2 * unit, 4 * unit, 8 * unit), strict=True):
        stage = model.decode_head.get_submodule(f"block{number}")
        assert _rates(stage) == [rate, 2 * rate, rate]
        assert all(block.conv1.padding == block.conv1.dilation for block in stage)
    with torch.no_grad():
        assert model(picture(65, 81)).shape == (1, 3, 65, 81)


def test_a_cascade_without_multi_grid_and_a_grid_of_its_own_stay_as_they_were() -> None:
    plain = _cascade()
    assert _rates(plain.backbone.layer4) == [1, 2, 2]
    assert [_rates(plain.decode_head.get_submodule(f"block{n}")) for n in (5, 6, 7)] == [
        [4] * 3,
        [8] * 3,
        [16] * 3,
    ]
    own = _cascade(multi_grid=(1, 2, 4), cascade_grid=(1, 2, 1))
    assert _rates(own.backbone.layer4) == [2, 4, 8]
    assert _rates(own.decode_head.block5) == [4, 8, 4]


def test_multi_grid_switch_reaches_the_cascade_and_takes_it_back() -> None:
    model, image = _cascade(), picture(65, 81)
    head = model.decode_head
    with torch.no_grad():
        before = model(image)
        with other_multi_grid(model, "1,2,4"):
            assert _rates(model.backbone.layer4) == [2, 4, 8]
            assert [_rates(head.get_submodule(f"block{n}")) for n in (5, 6, 7)] == [
                [4, 8, 16],
                [8, 16, 32],
                [16, 32, 64],
            ]
            assert not torch.allclose(model(image), before)
        assert torch.equal(model(image), before)
    built = _cascade(multi_grid=(1, 2, 1))
    with torch.no_grad():
        before = built(image)
        with other_multi_grid(built, "1,2,1"):
            assert torch.equal(built(image), before)  # the factors it was built with


def test_multi_grid_switch_equals_the_rates_danets_authors_trained() -> None:
    model, image = create_model("danet_r18-d8", num_classes=3, multi_grid=(4, 8, 16)), picture()
    with torch.no_grad():
        before = model(image)
        with other_multi_grid(model, "1,2,4"):
            assert torch.equal(model(image), before)


def _paths(name: str, *, start: str = "dilated", **options: Any) -> list[int]:
    model = create_model(name, num_classes=3, **options)
    probe = deeplabv3_probes.gridding()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(picture(65, 97))
    found = probe.map(captured, Query(y=32.0, x=48.0), start=start)
    assert int((found.values > 0).sum()) > 1
    rates: list[int] = found.extras["rates"]
    return rates


@pytest.mark.parametrize(
    ("name", "dilated", "since_the_last_stride"),
    [
        ("deeplabv3_mobilenet-v2-d8", [2, 1, 1, 1, 2, 1, 1, 4, 1, 1, 4], 2),
        ("deeplabv3_mobilenet-v2-d16", [2, 2, 2], 7),
        ("deeplabv3_xception65-d16", [2, 2, 2], 51),
        ("deeplabv3_r18-d32", [1, 1, 1], 0),
    ],
)
def test_gridding_follows_the_convolutions_on_the_last_grid(
    name: str, dilated: list[int], since_the_last_stride: int
) -> None:
    options = {"channels": 8, "auxiliary": False}
    found = _paths(name, **options)
    assert found == dilated
    whole = _paths(name, start="last stride", **options)
    assert whole == [1] * since_the_last_stride + dilated


def test_gridding_counts_the_taps_of_larger_kernels() -> None:
    x = torch.ones(1, 1, 15, 19, requires_grad=True)
    out = torch.nn.functional.conv2d(x, torch.ones(1, 1, 5, 5), padding=4, dilation=2)
    out = torch.nn.functional.conv2d(out, torch.ones(1, 1, 3, 3), padding=1)
    out[0, 0, 1, 11].backward()
    expected = (x.grad[0, 0] / x.grad.sum()).numpy()
    got = deeplabv3_probes.path_share((15, 19), (1, 11), (2, 1), kernels=(5, 3))
    assert np.allclose(got, expected, atol=1e-6)


def test_gridding_of_a_cascade_goes_through_blocks_5_to_7() -> None:
    found = _paths("deeplabv3_r18-d16", arrangement="cascaded", auxiliary=False)
    assert found == [2, 1] + [4, 1] * 3 + [8, 1] * 3 + [16, 1] * 3


def test_a_cascade_has_neither_taps_nor_image_pooling_and_says_so() -> None:
    model = _cascade()
    probe, grid = deeplabv3_probes.taps(), deeplabv3_probes.gridding()
    with torch.no_grad(), probe.attach(model) as captured, grid.attach(model):
        model.scores(picture())
    with pytest.raises(ValueError, match="cascade"):
        probe.map(captured, Query(y=0.0, x=0.0))
    with pytest.raises(ValueError, match="no image pooling"), deeplabv3.image_pool_off(model, True):
        pass
    with deeplabv3.image_pool_off(model, False):
        pass


def test_image_pool_switch_without_image_pooling_is_refused() -> None:
    model = small("deeplabv3", image_pool=False)
    with pytest.raises(ValueError, match="no image pooling"), deeplabv3.image_pool_off(model, True):
        pass


def test_a_pyramid_without_dilated_branches_has_no_taps() -> None:
    model = small("deeplabv3", rates=(1,))
    probe = deeplabv3_probes.taps()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(picture())
    with pytest.raises(ValueError, match="no dilated branch"):
        probe.map(captured, Query(y=0.0, x=0.0))


@pytest.mark.parametrize(
    ("values", "absent"),
    [
        ({"arrangement": "parallel", "image_pool": True}, set()),
        ({"arrangement": "parallel", "image_pool": False}, {"image_pool_off"}),
        ({"arrangement": "cascaded", "image_pool": True}, {"image_pool_off", "taps"}),
    ],
)
def test_parts_are_declared_where_the_arrangement_has_them(values: dict[str, Any], absent: set[str]) -> None:
    assert absent_parts(ENTRY, values) == absent


def test_cascade_on_a_plain_backbone_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="cascade a residual network"):
        create_model("deeplabv3", backbone="mobilenet-v2-d8", arrangement="cascaded")


def test_pyramid_equals_its_branches_written_out() -> None:
    model, image = small("deeplabv3", rates=(1, 2, 4), projection="1x1"), picture()
    head = model.decode_head
    with torch.no_grad():
        x = model.extract(image)[-1]
        pooled = head.image_pool[1](x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        parts = [pooled]
        for branch, rate in zip(head.aspp_modules, (1, 2, 4), strict=True):
            kernel = branch.conv.weight
            padding = 0 if kernel.shape[-1] == 1 else rate
            raw = torch.nn.functional.conv2d(x, kernel, padding=padding, dilation=rate)
            parts.append(torch.relu(branch.bn(raw)))
        expected = head.conv_seg(head.bottleneck(torch.cat(parts, 1)))
        assert torch.allclose(model.scores(image).logits, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3plus"])
def test_image_pool_switch_changes_the_output_and_is_taken_back(name: str) -> None:
    model, image = small(name), picture()
    module = deeplabv3 if name == "deeplabv3" else deeplabv3plus
    with torch.no_grad():
        before = model(image)
        with module.image_pool_off(model, True):
            during = model(image)
        assert torch.equal(model(image), before)
    assert not torch.allclose(during, before)


def test_multi_grid_switch_sets_rates_and_takes_them_back() -> None:
    model = create_model("deeplabv3_r18-d8", num_classes=3, channels=8)
    convs = [block.conv1 for block in model.backbone.layer4]
    before = [conv.dilation for conv in convs]
    with other_multi_grid(model, "1,2,4"):
        assert [conv.dilation[0] for conv in convs] == [4, 8]
        with torch.no_grad():
            assert model(picture()).shape == (1, 3, 41, 57)
    assert [conv.dilation for conv in convs] == before


def test_decoder_switch_off_classifies_the_encoder() -> None:
    model, image = small("deeplabv3plus"), picture()
    with torch.no_grad():
        before = model.scores(image).logits
        with deeplabv3plus.decoder(model, "no skip"):
            no_skip = model.scores(image).logits
        with deeplabv3plus.decoder(model, "off"):
            off = model.scores(image).logits
        assert torch.equal(model.scores(image).logits, before)
    assert before.shape == no_skip.shape and not torch.allclose(before, no_skip)
    assert off.shape[-2:] == (6, 8) and before.shape[-2:] == (11, 15)


def test_deeplabv3plus_projects_by_the_papers_1x1() -> None:
    model, image = small("deeplabv3plus", projection="1x1"), picture()
    assert model.decode_head.bottleneck.conv.kernel_size == (1, 1)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert deeplabv3plus.infer_options(shapes)["projection"] == "1x1"
    usual = small("deeplabv3plus")
    assert usual.decode_head.bottleneck.conv.kernel_size == (3, 3)
    usual_shapes = {key: tuple(value.shape) for key, value in usual.state_dict().items()}
    assert deeplabv3plus.infer_options(usual_shapes).get("projection", "3x3") == "3x3"
    with torch.no_grad():
        before = model(image)
        model.optimise_for_inference()
        assert torch.equal(model(image), before)
    with pytest.raises(ValueError, match=r"projection.*5x5"):
        small("deeplabv3plus", projection="5x5")


def test_state_dicts_tell_projection_and_length_of_a_cascade() -> None:
    model = create_model("deeplabv3plus_r18-d8", num_classes=4, projection="1x1")
    found = identify(model.state_dict())[0]
    assert (found.name, found.num_classes) == ("deeplabv3plus_r18-d8", 4)
    assert found.options == {"projection": "1x1"}
    cascade = _cascade(cascade_grid=(1, 2))
    shapes = {key: tuple(value.shape) for key, value in cascade.state_dict().items()}
    assert deeplabv3.infer_options(shapes)["cascade_grid"] == (1, 1)


def test_published_mg124_has_the_rates_of_its_configuration() -> None:
    model = create_model("deeplabv3_r101-d16-mg124_4xb2-40k_cityscapes-512x1024")
    assert [block.conv2.dilation[0] for block in model.backbone.layer4] == [1, 2, 4]
    assert model.decode_head.rates == (1, 6, 12, 18)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deeplabv3", {}),
        ("deeplabv3", {"projection": "1x1+3x3", "image_pool": False}),
        ("deeplabv3plus", {}),
        ("deeplabv3plus", {"projection": "1x1"}),
        ("deeplabv3plus", {"separable_aspp": False, "separable_decoder": False}),
        ("fcn", {}),
        ("fcn", {"levels": "all", "num_convs": 1, "concat_input": False}),
    ],
)
def test_every_parameter_gets_a_gradient(name: str, options: dict[str, object]) -> None:
    if "deeplab" in name:
        options = {"rates": (1, 2, 3), **options}
    model = small(name, **options)
    losses = model.losses(picture(65, 81, 3), torch.randint(0, 5, (3, 65, 81)), mean_over_valid_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, key
