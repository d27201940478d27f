"""Context encoding network: channels are gated by what the whole picture contains.

H. Zhang, K. Dana, J. Shi, Z. Zhang, X. Wang, A. Tyagi, A. Agrawal: "Context Encoding for Semantic
Segmentation", CVPR 2018, arXiv 1803.08904. Section 3.1, Eq. 1-2: N cells are softly assigned to K codewords
by their distance, w_ik = softmax over k of -s_k ||x_i - d_k||^2 (published weights hold -s_k as `scale`), and
residuals are aggregated, e_k = sum over i of w_ik (x_i - d_k); e = sum over k of phi(e_k) gates the channels,
Y = X * gate, and the SE-loss predicts from e which classes are present. Section 3.2: another encoding module
on stage 3 serves its own SE-loss alone, in place of an auxiliary segmentation head. Stages are counted as
there: dilation keeps 1/8 of the picture's size in stages 3 and 4, so these are the last two of a ResNet, its
layers 3 and 4. The paper does not draw the second module: a convolution to `channels` and as many codewords
are taken over from the first.

Published weights take the mean over codewords (`aggregation="sum"` is the paper's), compute X + X * gate
(`gate_residual=False` is the paper's) and have an auxiliary FCN head where the paper has the second encoding
(`second_encoding=True, auxiliary=False`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.encoding_layout import conv_norm, encoding_maps
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import Criterion, EncoderDecoder, SegmentationHead

AGGREGATIONS = ("mean", "sum")
"""Over codewords: as published, as in the paper."""

ABSENT_SCORE = -5.0
"""Presence score of a class that is forced absent: a probability of 0.7 %."""


class Encoding(nn.Module):
    """The encoding layer: cells (N, L, C) -> residuals aggregated for each codeword (N, K, C)."""

    def __init__(self, channels: int, num_codes: int) -> None:
        super().__init__()
        bound = (num_codes * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(num_codes, channels).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.empty(num_codes).uniform_(-1, 0))

    def assignment(self, cells: Tensor) -> Tensor:
        """Soft assignment (N, L, K) of Eq. 1; rows sum to 1.

        ||x - d||^2 is expanded, so nothing of size L x K x C is made.
        """
        squared = cells.square().sum(-1, keepdim=True) + self.codewords.square().sum(-1)
        distance = squared - 2 * cells @ self.codewords.T
        return (self.scale * distance).softmax(dim=-1)

    def forward(self, cells: Tensor) -> Tensor:
        weights = self.assignment(cells)
        return weights.transpose(1, 2) @ cells - weights.sum(1)[..., None] * self.codewords


class ContextEncoding(nn.Module):
    """x (N, C, H, W) -> e (N, C) and x * gate + x, or x * gate without `residual` (N, C, H, W) (Fig. 2)."""

    def __init__(
        self, channels: int, num_codes: int, *, aggregation: str = "mean", residual: bool = True
    ) -> None:
        super().__init__()
        self.encoding_project = ConvNormAct(channels, channels, 1)
        self.encoding = _encoding(channels, num_codes)
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
        self.aggregation = aggregation
        self.residual = residual
        self.gated = True

    def cells(self, x: Tensor) -> Tensor:
        """What is assigned to codewords: (N, H * W, C)."""
        return self.encoding_project(x).flatten(2).transpose(1, 2)

    def encode(self, x: Tensor) -> Tensor:
        """e (N, C)."""
        return _over_codewords(self.encoding(self.cells(x)), self.aggregation)

    def gate(self, encoded: Tensor) -> Tensor:
        """e (N, C) -> the factor of each channel (N, C), ones where the gate is switched off."""
        gate: Tensor = self.fc(encoded)
        return gate if self.gated else torch.ones_like(gate)

    def forward(self, x: Tensor, correct: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """`correct` may put another e in place of the one read from `x`, before the gate."""
        encoded = self.encode(x)
        if correct is not None:
            encoded = correct(encoded)
        gated = x * self.gate(encoded)[..., None, None]
        return encoded, (x + gated if self.residual else gated).relu()


class StageThreeEncoding(nn.Module):
    """The second encoding module: convolution, encoding, presence scores. Only its SE-loss is used."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, num_codes: int, *, aggregation: str = "mean"
    ) -> None:
        super().__init__()
        self.bottleneck = ConvNormAct(in_channels, channels, 3)
        self.encoding_project = ConvNormAct(channels, channels, 1)
        self.encoding = _encoding(channels, num_codes)
        self.se_layer = nn.Linear(channels, num_classes)
        self.aggregation = aggregation

    def forward(self, x: Tensor) -> Tensor:
        cells = self.encoding_project(self.bottleneck(x)).flatten(2).transpose(1, 2)
        scores: Tensor = self.se_layer(_over_codewords(self.encoding(cells), self.aggregation))
        return scores


