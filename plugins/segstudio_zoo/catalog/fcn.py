"""FCN: facts."""

from segstudio.plugin_api import Option
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_HRNET = (
    ("levels", "all"),
    ("channels", 0),
    ("num_convs", 1),
    ("kernel_size", 1),
    ("concat_input", False),
    ("dropout", 0.0),
    ("auxiliary", False),
)

_SHALLOW = (("channels", 128), ("auxiliary_channels", 64))
"""Published networks on ResNet-18 have a narrower head."""

_DEEP = ("r50", "r101", "r50b", "r101b")

_DILATED = (("dilation", 6), ("auxiliary_dilation", 6))

_TORCHVISION = (("num_convs", 1), ("concat_input", False), ("num_classes", 21))

ENTRY = SegmentorEntry(
    id="fcn",
    title="FCN",
    paper=Paper(
        title="Fully Convolutional Networks for Semantic Segmentation",
        authors="Long, Shelhamer, Darrell",
        venue="CVPR",
        year=2015,
        arxiv="1411.4038",
    ),
    build="segstudio_zoo.segmentors.fcn:build",
    backbones=("r50-d8", "r101-d8", "mobilenet-v2-d8", "resnest101-d8"),
    models=(
        *(
            NamedModel(f"fcn_{backbone}-d8", backbone=f"{backbone}-d8", listed=not backbone.endswith("b"))
            for backbone in _DEEP
        ),
        NamedModel("fcn_r18-d8", backbone="r18-d8", settings=_SHALLOW),
        NamedModel("fcn_r18b-d8", backbone="r18b-d8", settings=_SHALLOW),
        *(
            NamedModel(
                f"fcn-d6_{backbone}-d16",
                backbone=f"{backbone}-d16",
                settings=_DILATED,
                listed=not backbone.endswith("b"),
            )
            for backbone in _DEEP
        ),
        NamedModel("fcn_hr18", backbone="hr18", settings=_HRNET),
        NamedModel("fcn_hr18s", backbone="hr18s", settings=_HRNET),
        NamedModel("fcn_hr48", backbone="hr48", settings=_HRNET),
        NamedModel("torchvision_fcn_resnet50", backbone="resnet50-d8", settings=_TORCHVISION, listed=False),
        NamedModel("torchvision_fcn_resnet101", backbone="resnet101-d8", settings=_TORCHVISION, listed=False),
    ),
    options=(
        Option("channels", "int", 512, "width of the head; 0 = as many as come in", minimum=0),
        Option("num_convs", "int", 2, "convolutions before the classifier", minimum=0, maximum=8),
        Option("kernel_size", "choice", 3, "their size", choices=(1, 3, 5, 7)),
        Option("concat_input", "bool", True, "join the input to their output once more"),
        Option("dilation", "int", 1, "their dilation rate", minimum=1),
        Option("levels", "choice", "last", "features the head reads", choices=("last", "first", "all")),
        Option("auxiliary", "bool", True, "auxiliary head on the feature before the last"),
        Option("auxiliary_channels", "int", 256, "width of the auxiliary head", minimum=8),
        Option("auxiliary_dilation", "int", 1, "dilation rate of its convolution", minimum=1),
    ),
    side_outputs=("auxiliary",),
    deviations=(
        "Published networks read one feature at output stride 8; the paper's skips from strides 16 and 8 "
        "(FCN-16s, FCN-8s) are left out.",
    ),
    parts=("two 3x3 convolutions and a classifier", "on HRNet: all branches joined, one 1x1"),
    reference_checked=True,
)
