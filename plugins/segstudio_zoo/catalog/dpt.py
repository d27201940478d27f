"""DPT: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_TRANSFORMERS = (
    ("residual_norm", False),
    ("upsample", True),
    ("auxiliary", True),
    ("auxiliary_weight", 0.4),
    ("auxiliary_level", "last"),
    ("interpolation", "bilinear"),
    ("image_size", (384, 384)),
    ("eps", 1e-12),
)

ENTRY = SegmentorEntry(
    id="dpt",
    title="DPT",
    paper=Paper(
        title="Vision Transformers for Dense Prediction",
        authors="Ranftl, Bochkovskiy, Koltun",
        venue="ICCV",
        year=2021,
        arxiv="2103.13413",
    ),
    build="segstudio_zoo.segmentors.dpt:build",
    backbones=("vit-b16", "vit-l16", "vit-hybrid"),
    models=(
        NamedModel("dpt_vit-b16", backbone="vit-b16", settings=(("patch_bias", False), ("eps", 1e-5))),
        NamedModel("dpt_vit-hybrid", backbone="vit-hybrid", aliases=("dpt_hybrid",)),
        NamedModel(
            "transformers_dpt_hybrid",
            backbone="vit-hybrid",
            settings=tuple(pair for pair in _TRANSFORMERS if pair[0] not in ("interpolation", "eps")),
            listed=False,
        ),
        NamedModel("transformers_dpt_base", backbone="vit-b16", settings=_TRANSFORMERS, listed=False),
        NamedModel("transformers_dpt_large", backbone="vit-l16", settings=_TRANSFORMERS, listed=False),
    ),
    options=(
        Option(
            "readout",
            "choice",
            "project",
            "what becomes of the read-out token (section 3.1)",
            choices=("project", "add", "ignore"),
        ),
        Option(
            "taps",
            "ints",
            None,
            "blocks that are read, from 0; 2, 5, 8, 11 of base, 5, 11, 17, 23 of large",
            minimum=0,
        ),
        Option("widths", "ints", None, "channels of the four reassembled maps", minimum=1),
        Option("channels", "int", 256, "width of the fusions", minimum=1),
        Option("residual_norm", "bool", True, "batch norm in the residual units, else a bias"),
        Option("upsample", "bool", False, "logits enlarged to the full size with aligned corners"),
        Option("auxiliary", "bool", False, "auxiliary head on the penultimate fusion"),
        Option(
            "auxiliary_level",
            "choice",
            "penultimate",
            "the fusion it reads; transformers reads the last",
            choices=("penultimate", "last"),
        ),
        Option("auxiliary_weight", "float", 0.2, "its weight; transformers has 0.4", minimum=0),
        Option("dropout", "float", 0.1, "dropout before the classifier", minimum=0, maximum=1),
    ),
    probes=(
        ProbeSpec(
            id="readout_attention",
            title="Attention of the read-out token",
            build="segstudio_zoo.probes.dpt:readout_probe",
            query="global",
            options=(
                Option("tap", "choice", 4, "tap, early to late", choices=(1, 2, 3, 4)),
                Option("head", "int", 0, "head, counted from 1; 0 is the mean of all", minimum=0),
            ),
            group="Read-out",
            help="How much the read-out token looks at each patch, in the block that a tap reads.",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            id="readout",
            title="Read-out term",
            apply="segstudio_zoo.probes.dpt:readout_switch",
            choices=("on", "off"),
            trained="on",
            help="Off leaves the read-out token's contribution out at all four taps.",
        ),
        SwitchSpec(
            id="dropped_tap",
            title="Tap left out",
            apply="segstudio_zoo.probes.dpt:tap_switch",
            choices=(0, 1, 2, 3, 4),
            trained=0,
            help="1 is the early block that becomes the high-resolution map, 4 the last.",
        ),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "ViT with read-out token: ignore, add or project",
        "hybrid: ResNet-50's first two stages and blocks 9 and 12",
        "reassemble: early block to high resolution, strides 4, 8, 16, 32",
        "fusion by residual convolution units and enlarging by two",
        "auxiliary head on the penultimate fusion",
    ),
    look_at=("read-out attention per tap", "masks with the read-out term zero and with one tap dropped"),
    deviations=(
        "The published large weights tap blocks 6, 12, 18, 24; the paper says 5, 12, 18, 24 (option taps).",
        "mmsegmentation taps blocks 3, 6, 9, 12 and has batch norm in the residual units.",
        "The auxiliary loss weighs 0.2 in the paper, 0.4 in transformers; mmsegmentation has none.",
    ),
    expects="a plain transformer with a class token (ViT, BEiT, MAE)",
    reference_checked=True,
)
