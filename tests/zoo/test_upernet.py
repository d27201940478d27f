"""UPerNet over ConvNeXt, BEiT and MAE: parity, transformers' BEiT, other backbones, learning rates."""

from __future__ import annotations

import pytest
import torch

from segstudio_zoo import create_model, identify, load_checkpoint
from tests.zoo.reference import check_reference, mean_over_valid_pixels, reference
from tests.zoo.renamed_gradients import assert_renamed_gradients, shapes_of


@pytest.mark.parametrize("name", ["upernet_convnext-tiny", "upernet_beit-base", "upernet_mae-base"])
def test_equals_mmsegmentation_in_outputs_losses_and_gradients(name: str) -> None:
    ref, _ = check_reference(name)
    ref.assert_all_seen()


def test_identified_transformers_beit_reads_two_blocks_earlier_per_tap() -> None:
    ref = reference("transformers_beit_base")
    state = ref.state_dict()
    found = identify(state)[0]
    assert (found.num_classes, found.layout) == (150, "transformers")
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(model, state)
    assert not (report.missing or report.unexpected or report.mismatched or report.unused)
    assert model.backbone.taps == (1, 3, 5, 9)
    image = ref.image()
    with torch.no_grad():
        ref.assert_close("logits", model.scores(image).logits)
    losses = model.losses(image, ref.target(), mean_over_valid_pixels)
    total = sum(loss.weight * loss.sum / loss.count for loss in losses.values())
    assert float(total.detach()) == pytest.approx(ref.manifest["losses_fp64"]["loss"], rel=1e-5)
    total.backward()
    assert assert_renamed_gradients(ref, model, "transformers") > 150


@pytest.mark.parametrize("name", ["upernet_convnext-tiny", "upernet_beit-base", "upernet_mae-base"])
def test_identify_gives_the_published_name(name: str) -> None:
    ref = reference(name)
    found = identify(shapes_of(ref))
    assert found[0].name == name and found[0].num_classes == 19


def test_transformers_large_beit_has_its_own_taps() -> None:
    state = {}
    for key, shape in reference("transformers_beit_base").manifest["state_dict"].items():
        wide = [{768: 1024, 3072: 4096, 12: 16, 3840: 5120}.get(n, n) for n in shape]
        state[key] = torch.empty(wide, device="meta")
        start, mark, rest = key.partition("encoder.layer.")
        if mark:
            number, _, inside = rest.partition(".")
            state[f"{start}{mark}{int(number) + 12}.{inside}"] = state[key]
    found = identify(state)[0]
    assert found.name == "upernet_beit-large" and found.options == {"out_indices": (5, 9, 13, 21)}


@pytest.mark.parametrize(
    ("backbone", "options"), [("convnextv2-atto", {}), ("mit-b0", {"align_corners": True}), ("vit-t16", {})]
)
def test_any_suitable_backbone_learns(backbone: str, options: dict) -> None:
    torch.manual_seed(0)
    model = create_model("upernet", backbone=backbone, num_classes=3, channels=32, **options)
    assert model(torch.randn(3, 3, 65, 97)).shape == (3, 3, 65, 97)
    target = torch.randint(0, 3, (1, 64, 96))
    losses = model.losses(torch.randn(1, 3, 64, 96), target, mean_over_valid_pixels)
    assert set(losses) == {"decode.loss_ce", "aux.loss_ce"} and losses["aux.loss_ce"].weight == 0.4
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert set(model.side_outputs(torch.randn(1, 3, 64, 96))) == {"auxiliary"}


def test_learning_rates_fall_towards_the_image() -> None:
    model = create_model("upernet", backbone="convnextv2-atto", num_classes=3, channels=32)
    rates = {id(p): group["lr"] for group in model.param_groups(1.0) for p in group["params"]}
    stem = rates[id(model.backbone.downsample_layers[0][0].weight)]
    last = rates[id(model.backbone.stages[3][1].pointwise_conv2.weight)]
    assert stem < last < rates[id(model.decode_head.conv_seg.weight)] == 1.0
    decayed = {id(p): group.get("weight_decay") for group in model.param_groups(1.0) for p in group["params"]}
    assert decayed[id(model.backbone.stages[0][0].norm.weight)] == 0.0
    assert decayed[id(model.backbone.stages[0][0].pointwise_conv1.weight)] is None


def test_a_single_strided_backbone_is_refused_with_what_was_expected() -> None:
    with pytest.raises(ValueError, match="strides 4, 8, 16"):
        create_model("upernet", backbone="r18-d8", num_classes=3)
