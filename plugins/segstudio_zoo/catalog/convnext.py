"""ConvNeXt and ConvNeXt V2: facts."""

from segstudio.plugin_api import Option
from segstudio_zoo.catalog.entry import BackboneEntry, BackboneVariant, NamedModel, Paper
from segstudio_zoo.shared_probes import RECEPTIVE_FIELD

_STEPS = (
    Option(
        "out_norm",
        "bool",
        True,
        "layer norm on each stage's output (mmpretrain); torchvision and timm have none",
    ),
    Option(
        "kernel_size",
        "choice",
        7,
        "side of the depthwise convolutions (section 2.5)",
        choices=(3, 5, 7, 9, 11),
    ),
    Option("norm", "choice", "layer", "layer or batch norm (section 2.6)", choices=("layer", "batch")),
    Option("activation", "choice", "gelu", "GELU or ReLU (section 2.6)", choices=("gelu", "relu")),
    Option(
        "stem",
        "choice",
        "patchify",
        "4x4 convolution of stride 4, or ResNet's stem (section 2.2)",
        choices=("patchify", "resnet"),
    ),
    Option("expansion", "int", 4, "width of the inverted bottleneck (section 2.4)", minimum=1),
    Option("layer_scale", "float", None, "first value of the layer scales; 0 for none", minimum=0),
    Option(
        "drop_path_rate",
        "float",
        0.1,
        "stochastic depth of the last block in training",
        minimum=0,
        maximum=1,
    ),
    Option("depths", "ints", None, "blocks of the four stages; those of the size unless given (section 2.2)"),
)

ROADMAP: tuple[tuple[str, float], ...] = (
    ("resnet50", 4.09),
    ("stage-ratio", 4.53),
    ("patchify", 4.42),
    ("depthwise", 2.35),
    ("width", 5.27),
    ("inverted", 4.64),
    ("moved-up", 4.07),
    ("kernel-5", 4.10),
    ("kernel-7", 4.15),
    ("kernel-9", 4.21),
    ("kernel-11", 4.29),
    ("gelu", 4.15),
    ("fewer-activations", 4.15),
    ("fewer-norms", 4.15),
    ("layer-norm", 4.15),
    ("convnext", 4.46),
)
"""The steps of section 2 in the paper's order, and each network's billions of multiply-adds of convolutions
and linear layers at 224x224 with a classifier of 1000 classes. Figure 2 prints them with one decimal."""

_ROADMAP = Option(
    "roadmap",
    "choice",
    "convnext",
    "of convnext-tiny: the network after a step of the paper's roadmap from ResNet-50 (section 2, figure 2), "
    "each with the steps before it; convnext has downsampling layers of their own and is the last",
    choices=tuple(name for name, _ in ROADMAP),
)

_FIRST = ("tiny", "small", "base", "large", "xlarge")
_SECOND = ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge")

ENTRIES = (
    BackboneEntry(
        id="convnext",
        title="ConvNeXt",
        paper=Paper(
            title="A ConvNet for the 2020s",
            authors="Liu, Mao, Wu, Feichtenhofer, Darrell, Xie",
            venue="CVPR",
            year=2022,
            arxiv="2201.03545",
        ),
        build="segstudio_zoo.backbones.convnext:build",
        variants=tuple(
            BackboneVariant(f"convnext-{size}", aliases=(f"convnext-{size[0]}",)) for size in _FIRST
        ),
        output_strides=(32,),
        min_size=32,
        models=tuple(
            NamedModel(f"{library}_convnext_{size}", f"convnext-{size}", (("out_norm", False),), listed=False)
            for library in ("timm", "torchvision")
            for size in _FIRST
        ),
        options=(*_STEPS, _ROADMAP),
        only_of=(("roadmap", "convnext-tiny"),),
        probes=(RECEPTIVE_FIELD,),
        parts=(
            "4x4 patchify stem, layer norm and 2x2 downsampling between stages, ratio 3:3:9:3",
            "7x7 depthwise, inverted bottleneck, one norm and one activation a block, layer scale",
        ),
        look_at=(
            "effective receptive field per stage beside ResNet-50's",
            "masks against ResNet under the same UPerNet",
            "the roadmap's steps under one head; multiply-adds at 224x224 in billions: "
            + ", ".join(f"{name} {cost:.2f}" for name, cost in ROADMAP),
        ),
        reference_checked=True,
    ),
    BackboneEntry(
        id="convnextv2",
        title="ConvNeXt V2",
        paper=Paper(
            title="ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
            authors="Woo, Debnath, Hu, Chen, Liu, Kweon, Xie",
            venue="CVPR",
            year=2023,
            arxiv="2301.00808",
        ),
        build="segstudio_zoo.backbones.convnext:build",
        variants=tuple(BackboneVariant(f"convnextv2-{size}") for size in _SECOND),
        output_strides=(32,),
        min_size=32,
        models=tuple(
            NamedModel(f"timm_convnextv2_{size}", f"convnextv2-{size}", (("out_norm", False),), listed=False)
            for size in _SECOND
        ),
        options=_STEPS,
        probes=(RECEPTIVE_FIELD,),
        parts=("ConvNeXt with global response normalisation in place of layer scale",),
        look_at=("effective receptive field per stage",),
        search_aliases=("GRN",),
        reference_checked=True,
    ),
)
