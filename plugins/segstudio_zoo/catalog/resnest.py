"""ResNeSt: facts."""

from __future__ import annotations

from typing import NamedTuple

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper


class Design(NamedTuple):
    """Blocks a stage, half the stem's channels, and the split-attention numbers (section 3.1)."""

    blocks: tuple[int, int, int, int]
    stem_width: int = 32
    radix: int = 2
    cardinality: int = 1
    base_width: int = 64
    pool_first: bool = False


DESIGNS: dict[str, Design] = {
    "resnest14": Design((1, 1, 1, 1)),
    "resnest26": Design((2, 2, 2, 2)),
    "resnest50": Design((3, 4, 6, 3)),
    "resnest101": Design((3, 4, 23, 3), stem_width=64),
    "resnest200": Design((3, 24, 36, 3), stem_width=64),
    "resnest269": Design((3, 30, 48, 8), stem_width=64),
    "resnest50-1s1x64d": Design((3, 4, 6, 3), radix=1, pool_first=True),
    "resnest50-4s1x64d": Design((3, 4, 6, 3), radix=4, pool_first=True),
    "resnest50-1s2x40d": Design((3, 4, 6, 3), radix=1, cardinality=2, base_width=40, pool_first=True),
    "resnest50-2s2x40d": Design((3, 4, 6, 3), radix=2, cardinality=2, base_width=40, pool_first=True),
    "resnest50-1s4x24d": Design((3, 4, 6, 3), radix=1, cardinality=4, base_width=24, pool_first=True),
    "resnest50-4s2x40d": Design((3, 4, 6, 3), radix=4, cardinality=2, base_width=40, pool_first=True),
}
"""Names that say R "s" K "x" width "d" are of the paper's ablation over radix and cardinality, whose networks
pool before the 3x3 convolution that would stride."""

PRESETS = {"resnest50-1s1x64d": "resnest50-se", "resnest50-2s2x40d": "resnest50-resnext"}
"""R = 1, one sigmoid gate a channel, is a squeeze-excite; two cardinal groups are the smallest ResNeXt."""


def _timm_name(name: str) -> str:
    depth, _, rest = name.partition("-")
    return f"{depth}{'e' if depth[-3:] in ('101', '200', '269') else 'd'}{'_' + rest if rest else ''}"


ENTRY = BackboneEntry(
    id="resnest",
    title="ResNeSt",
    paper=Paper(
        title="ResNeSt: Split-Attention Networks",
        authors="Zhang, Wu, Zhang, Zhu, Lin, Zhang, Sun, He, Mueller, Manmatha, Li, Smola",
        venue="CVPR workshops",
        year=2022,
        arxiv="2004.08955",
    ),
    build="segstudio_zoo.backbones.resnest:build",
    variants=tuple(
        BackboneVariant(
            name,
            aliases=(
                _timm_name(name),
                name.replace("resnest", "s"),
                name.replace("resnest", "resnest-s"),
                *((PRESETS[name], PRESETS[name].replace("resnest", "s")) if name in PRESETS else ()),
            ),
            short=name.replace("resnest", "s"),
        )
        for name in DESIGNS
    ),
    models=tuple(NamedModel(f"timm_{_timm_name(name)}", backbone=name, listed=False) for name in DESIGNS),
    options=(
        Option(
            "radix", "int", None, "splits R of a cardinal group; 1 is a squeeze-excite", minimum=1, maximum=8
        ),
        Option(
            "cardinality", "int", None, "cardinal groups K; above 1 is ResNeXt-like", minimum=1, maximum=32
        ),
    ),
    probes=(
        ProbeSpec(
            "split_weights",
            "Weights of the splits",
            "segstudio_zoo.backbones.resnest:split_weight_probe",
            query="global",
            kind="matrix",
            options=(
                Option(
                    "block",
                    "int",
                    -1,
                    "split-attention block, counted from the image; -1 is the last",
                    minimum=-1,
                ),
            ),
            group="ResNeSt",
            help="r-softmax of one block: a row a split, a column a channel; columns sum to 1 where R > 1",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "splits",
            "Split attention",
            "segstudio_zoo.backbones.resnest:average_splits",
            choices=("attention", "mean"),
            trained="attention",
            help="mean: every split weighs 1 / R, whatever the picture",
        ),
    ),
    parts=(
        "split attention: K cardinal groups of R splits, r-softmax (sigmoid at R = 1)",
        "average pooling instead of strided convolutions, in the shortcut too",
        "deep stem of three 3x3 convolutions",
        "presets: resnest50-se (1s1x64d, R = 1: squeeze-excite), resnest50-resnext (2s2x40d: two cardinal "
        "groups), 1s2x40d, 1s4x24d, 4s1x64d, 4s2x40d",
    ),
    look_at=("split weights a channel", "splits averaged"),
    search_aliases=("split attention", "radix", "cardinality", "SENet", "ResNeXt"),
    reference_checked=True,
)
