"""HRNet: facts."""

from __future__ import annotations

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper

_Stages = tuple[tuple[int, int, tuple[int, ...]], ...]


def _regular(width: int) -> tuple[tuple[int, int], _Stages]:
    widths = tuple(width * 2**b for b in range(4))
    return (4, 64), ((1, 4, widths[:2]), (4, 4, widths[:3]), (3, 4, widths))


WIDTHS: dict[str, tuple[tuple[int, int], _Stages]] = {
    f"hrnet-w{width}": _regular(width) for width in (18, 30, 32, 40, 44, 48, 64)
}
"""(bottlenecks, channels) of stage 1, then (exchange units, blocks a branch, channels) of stages 2-4."""

WIDTHS["hrnet-w18-small"] = (1, 32), ((1, 2, (16, 32)), (1, 2, (16, 32, 64)), (1, 2, (16, 32, 64, 128)))
WIDTHS["hrnet-w18-small-v2"] = (2, 64), ((1, 2, (18, 36)), (3, 2, (18, 36, 72)), (2, 2, (18, 36, 72, 144)))

ENTRY = BackboneEntry(
    id="hrnet",
    title="HRNet",
    paper=Paper(
        title="Deep High-Resolution Representation Learning for Human Pose Estimation",
        authors="Sun, Xiao, Liu, Wang",
        venue="CVPR",
        year=2019,
        arxiv="1902.09212",
    ),
    build="segstudio_zoo.backbones.hrnet:build",
    variants=(
        *(
            BackboneVariant(
                f"hrnet-w{width}", aliases=(f"hr{width}", f"hrnetv2-w{width}"), short=f"hr{width}"
            )
            for width in (18, 30, 32, 40, 44, 48, 64)
        ),
        BackboneVariant(
            "hrnet-w18-small-v2", aliases=("hr18s", "hrnet-w18s", "hrnetv2-w18-small"), short="hr18s"
        ),
        BackboneVariant("hrnet-w18-small", aliases=("hr18s-v1", "hrnet-w18-small-v1"), short="hr18s-v1"),
    ),
    output_strides=(32,),
    models=(
        *(
            NamedModel(
                f"timm_{name.replace('-', '_')}",
                backbone=name,
                settings=(("upsample", "nearest"),),
                listed=False,
            )
            for name in WIDTHS
        ),
        # mmsegmentation's one small form is timm's second
        NamedModel("backbone_hrnet-w18-small", backbone="hrnet-w18-small-v2", listed=False),
    ),
    options=(
        Option(
            "upsample",
            "choice",
            "bilinear",
            "how a coarse branch is enlarged: bilinear (mmsegmentation), nearest (timm), aligned (authors)",
            choices=("bilinear", "nearest", "bilinear_aligned"),
        ),
        Option(
            "transition",
            "choice",
            "nearest",
            "what feeds a new branch: the nearest scale (published weights) or all (the paper's figure)",
            choices=("nearest", "all"),
        ),
        Option(
            "representation",
            "choice",
            "all",
            "what heads see: all branches (V2) or only the one at stride 4 (V1)",
            choices=("all", "top"),
        ),
    ),
    probes=(
        ProbeSpec(
            "branches",
            "Branches after every stage",
            "segstudio_zoo.backbones.hrnet:branch_probe",
            query="global",
            kind="images",
            group="HRNet",
            help="mean magnitude of each branch: stage /stride, and the GFLOPs it has cost in that stage",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "hrnet_branch",
            "Branches used",
            "segstudio_zoo.backbones.hrnet:mute_branch",
            choices=("all", "without 4", "without 8", "without 16", "without 32"),
            trained="all",
            help="zeroes the last stage's branch at one stride; with the top branch alone, in its last sum",
        ),
    ),
    parts=(
        "stem of two strided 3x3 convolutions (stride 4)",
        "four stages; each adds a branch at half the resolution and keeps the others",
        "exchange units: strided 3x3 down, 1x1 and enlargement up, sum",
        "V1 gives the top branch, V2 all branches",
    ),
    look_at=("the branches, stages as columns", "one branch zeroed", "FLOPs a branch"),
    deviations=(
        "A new branch starts from the nearest scale, as the weights have it; the paper's figure draws all.",
    ),
    search_aliases=("high-resolution network", "HRNetV2"),
    reference_checked=True,
)
