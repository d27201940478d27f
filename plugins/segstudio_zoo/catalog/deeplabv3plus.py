"""DeepLabV3+: facts."""

from segstudio.plugin_api import Option, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_BUILD = "segstudio_zoo.segmentors.deeplabv3plus"

_SHALLOW = (("channels", 128), ("skip_channels", 12), ("auxiliary_channels", 64))
"""Published networks on ResNet-18 have a narrower head."""

ENTRY = SegmentorEntry(
    id="deeplabv3plus",
    title="DeepLabV3+",
    paper=Paper(
        title="Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
        authors="Chen, Zhu, Papandreou, Schroff, Adam",
        venue="ECCV",
        year=2018,
        arxiv="1802.02611",
    ),
    build=f"{_BUILD}:build",
    backbones=(
        "r50-d8",
        "r101-d8",
        "r50b-d8",
        "r101b-d8",
        "r101-d16-mg124",
        "mobilenet-v2-d8",
        "resnest101-d8",
        "xception65-d16",
    ),
    models=(
        NamedModel("deeplabv3plus_r18-d8", backbone="r18-d8", settings=_SHALLOW),
        NamedModel("deeplabv3plus_r18b-d8", backbone="r18b-d8", settings=_SHALLOW),
    ),
    aliases=("deeplabv3+",),
    options=(
        Option("channels", "int", 512, "width of the head (256 in the paper)", minimum=8),
        Option("skip_channels", "int", 48, "width of the low-level skip", minimum=1),
        Option("rates", "ints", None, "rates of the pyramid, 1 for the 1x1; by output stride unless given"),
        Option(
            "projection",
            "choice",
            "3x3",
            "what follows the pyramid (the paper has 1x1)",
            choices=("3x3", "1x1"),
        ),
        Option("separable_aspp", "bool", True, "separable atrous convolutions in the pyramid"),
        Option("separable_decoder", "bool", True, "separable convolutions in the decoder"),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
        Option("auxiliary_channels", "int", 256, "width of the auxiliary head", minimum=8),
    ),
    switches=(
        SwitchSpec(
            "decoder",
            "Decoder",
            f"{_BUILD}:decoder",
            choices=("on", "no skip", "off"),
            trained="on",
            help="Off: the classifier reads the encoder's output, as in DeepLabV3.",
        ),
        SwitchSpec(
            "image_pool_off",
            "Image pooling off",
            f"{_BUILD}:image_pool_off",
            choices=(False, True),
            trained=False,
        ),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "atrous pyramid as encoder, separable or not",
        "decoder: 48-channel skip from stride 4, two separable 3x3",
    ),
    look_at=("decoder off: difference in a band along the borders",),
    deviations=("A 3x3 follows the pyramid, as in published weights; the paper has a 1x1 (`projection`).",),
    expects="It needs a feature at stride 4 for its decoder.",
    reference_checked=True,
)
