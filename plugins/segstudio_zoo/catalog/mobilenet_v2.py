"""MobileNetV2: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper

_PYRAMID = (0, 1, 2, 4, 6)

ENTRY = BackboneEntry(
    id="mobilenet_v2",
    title="MobileNetV2",
    paper=Paper(
        title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        authors="Sandler, Howard, Zhu, Zhmoginov, Chen",
        venue="CVPR",
        year=2018,
        arxiv="1801.04381",
    ),
    build="segstudio_zoo.backbones.mobilenet_v2:build",
    variants=(BackboneVariant("mobilenet-v2", aliases=("mobilenetv2", "mnv2", "m-v2", "mobilenetv2-100")),),
    models=(
        NamedModel(
            "torchvision_mobilenet_v2",
            backbone="mobilenet-v2",
            settings=(("out_indices", _PYRAMID), ("last_conv", True)),
            listed=False,
        ),
        *(
            NamedModel(
                f"timm_mobilenetv2_{percent:03}",
                backbone="mobilenet-v2",
                settings=(
                    ("out_indices", _PYRAMID),
                    *((("width", percent / 100),) if percent != 100 else ()),
                ),
                listed=False,
            )
            for percent in (35, 50, 75, 100, 140)
        ),
    ),
    options=(
        Option(
            "width", "float", 1.0, "width multiplier (0.35 to 1.4 in the paper)", minimum=0.1, maximum=2.0
        ),
        Option(
            "dilated_blocks",
            "choice",
            "first",
            "which blocks of a dilated layer take its rate",
            choices=("first", "rest", "all"),
        ),
        Option("padding", "choice", "even", "of convolutions that stride", choices=("even", "same")),
        Option(
            "projection_act",
            "choice",
            "linear",
            "after a bottleneck's projection: nothing, or the ReLU6 that section 3.2 argues against",
            choices=("linear", "relu6"),
        ),
    ),
    probes=(
        ProbeSpec(
            "spiral",
            "Spiral through ReLU",
            "segstudio_zoo.probes.mobilenet_v2:spiral_probe",
            query="global",
            kind="points",
            group="Linear bottleneck",
            options=(
                Option("dimensions", "choice", 2, "of the random embedding", choices=(2, 3, 5, 15, 30)),
                Option("seed", "int", 0, "of the random matrix", minimum=0),
            ),
            rows_sum_to_one=False,
            help="Figure 1 of the paper: a spiral goes through ReLU in n dimensions and comes back. "
            "It depends on no weights.",
        ),
    ),
    switches=(
        SwitchSpec(
            "nonlinear_bottleneck",
            "ReLU6 after the projection",
            "segstudio_zoo.backbones.mobilenet_v2:nonlinear_bottleneck",
            choices=(False, True),
            trained=False,
            help="The bottlenecks are linear on purpose: a ReLU there loses what few channels carry "
            "(section 3.2).",
        ),
    ),
    parts=(
        "inverted residuals: expand six times, 3x3 depthwise, project",
        "linear bottlenecks: no activation after the projection",
        "ReLU6, width multiplier, output stride 8, 16 or 32",
    ),
    look_at=("error map with the extra ReLU6", "training with projection_act relu6 against linear"),
    reference_checked=True,
)
