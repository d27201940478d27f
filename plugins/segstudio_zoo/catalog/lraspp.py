"""LR-ASPP: facts."""

from segstudio.plugin_api import Option, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="lraspp",
    title="LR-ASPP",
    paper=Paper(
        title="Searching for MobileNetV3",
        authors="Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam",
        venue="ICCV",
        year=2019,
        arxiv="1905.02244",
    ),
    build="segstudio_zoo.segmentors.lraspp:build",
    backbones=("mobilenet-v3-large-d8", "mobilenet-v3-small-d8"),
    aliases=("lr-aspp",),
    models=(
        *(
            NamedModel(
                f"lraspp_mobilenet-v3-{size}-d8",
                backbone=f"mobilenet-v3-{size}-d8",
                settings=(("out_indices", taps),),
            )
            for size, taps in (("large", (1, 3, 16)), ("small", (0, 1, 12)))
        ),
        NamedModel(
            "torchvision_lraspp_mobilenet_v3_large",
            backbone="mobilenet-v3-large-d16",
            settings=(
                ("num_classes", 21),
                ("padding", "even"),
                ("skip", "classifier"),
                ("out_indices", (4, 16)),
            ),
            aliases=("lraspp_mobilenet_v3_large",),
            listed=False,
        ),
    ),
    options=(
        Option("channels", "int", 128, "width of the head", minimum=8),
        Option(
            "skip",
            "choice",
            "two joined",
            "early features joined before the classifier, or one classified and added (the paper's figure)",
            choices=("two joined", "classifier"),
        ),
    ),
    switches=(
        SwitchSpec(
            "gate_off",
            "Pooled gate at 1",
            "segstudio_zoo.segmentors.lraspp:gate_off",
            choices=(False, True),
            trained=False,
        ),
    ),
    parts=("a 1x1 gated by pooled context", "two light skips from strides 4 and 2, or one from stride 8"),
    look_at=("the gate fixed at 1",),
    expects="It needs features at strides 2 and 4, or at stride 8 with skip = classifier.",
    reference_checked=True,
)
