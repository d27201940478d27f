"""PointRend: a coarse map is refined point by point where it is uncertain.

A. Kirillov, Y. Wu, K. He, R. Girshick: "PointRend: Image Segmentation as Rendering", CVPR 2020,
arXiv 1912.08193. Section 3.1, inference: enlarge twofold, predict the N most uncertain points anew, repeat;
training: sample k N points at random, keep the most uncertain share beta N, the rest uniformly (k = 3,
beta = 0.75). Section 3.2: features of a point are fine features and the coarse prediction. Section 3.3: a
small perceptron shared by all points, the coarse prediction joined to every layer.

The coarse map comes from SemanticFPN (published weights) or from DeepLabV3's pyramid (the paper's section 5).
The paper refines N = 8096 points a step, published configurations 8196.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.aspp import atrous_branches, image_pooling, pool_pyramid, rates_for
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.detectron_layout import pyramid_rules
from segstudio_zoo.layers.fpn import FeaturePyramid, SemanticFPNHead, group_norms
from segstudio_zoo.layers.segmentor import Criterion, EncoderDecoder, SegmentationHead, pyramid_indices

Keep = Callable[[int, Tensor, Tensor], None]
"""Called with the step, its uncertainty (N, h, w) and the indices (N, P) of the points chosen."""


def sample_points(x: Tensor, points: Tensor, *, align_corners: bool = False, nearest: bool = False) -> Tensor:
    """Map (N, C, H, W) at `points` (N, P, 2), x and y in 0..1 of the picture -> (N, C, P)."""
    grid = 2 * points[:, :, None].float() - 1
    mode = "nearest" if nearest else "bilinear"
    # In float32: half precision cannot hold the cells of a wide picture.
    return F.grid_sample(x.float(), grid, mode=mode, align_corners=align_corners)[..., 0].to(x.dtype)


def uncertainty(logits: Tensor) -> Tensor:
    """(N, K, ...) -> (N, ...): minus the gap between the best two classes (section 4, "point selection").
    One class alone has no gap; its distance from 0 counts instead."""
    if logits.shape[1] == 1:
        return -logits[:, 0].abs()
    best = logits.topk(2, dim=1).values
    return best[:, 1] - best[:, 0]


def training_points(
    logits: Tensor, count: int, *, oversample: float, importance: float, align_corners: bool
) -> Tensor:
    """Importance sampling of section 3.1: (N, count, 2), the uncertain share first."""
    batch, wanted = logits.shape[0], int(count * importance)
    drawn = torch.rand(batch, int(count * oversample), 2, device=logits.device)
    doubt = uncertainty(sample_points(logits, drawn, align_corners=align_corners))
    chosen = doubt.topk(wanted, dim=1).indices
    points = drawn.gather(1, chosen[..., None].expand(-1, -1, 2))
    uniform = torch.rand(batch, count - wanted, 2, device=logits.device)
    return torch.cat([points, uniform], dim=1)


def uncertain_cells(doubt: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(N, h, w) -> indices (N, P) of the most uncertain cells, and their centres (N, P, 2), x and y."""
    height, width = doubt.shape[1:]
    indices = doubt.flatten(1).topk(min(height * width, count), dim=1).indices
    x = (indices % width).float() / width + 0.5 / width
    y = (indices // width).float() / height + 0.5 / height
    return indices, torch.stack([x, y], dim=2)


class PointHead(nn.Module):
    """The perceptron over points, and the subdivision that uses it.

    `forward(features, previous)`: fine features and the coarse logits (N, K, h, w) -> refined logits
    (N, K, h * 2**steps, w * 2**steps).
    """

    def __init__(
        self,
        fine_channels: int,
        channels: int,
        num_classes: int,
        *,
        layers: int,
        steps: int,
        points: int,
        training_count: int,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.steps = steps
        self.points = points
        self.training_count = training_count
        self.recorders: list[Keep] = []
        widths = [fine_channels, *([channels] * layers)]
        self.fcs = nn.ModuleList(_point_layer(width + num_classes, channels) for width in widths[:-1])
        self.fc_seg = nn.Conv1d(channels + num_classes, num_classes, 1)

    def classify(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Points' fine features (N, C, P) and coarse logits (N, K, P) -> logits (N, K, P)."""
        x = fine
        for layer in self.fcs:
            x = layer(torch.cat([x, coarse], dim=1))
        out: Tensor = self.fc_seg(torch.cat([x, coarse], dim=1))
        return out

    def at(self, features: Sequence[Tensor], coarse: Tensor, points: Tensor) -> Tensor:
        """Logits (N, K, P) at `points` (N, P, 2)."""
        corners = self.align_corners
        fine = sample_points(features[0], points, align_corners=corners)
        return self.classify(fine, sample_points(coarse, points, align_corners=corners))

    def forward(self, features: Sequence[Tensor], previous: Tensor) -> Tensor:
        refined = previous
        for step in range(self.steps):
            refined = F.interpolate(
                refined, scale_factor=2, mode="bilinear", align_corners=self.align_corners
            )
            batch, classes, height, width = refined.shape
            doubt = uncertainty(refined)
            indices, points = uncertain_cells(doubt, self.points)
            for keep in self.recorders:
                keep(step, doubt, indices)
            logits = self.at(features, previous, points).to(refined.dtype)
            where = indices[:, None].expand(-1, classes, -1)
            refined = refined.flatten(2).scatter(2, where, logits).reshape(batch, classes, height, width)
        return refined

    def losses(
        self, features: Sequence[Tensor], target: Tensor, criterion: Criterion, previous: Tensor
    ) -> dict[str, Loss]:
        """The criterion on points; labels are read at the nearest pixel."""
        with torch.no_grad():
            points = training_points(
                previous,
                self.training_count,
                oversample=3,
                importance=0.75,
                align_corners=self.align_corners,
            )
            labels = sample_points(
                target[:, None].to(points.dtype), points, align_corners=self.align_corners, nearest=True
            )
        logits = self.at(features, previous, points)
        return {"pointloss_ce": criterion(logits[:, :, None], labels.long())}

    def side_outputs(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        return {}


def _point_layer(in_channels: int, channels: int) -> nn.Module:
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv1d(in_channels, channels, 1))
    layer.add_module("activate", nn.ReLU(inplace=True))
    return layer


class AtrousCoarseHead(SegmentationHead):
    """DeepLabV3's pyramid on the last feature as the coarse map."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, *, stride: int, align_corners: bool
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners)
        rates = rates_for(stride)
        self.image_pool = image_pooling(in_channels, channels)
        self.aspp_modules = atrous_branches(in_channels, channels, rates)
        self.bottleneck = ConvNormAct((len(rates) + 1) * channels, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        joined = pool_pyramid(features[-1], self.image_pool, self.aspp_modules)
        return self.classify(self.bottleneck(joined))


class PointRend(EncoderDecoder):
    """Coarse head, then point head. Losses: CE on the coarse map, CE on sampled points."""

    def losses(self, image: Tensor, target: Tensor, criterion: Criterion) -> dict[str, Loss]:
        features = self.extract(image)
        coarse_head, point_head = (head for _, head in self.decode_heads())
        coarse = coarse_head(features)
        result = {"decode_0.loss_ce": coarse_head.loss_of(coarse, target, criterion)}
        for key, loss in point_head.losses(features, target, criterion, coarse).items():
            result[f"decode_1.{key}"] = loss
        return result


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    coarse: str = "semantic_fpn",
    coarse_norm: str = "batch",
    subdivision_steps: int | str = "auto",
    subdivision_points: int = 8196,
    training_points: int = 2048,
    point_channels: int = 256,
    point_layers: int = 3,
) -> PointRend:
    """`coarse` "semantic_fpn" (with `coarse_norm` "batch" or the paper's "group") or "deeplabv3".
    `subdivision_steps` doublings of `subdivision_points` points each (section 3.1, inference): "auto" until
    the picture's own size, 0 for the coarse map as it is. In training neither counts.

    Raises ValueError where the backbone has no feature at stride 4 to take fine features from.
    """
    infos = backbone.features
    finest = pyramid_indices(infos, (4,))[0]
    if finest != 0:
        raise ValueError(f"expected the first feature at stride 4; it is at {infos[0].stride}")
    neck: nn.Module | None = None
    head: SegmentationHead
    if coarse == "deeplabv3":
        stride, fine_channels = infos[-1].stride, infos[0].channels
        head = AtrousCoarseHead(
            infos[-1].channels, 512, num_classes, stride=stride, align_corners=align_corners
        )
    else:
        stride, fine_channels = infos[0].stride, 256
        neck = FeaturePyramid([info.channels for info in infos], fine_channels)
        head = SemanticFPNHead(
            fine_channels,
            [info.stride for info in infos],
            128,
            num_classes,
            align_corners=align_corners,
            dropout=0.0,
            norm=coarse_norm,
        )
    point_head: Any = PointHead(
        fine_channels,
        point_channels,
        num_classes,
        layers=point_layers,
        steps=(stride - 1).bit_length() if subdivision_steps == "auto" else int(subdivision_steps),
        points=subdivision_points,
        training_count=training_points,
        align_corners=align_corners,
    )
    return PointRend(
        backbone, [head, point_head], num_classes=num_classes, align_corners=align_corners, neck=neck
    )


_HEAD = r"sem_seg_head\."

KEY_MAPS = (
    KeyMap(
        layout="authors (detectron2)",
        telltale=(r"sem_seg_head\.coarse_sem_seg_head\.predictor\.weight", r"backbone\.fpn_lateral5\.weight"),
        rules=(
            *pyramid_rules(r"sem_seg_head\.coarse_sem_seg_head", "decode_head.0"),
            *((rf"{_HEAD}point_head\.fc{n + 1}\.(.+)", rf"decode_head.1.fcs.{n}.conv.\1") for n in range(8)),
            (rf"{_HEAD}point_head\.predictor\.(.+)", r"decode_head.1.fc_seg.\1"),
        ),
        options={"subdivision_points": 8192},
        inner="detectron2",
    ),
)
"""The authors' repository; pictures are of 32 n pixels a side, in BGR of 0..255 less the mean."""


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell; steps and points have no weights."""
    layers = sum(key.endswith(".conv.weight") and ".fcs." in key for key in shapes)
    found: dict[str, Any] = {
        "coarse": "deeplabv3" if "decode_head.0.bottleneck.conv.weight" in shapes else "semantic_fpn",
        "point_channels": shapes["decode_head.1.fcs.0.conv.weight"][0],
        "point_layers": layers,
    }
    return {**found, "coarse_norm": "group"} if group_norms(shapes, "decode_head.0") else found
