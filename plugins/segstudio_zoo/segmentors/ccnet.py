"""CCNet: every pixel looks along its row and column, twice, and so reaches the whole picture.

Huang, Wang, Wei, Huang, Shi, Liu, Huang: CCNet: Criss-Cross Attention for Semantic Segmentation, ICCV 2019
and TPAMI 2020, arXiv 1811.11721. Section 3.2: criss-cross attention, equations 1 (affinity) and 2
(aggregation); section 3.3: recurrence with shared weights; section 3.4: category consistent loss.

Shapes: N batch, C channels, H x W cells, C' = C / 8. Scores are N x HW x (H + W), never HW x HW.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.key_transforms import fold_biases, shaped_like
from segstudio_zoo.layers.conv import ModuleMaker, Scale, leaky_relu, relu
from segstudio_zoo.layers.fcn_head import FCNHead, auxiliary_fcn
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import Criterion, EncoderDecoder


def criss_cross_logits(query: Tensor, key: Tensor) -> Tensor:
    """Affinity of every cell with its column and row, equation 1.

    (N, C', H, W) twice -> (N, H, W, H + W): entries 0..H-1 are the cells of the column, the rest those
    of the row. The cell itself stands in both; its place in the column is -inf, so it counts once.
    """
    height = query.shape[2]
    column = torch.einsum("nchw,ncgw->nhwg", query, key)
    row = torch.einsum("nchw,nchv->nhwv", query, key)
    itself = torch.eye(height, dtype=torch.bool, device=query.device)[:, None, :]
    column = column.masked_fill(itself, float("-inf"))
    return torch.cat([column, row], dim=-1)


class CrissCrossAttention(nn.Module):
    """H'_u = gamma * sum over the cells i in u's row and column of A_(i,u) V_i, plus H_u; equation 2."""

    def __init__(self, channels: int, initial_gamma: float = 0.0) -> None:
        super().__init__()
        inner = max(channels // 8, 1)
        self.query_conv = nn.Conv2d(channels, inner, 1)
        self.key_conv = nn.Conv2d(channels, inner, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale(initial_gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        query, key, value = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        height = x.shape[2]
        attention = criss_cross_logits(query, key).softmax(dim=-1)
        down, across = attention[..., :height], attention[..., height:]
        out = torch.einsum("nhwg,ncgw->nchw", down, value)
        out = out + torch.einsum("nhwv,nchv->nchw", across, value)
        return self.gamma(out) + x


class CCHead(FCNHead):
    """Convolution, `recurrence` passes of one criss-cross attention, convolution, classifier; figure 2.

    `consistency_channels` > 0 adds the category consistent loss on a 1x1 reduction to that many channels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        *,
        recurrence: int = 2,
        initial_gamma: float = 0.0,
        consistency_channels: int = 0,
        act: ModuleMaker = relu,
        align_corners: bool = False,
    ) -> None:
        super().__init__(in_channels, channels, num_classes, act=act, align_corners=align_corners)
        self.recurrence = recurrence
        self.cca = CrissCrossAttention(channels, initial_gamma)
        self.consistency = (
            nn.Conv2d(channels, consistency_channels, 1, bias=False) if consistency_channels else None
        )

    def attend(self, x: Tensor) -> Tensor:
        """The last feature -> criss-cross features (N, channels, H, W)."""
        out = self.convs[0](x)
        for _ in range(self.recurrence):
            out = self.cca(out)
        return out

    def _classify_attended(self, x: Tensor, attended: Tensor) -> Tensor:
        out = self.convs[1](attended)
        assert self.conv_cat is not None
        return self.classify(self.conv_cat(torch.cat([x, out], dim=1)))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, H, W) at the last feature's stride."""
        x = features[-1]
        return self._classify_attended(x, self.attend(x))

    def losses(
        self,
        features: Sequence[Tensor],
        target: Tensor,
        criterion: Criterion,
        previous: Tensor | None = None,
    ) -> dict[str, Loss]:
        """Cross-entropy, and the category consistent loss where it was asked for."""
        x = features[-1]
        attended = self.attend(x)
        losses = {"loss_ce": self.loss_of(self._classify_attended(x, attended), target, criterion)}
        if self.consistency is not None:
            reduced = resize(self.consistency(attended), target.shape[-2:], align_corners=self.align_corners)
            value = category_consistent_loss(reduced, target, num_classes=self.num_classes)
            losses["loss_ccl"] = Loss(value, torch.ones((), device=value.device))
        return losses


def category_consistent_loss(
    features: Tensor,
    target: Tensor,
    *,
    num_classes: int,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 0.001,
    delta_v: float = 0.5,
    delta_d: float = 1.5,
) -> Tensor:
    """Pulls features of one class together, pushes class means apart; section 3.4, equations 4 to 8.

    `features` (N, C, H, W), `target` (N, H, W); values outside 0..num_classes-1 are ignored. A scalar;
    0 where no pixel has a class.
    """
    flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    labels = target.reshape(-1)
    valid = (labels >= 0) & (labels < num_classes)
    flat, labels = flat[valid], labels[valid]
    if labels.numel() == 0:
        return features.sum() * 0.0
    present, position, counts = labels.unique(return_inverse=True, return_counts=True)
    means = flat.new_zeros(len(present), flat.shape[1]).index_add(0, position, flat) / counts[:, None]

    distance = _length(flat - means[position])
    quadratic = (distance - delta_v).clamp(min=0.0).square()
    linear = distance - delta_d + (delta_d - delta_v) ** 2
    pull = torch.where(distance > delta_d, linear, quadratic)
    per_class = pull.new_zeros(len(present)).index_add(0, position, pull) / counts
    variance = per_class.mean()
    regular = _length(means).mean()
    if len(present) == 1:
        return alpha * variance + gamma * regular
    first, second = torch.triu_indices(len(present), len(present), offset=1, device=means.device)
    push = (2 * delta_d - _length(means[first] - means[second])).clamp(min=0.0).square()
    return alpha * variance + beta * push.mean() + gamma * regular


