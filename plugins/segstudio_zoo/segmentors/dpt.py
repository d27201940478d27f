"""DPT: a convolutional decoder over four taps of a vision transformer.

Ranftl, Bochkovskiy, Koltun, "Vision Transformers for Dense Prediction", ICCV 2021, arXiv 2103.13413: section
3.1 (read-out token: ignore, add, project; equations 3 to 6), figure 1 (Reassemble at strides 4, 8, 16, 32;
fusion with residual convolution units and enlarging by two), section 4.2 and appendix (segmentation head,
auxiliary head on the penultimate fusion).

Two published forms: mmsegmentation's residual units have batch norm and its logits stay at stride 2;
transformers follows the authors' depth network (no norm, a bias, logits enlarged to full size) and has the
auxiliary head, on the last fusion instead of the one before. An early tap becomes the high-resolution map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.param_groups import transformer_groups
from segstudio_zoo.layers.patch_transformer import PatchTransformer
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import Criterion, EncoderDecoder, SegmentationHead

READOUTS = ("project", "add", "ignore")

TAPS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23)}
"""Blocks, from 0, as published. Section 3.1 counts from 1: 3, 6, 9, 12 of base and 5, 12, 18, 24 of large;
the published large weights read 6 in place of 5."""

WIDTHS = {768: (96, 192, 384, 768), 1024: (256, 512, 1024, 1024)}
"""Channels of the four reassembled maps, for base and large."""

_plain_conv = partial(ConvNormAct, norm=None, act=None)


class Reassemble(nn.Module):
    """Read-out, 1x1 to the level's channels, resampling to strides 4, 8, 16, 32 (equations 3 to 6).

    The first `convolutional` levels are a ResNet's maps and pass as they are (DPT-Hybrid).
    `use_readout` may be set False at inference: the read-out token's term is left out.
    """

    def __init__(self, dim: int, widths: Sequence[int], readout: str, *, convolutional: int = 0) -> None:
        super().__init__()
        self.convolutional = convolutional
        self.readout = readout
        self.use_readout = True
        self.projects = nn.ModuleList(_plain_conv(dim, width, 1) for width in widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, 4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, 2, 1),
            ]
        )
        if readout == "project":
            self.readout_projects = nn.ModuleList(
                nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU()) for _ in widths
            )
        for level in range(convolutional):  # maps of a ResNet already have their stride and channels
            self.projects[level] = self.resize_layers[level] = nn.Identity()
            if readout == "project":
                self.readout_projects[level] = nn.Identity()

    def forward(self, features: Sequence[Any]) -> list[Tensor]:
        """Four pairs of a map (N, D, h, w) and its read-out token (N, D), or a map alone -> four maps."""
        maps = []
        for level, feature in enumerate(features):
            x = feature
            if level >= self.convolutional:
                x = self._read_out(*feature, level)
            maps.append(self.resize_layers[level](self.projects[level](x)))
        return maps

    def _read_out(self, x: Tensor, token: Tensor, level: int) -> Tensor:
        if self.readout == "ignore" or (self.readout == "add" and not self.use_readout):
            return x
        if self.readout == "add":
            return x + token[:, :, None, None]
        # mlp(cat(patch, token)): the token's half is the same for all patches, so it is multiplied once.
        linear, activation = self.readout_projects[level]
        patches, readout = linear.weight.chunk(2, dim=1)
        y = x.flatten(2).transpose(1, 2) @ patches.T
        y = y + linear.bias
        if self.use_readout:
            y = y + (token @ readout.T)[:, None]
        return activation(y).transpose(1, 2).unflatten(2, x.shape[-2:])


class PreActConv(nn.Module):
    """ReLU, 3x3 convolution, batch norm or a bias."""

    def __init__(self, channels: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.bn = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x.relu()))


class ResidualConvUnit(nn.Module):
    """Two pre-activation convolutions with a residual, from RefineNet (arXiv 1611.06612, figure 2b)."""

    def __init__(self, channels: int, *, norm: bool) -> None:
        super().__init__()
        self.conv1 = PreActConv(channels, norm=norm)
        self.conv2 = PreActConv(channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class FeatureFusion(nn.Module):
    """Adds the level's map through a unit, then unit, enlarging by two with aligned corners, 1x1."""

    def __init__(self, channels: int, *, norm: bool, first: bool) -> None:
        super().__init__()
        self.res_conv_unit1 = None if first else ResidualConvUnit(channels, norm=norm)
        self.res_conv_unit2 = ResidualConvUnit(channels, norm=norm)
        self.project = _plain_conv(channels, channels, 1)

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        """`x` (N, C, h, w) from the level below, `level` this level's map -> (N, C, 2 h, 2 w)."""
        if level is not None:
            assert self.res_conv_unit1 is not None
            size = (x.shape[2], x.shape[3])
            x = x + self.res_conv_unit1(resize(level, size))
        x = self.res_conv_unit2(x)
        # The 1x1 is linear, its bias constant: done before enlarging it costs a quarter.
        return resize(self.project(x), (2 * x.shape[2], 2 * x.shape[3]), align_corners=True)


