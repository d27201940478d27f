"""MobileNetV3: searched layers with squeeze-excite and h-swish.

Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam: Searching for MobileNetV3,
ICCV 2019, arXiv 1905.02244. Tables 1 and 2 give Large and Small; section 5.2: h-swish; section 5.3:
squeeze-excite with hard sigmoid. "Minimal" keeps the tables but has no squeeze-excite, no h-swish and no
5x5 (the authors' "minimalistic" models).

Publishers pad stride-2 convolutions differently: "same" as TensorFlow does, more on the right and bottom
(mmsegmentation), or "even" (torchvision, timm). They also widen differently: `widened="tables"` multiplies
the tables' expanded channels (torchvision), "ratios" the widened input by the tables' expansion ratios
(TensorFlow's weights, timm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct, ModuleMaker, relu
from segstudio_zoo.layers.same_pad import padded_conv

# kernel, expanded channels, out channels, squeeze-excite, h-swish, stride; layer1 .. layerN
TABLES: dict[str, tuple[tuple[int, int, int, bool, bool, int], ...]] = {
    "large": (
        (3, 16, 16, False, False, 1),
        (3, 64, 24, False, False, 2),
        (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2),
        (5, 120, 40, True, False, 1),
        (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 480, 112, True, True, 1),
        (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2),
        (5, 960, 160, True, True, 1),
        (5, 960, 160, True, True, 1),
    ),
    "small": (
        (3, 16, 16, True, False, 2),
        (3, 72, 24, False, False, 2),
        (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2),
        (5, 240, 40, True, True, 1),
        (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1),
        (5, 144, 48, True, True, 1),
        (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1),
        (5, 576, 96, True, True, 1),
    ),
}

# published features: layer numbers, 0 being the stem
FEATURES = {"large": (0, 1, 3, 6, 12, 15, 16), "small": (0, 1, 3, 8, 11, 12)}


def make_divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` to `value`, never under 90 % of it."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _hard_swish() -> nn.Module:
    return nn.Hardswish(inplace=True)


class SqueezeExcite(nn.Module):
    """Global average -> 1x1, ReLU -> 1x1, hard sigmoid -> a gate on every channel; section 5.3.

    `gate_off` (a switch) leaves the input as it is.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = make_divisible(channels / 4)
        self.gate_off = False
        self.conv1 = ConvNormAct(channels, squeezed, 1, norm=None, act=relu)
        self.conv2 = ConvNormAct(squeezed, channels, 1, norm=None, act=nn.Hardsigmoid)

    def gate(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1) in [0, 1]."""
        return self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True)))

    def forward(self, x: Tensor) -> Tensor:
        return x if self.gate_off else x * self.gate(x)


class InvertedResidual(nn.Module):
    """Expansion, depthwise, squeeze-excite, linear projection; figure 4."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int,
        dilation: int,
        squeeze: bool,
        norm: ModuleMaker,
        act: ModuleMaker,
        same: bool,
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == out_channels
        self.expand_conv = (
            ConvNormAct(in_channels, hidden, 1, norm=norm, act=act) if hidden != in_channels else None
        )
        self.depthwise_conv = padded_conv(
            hidden,
            hidden,
            kernel,
            stride=stride,
            dilation=dilation,
            groups=hidden,
            norm=norm,
            act=act,
            same=same,
        )
        self.se = SqueezeExcite(hidden) if squeeze else None
        self.linear_conv = ConvNormAct(hidden, out_channels, 1, norm=norm, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        out = x if self.expand_conv is None else self.expand_conv(x)
        out = self.depthwise_conv(out)
        if self.se is not None:
            out = self.se(out)
        out = self.linear_conv(out)
        return x + out if self.shortcut else out


class MobileNetV3(nn.Module):
    """`layer0` (stem) .. `layerN` (last 1x1); `features` are the outputs of the layers in `out_indices`.

    Where stride is given up, every later layer is dilated, including the one that would have strided
    (section 6.4: the last block dilated).
    """

    def __init__(
        self,
        arch: str,
        *,
        width: float = 1.0,
        minimal: bool = False,
        output_stride: int = 32,
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        padding: str = "same",
        norm_eps: float = 1e-3,
        widened: str = "tables",
        stem_channels: int | None = None,
    ) -> None:
        super().__init__()
        if padding not in ("same", "even"):
            raise ValueError(f'padding must be "same" or "even", not {padding!r}')
        if widened not in ("tables", "ratios"):
            raise ValueError(f'widened must be "tables" or "ratios", not {widened!r}')
        same = padding == "same"
        norm = partial(nn.BatchNorm2d, eps=norm_eps)
        swish = relu if minimal else _hard_swish
        table = TABLES[arch]
        self.count = len(table) + 2
        self.out_indices = tuple(FEATURES[arch] if out_indices is None else out_indices)
        channels, unwidened = stem_channels or make_divisible(16 * width), 16
        self.layer0 = padded_conv(in_channels, channels, 3, stride=2, norm=norm, act=swish, same=same)
        total, dilation = 2, 1
        infos = [FeatureInfo(channels, total)]
        for index, (kernel, hidden, out_channels, squeeze, h_swish, stride) in enumerate(table, start=1):
            if total * stride > output_stride:
                dilation *= stride
                stride = 1
            total *= stride
            wide = make_divisible(out_channels * width)
            ratio = hidden / unwidened
            expanded = channels * ratio if widened == "ratios" else hidden * width
            block = InvertedResidual(
                channels,
                make_divisible(expanded),
                wide,
                3 if minimal else kernel,
                stride=stride,
                dilation=dilation,
                squeeze=squeeze and not minimal,
                norm=norm,
                act=swish if h_swish else relu,
                same=same,
            )
            self.add_module(f"layer{index}", block)
            channels, unwidened = wide, out_channels
            infos.append(FeatureInfo(channels, total))
        last = make_divisible(table[-1][1] * width)
        self.add_module(f"layer{len(table) + 1}", ConvNormAct(channels, last, 1, norm=norm, act=swish))
        infos.append(FeatureInfo(last, total))
        self.features = tuple(infos[index] for index in self.out_indices)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) -> the pyramid, high resolution first."""
        x = image
        pyramid = []
        for index in range(self.count):
            x = self.get_submodule(f"layer{index}")(x)
            if index in self.out_indices:
                pyramid.append(x)
        return pyramid


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    width: float = 1.0,
    out_indices: Sequence[int] | None = None,
    padding: str = "same",
    norm_eps: float = 1e-3,
    widened: str = "tables",
    stem_channels: int | None = None,
) -> MobileNetV3:
    """`variant`: "mobilenet-v3-large", "mobilenet-v3-small", each also with "-minimal".

    `stem_channels` keeps the first convolution at so many channels whatever `width` says: 16 in timm's
    networks narrower than 0.75.
    """
    arch = "large" if "large" in variant else "small"
    return MobileNetV3(
        arch,
        width=width,
        minimal=variant.endswith("minimal"),
        output_stride=output_stride or 32,
        in_channels=in_channels,
        out_indices=out_indices,
        padding=padding,
        norm_eps=norm_eps,
        widened=widened,
        stem_channels=stem_channels,
    )


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The width multiplier from the last convolution, what it multiplies from the first two."""
    for number, arch in ((16, "large"), (12, "small")):
        last = shapes.get(f"layer{number}.conv.weight")
        if last is not None:
            width = last[0] / TABLES[arch][-1][1]
            if width == 1.0:
                return {}
            hidden = shapes["layer2.expand_conv.conv.weight"][0]
            tables = make_divisible(TABLES[arch][1][1] * width)
            options = {"width": width} if hidden == tables else {"width": width, "widened": "ratios"}
            stem = shapes["layer0.conv.weight"][0]
            return options if stem == make_divisible(16 * width) else {**options, "stem_channels": stem}
    return {}