def _length(vectors: Tensor) -> Tensor:
    """Euclidean norms of rows, with a finite gradient at zero."""
    return (vectors.square().sum(dim=1) + 1e-12).sqrt()


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 512,
    recurrence: int = 2,
    initial_gamma: float = 0.0,
    auxiliary: bool = True,
    auxiliary_channels: int = 256,
    category_consistent: bool = False,
    leaky: bool = False,
) -> EncoderDecoder:
    """CCNet on any backbone; the head reads its last feature, the auxiliary head the one before.

    `leaky`: leaky ReLU of slope 0.01 in both heads, as in the authors' own weights.
    """
    act: ModuleMaker = leaky_relu if leaky else relu
    head = CCHead(
        backbone.features[-1].channels,
        channels,
        num_classes,
        recurrence=recurrence,
        initial_gamma=initial_gamma,
        consistency_channels=16 if category_consistent else 0,
        act=act,
        align_corners=align_corners,
    )
    side = (
        auxiliary_fcn(
            backbone.features,
            num_classes,
            channels=auxiliary_channels,
            act=act,
            align_corners=align_corners,
        )
        if auxiliary
        else None
    )
    return EncoderDecoder(backbone, head, side, num_classes=num_classes, align_corners=align_corners)


def _from_authors(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The authors' in-place batch norms scale by |weight| + epsilon."""
    scaled = {
        key: value.abs() + 1e-5 if f"{key.removesuffix('weight')}running_mean" in state else value
        for key, value in state.items()
    }
    return shaped_like(fold_biases(scaled, model), model)


_STEM = (("conv1", 0), ("bn1", 1), ("conv2", 3), ("bn2", 4), ("conv3", 6), ("bn3", 7))

KEY_MAPS = (
    KeyMap(
        layout="authors",
        telltale=(r"head\.cca\.query_conv\.weight", r"head\.bottleneck\.3\.weight", r"conv3\.weight"),
        rules=(
            *((rf"{part}\.(.+)", rf"backbone.stem.{place}.\1") for part, place in _STEM),
            (r"(layer[1-4]\..+)", r"backbone.\1"),
            (r"head\.conva\.0\.(.+)", r"decode_head.convs.0.conv.\1"),
            (r"head\.conva\.1\.(.+)", r"decode_head.convs.0.bn.\1"),
            (r"head\.convb\.0\.(.+)", r"decode_head.convs.1.conv.\1"),
            (r"head\.convb\.1\.(.+)", r"decode_head.convs.1.bn.\1"),
            (r"head\.cca\.(query_conv|key_conv|value_conv)\.(.+)", r"decode_head.cca.\1.\2"),
            (r"head\.cca\.gamma", "decode_head.cca.gamma.scale"),
            (r"head\.bottleneck\.0\.(.+)", r"decode_head.conv_cat.conv.\1"),
            (r"head\.bottleneck\.1\.(.+)", r"decode_head.conv_cat.bn.\1"),
            (r"head\.bottleneck\.3\.(.+)", r"decode_head.conv_seg.\1"),
            (r"dsn\.0\.(.+)", r"auxiliary_head.convs.0.conv.\1"),
            (r"dsn\.1\.(.+)", r"auxiliary_head.convs.0.bn.\1"),
            (r"dsn\.3\.(.+)", r"auxiliary_head.conv_seg.\1"),
            (r"criterion\..+", None),
        ),
        options={
            "align_corners": True,
            "contract_dilation": False,
            "ceil_pool": True,
            "leaky": True,
            "output_stride": 8,
            "stem_channels": 128,
        },
        transform=_from_authors,
    ),
)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Head widths and optional parts from tensor shapes."""
    options: dict[str, Any] = {"auxiliary": "auxiliary_head.conv_seg.weight" in shapes}
    if "decode_head.conv_seg.weight" in shapes:
        options["channels"] = shapes["decode_head.conv_seg.weight"][1]
    if options["auxiliary"]:
        options["auxiliary_channels"] = shapes["auxiliary_head.conv_seg.weight"][1]
    if "decode_head.consistency.weight" in shapes:
        options["category_consistent"] = True
    return options


@contextmanager
def recurrence(model: nn.Module, value: int) -> Iterator[None]:
    """Switch: how often the attention is applied, with the same weights."""
    head = model.decode_head
    before = head.recurrence
    head.recurrence = int(value)
    try:
        yield
    finally:
        head.recurrence = before


@contextmanager
def attention_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: gamma = 0, so that only the residual path is left."""
    gamma = model.decode_head.cca.gamma.scale
    before = gamma.detach().clone()
    if value:
        with torch.no_grad():
            gamma.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            gamma.copy_(before)
