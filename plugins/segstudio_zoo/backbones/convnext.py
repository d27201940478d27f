"""ConvNeXt and ConvNeXt V2.

V1: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, "A ConvNet for the 2020s", CVPR 2022, arXiv 2201.03545,
section 2 (the roadmap; the networks on the way stand in `convnext_roadmap.py`) and section 3 (sizes).
V2: Woo et al., "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders", CVPR 2023,
arXiv 2301.00808, section 3.2: global response normalisation (GRN) in place of layer scale.

Three publishers give different pyramids: mmpretrain norms each stage's output (`norm0` to `norm3`),
torchvision and timm give it as it is (`out_norm=False`).

Inside a block the map is channels last in memory, so that linear layers and convolutions copy nothing.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.backbones.convnext_roadmap import UNTOLD, RoadmapNet, build_step, infer_step
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import shaped_like
from segstudio_zoo.layers.channel_norm import EPS, ChannelLayerNorm
from segstudio_zoo.layers.drop_path import DropPath, linear_rates

SIZES: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "atto": (40, (2, 2, 6, 2)),
    "femto": (48, (2, 2, 6, 2)),
    "pico": (64, (2, 2, 6, 2)),
    "nano": (80, (2, 2, 8, 2)),
    "tiny": (96, (3, 3, 9, 3)),
    "small": (96, (3, 3, 27, 3)),
    "base": (128, (3, 3, 27, 3)),
    "large": (192, (3, 3, 27, 3)),
    "xlarge": (256, (3, 3, 27, 3)),
    "huge": (352, (3, 3, 27, 3)),
}
"""Channels of the first stage, doubled at each of the next, and blocks."""


class GlobalResponseNorm(nn.Module):
    """GRN (V2, equations 1 to 3 and algorithm 1) over (N, H, W, C): x + gamma x N(G(x)) + beta.

    G(x) is the L2 norm of each channel over the picture, N divides it by its mean over the channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        weight = norm / (norm.mean(dim=-1, keepdim=True) + EPS)
        return torch.addcmul(self.beta, self.gamma * weight + 1.0, x)


