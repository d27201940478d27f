"""UPerNet: facts."""

from segstudio.plugin_api import Option
from segstudio_zoo.catalog.entry import IMAGENET, NamedModel, Paper, SegmentorEntry


def _transformer(backbone: str, published: tuple[str, ...], *words: str) -> NamedModel:
    """A ViT as published, or DeiT, which only trains otherwise: "ln" is a last layer norm, "mln" a neck."""
    form = "".join(f"_{word}" for word in words)
    return NamedModel(
        f"upernet_{backbone}{form}",
        backbone=backbone,
        settings=(
            ("image_size", (512, 512)),
            ("patch_bias", False),
            ("channels", 512),
            ("neck", "levels" if "mln" in words else "none"),
            *((("final_norm", True),) if "ln" in words else ()),
        ),
        aliases=tuple(
            alias for name in published for alias in (f"upernet_{name}{form}", f"vit_{name}{form}_upernet")
        ),
        preprocess=IMAGENET,
    )


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
        "beit-tiny",
        "mae-tiny",
        "r50",
    ),
    models=(
        NamedModel("upernet_beit-base", backbone="beit-base", settings=(("image_size", (640, 640)),)),
        NamedModel("upernet_beit-large", backbone="beit-large", settings=(("image_size", (640, 640)),)),
        NamedModel("upernet_mae-base", backbone="mae-base", settings=(("image_size", (512, 512)),)),
        *(
            _transformer(backbone, published, *words)
            for backbone, published in (("vit-b16", ("vit-b16", "deit-b16")), ("vit-s16", ("deit-s16",)))
            for words in ((), ("mln",), ("ln", "mln"))
        ),
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
        Option(
            "neck",
            "choice",
            "pyramid",
            "what brings a transformer's taps to four strides",
            choices=("pyramid", "levels", "none"),
        ),
        Option("auxiliary", "bool", True, "auxiliary FCN head, weight 0.4"),
        Option("auxiliary_level", "int", None, "level it reads, from 0", minimum=0, maximum=3),
        Option("dropout", "float", 0.1, "dropout before the classifier", minimum=0, maximum=1),
    ),
    side_outputs=("auxiliary",),
    parts=(
        "pyramid pooling 1, 2, 3, 6 on the deepest level",
        "feature pyramid with top-down sums, all levels fused at the finest stride",
        "for plain transformers: four taps brought to strides 4, 8, 16, 32 by a neck",
        "auxiliary FCN head",
    ),
    look_at=("one head over BEiT, MAE, ConvNeXt and ResNet",),
    deviations=("The heads for materials, parts, objects and textures of the paper are left out.",),
    expects="four features at strides 4, 8, 16, 32, or four maps of one stride",
    reference_checked=True,
)
