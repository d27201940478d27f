"""Object-contextual representations: each pixel looks at the K classes' regions instead of at pixels.

Y. Yuan, X. Chen, J. Wang: "Object-Contextual Representations for Semantic Segmentation", ECCV 2020,
arXiv 1909.11065. Section 3.2: soft object regions are a coarse prediction, supervised with weight 0.4; Eq. 2:
f_k = sum over i of m_ki x_i with m_k a softmax over the pixels; Eq. 3: w_ik = softmax over k of
phi(x_i) . psi(f_k); y_i = rho(sum over k of w_ik delta(f_k)); Eq. 4: z_i = g([x_i, y_i]). Every transform is
1x1, BN, ReLU (phi and psi twice). Scores are divided by the root of the channels, as in the authors' code.

GT-OCR (section 4.3) is the upper bound: regions and relations are taken from the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo, Loss
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import fold_biases
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.dense_attention import AttentionModule, attend
from segstudio_zoo.layers.fcn_head import FCNHead
from segstudio_zoo.layers.openseg_layout import OPENSEG_OPTIONS, OPENSEG_STEM, OPENSEG_TRUNK, conv_norm_relu
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import Criterion, EncoderDecoder, SegmentationHead, auxiliary_index

JOINED_CHANNELS = 1024
"""Up to this many channels in all, "auto" joins every level at the finest stride (HRNet)."""


def region_representations(x: Tensor, regions: Tensor) -> Tensor:
    """Eq. 2: features (N, C, H, W), scores of the soft regions (N, K, H, W) -> (N, K, C)."""
    return regions.flatten(2).softmax(dim=2) @ x.flatten(2).transpose(1, 2)


class ObjectContextBlock(AttentionModule):
    """Eq. 3 and 4: pixels (N, C, H, W) and regions (N, K, C) -> (N, C, H, W)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()

        def twice() -> nn.Sequential:
            return nn.Sequential(ConvNormAct(in_channels, channels, 1), ConvNormAct(channels, channels, 1))

        self.key_project = twice()
        self.query_project = twice()
        self.value_project = ConvNormAct(in_channels, channels, 1)
        self.out_project = ConvNormAct(channels, in_channels, 1)
        self.bottleneck = ConvNormAct(2 * in_channels, in_channels, 1)

    def forward(
        self, x: Tensor, regions: Tensor, *, soft_regions: Tensor, relation: Tensor | None = None
    ) -> Tensor:
        """`relation` (N, K, H, W) replaces the attention; `soft_regions` are only kept for probes."""
        height, width = x.shape[2:]
        points = regions.transpose(1, 2)[..., None]  # (N, C, K, 1)
        key = self.key_project(points)[..., 0].transpose(1, 2)
        value = self.value_project(points)[..., 0].transpose(1, 2)
        query = self.query_project(x).flatten(2).transpose(1, 2)
        scale = query.shape[2] ** -0.5
        given = {} if relation is None else {"relation": relation[0]}
        self.remember(query, key, scale=scale, query_grid=(height, width), regions=soft_regions[0], **given)
        if relation is None:
            context = attend(query, key, value, scale=scale)
        else:
            context = relation.flatten(2).transpose(1, 2) @ value
        context = context.transpose(1, 2).reshape(x.shape[0], -1, height, width)
        out: Tensor = self.bottleneck(torch.cat([self.out_project(context), x], dim=1))
        return out


class LevelsInput(nn.Module):
    """The pyramid -> one map: levels `indices` resized to the first of them and joined. No weights."""

    def __init__(self, indices: Sequence[int], *, align_corners: bool) -> None:
        super().__init__()
        self.indices = tuple(indices)
        self.align_corners = align_corners

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        chosen = [features[index] for index in self.indices]
        size = chosen[0].shape[2:]
        resized = [resize(value, size, align_corners=self.align_corners) for value in chosen]
        return resized[0] if len(resized) == 1 else torch.cat(resized, dim=1)


class RegionHead(FCNHead):
    """The coarse prediction whose class scores are the soft object regions."""

    def __init__(
        self, levels: LevelsInput, in_channels: int, channels: int, num_classes: int, **options: Any
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            num_classes,
            num_convs=1,
            concat_input=False,
            dropout=0.0,
            loss_weight=0.4,
            **options,
        )
        self.levels = levels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.convs(self.levels(features)))