class Block(nn.Module):
    """Depthwise k x k, norm, linear to 4 C, activation, linear back (figure 4)."""

    def __init__(
        self,
        channels: int,
        *,
        kernel: int,
        expansion: int,
        norm: str,
        activation: str,
        layer_scale: float,
        grn: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.gamma = None if layer_scale <= 0 else nn.Parameter(torch.full((channels,), layer_scale))
        self.depthwise_conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, EPS) if norm == "layer" else nn.BatchNorm2d(channels)
        self.pointwise_conv1 = nn.Linear(channels, expansion * channels)
        self.act = nn.GELU() if activation == "gelu" else nn.ReLU()
        self.grn = GlobalResponseNorm(expansion * channels) if grn else None
        self.pointwise_conv2 = nn.Linear(expansion * channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        y = self.depthwise_conv(x)
        if isinstance(self.norm, nn.BatchNorm2d):
            y = self.norm(y).permute(0, 2, 3, 1)
        else:
            y = self.norm(y.permute(0, 2, 3, 1))
        y = self.act(self.pointwise_conv1(y))
        if self.grn is not None:
            y = self.grn(y)
        y = self.pointwise_conv2(y)
        if self.gamma is not None:
            y = y * self.gamma
        return x + self.drop_path(y.permute(0, 3, 1, 2))


class ConvNeXt(nn.Module):
    """Four stages at strides 4, 8, 16, 32; between them layer norm and a 2x2 convolution of stride 2."""

    layer_decay = 0.9

    def __init__(
        self,
        width: int,
        depths: Sequence[int],
        *,
        in_channels: int,
        stem: str,
        out_norm: bool,
        drop_path_rate: float,
        norm: str,
        **block: Any,
    ) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(len(depths))]
        self.features = tuple(FeatureInfo(w, 4 * 2**stage) for stage, w in enumerate(widths))
        self.num_depths = sum(depths) + len(depths)
        self._starts = [sum(depths[:stage]) + stage for stage in range(len(depths))]

        def normed(channels: int) -> nn.Module:
            return ChannelLayerNorm(channels) if norm == "layer" else nn.BatchNorm2d(channels)

        if stem == "patchify":
            first = nn.Sequential(nn.Conv2d(in_channels, width, 4, 4), normed(width))
        else:  # the ResNet stem the roadmap starts from: 7x7 stride 2 and max pooling
            conv = nn.Conv2d(in_channels, width, 7, 2, 3)
            first = nn.Sequential(conv, normed(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        steps = [nn.Sequential(normed(a), nn.Conv2d(a, b, 2, 2)) for a, b in itertools.pairwise(widths)]
        self.downsample_layers = nn.ModuleList([first, *steps])
        rates = iter(linear_rates(drop_path_rate, sum(depths)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(w, norm=norm, drop_path=next(rates), **block) for _ in range(depth)))
            for w, depth in zip(widths, depths, strict=True)
        )
        self.out_norm = out_norm
        if out_norm:
            for stage, w in enumerate(widths):
                self.add_module(f"norm{stage}", ChannelLayerNorm(w))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four maps (N, C 2^i, H / 4 / 2^i, W / 4 / 2^i), rounded down."""
        maps = []
        x = image
        for stage, (down, blocks) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            x = blocks(down(x))
            maps.append(self.get_submodule(f"norm{stage}")(x) if self.out_norm else x)
        return maps

    def depth_of(self, key: str) -> int:
        """The place of a parameter's block in the network, for layer-wise learning rates."""
        part, *rest = key.split(".")
        if part == "downsample_layers":
            return self._starts[int(rest[0])]
        if part == "stages":
            return self._starts[int(rest[0])] + 1 + int(rest[1])
        return self.num_depths - 1


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    out_norm: bool = True,
    kernel_size: int = 7,
    norm: str = "layer",
    activation: str = "gelu",
    stem: str = "patchify",
    expansion: int = 4,
    layer_scale: float | None = None,
    drop_path_rate: float = 0.1,
    depths: Sequence[int] | None = None,
    roadmap: str = "convnext",
) -> ConvNeXt | RoadmapNet:
    """A ConvNeXt named convnext-<size> or convnextv2-<size>.

    `layer_scale` is the first value of the scales, 0 for none; V1 has them, V2 has GRN instead. `depths` are
    the blocks of the four stages, those of the size unless given. `roadmap` builds the network of a step
    between ResNet-50 and ConvNeXt-T instead (section 2, `convnext_roadmap.STEPS`); of the other options only
    `drop_path_rate` applies to it, and none of them norms its outputs.

    Raises ValueError for an output stride other than 32, an even kernel, not four depths, and a step of the
    roadmap with another size than tiny or options of the finished network.
    """
    if output_stride not in (None, 32):
        raise ValueError(f"ConvNeXt has features at strides 4, 8, 16 and 32; {output_stride} cannot be last")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"the depthwise kernel has a middle cell: an odd side, not {kernel_size}")
    if depths is not None and (len(depths) != 4 or min(depths) < 1):
        raise ValueError(f"there are four stages of one block or more each, not depths {tuple(depths)}")
    if roadmap != "convnext":
        own = (kernel_size, norm, activation, stem, expansion, layer_scale, depths)
        if variant != "convnext-tiny" or own != (7, "layer", "gelu", "patchify", 4, None, None):
            raise ValueError(
                f"step {roadmap} of the roadmap is a whole network on the way to convnext-tiny: "
                f"it takes no other size and no option of the finished network"
            )
        return build_step(roadmap, in_channels=in_channels, drop_path_rate=drop_path_rate)
    family, _, size = variant.partition("-")
    width, own_depths = SIZES[size]
    second = family == "convnextv2"
    return ConvNeXt(
        width,
        own_depths if depths is None else tuple(depths),
        in_channels=in_channels,
        stem=stem,
        out_norm=out_norm,
        drop_path_rate=drop_path_rate,
        norm=norm,
        kernel=kernel_size,
        expansion=expansion,
        activation=activation,
        layer_scale=(0.0 if second else 1e-6) if layer_scale is None else layer_scale,
        grn=second,
    )