class DPTHead(SegmentationHead):
    """Reassemble, 3x3 to a common width, four fusions, 3x3, classes.

    `upsample` enlarges the logits from stride 2 to the full size with aligned corners, as transformers does.
    `dropped` may name a tap (0 to 3) at inference whose map is left out.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        num_classes: int,
        *,
        widths: Sequence[int],
        convolutional: int = 0,
        readout: str = "project",
        residual_norm: bool = True,
        upsample: bool = False,
        auxiliary: bool = False,
        auxiliary_weight: float = 0.2,
        auxiliary_level: str = "penultimate",
        align_corners: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners, dropout=dropout)
        if readout not in READOUTS:
            raise ValueError(f"readout is {readout!r}; it is one of {', '.join(READOUTS)}")
        self.upsample = upsample
        self.auxiliary_weight = auxiliary_weight
        self.auxiliary_level = auxiliary_level
        self.dropped: int | None = None
        self.reassemble_blocks = Reassemble(dim, widths, readout, convolutional=convolutional)
        self.convs = nn.ModuleList(_plain_conv(width, channels, 3, bias=False) for width in widths)
        self.fusion_blocks = nn.ModuleList(
            FeatureFusion(channels, norm=residual_norm, first=level == 0) for level in range(len(widths))
        )
        self.project = ConvNormAct(channels, channels, 3)
        self.aux = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(channels, num_classes, 1),
        ) if auxiliary else None  # fmt: skip

    def fused(self, features: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The last fusion at stride 2, and the one the auxiliary head reads, (N, C, h, w)."""
        maps = [conv(x) for conv, x in zip(self.convs, self.reassemble_blocks(features), strict=True)]
        if self.dropped is not None:
            maps[self.dropped] = torch.zeros_like(maps[self.dropped])
        x = self.fusion_blocks[0](maps[-1])
        before = x
        for fusion, level in zip(list(self.fusion_blocks)[1:], reversed(maps[:-1]), strict=True):
            before, x = x, fusion(x, level)
        return x, x if self.auxiliary_level == "last" else before

    def forward(self, features: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Four pairs (map, read-out token) -> logits (N, K, h, w)."""
        return self._classified(self.fused(features)[0])

    def _classified(self, x: Tensor) -> Tensor:
        logits = self.classify(self.project(x))
        if not self.upsample:
            return logits
        return resize(logits, (2 * logits.shape[2], 2 * logits.shape[3]), align_corners=True)

    def losses(
        self,
        features: Sequence[Any],
        target: Tensor,
        criterion: Criterion,
        previous: Tensor | None = None,
    ) -> dict[str, Any]:
        """Cross-entropy on the logits and, weighted, on those of the auxiliary head."""
        last, before = self.fused(features)
        losses = {"loss_ce": self.loss_of(self._classified(last), target, criterion)}
        if self.aux is not None:
            losses["loss_aux"] = self.loss_of(
                self.aux(before), target, criterion, weight=self.auxiliary_weight
            )
        return losses

    def side_outputs(self, features: Sequence[Any]) -> dict[str, Tensor]:
        """The auxiliary head's logits, where there is one."""
        return {} if self.aux is None else {"auxiliary": self.aux(self.fused(features)[1])}


class DPT(EncoderDecoder):
    """A vision transformer and the dense prediction head."""

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Norms, tokens and positions are not decayed."""
        return transformer_groups(self, lr)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 256,
    readout: str = "project",
    taps: tuple[int, ...] | None = None,
    widths: tuple[int, ...] | None = None,
    residual_norm: bool = True,
    upsample: bool = False,
    auxiliary: bool = False,
    auxiliary_weight: float = 0.2,
    auxiliary_level: str = "penultimate",
    dropout: float = 0.1,
) -> DPT:
    """DPT on a plain transformer; `taps` are blocks counted from 0, `widths` the reassembled channels.

    Raises ValueError for a backbone without a class token, or other than four taps or widths.
    """
    if not isinstance(backbone, PatchTransformer):
        raise ValueError("it reads the class token of a plain transformer (ViT, BEiT, MAE)")
    depth = len(backbone.layers)
    convolutional = getattr(backbone, "convolutional", 0)
    chosen = tuple(taps) if taps else TAPS.get(depth, tuple(depth * q // 4 - 1 for q in (1, 2, 3, 4)))
    if convolutional and not taps:
        chosen = backbone.taps
    if len(chosen) + convolutional != 4:
        raise ValueError(f"it has {4 - convolutional} taps, not {len(chosen)}")
    backbone.take(chosen, with_class_token=True)
    dim = backbone.dim
    if convolutional and not widths:
        widths = tuple(feature.channels for feature in backbone.features)
    widths = tuple(widths or WIDTHS.get(dim, tuple(dim // 8 * factor for factor in (1, 2, 4, 8))))
    if len(widths) != 4:
        raise ValueError(f"it has four reassembled maps, and widths are {len(widths)}: {widths}")
    head = DPTHead(
        dim,
        channels,
        num_classes,
        widths=widths,
        convolutional=convolutional,
        readout=readout,
        residual_norm=residual_norm,
        upsample=upsample,
        auxiliary=auxiliary,
        auxiliary_weight=auxiliary_weight,
        auxiliary_level=auxiliary_level,
        align_corners=align_corners,
        dropout=dropout,
    )
    return DPT(backbone, head, num_classes=num_classes, align_corners=align_corners)


_ORIGINAL = {
    "upsample": True,
    "interpolation": "bilinear",
    "auxiliary_weight": 0.4,
    "auxiliary_level": "last",
}


def _authors_level(level: int) -> tuple[tuple[str, str | None], ...]:
    """One tap in the authors' repository, which counts taps from 1 and fusions from the last tap back."""
    process, reassemble = rf"pretrained\.act_postprocess{level + 1}\.", "decode_head.reassemble_blocks."
    refine, fusion = rf"scratch\.refinenet{4 - level}\.", f"decode_head.fusion_blocks.{level}."
    unit = rf"{refine}resConfUnit([12])\."
    return (
        (rf"{process}0\.project\.(.+)", rf"{reassemble}readout_projects.{level}.\1"),
        (rf"{process}3\.(.+)", rf"{reassemble}projects.{level}.conv.\1"),
        (rf"{process}4\.(.+)", rf"{reassemble}resize_layers.{level}.\1"),
        (rf"scratch\.layer{level + 1}_rn\.(.+)", rf"decode_head.convs.{level}.conv.\1"),
        (rf"{refine}out_conv\.(.+)", rf"{fusion}project.conv.\1"),
        *(((rf"{refine}resConfUnit1\..+", None),) if level == 0 else ()),
        (rf"{unit}conv([12])\.(.+)", rf"{fusion}res_conv_unit\1.conv\2.conv.\3"),
        (rf"{unit}bn([12])\.(.+)", rf"{fusion}res_conv_unit\1.conv\2.bn.\3"),
    )


_UNIT = r"neck\.fusion_stage\.layers\.(\d)\.residual_layer([12])\.convolution([12])\.(.+)"

KEY_MAPS = (
    KeyMap(
        layout="transformers",
        telltale=(r"dpt\.embeddings\.cls_token", r"neck\.reassemble_stage\.layers\.3\.projection\.weight"),
        rules=(
            (r"dpt\.(.+)", r"backbone.\1"),
            (
                r"neck\.reassemble_stage\.layers\.(\d)\.projection\.(.+)",
                r"decode_head.reassemble_blocks.projects.\1.conv.\2",
            ),
            (
                r"neck\.reassemble_stage\.layers\.(\d)\.resize\.(.+)",
                r"decode_head.reassemble_blocks.resize_layers.\1.\2",
            ),
            (
                r"neck\.reassemble_stage\.readout_projects\.(.+)",
                r"decode_head.reassemble_blocks.readout_projects.\1",
            ),
            (r"neck\.convs\.(\d)\.(.+)", r"decode_head.convs.\1.conv.\2"),
            (
                r"neck\.fusion_stage\.layers\.(\d)\.projection\.(.+)",
                r"decode_head.fusion_blocks.\1.project.conv.\2",
            ),
            (r"neck\.fusion_stage\.layers\.0\.residual_layer1\..+", None),
            (_UNIT, r"decode_head.fusion_blocks.\1.res_conv_unit\2.conv\3.conv.\4"),
            (
                r"neck\.fusion_stage\.layers\.(\d)\.residual_layer([12])\.batch_norm([12])\.(.+)",
                r"decode_head.fusion_blocks.\1.res_conv_unit\2.conv\3.bn.\4",
            ),
            (r"head\.head\.0\.(.+)", r"decode_head.project.conv.\1"),
            (r"head\.head\.1\.(.+)", r"decode_head.project.bn.\1"),
            (r"head\.head\.4\.(.+)", r"decode_head.conv_seg.\1"),
            (r"auxiliary_head\.head\.(.+)", r"decode_head.aux.\1"),
        ),
        options={**_ORIGINAL, "eps": 1e-12},
        optional=(r"decode_head\.aux\..+",),
        inner="transformers",
    ),
    KeyMap(
        layout="authors",
        telltale=(r"pretrained\.model\.cls_token", r"scratch\.refinenet1\.out_conv\.weight", r"auxlayer\..+"),
        rules=(
            (r"pretrained\.model\.(norm|head)\.(weight|bias)", None),
            (r"pretrained\.model\.(.+)", r"backbone.\1"),
            *(rule for level in range(4) for rule in _authors_level(level)),
            (r"scratch\.output_conv\.0\.(.+)", r"decode_head.project.conv.\1"),
            (r"scratch\.output_conv\.1\.(.+)", r"decode_head.project.bn.\1"),
            (r"scratch\.output_conv\.4\.(.+)", r"decode_head.conv_seg.\1"),
            (r"auxlayer\.(.+)", r"decode_head.aux.\1"),
        ),
        options={**_ORIGINAL, "eps": 1e-6},
        optional=(r"decode_head\.aux\..+",),
        inner="timm",
    ),
)


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Read-out, widths, norms and auxiliary head."""
    head = "decode_head."
    projects = [shapes.get(f"{head}reassemble_blocks.projects.{level}.conv.weight") for level in range(4)]
    options: dict[str, Any] = {
        "residual_norm": f"{head}fusion_blocks.0.res_conv_unit2.conv1.bn.weight" in shapes,
        "auxiliary": f"{head}aux.0.weight" in shapes,
    }
    if f"{head}reassemble_blocks.readout_projects.3.0.weight" not in shapes:
        options["readout"] = "ignore"
    if all(projects):
        widths = tuple(int(shape[0]) for shape in projects if shape is not None)
        if widths != WIDTHS.get(int(projects[0][1])):  # type: ignore[index]
            options["widths"] = widths
    return options


def untold(shapes: Mapping[str, Any]) -> str:
    """What tensor shapes leave open, in words."""
    if "decode_head.reassemble_blocks.readout_projects.3.0.weight" in shapes:
        return ""
    return "The file's keys do not tell if the class token is ignored or added (readout; ignore is assumed)."