def _encoding(channels: int, num_codes: int) -> nn.Sequential:
    return nn.Sequential(Encoding(channels, num_codes), nn.BatchNorm1d(num_codes), nn.ReLU(inplace=True))


def _over_codewords(encoded: Tensor, aggregation: str) -> Tensor:
    """(N, K, C) -> (N, C)."""
    return encoded.sum(dim=1) if aggregation == "sum" else encoded.mean(dim=1)


def class_presence(target: Tensor, num_classes: int) -> Tensor:
    """Labels (N, H, W) int -> (N, K) float, 1 where a class has a pixel; other ids are ignored."""
    flat = target.flatten(1)
    valid = (flat >= 0) & (flat < num_classes)
    counts = torch.zeros(flat.shape[0], num_classes + 1, device=flat.device)
    counts.scatter_(1, torch.where(valid, flat, num_classes), 1.0)
    return counts[:, :num_classes]


class EncHead(SegmentationHead):
    """Convolution, optional laterals, context encoding, classifier, and presence scores."""

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        indices: Sequence[int],
        num_codes: int,
        se_loss: bool,
        se_weight: float,
        lateral: bool,
        second_encoding: bool,
        aggregation: str,
        gate_residual: bool,
        align_corners: bool,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners)
        self.indices = tuple(indices)
        self.se_weight = se_weight
        self.bottleneck = ConvNormAct(in_channels[-1], channels, 3)
        self.lateral_convs: nn.ModuleList | None = None
        if lateral:
            self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels, 1) for width in in_channels[:-1])
            self.fusion = ConvNormAct(len(in_channels) * channels, channels, 3)
        self.enc_module = ContextEncoding(
            channels, num_codes, aggregation=aggregation, residual=gate_residual
        )
        self.se_layer = nn.Linear(channels, num_classes) if se_loss else None
        self.second = (
            StageThreeEncoding(in_channels[-2], channels, num_classes, num_codes, aggregation=aggregation)
            if second_encoding
            else None
        )
        self.absent_class: int | None = None

    def encoded(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """e (N, C) and the gated features (N, C, h, w)."""
        correct = None if self.absent_class is None else self._denied
        return self.enc_module(self.before_encoding(features), correct)

    def before_encoding(self, features: Sequence[Tensor]) -> Tensor:
        """(N, C, h, w): what the encoding module reads."""
        inputs = [features[index] for index in self.indices]
        x = self.bottleneck(inputs[-1])
        if self.lateral_convs is not None:
            size, corners = x.shape[2:], self.align_corners
            sides = [
                resize(lateral(value), size, align_corners=corners)
                for lateral, value in zip(self.lateral_convs, inputs, strict=False)
            ]
            x = self.fusion(torch.cat([x, *sides], dim=1))
        return x

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self._without_absent(self.classify(self.encoded(features)[1]))

    def _denied(self, encoded: Tensor) -> Tensor:
        """e (N, C), moved against the absent class's presence weights until its score is ABSENT_SCORE."""
        assert self.se_layer is not None
        direction = self.se_layer.weight[self.absent_class]
        score = encoded @ direction + self.se_layer.bias[self.absent_class]
        steps = (score - ABSENT_SCORE).clamp(min=0) / direction.square().sum().clamp(min=1e-12)
        return encoded - steps[:, None] * direction

    def _without_absent(self, logits: Tensor) -> Tensor:
        if self.absent_class is None:
            return logits
        lowest = logits.amin(dim=1) - 1
        logits = logits.clone()
        logits[:, self.absent_class] = lowest
        return logits

    def presence(self, features: Sequence[Tensor]) -> Tensor | None:
        """Scores (N, K) of classes being present, before the sigmoid; None without SE-loss."""
        return None if self.se_layer is None else self.se_layer(self.encoded(features)[0])

    def losses(
        self, features: Sequence[Tensor], target: Tensor, criterion: Criterion, previous: Tensor | None = None
    ) -> dict[str, Loss]:
        encoded, gated = self.encoded(features)
        result = {"loss_ce": self.loss_of(self.classify(gated), target, criterion)}
        truth = class_presence(target, self.num_classes).to(encoded.dtype)
        if self.se_layer is not None:
            result["loss_se"] = self._presence_loss(self.se_layer(encoded), truth)
        if self.second is not None:
            result["loss_se_stage3"] = self._presence_loss(self.second(features[self.indices[-2]]), truth)
        return result

    def _presence_loss(self, scores: Tensor, truth: Tensor) -> Loss:
        """Binary cross-entropy averaged over pictures and classes."""
        total = F.binary_cross_entropy_with_logits(scores, truth, reduction="sum")
        return Loss(total, total.new_tensor(float(truth.numel())), self.se_weight)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    num_codes: int = 32,
    se_loss: bool = True,
    se_weight: float = 0.2,
    lateral: bool = False,
    second_encoding: bool = False,
    aggregation: str = "mean",
    gate_residual: bool = True,
    channels: int = 512,
    auxiliary: bool = True,
) -> EncoderDecoder:
    """EncNet on the last three features of `backbone` (all are read with `lateral` only), auxiliary FCN
    head (0.4, unless `auxiliary` is off) on the one before the last.

    Raises ValueError where `second_encoding` is wanted of a backbone with one feature, or `aggregation` is
    none of AGGREGATIONS.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"aggregation is {aggregation!r}; it is one of {', '.join(AGGREGATIONS)}")
    infos = backbone.features
    if second_encoding and len(infos) < 2:
        raise ValueError("the second encoding module needs two features; this backbone has one")
    indices = tuple(range(len(infos)))[-3:]
    head = EncHead(
        [infos[index].channels for index in indices],
        channels,
        num_classes,
        indices=indices,
        num_codes=num_codes,
        se_loss=se_loss,
        se_weight=se_weight,
        lateral=lateral,
        second_encoding=second_encoding,
        aggregation=aggregation,
        gate_residual=gate_residual,
        align_corners=align_corners,
    )
    side = auxiliary_fcn(infos, num_classes, align_corners=align_corners) if auxiliary else None
    return EncoderDecoder(backbone, head, side, num_classes=num_classes, align_corners=align_corners)


KEY_MAPS = encoding_maps(
    r"head\.encmodule\.encoding\.3\.codewords",
    (
        *conv_norm(r"head\.conv5", "decode_head.bottleneck"),
        (r"head\.connect\.(\d)\.0\.(.+)", r"decode_head.lateral_convs.\1.conv.\2"),
        (r"head\.connect\.(\d)\.1\.(.+)", r"decode_head.lateral_convs.\1.bn.\2"),
        *conv_norm(r"head\.fusion", "decode_head.fusion"),
        *conv_norm(r"head\.encmodule\.encoding", "decode_head.enc_module.encoding_project"),
        (r"head\.encmodule\.encoding\.3\.(.+)", r"decode_head.enc_module.encoding.0.\1"),
        (r"head\.encmodule\.encoding\.4\.(.+)", r"decode_head.enc_module.encoding.1.\1"),
        (r"head\.encmodule\.fc\.0\.(.+)", r"decode_head.enc_module.fc.0.\1"),
        (r"head\.encmodule\.selayer\.(.+)", r"decode_head.se_layer.\1"),
        (r"head\.conv6\.1\.(.+)", r"decode_head.conv_seg.\1"),
    ),
)
"""The authors' own repository; it joins stages 2 and 3 (`connect`) for PASCAL data sets only."""


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell."""
    codes, channels = shapes["decode_head.enc_module.encoding.0.codewords"]
    return {
        "num_codes": codes,
        "channels": channels,
        "se_loss": "decode_head.se_layer.weight" in shapes,
        "lateral": any(key.startswith("decode_head.lateral_convs.") for key in shapes),
        "second_encoding": any(key.startswith("decode_head.second.") for key in shapes),
        "auxiliary": "auxiliary_head.conv_seg.weight" in shapes,
    }


# What a person can switch ---------------------------------------------------------------------------------


@contextmanager
def gate_off(model: nn.Module, value: bool) -> Iterator[None]:
    """False: the gate is 1 for every channel, whatever the picture."""
    modules = [module for module in model.modules() if isinstance(module, ContextEncoding)]
    before = [module.gated for module in modules]
    for module in modules:
        module.gated = bool(value)
    try:
        yield
    finally:
        for module, old in zip(modules, before, strict=True):
            module.gated = old


@contextmanager
def force_absent(model: nn.Module, value: int) -> Iterator[None]:
    """A class that is not there; -1: none. e is moved against this class's presence weights until the layer
    of the SE-loss denies it, the gate follows from the moved e, and no pixel may get the class.

    Raises ValueError where the network does not have this class, or no layer that says what is present.
    """
    heads = [module for module in model.modules() if isinstance(module, EncHead)]
    before = [head.absent_class for head in heads]
    for head in heads:
        if value >= head.num_classes:
            known = f"{head.num_classes} classes, 0 to {head.num_classes - 1}"
            raise ValueError(f"there is no class {value} to be absent: this network has {known}")
        if value >= 0 and head.se_layer is None:
            raise ValueError("this network was built without the SE-loss: nothing says which class is absent")
    for head in heads:
        head.absent_class = None if value < 0 else int(value)
    try:
        yield
    finally:
        for head, old in zip(heads, before, strict=True):
            head.absent_class = old
