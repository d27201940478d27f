"""Context encoding network: channels are gated by what the whole picture contains.

H. Zhang, K. Dana, J. Shi, Z. Zhang, X. Wang, A. Tyagi, A. Agrawal: "Context Encoding for Semantic
Segmentation", CVPR 2018, arXiv 1803.08904. Section 3.1, Eq. 1-2: N cells are softly assigned to K codewords
by their distance, w_ik = softmax over k of -s_k ||x_i - d_k||^2 (published weights hold -s_k as `scale`), and
residuals are aggregated, e_k = sum over i of w_ik (x_i - d_k). Section 3.2: e = sum over k of phi(e_k) gates
the channels, and the SE-loss predicts from e which classes are present. A second encoding module, one stage
earlier, adds a further SE-loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss, ProbeMap, Query
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.dense_attention import grid_of, image_size_of
from segstudio_zoo.layers.encoding_layout import conv_norm, encoding_maps
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import Criterion, EncoderDecoder, SegmentationHead


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
    """x (N, C, H, W) -> e (N, C) and x * gate + x (N, C, H, W) (Fig. 2)."""

    def __init__(self, channels: int, num_codes: int) -> None:
        super().__init__()
        self.encoding_project = ConvNormAct(channels, channels, 1)
        self.encoding = nn.Sequential(
            Encoding(channels, num_codes), nn.BatchNorm1d(num_codes), nn.ReLU(inplace=True)
        )
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())
        self.gated = True

    def cells(self, x: Tensor) -> Tensor:
        """What is assigned to codewords: (N, H * W, C)."""
        return self.encoding_project(x).flatten(2).transpose(1, 2)

    def encode(self, x: Tensor) -> Tensor:
        """e (N, C). Published weights take the mean over codewords where the paper takes the sum."""
        out: Tensor = self.encoding(self.cells(x)).mean(dim=1)
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.encode(x)
        if not self.gated:
            return encoded, (x + x).relu()
        gate = self.fc(encoded)[..., None, None]
        return encoded, (x + x * gate).relu()


class StageFourEncoding(nn.Module):
    """The second encoding module: convolution, encoding, presence scores. Only its SE-loss is used."""

    def __init__(self, in_channels: int, channels: int, num_classes: int, num_codes: int) -> None:
        super().__init__()
        self.bottleneck = ConvNormAct(in_channels, channels, 3)
        self.encoding_project = ConvNormAct(channels, channels, 1)
        self.encoding = nn.Sequential(
            Encoding(channels, num_codes), nn.BatchNorm1d(num_codes), nn.ReLU(inplace=True)
        )
        self.se_layer = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.encoding_project(self.bottleneck(x)).flatten(2).transpose(1, 2)
        scores: Tensor = self.se_layer(self.encoding(cells).mean(dim=1))
        return scores


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
        self.enc_module = ContextEncoding(channels, num_codes)
        self.se_layer = nn.Linear(channels, num_classes) if se_loss else None
        self.second = (
            StageFourEncoding(in_channels[-2], channels, num_classes, num_codes) if second_encoding else None
        )
        self.absent_class: int | None = None

    def encoded(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """e (N, C) and the gated features (N, C, h, w)."""
        return self.enc_module(self.before_encoding(features))

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

    def _without_absent(self, logits: Tensor) -> Tensor:
        if self.absent_class is None or self.absent_class >= self.num_classes:
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
            result["loss_se_stage4"] = self._presence_loss(self.second(features[self.indices[-2]]), truth)
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
    channels: int = 512,
    auxiliary: bool = True,
) -> EncoderDecoder:
    """EncNet on the last three features of `backbone` (all are read with `lateral` only), auxiliary FCN
    head (0.4, unless `auxiliary` is off) on the one before the last.

    Raises ValueError where `second_encoding` is wanted of a backbone with one feature.
    """
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


# What a person can look at -------------------------------------------------------------------------------


@dataclass
class CapturedEncoding:
    """Assignment of every cell to every codeword (h, w, K), the gate (C,), presence (K,) or None."""

    image_size: tuple[int, int] = (0, 0)
    align_corners: bool = False
    assignment: np.ndarray | None = None
    gate: np.ndarray | None = None
    presence: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        kept = (self.assignment, self.gate, self.presence)
        return sum(values.nbytes for values in kept if values is not None)


@contextmanager
def _capturing(model: nn.Module) -> Iterator[CapturedEncoding]:
    captured = CapturedEncoding()
    head = next(module for module in model.modules() if isinstance(module, EncHead))
    module = head.enc_module

    @torch.no_grad()
    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        x = inputs[0][:1].detach()
        encoding = module.encoding[0]
        assert isinstance(encoding, Encoding)
        weights = encoding.assignment(module.cells(x))[0]
        captured.assignment = weights.reshape(*x.shape[2:], -1).float().cpu().numpy()
        encoded = output[0][:1].detach()
        captured.gate = module.fc(encoded)[0].float().cpu().numpy()
        if head.se_layer is not None:
            captured.presence = head.se_layer(encoded).sigmoid()[0].float().cpu().numpy()

    handle = module.register_forward_hook(keep)
    try:
        with image_size_of(model, captured):
            yield captured
    finally:
        handle.remove()


class _EncodingProbe:
    def attach(self, model: nn.Module) -> Any:
        return _capturing(model)


class CodewordProbe(_EncodingProbe):
    """How a clicked pixel is shared out among the codewords; or, with `codeword`, where one codeword is."""

    def map(
        self, captured: CapturedEncoding, query: Query, *, codeword: int = -1, **options: Any
    ) -> ProbeMap:
        if captured.assignment is None:
            raise ValueError("nothing was kept yet: run the network first")
        height, width, codes = captured.assignment.shape
        grid = grid_of(captured, (height, width))
        cell = grid.cell_of(query)
        if codeword < 0:
            labels = tuple(f"codeword {k + 1}" for k in range(codes))
            values = captured.assignment[cell]
            return ProbeMap(values, "vector", labels=labels, rows_sum_to_one=True, query_cell=cell)
        if codeword >= codes:
            raise ValueError(f"there are {codes} codewords; {codeword} is none of them")
        values = captured.assignment[..., codeword]
        return ProbeMap(values, "map", stride=grid.stride, offset=grid.offset, query_cell=cell)


class PresenceProbe(_EncodingProbe):
    """Which classes the encoding says are in the picture: a probability for each."""

    def map(self, captured: CapturedEncoding, query: Query, **options: Any) -> ProbeMap:
        if captured.presence is None:
            raise ValueError("this network was built without the SE-loss, or has not run yet")
        return ProbeMap(captured.presence, "vector")


class GateProbe(_EncodingProbe):
    """The factor each channel is multiplied by (before the residual)."""

    def map(self, captured: CapturedEncoding, query: Query, **options: Any) -> ProbeMap:
        if captured.gate is None:
            raise ValueError("nothing was kept yet: run the network first")
        return ProbeMap(captured.gate, "vector")


def codeword_probe() -> CodewordProbe:
    return CodewordProbe()


def presence_probe() -> PresenceProbe:
    return PresenceProbe()


def gate_probe() -> GateProbe:
    return GateProbe()


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
    """A class that no pixel may get, as if the encoding had said it is not there; -1: none."""
    heads = [module for module in model.modules() if isinstance(module, EncHead)]
    before = [head.absent_class for head in heads]
    for head in heads:
        head.absent_class = None if value < 0 else int(value)
    try:
        yield
    finally:
        for head, old in zip(heads, before, strict=True):
            head.absent_class = old
