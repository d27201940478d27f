"""DPT: parity with mmsegmentation and transformers, read-outs, probe, switches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from segstudio.core.errors import UserError
from segstudio.plugin_api import Query
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.vit import build as build_vit
from segstudio_zoo.backbones.vit_hybrid import StandardisedConv
from segstudio_zoo.plugin import PLUGIN
from segstudio_zoo.probes import dpt as probes
from segstudio_zoo.segmentors import dpt
from tests.zoo.reference import check_reference, mean_over_valid_pixels, reference
from tests.zoo.renamed_gradients import assert_renamed_gradients, shapes_of


def test_equals_mmsegmentation_in_outputs_losses_and_gradients() -> None:
    ref, _ = check_reference("dpt_vit-b16")
    ref.assert_all_seen()


def test_identified_transformers_weights_equal_transformers() -> None:
    ref = reference("transformers_dpt_base")
    state = ref.state_dict()
    found = identify(state)[0]
    assert (found.num_classes, found.layout) == (150, "transformers")
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(model, state)
    assert not (report.missing or report.unexpected or report.mismatched)
    assert all("residual_layer1" in key or key.startswith("dpt.layernorm") for key in report.unused)
    image = ref.image()
    with torch.no_grad():
        ref.assert_close("logits", model.scores(image).logits)
    losses = model.losses(image, ref.target(), mean_over_valid_pixels)
    assert losses["decode.loss_aux"].weight == 0.4
    total = sum(loss.weight * loss.sum / loss.count for loss in losses.values())
    assert float(total.detach()) == pytest.approx(ref.manifest["losses_fp64"]["loss"], rel=1e-5)
    total.backward()
    assert assert_renamed_gradients(ref, model, "transformers") > 150


def test_identify_gives_the_published_name() -> None:
    found = identify(shapes_of(reference("dpt_vit-b16")))
    assert (found[0].name, found[0].num_classes) == ("dpt_vit-b16", 19)


def _small(**options: object) -> nn.Module:
    torch.manual_seed(0)
    return create_model("dpt", backbone="vit-t16", num_classes=3, channels=32, **options)


@pytest.mark.parametrize("readout", ["project", "add", "ignore"])
def test_read_outs_equal_their_equations(readout: str) -> None:
    model = _small(readout=readout)
    block = model.decode_head.reassemble_blocks
    x, token = torch.randn(2, 192, 3, 4), torch.randn(2, 192)
    patches = x.flatten(2).transpose(1, 2)
    with torch.no_grad():
        if readout == "project":
            joined = torch.cat([patches, token[:, None].expand_as(patches)], dim=2)
            expected = block.readout_projects[0](joined)
        else:
            expected = patches + (token[:, None] if readout == "add" else 0)
        expected = expected.transpose(1, 2).reshape(x.shape)
        torch.testing.assert_close(block._read_out(x, token, 0), expected, rtol=1e-5, atol=1e-5)


def test_projecting_before_enlarging_is_the_same_function() -> None:
    torch.manual_seed(0)
    fusion = dpt.FeatureFusion(16, norm=True, first=False).eval()
    x, level = torch.randn(1, 16, 5, 7), torch.randn(1, 16, 5, 7)
    with torch.no_grad():
        y = fusion.res_conv_unit2(x + fusion.res_conv_unit1(level))
        y = nn.functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        torch.testing.assert_close(fusion(x, level), fusion.project(y), rtol=1e-4, atol=1e-5)


def test_switches_change_the_mask_and_put_it_back() -> None:
    model = _small()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        trained = model(image)
        results = []
        for switch, value in ((probes.readout_switch, "off"), (probes.tap_switch, 1), (probes.tap_switch, 4)):
            with switch(model, value):
                results.append(model(image))
        assert torch.equal(model(image), trained)
    assert all(not torch.equal(result, trained) for result in results)


def test_readout_probe_is_the_class_tokens_row_of_the_tapped_block() -> None:
    model = _small()
    inner = model.backbone.layers[5].attn.attn
    seen: list[torch.Tensor] = []
    inner.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    probe = probes.readout_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(torch.randn(1, 3, 48, 80))
    answer = probe.map(captured, Query("global"), tap=2, head=3)
    with torch.no_grad():
        query, key, _ = (seen[0][0] @ inner.in_proj_weight.T + inner.in_proj_bias).chunk(3, dim=1)
        row = (query[0, 128:] @ key[:, 128:].T / 8).softmax(-1)
    np.testing.assert_allclose(answer.values.ravel(), row[1:].numpy(), atol=1e-5)
    assert answer.values.shape == (3, 5)
    assert answer.values.sum() + answer.extras["other_tokens"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("options", [{"residual_norm": False, "auxiliary": True, "upsample": True}, {}])
def test_any_size_and_every_parameter_learns(options: dict) -> None:
    model = _small(**options)
    with torch.no_grad():
        assert model(torch.randn(3, 3, 33, 47)).shape == (3, 3, 33, 47)
        assert model(torch.randn(1, 3, 1, 1)).shape == (1, 3, 1, 1)
        sides = model.side_outputs(torch.randn(1, 3, 64, 64))
    assert set(sides) == ({"auxiliary"} if options else set())
    target = torch.randint(0, 3, (1, 129, 161))
    losses = model.losses(torch.randn(1, 3, 129, 161), target, mean_over_valid_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_other_transformers_and_refused_backbones() -> None:
    backbone = build_vit("vit-t32")
    assert dpt.build(backbone, num_classes=2).backbone.taps == (2, 5, 8, 11)
    with pytest.raises(ValueError, match="plain transformer"):
        create_model("dpt", backbone="r18-d8", num_classes=2)


def test_hybrid_reads_two_stages_and_two_blocks_and_learns() -> None:
    torch.manual_seed(0)
    model = create_model("dpt_vit-hybrid", num_classes=3, channels=32)
    assert [(f.channels, f.stride) for f in model.backbone.features] == [
        (256, 4),
        (512, 8),
        (768, 16),
        (768, 16),
    ]
    assert model.backbone.taps == (8, 11)
    target = torch.randint(0, 3, (1, 64, 64))
    losses = model.losses(torch.randn(1, 3, 64, 64), target, mean_over_valid_pixels)
    sum(loss.weight * loss.sum / loss.count for loss in losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        assert model(torch.randn(1, 3, 33, 47)).shape == (1, 3, 33, 47)


def test_standardised_convolution_equals_its_equation() -> None:
    torch.manual_seed(0)
    conv = StandardisedConv(4, 6, 3, 2)
    x = torch.randn(1, 4, 7, 8)
    kernel = conv.weight.detach().numpy()
    flat = kernel.reshape(6, -1)
    flat = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-6)
    padded = np.pad(x[0].numpy(), ((0, 0), (1, 1), (0, 1)))
    expected = np.zeros((6, 4, 4))
    for row in range(4):
        for column in range(4):
            window = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[:, row, column] = flat @ window.ravel()
    np.testing.assert_allclose(conv(x)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_auxiliary_head_is_declared_as_an_output_that_an_option_brings() -> None:
    spec = next(spec for spec in PLUGIN.models if spec.name == "dpt_vit-b16")
    assert (spec.side_outputs, spec.optional_outputs, spec.outputs) == ((), ("auxiliary",), ("auxiliary",))
    with torch.no_grad():
        sides = _small(auxiliary=True).side_outputs(torch.randn(1, 3, 64, 64))
        plain = _small().side_outputs(torch.randn(1, 3, 64, 64))
    assert set(sides) == set(spec.outputs) and set(plain) == set(spec.side_outputs)


def test_the_auxiliary_head_is_shown_where_the_network_has_it() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    built = ModelRef("segstudio_zoo/dpt_vit-b16", num_classes=3, untrained=True, output="auxiliary")
    with pytest.raises(UserError, match=r"no output 'auxiliary'.*It has only the final one"):
        Engine(device="cpu").predict(built, picture)
    with_head = dataclasses.replace(built, options={"auxiliary": True})
    assert Engine(device="cpu").predict(with_head, picture).label_map.shape == (64, 64)
