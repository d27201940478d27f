"""Xception, in the two forms that segmentation papers use.

F. Chollet: "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, arXiv 1610.02357.
`xception39` is BiSeNet's context path (arXiv 1808.00897, section 3.2; a residual stack of three
separable convolutions a block, names as its authors published them). `xception65` is the aligned Xception of
DeepLabV3+ (arXiv 1802.02611, section 3.3 and Fig. 4: deeper, max pooling replaced by strided separable
convolutions, norm and ReLU after each depthwise one; names as timm publishes them).
"""

from __future__ import annotations

from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct

XCEPTION39_STAGES = ((4, 16), (8, 32), (4, 64))
"""(blocks, bottleneck channels) of the stages at strides 8, 16, 32; outputs have four times as many."""

ALIGNED_EPSILON = 1e-3
MIDDLE_BLOCKS = 16


class SeparableConv(nn.Module):
    """Depthwise 3x3, then a 1x1 with norm and, if asked, ReLU; the authors have no norm between."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, dilation: int, relu: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, in_channels, 3, stride, dilation, dilation, groups=in_channels, bias=False
        )
        self.point_wise_cbr = ConvNormAct(in_channels, out_channels, 1, act=nn.ReLU if relu else None)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.point_wise_cbr(self.conv1(x))
        return out


class Block39(nn.Module):
    """Three separable convolutions around a residual, projected where shape changes."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.proj: nn.Module | None = None
        if stride > 1 or in_channels != out_channels:
            self.proj = SeparableConv(in_channels, out_channels, stride=stride, dilation=1, relu=False)
        self.residual_branch = nn.Sequential(
            SeparableConv(in_channels, channels, stride=stride, dilation=dilation, relu=True),
            SeparableConv(channels, channels, stride=1, dilation=dilation, relu=True),
            SeparableConv(channels, out_channels, stride=1, dilation=dilation, relu=False),
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.proj is None else self.proj(x)
        return self.relu(self.residual_branch(x) + identity)


class Xception39(nn.Module):
    """`image` (N, in_channels, H, W) -> 8, 64, 128, 256 channels at strides 4, 8, 16, 32 (or `output_stride`
    where that is smaller)."""

    def __init__(self, *, output_stride: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, 8, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels_in, stride, dilation = 8, 4, 1
        infos = [FeatureInfo(channels_in, stride)]
        for number, (blocks, channels) in enumerate(XCEPTION39_STAGES, start=1):
            step = 2 if stride < output_stride else 1
            if step == 1:
                dilation *= 2
            stride *= step
            layer = []
            for block in range(blocks):
                layer.append(
                    Block39(channels_in, channels, stride=step if block == 0 else 1, dilation=dilation)
                )
                channels_in = channels * Block39.expansion
            self.add_module(f"layer{number}", nn.Sequential(*layer))
            infos.append(FeatureInfo(channels_in, stride))
        self.features = tuple(infos)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.maxpool(self.conv1(image))
        out = [x]
        for number in range(1, len(XCEPTION39_STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
            out.append(x)
        return out


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=ALIGNED_EPSILON)


class AlignedSeparableConv(nn.Module):
    """Depthwise 3x3, norm, 1x1, norm; `relu` puts a ReLU after each norm (the last block only, Fig. 4)."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, dilation: int, relu: bool
    ) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(
            in_channels, in_channels, 3, stride, dilation, dilation, groups=in_channels, bias=False
        )
        self.bn_dw = _norm(in_channels)
        self.act_dw = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.conv_pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn_pw = _norm(out_channels)
        self.act_pw = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act_dw(self.bn_dw(self.conv_dw(x)))
        return self.act_pw(self.bn_pw(self.conv_pw(x)))


class AlignedBlock(nn.Module):
    """Three separable convolutions, the last one strided, beside a projected or plain shortcut.

    `forward` gives the output and what stood before the strided convolution: the skip features that
    DeepLabV3+ decodes from, at the block's input stride.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        *,
        stride: int,
        dilation: int,
        skip: bool = True,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.shortcut: nn.Module | None = None
        if skip and (channels[-1] != in_channels or stride > 1):
            self.shortcut = ConvNormAct(in_channels, channels[-1], 1, stride=stride, norm=_norm, act=None)
        widths = (in_channels, *channels)
        self.stack = nn.Module()
        for i in range(3):
            self.stack.add_module(
                f"conv{i + 1}",
                AlignedSeparableConv(
                    widths[i],
                    widths[i + 1],
                    stride=stride if i == 2 else 1,
                    dilation=dilation,
                    relu=not skip,
                ),
            )
        self.relu = nn.ReLU(inplace=False) if skip else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.stack.get_submodule("conv1")(self.relu(x))
        before = self.relu(self.stack.get_submodule("conv2")(self.relu(out)))
        out = self.stack.get_submodule("conv3")(before)
        if self.skip:
            out = out + (x if self.shortcut is None else self.shortcut(x))
        return out, before


class Xception65(nn.Module):
    """`image` (N, in_channels, H, W) -> 256, 728, 1024, 2048 channels at strides 4, 8, 16, 32.

    With a smaller `output_stride` the blocks behind it are dilated instead of strided. The first three
    features stand before a strided convolution, after its ReLU, as the published decoder takes them.
    """

    def __init__(self, *, output_stride: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNormAct(in_channels, 32, 3, stride=2, norm=_norm), ConvNormAct(32, 64, 3, norm=_norm)
        )
        strided = [(64, (128, 128, 128)), (128, (256, 256, 256)), (256, (728, 728, 728))]
        plan = [(inputs, outputs, 2) for inputs, outputs in strided]
        plan += [(728, (728, 728, 728), 1)] * MIDDLE_BLOCKS
        plan += [(728, (728, 1024, 1024), 2)]
        self.taps = (1, 2, len(plan) - 1)
        stride, dilation = 2, 1
        blocks, infos = [], []
        for index, (inputs, outputs, step) in enumerate(plan):
            if index in self.taps:
                infos.append(FeatureInfo(outputs[1], stride))
            first_dilation = dilation
            if step == 2 and stride >= output_stride:
                step, dilation = 1, dilation * 2
            stride *= step
            blocks.append(AlignedBlock(inputs, outputs, stride=step, dilation=first_dilation))
        blocks.append(AlignedBlock(1024, (1536, 1536, 2048), stride=1, dilation=dilation, skip=False))
        self.blocks = nn.ModuleList(blocks)
        self.features = (*infos, FeatureInfo(2048, stride))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        out = []
        for index, block in enumerate(self.blocks):
            x, before = block(x)
            if index in self.taps:
                out.append(before)
        out.append(x)
        return out


def build(variant: str, *, output_stride: int | None = None, in_channels: int = 3) -> Xception39 | Xception65:
    """`variant` is "xception39" or "xception65"."""
    network = {"xception39": Xception39, "xception65": Xception65}[variant](
        output_stride=output_stride or 32, in_channels=in_channels
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


KEY_MAPS = (
    KeyMap(
        layout="timm",
        telltale=(r"blocks\.0\.stack\.conv1\.conv_dw\.weight", r"head\.fc\.weight"),
        rules=((r"head\.fc\.(weight|bias)", None), (r"(.+)", r"\1")),
    ),
    KeyMap(
        layout="authors (BiSeNet)",
        telltale=(r"layer1\.0\.residual_branch\.0\.point_wise_cbr\.conv\.weight", r"fc\.weight"),
        rules=((r"fc\.(weight|bias)", None), (r"(.+)", r"\1")),
    ),
)
