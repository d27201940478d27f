"""Non-local: parity, the four pairwise functions against their formulas, rows and columns, switch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.catalog.nonlocal_net import ENTRY, FORMS
from segstudio_zoo.layers.dense_attention import attend
from segstudio_zoo.segmentors.nonlocal_net import NonLocalBlock, attention_probe, block_off
from tests.zoo.reference import check_reference, mean_over_all_pixels


def test_equals_the_reference() -> None:
    ref, _ = check_reference("nonlocal_r50-d8")
    ref.assert_all_seen()


def _full_matrix(block: NonLocalBlock, x: Tensor) -> Tensor:
    """f(x_i, x_j) / C(x) of the first image, pair by pair as section 3.2 writes it."""
    if block.instantiation == "gaussian":
        theta, phi = x[0].flatten(1).T, block.phi(x)[0].flatten(1).T
    else:
        theta, phi = block.theta(x)[0].flatten(1).T, block.phi(x)[0].flatten(1).T
    if block.instantiation in ("gaussian", "embedded_gaussian"):
        f = torch.exp(block.scale * (theta @ phi.T))
        return f / f.sum(1, keepdim=True)
    if block.instantiation == "dot_product":
        return theta @ phi.T / len(phi)
    weight = block.concat_project.conv.weight.flatten()
    pairs = torch.stack([torch.stack([torch.cat([t, p]) for p in phi]) for t in theta])
    return (pairs @ weight).relu() / len(phi)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sub_sample", [False, True])
def test_each_form_equals_its_formula(form: str, sub_sample: bool) -> None:
    torch.manual_seed(0)
    block = NonLocalBlock(8, instantiation=form, sub_sample=sub_sample).double().eval()
    torch.nn.init.normal_(block.conv_out.bn.weight)
    x = torch.randn(1, 8, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        weights = _full_matrix(block, x)
        y = (weights @ block.g(x)[0].flatten(1).T).T.reshape(1, -1, 5, 6)
        expected = x + block.conv_out(y)
        assert torch.allclose(block(x), expected, atol=1e-12)
    with torch.enable_grad():
        assert torch.allclose(block(x), expected, atol=1e-12)


@pytest.mark.parametrize("rule", ["softmax", "mean", "relu_mean"])
@pytest.mark.parametrize("width", [4, 6])
def test_attention_in_chunks_equals_the_whole_matrix(
    rule: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segstudio_zoo.layers.dense_attention.CHUNK_SCORES", 40)
    torch.manual_seed(1)
    query, key, value = torch.randn(2, 17, 4), torch.randn(2, 13, 4), torch.randn(2, 13, width)
    with torch.no_grad():
        chunked = attend(query, key, value, scale=0.7, rule=rule)
    whole = attend(query.requires_grad_(), key, value, scale=0.7, rule=rule)
    assert torch.allclose(chunked, whole, atol=1e-6)


def test_the_block_starts_as_the_identity() -> None:
    x = torch.randn(1, 8, 5, 6)
    assert torch.equal(NonLocalBlock(8).eval()(x), x)


@pytest.mark.parametrize("form", FORMS)
def test_rows_and_columns_are_those_of_the_full_matrix(form: str) -> None:
    torch.manual_seed(2)
    model = create_model("nonlocal_r18-d8", num_classes=3, instantiation=form, channels=16)
    image = torch.randn(1, 3, 56, 72)
    probe = attention_probe()
    inputs: list[Tensor] = []
    handle = model.decode_head.nl_block.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(image)
        model.train(False)
    handle.remove()
    with torch.no_grad():
        full = _full_matrix(model.decode_head.nl_block, inputs[0])
    row = probe.map(captured, Query(y=17, x=40))
    column = probe.map(captured, Query(y=17, x=40), view="column")
    index = 2 * 9 + 5
    assert row.query_cell == column.query_cell == (2, 5)
    assert row.stride == (8.0, 8.0)
    assert torch.allclose(torch.from_numpy(row.values).flatten(), full[index], atol=1e-5)
    assert torch.allclose(torch.from_numpy(column.values).flatten(), full[:, index], atol=1e-5)
    assert row.signed == (form == "dot_product")
    assert row.rows_sum_to_one == (form in ("gaussian", "embedded_gaussian"))
    assert captured.nbytes < full.numel() * 4 * 4


def test_other_forms_are_shown_where_the_weights_allow() -> None:
    model = create_model("nonlocal_r18-d8", num_classes=3, channels=16)
    probe = attention_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(torch.randn(1, 3, 64, 64))
    signed = probe.map(captured, Query(y=3, x=3), form="dot_product")
    assert signed.signed
    assert signed.notes
    assert probe.map(captured, Query(y=3, x=3), form="gaussian").values.sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="concatenation needs w_f, which only a network built with it has"):
        probe.map(captured, Query(y=3, x=3), form="concatenation")
    with pytest.raises(ValueError, match="outside"):
        probe.map(captured, Query(y=300, x=3))


def _shown(form: str, built: str, **options: object) -> tuple[NonLocalBlock, Tensor, dict[str, ProbeMap]]:
    """What the probe shows as `form` (and as built) of a network built with `built`; its block's input."""
    torch.manual_seed(4)
    model = create_model("nonlocal_r18-d8", num_classes=3, channels=16, instantiation=built, **options)
    probe, inputs = attention_probe(), []
    block = model.decode_head.nl_block
    handle = block.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(torch.randn(1, 3, 56, 72))
    handle.remove()
    maps = {name: probe.map(captured, Query(y=17, x=40), form=name) for name in (form, "as built")}
    return block, inputs[0], maps