_TIMM_BLOCK = r"stages\.(\d+)\.blocks\.(\d+)\."
_TORCHVISION = {
    str(2 * stage + 1): str(stage) for stage in range(4)
}  # features.1, 3, 5, 7 are the stages, 2, 4, 6 the steps between


def _torchvision_rules() -> tuple[tuple[str, str | None], ...]:
    rules: list[tuple[str, str | None]] = [(r"features\.0\.(\d)\.(.+)", r"downsample_layers.0.\1.\2")]
    for place, stage in _TORCHVISION.items():
        block = rf"features\.{place}\.(\d+)\."
        rules += [
            (rf"{block}layer_scale", rf"stages.{stage}.\1.gamma"),
            (rf"{block}block\.0\.(.+)", rf"stages.{stage}.\1.depthwise_conv.\2"),
            (rf"{block}block\.2\.(.+)", rf"stages.{stage}.\1.norm.\2"),
            (rf"{block}block\.3\.(.+)", rf"stages.{stage}.\1.pointwise_conv1.\2"),
            (rf"{block}block\.5\.(.+)", rf"stages.{stage}.\1.pointwise_conv2.\2"),
        ]
        if stage != "0":
            rules.append((rf"features\.{int(place) - 1}\.(\d)\.(.+)", rf"downsample_layers.{stage}.\1.\2"))
    return (*rules, (r"classifier\.[02]\.(weight|bias)", None))


_HF = r"(?:convnext(?:v2)?\.)?"
_HF_STAGE = rf"{_HF}encoder\.stages\.(\d+)\."
_HF_LAYER = rf"{_HF_STAGE}layers\.(\d+)\."
_HF_RULES: tuple[tuple[str, str | None], ...] = (
    (rf"{_HF}embeddings\.patch_embeddings\.(.+)", r"downsample_layers.0.0.\1"),
    (rf"{_HF}embeddings\.layernorm\.(.+)", r"downsample_layers.0.1.\1"),
    (rf"{_HF_STAGE}downsampling_layer\.(\d)\.(.+)", r"downsample_layers.\1.\2.\3"),
    (rf"{_HF_LAYER}layer_scale_parameter", r"stages.\1.\2.gamma"),
    (rf"{_HF_LAYER}dwconv\.(.+)", r"stages.\1.\2.depthwise_conv.\3"),
    (rf"{_HF_LAYER}layernorm\.(.+)", r"stages.\1.\2.norm.\3"),
    (rf"{_HF_LAYER}pwconv([12])\.(.+)", r"stages.\1.\2.pointwise_conv\3.\4"),
    (rf"{_HF_LAYER}grn\.weight", r"stages.\1.\2.grn.gamma"),
    (rf"{_HF_LAYER}grn\.bias", r"stages.\1.\2.grn.beta"),
    *((rf"{_HF}hidden_states_norms\.stage{n + 1}\.(.+)", rf"norm{n}.\1") for n in range(4)),
    (rf"(?:{_HF}layernorm|classifier)\.(weight|bias)", None),
)

KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(
            rf"{_HF}embeddings\.patch_embeddings\.weight",
            rf"{_HF}hidden_states_norms\..+",
        ),
        rules=_HF_RULES,
        transform=shaped_like,
    ),
    KeyMap(
        layout="transformers",
        telltale=(rf"{_HF}embeddings\.patch_embeddings\.weight", rf"{_HF_LAYER}pwconv1\.weight"),
        rules=_HF_RULES,
        options={"out_norm": False},
        transform=shaped_like,
    ),
    KeyMap(
        layout="timm",
        telltale=(r"stem\.0\.weight", r"stages\.0\.blocks\.0\.conv_dw\.weight"),
        rules=(
            (r"stem\.(\d)\.(.+)", r"downsample_layers.0.\1.\2"),
            (r"stages\.(\d+)\.downsample\.(\d)\.(.+)", r"downsample_layers.\1.\2.\3"),
            (rf"{_TIMM_BLOCK}gamma", r"stages.\1.\2.gamma"),
            (rf"{_TIMM_BLOCK}conv_dw\.(.+)", r"stages.\1.\2.depthwise_conv.\3"),
            (rf"{_TIMM_BLOCK}norm\.(.+)", r"stages.\1.\2.norm.\3"),
            (rf"{_TIMM_BLOCK}mlp\.fc([12])\.(.+)", r"stages.\1.\2.pointwise_conv\3.\4"),
            (rf"{_TIMM_BLOCK}mlp\.grn\.weight", r"stages.\1.\2.grn.gamma"),
            (rf"{_TIMM_BLOCK}mlp\.grn\.bias", r"stages.\1.\2.grn.beta"),
            (r"head\.(norm|fc)\.(weight|bias)", None),
        ),
        options={"out_norm": False},
        transform=shaped_like,
    ),
    KeyMap(
        layout="torchvision",
        telltale=(r"features\.1\.0\.layer_scale", r"features\.1\.0\.block\.5\.weight"),
        rules=_torchvision_rules(),
        options={"out_norm": False},
        transform=shaped_like,
    ),
    KeyMap(
        layout="authors",
        telltale=(r"downsample_layers\.0\.0\.weight", r"stages\.0\.0\.dwconv\.weight"),
        rules=(
            (r"(downsample_layers\..+)", r"\1"),
            (r"(stages\.\d+\.\d+\.)dwconv\.(.+)", r"\1depthwise_conv.\2"),
            (r"(stages\.\d+\.\d+\.)pwconv([12])\.(.+)", r"\1pointwise_conv\2.\3"),
            (r"(stages\.\d+\.\d+\.(?:norm\..+|gamma|grn\.(?:gamma|beta)))", r"\1"),
            (r"(norm[0-3]\.(?:weight|bias))", r"\1"),
            (r"(norm|head)\.(weight|bias)", None),
        ),
        options={"out_norm": False},
        transform=shaped_like,
    ),
)


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from a size as published (kernel, blocks, norm, stem, expansion, layer scales), or the
    step of the roadmap."""
    step = infer_step(shapes)
    if step is not None:
        return {"roadmap": step}
    kernel, widened = shapes["stages.0.0.depthwise_conv.weight"], shapes["stages.0.0.pointwise_conv1.weight"]
    second = "stages.0.0.grn.gamma" in shapes
    found: dict[str, Any] = {
        "kernel_size": int(kernel[-1]),
        "expansion": widened[0] // widened[1],
        "norm": "batch" if "stages.0.0.norm.running_mean" in shapes else "layer",
        "stem": "patchify" if shapes["downsample_layers.0.0.weight"][-1] == 4 else "resnet",
    }
    usual = {"kernel_size": 7, "expansion": 4, "norm": "layer", "stem": "patchify"}
    options = {name: value for name, value in found.items() if value != usual[name]}
    if second == ("stages.0.0.gamma" in shapes):
        options["layer_scale"] = 1e-6 if second else 0.0
    blocks = Counter(
        key.split(".")[1] for key in shapes if re.fullmatch(r"stages\.\d\.\d+\.norm\.weight", key)
    )
    depths = tuple(blocks[str(stage)] for stage in range(4))
    if (widened[1], depths) not in SIZES.values():
        options["depths"] = depths
    return options


def untold(shapes: Mapping[str, Any]) -> str:
    """The sentence on what a state dict of these keys leaves open."""
    step = infer_step(shapes)
    if step not in UNTOLD:
        return ""
    return f"Activations have no weights: the step of the roadmap may be {step} or {UNTOLD[step]}."
