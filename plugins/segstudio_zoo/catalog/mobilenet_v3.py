"""MobileNetV3: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper

_EVEN = ("padding", "even")
_TIMM_TAPS = (("large", (1, 3, 6, 12, 16)), ("small", (0, 1, 3, 8, 12)))

ENTRY = BackboneEntry(
    id="mobilenet_v3",
    title="MobileNetV3",
    paper=Paper(
        title="Searching for MobileNetV3",
        authors="Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam",
        venue="ICCV",
        year=2019,
        arxiv="1905.02244",
    ),
    build="segstudio_zoo.backbones.mobilenet_v3:build",
    variants=(
        BackboneVariant("mobilenet-v3-large", aliases=("mobilenet-v3", "m-v3", "mobilenetv3-large")),
        BackboneVariant("mobilenet-v3-small", aliases=("mobilenet-v3-s", "m-v3s", "mobilenetv3-small")),
        BackboneVariant("mobilenet-v3-large-minimal"),
        BackboneVariant("mobilenet-v3-small-minimal"),
    ),
    models=(
        NamedModel(
            "torchvision_mobilenet_v3_large",
            backbone="mobilenet-v3-large",
            settings=(_EVEN, ("out_indices", (1, 3, 6, 12, 15, 16))),
            listed=False,
        ),
        NamedModel(
            "torchvision_mobilenet_v3_small",
            backbone="mobilenet-v3-small",
            settings=(_EVEN,),
            listed=False,
        ),
        *(
            NamedModel(
                f"timm_mobilenetv3_{size}_{percent:03}",
                backbone=f"mobilenet-v3-{size}",
                settings=(
                    _EVEN,
                    ("norm_eps", 1e-5),
                    ("out_indices", taps),
                    *((("width", percent / 100), ("widened", "ratios")) if percent != 100 else ()),
                    *((("stem_channels", 16),) if percent < 75 else ()),
                ),
                listed=False,
            )
            for size, taps in _TIMM_TAPS
            for percent in (50, 75, 100)
        ),
        *(
            NamedModel(
                f"timm_tf_mobilenetv3_{size}_{ending}",
                backbone=f"mobilenet-v3-{size}{'-minimal' if 'minimal' in ending else ''}",
                settings=(
                    ("out_indices", taps),
                    *((("width", 0.75), ("widened", "ratios")) if ending == "075" else ()),
                ),
                aliases=(f"tf_mobilenetv3_{size}_{ending}",),
                listed=False,
            )
            for size, taps in _TIMM_TAPS
            for ending in ("075", "100", "minimal_100")
        ),
    ),
    options=(
        Option("width", "float", 1.0, "width multiplier", minimum=0.1, maximum=2.0),
        Option(
            "widened",
            "choice",
            "tables",
            "what the width multiplies: expanded channels, or the input they are a multiple of",
            choices=("tables", "ratios"),
        ),
        Option("padding", "choice", "same", "of stride-2 convolutions", choices=("same", "even")),
    ),
    probes=(
        ProbeSpec(
            "layer_gates",
            "Squeeze-excite gates",
            "segstudio_zoo.probes.mobilenet_v3:gates",
            query="global",
            kind="vector",
            group="Squeeze-excite",
            options=(Option("layer", "int", 0, "number of the layer; 0 = the last with gates", minimum=0),),
            rows_sum_to_one=False,
            help="The factor on every channel of one layer for this picture, between 0 and 1.",
        ),
    ),
    switches=(
        SwitchSpec(
            "gates_off",
            "Squeeze-excite gates at 1",
            "segstudio_zoo.backbones.mobilenet_v3:gates_off",
            choices=(False, True),
            trained=False,
        ),
    ),
    parts=(
        "searched tables Large and Small (the search itself is not run)",
        "squeeze-excite with hard sigmoid, h-swish in the deeper half",
        "minimal variants: no squeeze-excite, no h-swish, 3x3 only",
    ),
    reference_checked=True,
)
