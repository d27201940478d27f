"""Every variant and option that a paper studies is built by its name and options, and runs.

One row a published system, one call of `create_model` a variant. Networks stand on torch's "meta" device:
their shapes are computed, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from segstudio_zoo import create_model, skeletons

Call = tuple[str, dict[str, Any]]


def on(names: str, **options: Any) -> list[Call]:
    """The named networks, each with the same options."""
    return [(name, options) for name in names.split()]


def each(name: str, option: str, *values: Any, **more: Any) -> list[Call]:
    """One network with every value of one option."""
    return [(name, {option: value, **more}) for value in values]


ROWS: dict[str, list[Call]] = {
    "HRNet": [
        *on(
            "hrnet-w18 hrnet-w18-small hrnet-w18-small-v2 hrnet-w30 hrnet-w32 "
            "hrnet-w40 hrnet-w44 hrnet-w48 hrnet-w64"
        ),
        *on("fcn_hr18 fcn_hr18s fcn_hr48 fcn_hr32 deeplabv3plus_hr18 ocrnet_hr48"),
        *each("hrnet-w18", "transition", "nearest", "all"),
        *each("hrnet-w18", "representation", "top", "all"),
        *each("deeplabv3plus_hr18", "transition", "nearest", "all"),
        *on("fcn_hr18", representation="top", levels="last"),
    ],
    "ResNeSt": [
        *on(
            "resnest14 resnest26 resnest50 resnest101 "
            "resnest200 resnest269 resnest50-1s4x24d resnest50-4s2x40d"
        ),
        *on("resnest50-se resnest50-resnext s50-se fcn_s101-d8 deeplabv3_resnest50-se-d16"),
        *each("resnest50", "radix", 1, 2, 4),
        *each("resnest50", "cardinality", 1, 2, 4),
    ],
    "MobileNetV2": [
        *each("mobilenet-v2", "width", 0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
        *on("mobilenet-v2-d8 mobilenet-v2-d16 mobilenet-v2-d32 deeplabv3_mobilenet-v2-d16"),
        *each("deeplabv3plus_mobilenet-v2-d8", "projection_act", "linear", "relu6"),
    ],
    "MobileNetV3": [
        *on("mobilenet-v3-large mobilenet-v3-small mobilenet-v3-large-minimal mobilenet-v3-small-minimal"),
        *on("mobilenet-v3-large-d8 mobilenet-v3-large-d16 mobilenet-v3-small-minimal-d8"),
        *on("lraspp_mobilenet-v3-large-d8 lraspp_mobilenet-v3-small-d8 lraspp_mobilenet-v3-large-minimal-d8"),
        *each("mobilenet-v3-large", "width", 0.35, 0.75, 1.0, 1.25),
        *on("fcn_mobilenet-v3-small-minimal"),
    ],
    "BEiT": [
        *on("beit-base beit-large upernet_beit-base upernet_beit-large"),
        *each("beit-base", "position", "relative", "shared", "absolute"),
        *each("beit-base", "image_size", (224, 224), (384, 384), (512, 512)),
    ],
    "ConvNeXt": [
        *on(
            "convnext-tiny convnext-small convnext-base "
            "convnext-large convnext-xlarge upernet_convnext-xlarge"
        ),
        *on("convnextv2-atto convnextv2-femto convnextv2-pico convnextv2-nano"),
        *on("convnextv2-tiny convnextv2-base convnextv2-large convnextv2-huge upernet_convnextv2-nano"),
        *each(
            "upernet_convnext-tiny", "roadmap", "resnet50", "stage-ratio", "patchify", "depthwise", "width"
        ),
        *each("upernet_convnext-tiny", "roadmap", "inverted", "moved-up", "kernel-5", "kernel-7", "kernel-9"),
        *each("upernet_convnext-tiny", "roadmap", "kernel-11", "gelu", "fewer-activations", "fewer-norms"),
        *each("upernet_convnext-tiny", "roadmap", "layer-norm", "convnext"),
        *each("convnext-tiny", "kernel_size", 3, 5, 7, 9, 11),
        *each("convnext-tiny", "depths", (3, 3, 9, 3), (3, 4, 6, 3)),
        *each("convnext-tiny", "stem", "patchify", "resnet"),
        *each("convnext-tiny", "norm", "layer", "batch"),
        *each("convnext-tiny", "activation", "gelu", "relu"),
    ],
    "MAE": on("mae-base mae-large mae-huge upernet_mae-base upernet_mae-large"),
    "SegNeXt": [
        *on("segnext_mscan-t segnext_mscan-s segnext_mscan-b segnext_mscan-l mscan-t"),
        *each("segnext", "rank", 16, 64),
        *each("segnext", "steps", 0, 1, 6, 7),
        *each("segnext", "train_steps", 0, 6),
    ],
    "ResNet": [
        *on(
            "resnet18 resnet34 resnet50 resnet101 r18 r34 r50 r101 r50b r101b r50-d8 r101-d16 r101-d16-mg124"
        ),
        *on("fcn_r50-d8-rsb xception39 xception65 vit-t16 vit-s8 vit-b32 vit-l16 mit-b0 mit-b5"),
    ],
    "DeepLabV3": [
        *on("deeplabv3_r50-d8 deeplabv3_r101-d16 torchvision_deeplabv3_resnet50"),
        *each("deeplabv3_r50-d16", "arrangement", "parallel", "cascaded"),
        *each("deeplabv3_r50-d8", "arrangement", "parallel", "cascaded"),
        *each("deeplabv3_r50-d16", "multi_grid", (1, 1, 1), (1, 2, 1), (1, 2, 4), multiply_multi_grid=True),
        *each("deeplabv3_r50-d16", "cascade_grid", (1, 2, 1), (1, 2, 4), arrangement="cascaded"),
        *each("deeplabv3_r50-d8", "image_pool", True, False),
        *each("deeplabv3_r50-d16", "channels", 256, 512),
        *each("deeplabv3_r50-d16", "rates", (1, 6, 12, 18), (1, 12, 24, 36)),
        *each("deeplabv3_r50-d16", "projection", "1x1", "3x3"),
    ],
    "BiSeNet": [
        *on("bisenetv1_xception39 bisenetv1_r18-d32 bisenetv1_r50-d32 bisenetv1_r101-d32"),
        *each("bisenetv1_r18-d32", "spatial_projection", True, False),
    ],
    "PSANet": [
        *each("psanet_r50-d8", "direction", "both", "collect", "distribute"),
        *each("psanet_r50-d8", "compact", True, False),
        *each("psanet_r50-d8", "shrink_factor", 1, 2),
        *each("psanet_r50-d8", "normalization_factor", 1.0, 0.0),
        *each("psanet_r50-d8", "mask_size", (97, 97), (66, 66)),
    ],
    "DeepLabV3+": [
        *on(
            "deeplabv3plus_r50-d8 deeplabv3plus_r101-d16 "
            "deeplabv3plus_xception65-d16 deeplabv3plus_mobilenet-v2-d8"
        ),
        *each("deeplabv3plus_r50-d8", "separable_aspp", True, False),
        *each("deeplabv3plus_r50-d8", "separable_decoder", True, False),
    ],
    "ICNet": [
        *on("icnet_r18-d8 icnet_r50-d8 icnet_r101-d8"),
        *each("icnet_r18-d8", "label_guidance", "published", "paper"),
    ],
    "Non-local": [
        *each(
            "nonlocal_r50-d8",
            "instantiation",
            "gaussian",
            "embedded_gaussian",
            "dot_product",
            "concatenation",
        ),
        *each("nonlocal_r50-d8", "sub_sample", True, False),
        *each("nonlocal_r50-d8", "use_scale", True, False),
    ],
    "EncNet": [
        *each("encnet_r50-d8", "num_codes", 16, 32, 64),
        *each("encnet_r50-d8", "second_encoding", True, False),
        *each("encnet_r50-d8", "aggregation", "mean", "sum"),
    ],
    "DANet": [
        *each("danet_r50-d8", "branches", "both", "position", "channel"),
        *on("danet_r101-d8", multi_grid=(4, 8, 16)),
    ],
    "CCNet": [
        *each("ccnet_r50-d8", "recurrence", 1, 2, 3, 5),
        *on("ccnet_r50-d8", category_consistent=True),
    ],
    "ANN": [
        *each("ann_r50-d8", "pyramid", (1,), (1, 3), (1, 3, 6, 8)),
        *each("ann_r50-d8", "sampling", "average", "max", "random"),
        *each("ann_r50-d8", "fusion", True, False),
    ],
    "GCNet": [
        *each("gcnet_r50-d8", "preset", "se", "snl", "gc", "gc_multiply", "gc_add_multiply"),
        *each("gcnet_r50-d8", "placement", "head", "blocks"),
        *each("gcnet_r50-d8", "ratio", 1 / 4, 1 / 16),
    ],
    "OCRNet": on("ocrnet_hr18 ocrnet_hr18s ocrnet_hr48 ocrnet_r50-d8 ocrnet_r101-d8"),
    "PointRend": [
        *on("pointrend_r50 pointrend_r101 pointrend_deeplabv3_r50-d16"),
        *each("pointrend_r50", "subdivision_points", 8096, 8196),
        *each("pointrend_r50", "subdivision_steps", "auto", 0, 1, 3, 6),
        *each("pointrend_r50", "coarse", "semantic_fpn", "deeplabv3"),
    ],
    "BiSeNetV2": [
        *on("bisenetv2 bisenetv2-large bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024"),
        *each("bisenetv2", "ratio", 1 / 2, 1 / 4, 1 / 8),
        *each("bisenetv2", "expansion", 1, 4, 6, 8),
        *each("bisenetv2", "aggregation", "bga", "sum", "concat"),
        *each("bisenetv2", "boosters", True, False),
    ],
    "DPT": [
        *on("dpt_vit-b16 dpt_vit-l16 dpt_vit-hybrid"),
        *each("dpt_vit-b16", "readout", "ignore", "add", "project"),
        *each("dpt_vit-b16", "auxiliary", True, False),
        *each("dpt_vit-l16", "taps", (4, 11, 17, 23), (5, 11, 17, 23)),
    ],
    "Segmenter": [
        *on(
            "segmenter_vit-t_mask segmenter_vit-s_mask segmenter_vit-b_mask "
            "segmenter_vit-l_mask segmenter_vit-s_fcn"
        ),
        *on("segmenter_vit-b8 segmenter_vit-s32 segmenter_vit-l32 segmenter_deit-b16"),
        *each("segmenter_vit-t16", "decoder", "mask", "linear"),
    ],
    "SegFormer": on(
        "segformer_mit-b0 segformer_mit-b1 segformer_mit-b2 "
        "segformer_mit-b3 segformer_mit-b4 segformer_mit-b5"
    ),
}


def cases() -> Iterator[Any]:
    for row, calls in ROWS.items():
        for name, options in calls:
            told = ",".join(f"{key}={value}" for key, value in options.items())
            yield pytest.param(name, options, id=f"{row}-{name}{f'({told})' if told else ''}")


@pytest.mark.long
@pytest.mark.parametrize(("name", "options"), cases())
def test_a_variant_of_its_paper_is_built_and_runs(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not for the "meta" device
    # SegNeXt draws its bases with a generator of the processor.
    device = "cpu" if name.startswith("segnext") else "meta"
    model = create_model(name, **options) if device == "cpu" else skeletons.built(name, **options)
    with torch.device(device), torch.no_grad():
        image = torch.zeros(1, 3, 128, 192)
        if hasattr(model, "num_classes"):
            assert tuple(model(image).shape) == (1, model.num_classes, 128, 192)
            return
        shapes = [tuple(x.shape) for x in model(image)]
    assert [shape[1] for shape in shapes] == [info.channels for info in model.features]
    for shape, info in zip(shapes, model.features, strict=True):
        assert shape[2:] == (128 // info.stride, 192 // info.stride)


@pytest.mark.parametrize("row", ROWS)
def test_variants_of_one_option_are_different_networks(row: str) -> None:
    """An option that changes nothing would be no option: keys, shapes or a part of the network differ."""
    told: dict[str, set[str]] = {}
    count: dict[str, int] = {}
    for name, options in ROWS[row]:
        if len(options) == 1:
            case = f"{name} {next(iter(options))}"
            told.setdefault(case, set()).add(_description(skeletons.built(name, **options)))
            count[case] = count.get(case, 0) + 1
    for case, number in count.items():
        assert len(told[case]) == number, case


def _description(network: nn.Module) -> str:
    """Modules with what they are made of, and plain attributes of each (numbers, words, tuples)."""
    lines = []
    for path, module in network.named_modules():
        plain = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, bool | int | float | str | tuple) and key != "zoo_name"
        }
        lines.append(f"{path} {type(module).__name__} {sorted(map(repr, plain.items()))}")
    lines += [f"{key} {tuple(value.shape)}" for key, value in network.state_dict().items()]
    return "\n".join(lines)
