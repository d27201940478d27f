"""What probes tell of the cost of attention, and columns from kept log-sum-exps against whole matrices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo import create_model
from segstudio_zoo.backbones import beit, mit, vit
from segstudio_zoo.layers.attention import AttentionRecord
from segstudio_zoo.layers.dense_attention import DenseCapture, DenseRecord, Rule, row_or_column
from segstudio_zoo.layers.position import relations
from segstudio_zoo.layers.relative_transformer import bias_rows
from segstudio_zoo.probes import ccnet as ccnet_probes
from segstudio_zoo.probes import danet as danet_probes
from segstudio_zoo.probes import ocrnet as ocrnet_probes
from segstudio_zoo.probes import psanet as psanet_probes
from segstudio_zoo.segmentors import ann, gcnet, nonlocal_net, segmenter
from tests.zoo.attention_nets import picture, small

HEIGHT, WIDTH = 96, 192
CELLS = HEIGHT * WIDTH
FULL = 339_738_624
MIDDLE = Query("pixel", y=100.0, x=200.0)


def _dense(keys: int, key_grid: tuple[int, int] | None, **extra: Any) -> DenseCapture:
    record = DenseRecord(
        torch.zeros(CELLS, 2), torch.zeros(keys, 2), 1.0, "softmax", (HEIGHT, WIDTH), key_grid, extra
    )
    return DenseCapture((8 * HEIGHT, 8 * WIDTH), False, [record])


def test_full_attention_on_a_cityscapes_picture_computes_the_published_number_of_scores() -> None:
    captured = _dense(CELLS, (HEIGHT, WIDTH))
    extras = row_or_column(captured, captured.record(), MIDDLE, "row").extras
    assert (extras["scores"], extras["score_bytes"]) == (FULL, 4 * FULL)
    assert "full_scores" not in extras


def test_a_criss_cross_hop_computes_5289984_scores_where_full_attention_has_339738624() -> None:
    hop = ccnet_probes.Hop.of(torch.zeros(1, 1, HEIGHT, WIDTH), torch.zeros(1, 1, HEIGHT, WIDTH))
    captured = ccnet_probes.CapturedHops([hop, hop])
    captured.image.size = (8 * HEIGHT, 8 * WIDTH)
    extras = ccnet_probes.first_hop().map(captured, MIDDLE).extras
    assert (extras["scores"], extras["scores_of"]) == (5_289_984, "a hop")
    assert extras["score_bytes"] == 4 * 5_289_984
    assert (extras["full_scores"], extras["full_bytes"]) == (FULL, 4 * FULL)
    both = ccnet_probes.composed().map(captured, MIDDLE).extras
    assert (both["scores"], both["scores_of"]) == (2 * 5_289_984, "in 2 hops")


def test_110_anchors_need_2027520_scores() -> None:
    captured = _dense(110, None, pyramid=(1, 3, 6, 8), source_grid=(HEIGHT, WIDTH), places=None)
    extras = ann.anchor_probe().map(captured, MIDDLE).extras
    assert (extras["scores"], extras["score_bytes"]) == (2_027_520, 4 * 2_027_520)
    assert extras["full_scores"] == FULL


def _asked(model: nn.Module, probe: Any, query: Query, size: tuple[int, int] = (41, 57)) -> ProbeMap:
    with torch.no_grad(), probe.attach(model.eval()) as captured:
        model(picture(*size))
    return probe.map(captured, query)


PIXEL = Query("pixel", y=9.0, x=9.0)
# 41 x 57 pixels at stride 8 are 6 x 8 cells; 64 x 96 pixels at stride 16 are 4 x 6 patches.
DENSE: list[tuple[str, dict[str, Any], Callable[[], Any], Query, int]] = [
    ("danet", {}, danet_probes.position_row, PIXEL, 48 * 48),
    ("danet", {}, danet_probes.position_column, PIXEL, 48 * 48),
    ("danet", {}, danet_probes.channel_weights, Query("channel"), 32 * 32),
    (
        "psanet",
        {"mask_size": (11, 15), "direction": "collect", "shrink_factor": 1},
        psanet_probes.collect,
        PIXEL,
        11 * 15 * 48,
    ),
    ("nonlocal", {}, nonlocal_net.attention_probe, PIXEL, 48 * 48),
    ("gcnet", {}, gcnet.global_map_probe, PIXEL, 48),
    ("ocrnet", {}, ocrnet_probes.relation_probe, PIXEL, 48 * 5),
    ("ocrnet", {}, ocrnet_probes.relation_map_probe, Query("class", index=2), 48 * 5),
]


def _network(name: str, **options: Any) -> nn.Module:
    if name in ("danet", "psanet"):
        return small(name, **options)
    if name == "ocrnet":
        options["ocr_channels"] = 8
    return create_model(f"{name}_r18-d8", num_classes=5, channels=16, **options)


@pytest.mark.parametrize(("name", "options", "probe", "query", "scores"), DENSE)
def test_convolutional_families_tell_scores_and_bytes(
    name: str, options: dict[str, Any], probe: Callable[[], Any], query: Query, scores: int
) -> None:
    extras = _asked(_network(name, **options), probe(), query).extras
    assert (extras["scores"], extras["score_bytes"]) == (scores, 4 * scores)
    assert extras.get("full_scores", scores) == (48 * 48 if query.kind != "channel" else scores)


def _encoder(kind: str) -> tuple[nn.Module, Any, int, int]:
    """A small encoder, its probe, and (queries, keys) of the last layer for 64 x 96 pixels."""
    torch.manual_seed(0)
    if kind == "vit":
        return create_model("vit-t16", image_size=(64, 96)), vit.attention_probe(), 25, 25
    if kind == "beit":
        model = beit.trunk(32, 3, 2, hidden=64, patch=16, image_size=(64, 96), taps=(0, 2))
        return model, beit.attention_probe(), 25, 25
    return create_model("mit-b0"), mit.attention_probe(), 6, 6


@pytest.mark.parametrize(("kind", "heads"), [("vit", 3), ("beit", 2), ("mit", 8)])
def test_transformers_count_the_scores_of_all_heads(kind: str, heads: int) -> None:
    model, probe, queries, keys = _encoder(kind)
    with torch.no_grad(), probe.attach(model.eval()) as captured:
        model(picture(64, 96))
    extras = probe.map(captured, PIXEL).extras
    assert (extras["scores"], extras["score_bytes"]) == (heads * queries * keys, 4 * heads * queries * keys)
    if kind == "mit":  # stage 1: 16 x 24 cells against keys reduced 8 a side
        first = probe.map(captured, PIXEL, stage=1, block=1).extras
        assert (first["scores"], first["full_scores"]) == (384 * 6, 384 * 384)
    else:
        layers = len(captured.records)
        rollout = vit.rollout_probe() if kind == "vit" else beit.rollout_probe()
        every = rollout.map(captured, PIXEL).extras
        assert (every["scores"], every["scores_of"]) == (layers * extras["scores"], f"in {layers} layers")


def test_class_tokens_of_segmenter_attend_among_patches_and_classes() -> None:
    torch.manual_seed(0)
    model = create_model("segmenter_vit-t_mask", num_classes=5)
    extras = _asked(model, segmenter.class_token_probe(), Query("class", index=1), (64, 96)).extras
    assert extras["scores"] == 3 * (24 + 5) ** 2 and extras["score_bytes"] == 4 * extras["scores"]


# Columns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["softmax", "mean", "relu_mean"])
def test_dense_columns_are_those_of_the_whole_matrix(rule: Rule) -> None:
    generator = torch.Generator().manual_seed(1)
    query, key = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (30, 20))
    record = DenseRecord(query, key, 0.7, rule, (5, 6), (4, 5))
    scores = 0.7 * query @ key.T
    whole = {"softmax": scores.softmax(1), "mean": scores / 20, "relu_mean": scores.relu() / 20}[rule]
    for index in (0, 7, 19):
        torch.testing.assert_close(record.column(index), whole[:, index].float(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("biased", [False, True])
def test_columns_of_every_head_are_those_of_the_whole_matrix(biased: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    size, heads = (3, 4), 2
    query, key = (torch.randn(heads, 13, 8, generator=generator) for _ in range(2))
    table = torch.randn(relations(size), heads, generator=generator)
    record = AttentionRecord(query, key, 0.5, bias_rows(table, size) if biased else None)
    whole = record.rows(torch.arange(13))
    for index in (0, 5, 12):
        torch.testing.assert_close(record.column(index), whole[:, :, index].mean(0))
        torch.testing.assert_close(record.column(index, 1), whole[1, :, index])


def test_one_log_sum_exp_a_row_is_kept_from_the_first_column_on() -> None:
    record = AttentionRecord(torch.randn(2, 50, 4), torch.randn(2, 30, 4), 1.0)
    before = record.nbytes
    record.column(3)
    assert record.nbytes == before + 4 * 2 * 50
    dense = DenseRecord(torch.randn(50, 4), torch.randn(30, 4), 1.0, "softmax", (5, 10), (5, 6))
    before = dense.nbytes
    dense.column(3)
    assert dense.nbytes == before + 4 * 50


def test_a_second_column_costs_a_small_part_of_the_first() -> None:
    torch.manual_seed(0)
    record = DenseRecord(torch.randn(6000, 64), torch.randn(6000, 64), 0.1, "softmax", (60, 100), (60, 100))

    def seconds(index: int) -> float:
        started = time.perf_counter()
        record.column(index)
        return time.perf_counter() - started

    first = seconds(0)
    assert min(seconds(index) for index in range(1, 6)) < first / 5
