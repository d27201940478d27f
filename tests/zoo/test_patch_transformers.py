"""ViT, BEiT and MAE as backbones: parity with mmsegmentation and timm, positions, probes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones import beit, vit
from segstudio_zoo.backbones.beit import trunk
from segstudio_zoo.layers.position import bias_table_for, position_for, relations, relative_index
from tests.zoo.reference import check_backbone, reference


@pytest.mark.parametrize("name", ["backbone_beit-base", "backbone_mae-base"])
def test_taps_equal_mmsegmentation_with_tables_of_the_pictures_size(name: str) -> None:
    ref, model = check_backbone(name)
    ref.assert_all_seen()
    assert model.layers[0].attn.relative_position_bias_table.shape == (212, 12)


@pytest.mark.parametrize(
    ("name", "own"),
    [("timm_beit_base_patch16_224", "beit-base"), ("timm_vit_base_patch16_224_mae", "vit-b16")],
)
def test_identified_timm_weights_give_every_blocks_output(name: str, own: str) -> None:
    ref = reference(name)
    state = ref.state_dict()
    found = identify(state)[0]
    assert (found.name, found.layout) == (own, "timm")
    model = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(model, state)
    assert not (report.missing or report.unexpected or report.mismatched)
    assert {key.split(".")[0] for key in report.unused} <= {"norm", "fc_norm", "head"}
    with torch.no_grad():
        features = model(ref.image())
    assert len(features) == 12
    for index, value in enumerate(features):
        ref.assert_close(f"feature.{index}", value)


def _small_beit(position: str = "relative", size: tuple[int, int] = (64, 64)) -> beit.Beit:
    torch.manual_seed(0)
    model = trunk(32, 3, 2, hidden=64, patch=16, image_size=size, taps=(0, 2), position=position)
    for name, parameter in model.named_parameters():
        if "table" in name or "bias" in name or name == "pos_embed":
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def test_relative_index_is_a_row_per_offset() -> None:
    index = relative_index((2, 3)).numpy()
    assert index.shape == (7, 7) and relations((2, 3)) == 18
    for q in range(6):
        for k in range(6):
            dy, dx = q // 3 - k // 3, q % 3 - k % 3
            assert index[1 + q, 1 + k] == (dy + 1) * 5 + dx + 2
    assert index[0, 0] == 17 and set(index[0, 1:]) == {15} and set(index[1:, 0]) == {16}


def test_tables_of_the_grids_length_are_used_unchanged_and_others_resized() -> None:
    table = torch.randn(1, 1 + 12, 8)
    assert position_for(table, (3, 4), None) is table
    assert position_for(table, (4, 3), None) is table
    wide = position_for(table, (6, 8), (3, 4))
    grid = table[0, 1:].reshape(3, 4, 8).permute(2, 0, 1)[None]
    expected = F.interpolate(grid, (6, 8), mode="bicubic", align_corners=False)
    torch.testing.assert_close(wide[0, 1:], expected[0].flatten(1).T)
    torch.testing.assert_close(wide[:, :1], table[:, :1])
    bias = torch.randn(relations((4, 4)), 2)
    assert bias_table_for(bias, (4, 4), None) is bias
    assert bias_table_for(bias, (3, 5), None).shape == (relations((3, 5)), 2)
    with pytest.raises(ValueError, match="image_size"):
        bias_table_for(torch.randn(relations((2, 5)), 2), (4, 4), None)


@pytest.mark.parametrize("position", ["relative", "shared", "absolute", "none"])
def test_positions_of_every_kind_run_at_any_size_and_learn(position: str) -> None:
    model = _small_beit(position).train()
    maps = model(torch.randn(2, 3, 64, 64))
    assert [tuple(x.shape) for x in maps] == [(2, 32, 4, 4)] * 2
    sum(x.square().mean() for x in maps).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert model.eval()(torch.randn(1, 3, 33, 100))[0].shape == (1, 32, 2, 6)
    with pytest.raises(ValueError, match="position"):
        _small_beit("rotary")


def test_what_is_over_of_an_image_is_left_out_unless_it_is_under_a_patch() -> None:
    model, image = _small_beit(), torch.randn(1, 3, 37, 90)
    with torch.no_grad():
        for whole, cut in zip(model(image), model(image[..., :32, :80]), strict=True):
            assert torch.equal(whole, cut)
        assert model(image[..., :9, :40])[0].shape == (1, 32, 1, 3)
    assert model.attention_sites(37, 90)[0].queries.size == (2, 5)


def test_attention_with_bias_equals_the_full_matrix() -> None:
    model = _small_beit()
    block, image = model.layers[1], torch.randn(1, 3, 48, 80)
    seen: list[torch.Tensor] = []
    block.attn.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    probe = beit.attention_probe()
    with torch.no_grad(), probe.attach(model) as captured:
        model(image)
        x, size = seen[0][0], (3, 5)
        attention = block.attn
        bias = torch.cat([attention.q_bias, torch.zeros(32), attention.v_bias])
        query, key, _ = F.linear(x, attention.qkv.weight, bias).chunk(3, dim=1)
        table = attention.table_for(size)
        rows = []
        for head in range(2):
            part = slice(16 * head, 16 * head + 16)
            scores = query[:, part] @ key[:, part].T / 4 + table[relative_index(size), head]
            rows.append(scores.softmax(-1))
        full = torch.stack(rows)
    pixel = Query("pixel", y=20, x=70)  # cell (1, 4)
    answer = probe.map(captured, pixel, block=2, head=1)
    assert answer.query_cell == (1, 4) and answer.stride == (16.0, 16.0)
    np.testing.assert_allclose(answer.values.ravel(), full[0, 1 + 9, 1:].numpy(), atol=1e-5)
    assert answer.values.sum() + answer.extras["other_tokens"] == pytest.approx(1.0, abs=1e-5)
    whole = full[0, 1 + 9]
    assert answer.extras["entropy_bits"] == pytest.approx(float(-(whole * whole.log2()).sum()), abs=1e-4)
    assert answer.notes == (f"{100 * float(whole[0]):.1f} % of the row goes to the class token",)
    column = probe.map(captured, pixel, block=2, view="column")
    assert not column.notes and "entropy_bits" not in column.extras
    np.testing.assert_allclose(column.values.ravel(), full.mean(0)[1:, 1 + 9].numpy(), atol=1e-5)
    token = probe.map(captured, Query("global"), block=2, head=2)
    np.testing.assert_allclose(token.values.ravel(), full[1, 0, 1:].numpy(), atol=1e-5)


def test_rollout_is_the_product_of_the_layers() -> None:
    torch.manual_seed(0)
    model = create_model("vit-t32", image_size=(64, 64))
    probe, attention = vit.rollout_probe(), vit.attention_probe()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), probe.attach(model) as captured, attention.attach(model) as kept:
        model(image)
    tokens = captured.records[0].query.shape[1]
    every = torch.arange(tokens)
    product = torch.eye(tokens)
    for record in kept.records[:4]:
        product = (0.5 * record.rows(every).mean(0) + 0.5 * torch.eye(tokens)) @ product
    answer = probe.map(captured, Query("pixel", y=1, x=1), block=4)
    np.testing.assert_allclose(answer.values.ravel(), product[1, 1:].numpy(), atol=1e-5)
    assert answer.values.sum() + answer.extras["other_tokens"] == pytest.approx(1.0, abs=1e-5)


def test_transformers_pretrained_encoder_loads_without_its_decoder() -> None:
    from segstudio_zoo.pretraining.mae import MaskedAutoencoder

    small = MaskedAutoencoder(192, 12, 3, patch=16, image_size=(64, 64), decoder_dim=48, decoder_depth=1,
                              decoder_heads=4)  # fmt: skip
    rename = (
        ("encoder.cls_token", "vit.embeddings.cls_token"),
        ("encoder.pos_embed", "vit.embeddings.position_embeddings"),
        ("encoder.patch_embed.projection", "vit.embeddings.patch_embeddings.projection"),
        ("encoder.layers.", "vit.encoder.layer."), ("encoder.ln1.", "vit.layernorm."),
        (".ln1.", ".layernorm_before."), (".ln2.", ".layernorm_after."),
        (".attn.attn.out_proj.", ".attention.output.dense."), (".ffn.layers.0.0.", ".intermediate.dense."),
        (".ffn.layers.1.", ".output.dense."),
    )  # fmt: skip
    state = {}
    for key, value in small.state_dict().items():
        if not key.startswith("encoder."):
            state[f"decoder.{key}"] = value
            continue
        for ours, theirs in rename:
            key = key.replace(ours, theirs)
        where, piece, ending = key.partition(".attn.attn.in_proj_")
        if piece:
            for part, tensor in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[f"{where}.attention.attention.{part}.{ending}"] = tensor
        else:
            state[key] = value
    found = identify(state)[0]
    assert (found.name, found.layout) == ("vit-t16", "transformers")
    model = create_model(found.name, **found.options)
    report = load_checkpoint(model, state)
    assert not (report.missing or report.unexpected or report.mismatched)
    assert all(key.startswith(("decoder.", "vit.layernorm.")) for key in report.unused)
    torch.testing.assert_close(
        model.layers[3].attn.attn.in_proj_weight, small.encoder.layers[3].attn.attn.in_proj_weight
    )


def test_learning_rate_depths_count_from_the_image() -> None:
    model = create_model("vit-t16")
    assert model.depth_of("patch_embed.projection.weight") == 0
    assert model.depth_of("layers.11.ln1.weight") == 12 == model.num_depths - 1
