"""SegFormer and MiT: parity with mmsegmentation and transformers, probe, switch, odd sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.mit import EfficientSelfAttention, attention_probe, mix_switch
from tests.zoo.reference import check_reference, mean_over_valid_pixels, reference
from tests.zoo.renamed_gradients import assert_renamed_gradients


def test_equals_mmsegmentation_in_outputs_losses_and_gradients() -> None:
    ref, _ = check_reference("segformer_mit-b0")
    ref.assert_all_seen()


def test_identified_transformers_weights_equal_transformers() -> None:
    ref = reference("transformers_segformer_b0")
    state = ref.state_dict()
    found = identify(state)[0]
    assert (found.name, found.num_classes, found.layout) == ("segformer_mit-b0", 150, "transformers")
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(model, state)
    assert not (report.missing or report.unexpected or report.mismatched or report.unused)
    image = ref.image()
    with torch.no_grad():
        ref.assert_close("logits", model.scores(image).logits)
    losses = model.losses(image, ref.target(), mean_over_valid_pixels)
    total = sum(loss.weight * loss.sum / loss.count for loss in losses.values())
    assert float(total.detach()) == pytest.approx(ref.manifest["losses_fp64"]["loss"], rel=1e-5)
    total.backward()
    assert assert_renamed_gradients(ref, model, "transformers") > 150


def _authors_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's weights under the key names of the authors' repository."""
    state = {}
    for key, value in model.state_dict().items():
        part, *rest = key.split(".")
        if part == "backbone":
            stage, kind, *rest = rest[1:]
            number = int(stage) + 1
            if kind == "0":
                name = {"projection": "proj", "norm": "norm"}[rest[0]]
                state[f"backbone.patch_embed{number}.{name}.{rest[1]}"] = value
            elif kind == "2":
                state[f"backbone.norm{number}.{rest[0]}"] = value
            else:
                where = f"backbone.block{number}.{rest[0]}."
                inside = ".".join(rest[1:])
                if "in_proj" in inside:
                    ending = inside.rsplit("_", 1)[1]
                    width = value.shape[0] // 3
                    state[f"{where}attn.q.{ending}"], state[f"{where}attn.kv.{ending}"] = value.split(
                        [width, 2 * width]
                    )
                    continue
                for ours, theirs in (
                    ("attn.attn.out_proj", "attn.proj"),
                    ("ffn.layers.0", "mlp.fc1"),
                    ("ffn.layers.1", "mlp.dwconv.dwconv"),
                    ("ffn.layers.4", "mlp.fc2"),
                ):
                    inside = inside.replace(ours, theirs)
                state[where + inside] = value[:, :, 0, 0] if "mlp.fc" in inside and value.ndim == 4 else value
        elif rest[0] == "convs":
            state[f"decode_head.linear_c{int(rest[1]) + 1}.proj.{rest[3]}"] = value.squeeze(-1).squeeze(-1)
        elif rest[0] == "fusion_conv":
            state[f"decode_head.linear_fuse.{'.'.join(rest[1:])}"] = value
        else:
            state[f"decode_head.linear_pred.{rest[1]}"] = value
    return state


def test_authors_weights_load_completely() -> None:
    torch.manual_seed(0)
    way = {"projection": "linear", "fusion_order": "coarse_to_fine", "channels": 256}
    model = create_model("segformer_mit-b0", num_classes=5, **way)
    state = _authors_state(model)
    found = identify(state)[0]
    assert (found.name, found.num_classes, found.layout) == ("segformer_mit-b0", 5, "authors")
    other = create_model(found.name, num_classes=5, **found.options)
    report = load_checkpoint(other, state)
    assert not (report.missing or report.unexpected or report.mismatched or report.unused)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(other(image), model(image))


def test_fusing_before_enlarging_equals_the_papers_order() -> None:
    torch.manual_seed(0)
    model = create_model("segformer_mit-b0", num_classes=4)
    head = model.decode_head
    with torch.no_grad():
        features = model.backbone(torch.randn(2, 3, 65, 97))
        size = features[0].shape[-2:]
        levels = [
            F.interpolate(project(x), size, mode="bilinear", align_corners=False)
            for project, x in zip(head.convs, features, strict=True)
        ]
        expected = head.conv_seg(head.fusion_conv(torch.cat(levels, dim=1)))
        torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-5)


