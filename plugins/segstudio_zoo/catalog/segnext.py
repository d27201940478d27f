"""SegNeXt: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="segnext",
    title="SegNeXt",
    paper=Paper(
        title="SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
        authors="Guo, Lu, Hou, Liu, Cheng, Hu",
        venue="NeurIPS",
        year=2022,
        arxiv="2209.08575",
    ),
    build="segstudio_zoo.segmentors.segnext:build",
    backbones=("mscan-t", "mscan-s", "mscan-b", "mscan-l"),
    models=tuple(
        NamedModel(
            f"segnext_mscan-{size}",
            backbone=f"mscan-{size}",
            settings=(("channels", channels),),
            aliases=(f"segnext_{size}",),
        )
        for size, channels in (("t", 256), ("s", 256), ("b", 512), ("l", 1024))
    ),
    options=(
        Option("channels", "int", 256, "width of the decoder; 512 over MSCAN-B, 1024 over -L", minimum=32),
        Option("rank", "int", 16, "bases of the matrix decomposition", minimum=1),
        Option("steps", "int", 7, "updates of the decomposition in evaluation", minimum=0),
        Option("train_steps", "int", 6, "updates of the decomposition in training", minimum=0),
        Option("dropout", "float", 0.1, "dropout before the classifier", minimum=0),
    ),
    probes=(
        ProbeSpec(
            id="components",
            title="Components of the decomposition",
            build="segstudio_zoo.segmentors.segnext:component_probe",
            kind="images",
            group="Hamburger",
            help="Where each of the R bases is present, and their shares at the pixel.",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            id="nmf_steps",
            title="Steps of the decomposition",
            apply="segstudio_zoo.segmentors.segnext:steps_switch",
            choices=(0, 1, 2, 3, 4, 5, 6, 7),
            trained=7,
            help="Updates of bases and coefficients before the output is put together.",
        ),
    ),
    parts=(
        "stages 2 to 4 joined at stride 8",
        "Hamburger: non-negative matrix factorisation of the features, bases from a fixed seed in evaluation",
    ),
    look_at=("masks at 0 to 7 steps of the decomposition",),
    deviations=("The published weights use 7 steps in evaluation and 6 in training.",),
    expects="features at strides 8, 16 and 32",
    reference_checked=True,
)
