"""LR-ASPP: facts."""

from segstudio.plugin_api import Option, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

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
    options=(Option("channels", "int", 128, "width of the head", minimum=8),),
    switches=(
        SwitchSpec(
            "gate_off",
            "Pooled gate at 1",
            "segstudio_zoo.segmentors.lraspp:gate_off",
            choices=(False, True),
            trained=False,
        ),
    ),
    parts=("a 1x1 gated by pooled context", "two light skips from strides 4 and 2"),
    look_at=("the gate fixed at 1",),
    expects="It needs features at strides 2 and 4.",
)