class OCRHead(SegmentationHead):
    """Convolution, region representations, object context, classifier."""

    def __init__(
        self,
        levels: LevelsInput,
        in_channels: int,
        channels: int,
        num_classes: int,
        *,
        ocr_channels: int,
        align_corners: bool,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners, dropout=0.0)
        self.levels = levels
        self.bottleneck = ConvNormAct(in_channels, channels, 3)
        self.object_context_block = ObjectContextBlock(channels, ocr_channels)
        self.truth: Tensor | None = None

    def forward(self, features: Sequence[Tensor], previous: Tensor | None = None) -> Tensor:
        """`previous` (N, K, h, w): scores of the soft regions. Raises ValueError where they are missing."""
        if previous is None:
            raise ValueError("the object context needs the soft regions of the head before it")
        x = self.bottleneck(self.levels(features))
        if self.truth is None:
            regions = region_representations(x, previous)
            out = self.object_context_block(x, regions, soft_regions=previous)
        else:
            member = true_membership(self.truth, self.num_classes, (x.shape[2], x.shape[3])).to(x)
            share = member.flatten(2)
            share = share / share.sum(dim=2, keepdim=True).clamp(min=1)
            regions = share @ x.flatten(2).transpose(1, 2)
            out = self.object_context_block(x, regions, soft_regions=previous, relation=member)
        return self.classify(out)


def true_membership(target: Tensor, num_classes: int, size: tuple[int, int]) -> Tensor:
    """Labels (N, H, W) -> (N, K, *size), 1 where a cell's nearest pixel has the class; ignored: all zero."""
    rows = torch.arange(size[0], device=target.device) * target.shape[1] // size[0]
    columns = torch.arange(size[1], device=target.device) * target.shape[2] // size[1]
    cells = target[:, rows][:, :, columns]
    valid = (cells >= 0) & (cells < num_classes)
    member = F.one_hot(torch.where(valid, cells, num_classes), num_classes + 1)[..., :num_classes]
    return member.permute(0, 3, 1, 2).float()


class OCRNet(EncoderDecoder):
    """`region_truth` (N, H, W) may hold labels for GT-OCR: see `use_true_regions`."""

    region_truth: Tensor | None = None

    def losses(self, image: Tensor, target: Tensor, criterion: Criterion) -> dict[str, Loss]:
        """CE on the soft regions (0.4) and on the final prediction, each head run once."""
        features = self.extract(image)
        result: dict[str, Loss] = {}
        logits: Tensor | None = None
        for name, head in self.decode_heads():
            logits = head(features) if logits is None else head(features, logits)
            result[f"{name}.loss_ce"] = head.loss_of(logits, target, criterion)
        return result