def _full_attention(module: EfficientSelfAttention, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Every row of the attention matrix, written plainly: (heads, L, keys)."""
    dim = x.shape[-1]
    inner = module.attn
    source = x
    if module.reduction > 1:
        image = x.transpose(1, 2).reshape(1, dim, *size)
        source = module.norm(module.sr(image).flatten(2).transpose(1, 2))
    query = x[0] @ inner.in_proj_weight[:dim].T + inner.in_proj_bias[:dim]
    key = source[0] @ inner.in_proj_weight[dim : 2 * dim].T + inner.in_proj_bias[dim : 2 * dim]
    width = dim // inner.heads
    rows = []
    for head in range(inner.heads):
        part = slice(head * width, (head + 1) * width)
        rows.append((query[:, part] @ key[:, part].T / width**0.5).softmax(-1))
    return torch.stack(rows)


@pytest.mark.parametrize(("stage", "block", "head"), [(1, 1, 0), (2, 2, 1), (3, 1, 5), (4, 0, 8)])
def test_probe_rows_and_columns_equal_the_networks_own_attention(stage: int, block: int, head: int) -> None:
    torch.manual_seed(0)
    model = create_model("segformer_mit-b0", num_classes=3)
    height, width = 64, 96
    module = model.backbone.layers[stage - 1][1][block - 1].attn
    seen: list[tuple[torch.Tensor, tuple[int, int]]] = []
    module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    probe = attention_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(torch.randn(1, 3, height, width))
    x, size = seen[0]
    with torch.no_grad():
        full = _full_attention(module, x, size)
        full = full.mean(0) if head == 0 else full[head - 1]
    stride = 2 ** (stage + 1)
    row, column = 1, 2
    query = Query("pixel", y=row * stride + 1, x=column * stride + 1)
    options = {"stage": stage, "block": block, "head": head}
    answer = probe.map(captured, query, **options)
    keys = module.key_size(size) if module.reduction > 1 else size
    assert answer.values.shape == keys
    assert answer.query_cell == (row, column)
    assert answer.rows_sum_to_one and answer.values.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(answer.values.ravel(), full[row * size[1] + column].numpy(), rtol=0, atol=1e-5)
    back = probe.map(captured, query, view="column", **options)
    key = back.query_cell
    assert key is not None
    np.testing.assert_allclose(
        back.values.ravel(), full[:, key[0] * keys[1] + key[1]].numpy(), rtol=0, atol=1e-5
    )


def test_probe_keeps_no_matrix_and_stops_when_closed() -> None:
    model = create_model("segformer_mit-b0", num_classes=3)
    probe = attention_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(torch.zeros(1, 3, 128, 128))
    tokens = 32 * 32
    assert 0 < captured.nbytes < tokens * tokens * 4
    before = captured.nbytes
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert captured.nbytes == before
    with pytest.raises(ValueError, match="outside"):
        probe.map(captured, Query("pixel", y=500, x=0))
    with pytest.raises(ValueError, match="no block 9"):
        probe.map(captured, Query("pixel"), stage=1, block=9)


def test_mix_ffn_switch_changes_the_output_and_puts_it_back() -> None:
    torch.manual_seed(0)
    model = create_model("segformer_mit-b0", num_classes=3)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        trained = model(image)
        with mix_switch(model, "off"):
            off = model(image)
        with mix_switch(model, "centre"):
            centre = model(image)
        assert torch.equal(model(image), trained)
    assert not torch.allclose(off, trained) and not torch.allclose(centre, trained)
    assert not torch.allclose(off, centre)
    with pytest.raises(ValueError, match="'half'"), mix_switch(model, "half"):
        pass


def test_any_size_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = create_model("segformer_mit-b0", num_classes=3)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 1, 1)).shape == (1, 3, 1, 1)
        assert model(torch.randn(3, 3, 33, 47)).shape == (3, 3, 33, 47)
    model(torch.randn(2, 3, 129, 161)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    groups = model.param_groups(1e-3)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert {group["lr"] for group in groups} == {1e-3, 1e-2}
