"""UPerNet: facts."""

from segstudio.plugin_api import Option
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="upernet",
    title="UPerNet",
    paper=Paper(
        title="Unified Perceptual Parsing for Scene Understanding",
        authors="Xiao, Liu, Zhou, Jiang, Sun",
        venue="ECCV",
        year=2018,
        arxiv="1807.10221",
    ),
    build="segstudio_zoo.segmentors.upernet:build",
    backbones=(
        "convnext-tiny",
        "convnext-small",
        "convnext-base",
        "convnext-large",
        "convnext-xlarge",
        "beit-base",
        "beit-large",
        "mae-base",
        "r50",
    ),
    models=(
        NamedModel("upernet_beit-base", backbone="beit-base", settings=(("image_size", (640, 640)),)),
        NamedModel("upernet_beit-large", backbone="beit-large", settings=(("image_size", (640, 640)),)),
        NamedModel("upernet_mae-base", backbone="mae-base", settings=(("image_size", (512, 512)),)),
        *(
            NamedModel(
                f"transformers_beit_{size}",
                backbone=f"beit-{size}",
                settings=(("out_indices", taps), ("image_size", (640, 640))),
                listed=False,
            )
            for size, taps in (("base", (1, 3, 5, 9)), ("large", (5, 9, 13, 21)))
        ),
    ),
    options=(
        Option("channels", "int", None, "width of the head; a transformer's own, or 512", minimum=1),
        Option("auxiliary", "bool", True, "auxiliary FCN head on the third level, weight 0.4"),
        Option("dropout", "float", 0.1, "dropout before the classifier", minimum=0),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "pyramid pooling 1, 2, 3, 6 on the deepest level",
        "feature pyramid with top-down sums, all levels fused at the finest stride",
        "for plain transformers: four taps brought to strides 4, 8, 16, 32",
        "auxiliary FCN head",
    ),
    look_at=("one head over BEiT, MAE, ConvNeXt and ResNet",),
    deviations=("The heads for materials, parts, objects and textures of the paper are left out.",),
    expects="four features at strides 4, 8, 16, 32, or four maps of one stride",
    reference_checked=True,
)