def _levels(infos: Sequence[FeatureInfo], levels: str) -> tuple[list[int], list[int]]:
    """Indices that the region head and the OCR head read."""
    joined = sum(info.channels for info in infos) <= JOINED_CHANNELS and infos[-1].stride > 8
    if levels == "all" or (levels == "auto" and joined):
        every = list(range(len(infos)))
        return every, every
    return [auxiliary_index(infos)], [len(infos) - 1]


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    levels: str = "auto",
    channels: int = 512,
    ocr_channels: int = 256,
    region_channels: int | None = None,
) -> OCRNet:
    """OCR on `backbone`. `levels` "all" joins every level at the finest stride (HRNet), "last" reads the
    last feature, and the regions come from the one before (ResNet); "auto" chooses by the channels."""
    infos = backbone.features
    region_levels, ocr_levels = _levels(infos, levels)
    region_in = sum(infos[index].channels for index in region_levels)
    ocr_in = sum(infos[index].channels for index in ocr_levels)
    joined = len(region_levels) > 1
    if region_channels is None:
        region_channels = region_in if joined else 256
    regions = RegionHead(
        LevelsInput(region_levels, align_corners=align_corners),
        region_in,
        region_channels,
        num_classes,
        kernel_size=1 if joined else 3,
        align_corners=align_corners,
    )
    ocr = OCRHead(
        LevelsInput(ocr_levels, align_corners=align_corners),
        ocr_in,
        channels,
        num_classes,
        ocr_channels=ocr_channels,
        align_corners=align_corners,
    )
    return OCRNet(backbone, [regions, ocr], num_classes=num_classes, align_corners=align_corners)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell."""
    return {
        "levels": "all" if shapes["decode_head.0.convs.0.conv.weight"][2] == 1 else "last",
        "channels": shapes["decode_head.1.bottleneck.conv.weight"][0],
        "ocr_channels": shapes["decode_head.1.object_context_block.value_project.conv.weight"][0],
        "region_channels": shapes["decode_head.0.convs.0.conv.weight"][0],
    }


# The authors' repository: Sequentials, norms one level deeper, biases before two norms ---------------------


_OCB = r"(?:model\.)?(?:ocr_distri_head|spatial_ocr_head)\.object_context_block\."
_INTO = r"decode_head.1.object_context_block."


def _pair(source: str, target: str) -> tuple[tuple[str, str], ...]:
    """Two 1x1-BN-ReLU in a row: children 0 and 1.0, 2 and 3.0."""
    return (
        (rf"{_OCB}{source}\.0\.(.+)", rf"{_INTO}{target}.0.conv.\1"),
        (rf"{_OCB}{source}\.1\.0\.(.+)", rf"{_INTO}{target}.0.bn.\1"),
        (rf"{_OCB}{source}\.2\.(.+)", rf"{_INTO}{target}.1.conv.\1"),
        (rf"{_OCB}{source}\.3\.0\.(.+)", rf"{_INTO}{target}.1.bn.\1"),
    )


def _single(source: str, target: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"{_OCB}{source}\.0\.(.+)", rf"{_INTO}{target}.conv.\1"),
        (rf"{_OCB}{source}\.1\.0\.(.+)", rf"{_INTO}{target}.bn.\1"),
    )


_CONTEXT_BLOCK: tuple[tuple[str, str | None], ...] = (
    *_pair("f_pixel", "query_project"),
    *_pair("f_object", "key_project"),
    *_single("f_down", "value_project"),
    *_single("f_up", "out_project"),
    (r"(?:model\.)?\w+_head\.conv_bn_dropout\.0\.(.+)", rf"{_INTO}bottleneck.conv.\1"),
    (r"(?:model\.)?\w+_head\.conv_bn_dropout\.1\.0\.(.+)", rf"{_INTO}bottleneck.bn.\1"),
)

KEY_MAPS = (
    KeyMap(
        layout="authors (openseg)",
        telltale=(r"spatial_ocr_head\.object_context_block\.f_pixel\.0\.weight", OPENSEG_STEM),
        rules=(
            *OPENSEG_TRUNK,
            *_CONTEXT_BLOCK,
            *conv_norm_relu("conv_3x3", "decode_head.1.bottleneck"),
            (r"head\.(.+)", r"decode_head.1.conv_seg.\1"),
            *conv_norm_relu("dsn_head", "decode_head.0.convs.0"),
            (r"dsn_head\.3\.(.+)", r"decode_head.0.conv_seg.\1"),
        ),
        options=OPENSEG_OPTIONS,
        transform=fold_biases,
    ),
    KeyMap(
        layout="authors (HRNet-OCR)",
        telltale=(
            r"(model\.)?ocr_distri_head\.object_context_block\.f_pixel\.0\.weight",
            r"(model\.)?cls_head\.weight",
        ),
        rules=(
            (r"loss\..+", None),
            *_CONTEXT_BLOCK,
            (r"(?:model\.)?conv3x3_ocr\.0\.(.+)", r"decode_head.1.bottleneck.conv.\1"),
            (r"(?:model\.)?conv3x3_ocr\.1\.(?:0\.)?([a-z_]+)", r"decode_head.1.bottleneck.bn.\1"),
            (r"(?:model\.)?cls_head\.(.+)", r"decode_head.1.conv_seg.\1"),
            (r"(?:model\.)?aux_head\.0\.(.+)", r"decode_head.0.convs.0.conv.\1"),
            (r"(?:model\.)?aux_head\.1\.(?:0\.)?([a-z_]+)", r"decode_head.0.convs.0.bn.\1"),
            (r"(?:model\.)?aux_head\.[23]\.(.+)", r"decode_head.0.conv_seg.\1"),
            (r"(?:model\.)?(incre_modules|downsamp_modules|final_layer|classifier|last_layer)\..+", None),
            (r"(?:model\.)?((?:conv|bn|layer|stage|transition)\d\..+)", r"backbone.\1"),
        ),
        options={"align_corners": True, "upsample": "bilinear_aligned"},
        transform=fold_biases,
    ),
)