@contextmanager
def gates_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: all squeeze-excite gates at 1."""
    gates = [module for module in model.modules() if isinstance(module, SqueezeExcite)]
    for gate in gates:
        gate.gate_off = bool(value)
    try:
        yield
    finally:
        for gate in gates:
            gate.gate_off = False


def _torchvision_rules(arch: str) -> Iterator[tuple[str, str | None]]:
    table = TABLES[arch]
    yield r"features\.0\.0\.(.+)", r"layer0.conv.\1"
    yield r"features\.0\.1\.(.+)", r"layer0.bn.\1"
    channels = 16
    for number, (_, hidden, out_channels, squeeze, _, _) in enumerate(table, start=1):
        names = ["expand_conv"] if hidden != channels else []
        names += ["depthwise_conv"] + (["se"] if squeeze else []) + ["linear_conv"]
        for position, name in enumerate(names):
            theirs, ours = rf"features\.{number}\.block\.{position}", f"layer{number}.{name}"
            if name == "se":
                yield rf"{theirs}\.fc([12])\.(.+)", rf"{ours}.conv\1.conv.\2"
            else:
                yield rf"{theirs}\.0\.(.+)", rf"{ours}.conv.\1"
                yield rf"{theirs}\.1\.(.+)", rf"{ours}.bn.\1"
        channels = out_channels
    last = len(table) + 1
    yield rf"features\.{last}\.0\.(.+)", rf"layer{last}.conv.\1"
    yield rf"features\.{last}\.1\.(.+)", rf"layer{last}.bn.\1"
    yield r"classifier\.[03]\.(.+)", None


def _timm_rules(arch: str) -> Iterator[tuple[str, str | None]]:
    table = TABLES[arch]
    yield r"conv_stem\.(.+)", r"layer0.conv.\1"
    yield r"bn1\.(.+)", r"layer0.bn.\1"
    channels, stage, block = 16, -1, 0
    for number, (_, hidden, out_channels, _, _, stride) in enumerate(table, start=1):
        new = number == 1 or stride == 2 or out_channels != channels
        stage, block = (stage + 1, 0) if new else (stage, block + 1)
        theirs, ours = rf"blocks\.{stage}\.{block}", f"layer{number}"
        if hidden == channels:
            parts = (("conv_dw", "bn1", "depthwise_conv"), ("conv_pw", "bn2", "linear_conv"))
        else:
            parts = (
                ("conv_pw", "bn1", "expand_conv"),
                ("conv_dw", "bn2", "depthwise_conv"),
                ("conv_pwl", "bn3", "linear_conv"),
            )
        for conv, bn, name in parts:
            yield rf"{theirs}\.{conv}\.(.+)", rf"{ours}.{name}.conv.\1"
            yield rf"{theirs}\.{bn}\.(.+)", rf"{ours}.{name}.bn.\1"
        yield rf"{theirs}\.se\.conv_reduce\.(.+)", rf"{ours}.se.conv1.conv.\1"
        yield rf"{theirs}\.se\.conv_expand\.(.+)", rf"{ours}.se.conv2.conv.\1"
        channels = out_channels
    last = len(table) + 1
    yield rf"blocks\.{stage + 1}\.0\.conv\.(.+)", rf"layer{last}.conv.\1"
    yield rf"blocks\.{stage + 1}\.0\.bn1\.(.+)", rf"layer{last}.bn.\1"
    yield r"(conv_head|classifier)\.(weight|bias)", None


KEY_MAPS = (
    *(
        KeyMap(
            layout="torchvision",
            telltale=(
                rf"features\.{len(table) + 1}\.0\.weight",
                rf"features\.{len(table)}\.block\.2\.fc1\.weight",
            ),
            rules=tuple(_torchvision_rules(arch)),
            options={"padding": "even"},
        )
        for arch, table in TABLES.items()
    ),
    *(
        KeyMap(
            layout="timm",
            telltale=(r"conv_stem\.weight", rf"blocks\.{stage}\.0\.conv\.weight", r"conv_head\.weight"),
            rules=tuple(_timm_rules(arch)),
            options={"padding": "even", "norm_eps": 1e-5},
        )
        for arch, stage in (("large", 6), ("small", 5))
    ),
)
