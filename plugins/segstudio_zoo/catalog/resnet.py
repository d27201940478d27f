"""ResNet: facts."""

from segstudio.plugin_api import Option, SwitchSpec
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper
from segstudio_zoo.shared_probes import RECEPTIVE_FIELD

ENTRY = BackboneEntry(
    id="resnet",
    title="ResNet",
    paper=Paper(
        title="Deep Residual Learning for Image Recognition",
        authors="He, Zhang, Ren, Sun",
        venue="CVPR",
        year=2016,
        arxiv="1512.03385",
    ),
    build="segstudio_zoo.backbones.resnet:build",
    variants=(
        BackboneVariant("resnet18-v1c", aliases=("r18", "r18-v1c", "r18c", "resnet18c"), short="r18"),
        BackboneVariant("resnet34-v1c", aliases=("r34", "r34-v1c", "r34c", "resnet34c"), short="r34"),
        BackboneVariant("resnet50-v1c", aliases=("r50", "r50-v1c", "r50c", "resnet50c"), short="r50"),
        BackboneVariant("resnet101-v1c", aliases=("r101", "r101-v1c", "r101c", "resnet101c"), short="r101"),
        BackboneVariant("resnet152-v1c", aliases=("r152", "r152-v1c", "r152c", "resnet152c"), short="r152"),
        *(
            BackboneVariant(
                f"resnet{depth}-v1s",
                aliases=(f"r{depth}-v1s", f"resnet{depth}s"),
                short=f"r{depth}s",
                settings=(("stem_channels", 128),),
            )
            for depth in (50, 101, 152)
        ),
        BackboneVariant("resnet18", aliases=("r18b",), short="r18b"),
        BackboneVariant("resnet34", aliases=("r34b",), short="r34b"),
        BackboneVariant("resnet50", aliases=("r50b",), short="r50b"),
        BackboneVariant("resnet101", aliases=("r101b",), short="r101b"),
        BackboneVariant("resnet152", aliases=("r152b",), short="r152b"),
    ),
    models=(
        NamedModel("torchvision_resnet18", backbone="resnet18", listed=False),
        NamedModel("torchvision_resnet34", backbone="resnet34", listed=False),
        NamedModel("torchvision_resnet50", backbone="resnet50", listed=False),
        NamedModel("torchvision_resnet101", backbone="resnet101", listed=False),
    ),
    options=(
        Option(
            "multi_grid",
            "ints",
            None,
            "dilation rates of the last stage's blocks (in DeepLabV3's cascade: factors)",
            minimum=1,
        ),
        Option("multiply_multi_grid", "bool", False, "take them as factors on the stage's own rate (paper)"),
        Option("stem_channels", "int", 64, "what a deep stem gives (128 in some authors' files)", minimum=2),
        Option(
            "stage_dilations",
            "ints",
            None,
            "the four stages' dilation rates, whatever their strides",
            minimum=1,
        ),
        Option("contract_dilation", "bool", True, "the first block of a dilated stage keeps half its rate"),
        Option("stride_first", "bool", False, "bottlenecks stride in their first 1x1, as in the paper"),
        Option("ceil_pool", "bool", False, "the pooling behind the stem rounds the size up"),
    ),
    probes=(RECEPTIVE_FIELD,),
    switches=(
        SwitchSpec(
            "multi_grid",
            "Multi-grid of the last stage",
            "segstudio_zoo.backbones.resnet:other_multi_grid",
            choices=("as built", "1,1,1", "1,2,1", "1,2,4"),
            trained="as built",
            help="Factors, block by block, on the last stage's rate: 2 at output stride 16, 4 at 8 "
            "(DeepLabV3, section 3.2.1); in DeepLabV3's cascade also in blocks 5 to 7. They equal what was "
            "trained only where the network was built with these factors: 1,2,4 is that of DANet's authors "
            "(rates 4, 8, 16 at stride 8), 1,1,1 that of a network without dilation. Other dilated networks "
            "start with half the rate, and those named mg124 have 1, 2, 4 as rates: none equals theirs.",
        ),
    ),
    parts=(
        "four stages of residual blocks, basic (18, 34) or bottleneck (50, 101, 152)",
        'deep stem of three 3x3 convolutions ("V1c", the default name r50; twice as wide: "V1s", r50s) or '
        "one 7x7 (r50b)",
        "stages 3 and 4 dilated instead of strided for output stride 16 or 8",
        "multi-grid: factors on the dilation of the last stage's blocks",
    ),
    deviations=(
        "The stride of a bottleneck sits in its 3x3 convolution, as in nearly all published segmentation "
        "weights; the paper has it in the first 1x1 (`stride_first`).",
    ),
    reference_checked=True,
)