@pytest.mark.parametrize("form", FORMS)
def test_a_concatenation_network_shows_all_four_forms_on_one_query(form: str) -> None:
    block, x, maps = _shown(form, "concatenation")
    with torch.no_grad():
        if form in ("embedded_gaussian", "dot_product"):
            theta, phi = (layer(x)[0].flatten(1).T for layer in (block.theta, block.phi))
            scores = theta @ phi.T
            width = theta.shape[1]
            full = (scores * width**-0.5).softmax(1) if form == "embedded_gaussian" else scores / len(phi)
        elif form == "gaussian":
            flat = x[0].flatten(1).T
            full = (flat @ flat.T).softmax(1)
        else:
            full = _full_matrix(block, x)
    shown = maps[form]
    assert torch.allclose(torch.from_numpy(shown.values).flatten(), full[2 * 9 + 5], atol=1e-5)
    assert shown.signed == (form == "dot_product")
    assert bool(shown.notes) == (form != "concatenation")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sub_sample", [False, True])
def test_the_form_a_network_was_built_with_can_be_asked_for_by_its_name(form: str, sub_sample: bool) -> None:
    _, _, maps = _shown(form, form, use_scale=False, sub_sample=sub_sample, reduction=1)
    assert np.array_equal(maps[form].values, maps["as built"].values)
    assert not maps[form].notes


@pytest.mark.parametrize("form", ["embedded_gaussian", "dot_product", "concatenation"])
def test_a_gaussian_network_says_which_weights_it_lacks(form: str) -> None:
    with pytest.raises(ValueError, match=f"{form} needs (theta and phi|w_f), which"):
        _shown(form, "gaussian")


def test_all_four_forms_can_be_chosen() -> None:
    (option,) = (option for option in ENTRY.probes[0].options if option.name == "form")
    assert option.choices == ("as built", *FORMS)
    with pytest.raises(ValueError, match="as built, gaussian, embedded_gaussian"):
        _shown("cosine", "dot_product")


def test_a_checkpoint_without_its_auxiliary_head_is_known_and_loads() -> None:
    whole = create_model("nonlocal_r18-d8", num_classes=3, channels=16).state_dict()
    state = {k: v for k, v in whole.items() if not k.startswith("auxiliary_head.")}
    found = identify(state)[0]
    assert found.options["auxiliary"] is False
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    load_checkpoint(model, state)
    image, target = torch.randn(1, 3, 64, 96), torch.zeros(1, 64, 96, dtype=torch.long)
    assert not model.side_outputs(image)
    assert not any(key.startswith("aux") for key in model.losses(image, target, mean_over_all_pixels))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_switching_the_block_off_leaves_its_input() -> None:
    model = create_model("nonlocal_r18-d8", num_classes=3, channels=16)
    torch.nn.init.ones_(model.decode_head.nl_block.conv_out.bn.weight)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        normal = model(image)
        with block_off(model, False):
            off = model(image)
        assert torch.equal(model(image), normal)
    assert not torch.allclose(off, normal)


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_gets_a_gradient(form: str) -> None:
    torch.manual_seed(3)
    model = create_model("nonlocal_r18-d8", num_classes=3, instantiation=form, channels=16).train()
    torch.nn.init.ones_(model.decode_head.nl_block.conv_out.bn.weight)
    torch.nn.init.constant_(model.decode_head.nl_block.conv_out.bn.bias, 0.1)
    image = torch.randn(3, 3, 65, 81)
    sum(out.logits.square().mean() for out in model.side_outputs(image).values()).backward()
    model.scores(image).logits.square().mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
