"""SegNeXt: the light Hamburger decoder over MSCAN.

Guo et al., "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation", NeurIPS 2022,
arXiv 2209.08575, section 3.2 and figure 3c: stages 2 to 4 are joined at stride 8 and their global context is
modelled by matrix decomposition.

The decomposition is that of Geng et al., "Is Attention Better Than Matrix Decomposition?", ICLR 2021, arXiv
2109.04553, section 2.2.2: X (D x N) ~ bases (D x R) coefficients (R x N), non-negative, by the multiplicative
updates of Lee and Seung. Bases start at random; in evaluation from a fixed seed, so that masks don't flicker.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.param_groups import transformer_groups
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead, pyramid_indices

EPS = 1e-6
GROUPS = 32


class MatrixDecomposition(nn.Module):
    """Non-negative matrix factorisation; has no parameters.

    `steps` updates run in evaluation (7 as published, training does `train_steps`, 6).
    """

    def __init__(self, channels: int, rank: int, *, train_steps: int = 6, steps: int = 7) -> None:
        super().__init__()
        self.channels, self.rank = channels, rank
        self.train_steps, self.steps = train_steps, steps
        seeded = np.random.RandomState(0).random_sample((1, channels, rank)).astype(np.float32)
        self.register_buffer("start", torch.from_numpy(seeded), persistent=False)
        self.recorders: list[list[Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), not negative -> its approximation of rank R, the same shape.

        Quotients of sums over all pixels: in half precision they are computed in float32.
        """
        with torch.autocast(x.device.type, enabled=False):
            exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
            return self._approximated(exact).to(x.dtype)

    def _approximated(self, x: Tensor) -> Tensor:
        data = x.flatten(2)  # (N, D, HW)
        bases = self._first_bases(data)  # (N, D, R)
        coefficients = (data.transpose(1, 2) @ bases).softmax(dim=-1)  # (N, HW, R)
        for _ in range(self.train_steps if self.training else self.steps):
            coefficients = self._update_coefficients(data, bases, coefficients)
            gram = coefficients.transpose(1, 2) @ coefficients
            bases = bases * (data @ coefficients) / (bases @ gram + EPS)
        coefficients = self._update_coefficients(data, bases, coefficients)
        for kept in self.recorders:
            kept[:] = [coefficients[0].detach().T.unflatten(1, x.shape[-2:]).clone()]
        # Pixel by pixel, the order in which the convolution behind reads it.
        return (coefficients @ bases.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[-2:])

    @staticmethod
    def _update_coefficients(data: Tensor, bases: Tensor, coefficients: Tensor) -> Tensor:
        gram = bases.transpose(1, 2) @ bases
        return coefficients * (data.transpose(1, 2) @ bases) / (coefficients @ gram + EPS)

    def _first_bases(self, data: Tensor) -> Tensor:
        if self.training:
            start = torch.rand(data.shape[0], self.channels, self.rank, device=data.device, dtype=data.dtype)
        else:
            start = self.start.to(data.dtype).expand(data.shape[0], -1, -1)
        return F.normalize(start, dim=1)


def _conv_norm(in_channels: int, channels: int, *, relu: bool = True) -> nn.Sequential:
    """1x1 without bias and group norm, under the published names `conv` and `gn`."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv", nn.Conv2d(in_channels, channels, 1, bias=False)),
        ("gn", nn.GroupNorm(GROUPS, channels)),
    ]
    return nn.Sequential(OrderedDict([*layers, ("activate", nn.ReLU(inplace=True))] if relu else layers))


class Hamburger(nn.Module):
    """1x1 ("lower bread"), decomposition, 1x1 ("upper bread"), residual."""

    def __init__(self, channels: int, rank: int, *, train_steps: int, steps: int) -> None:
        super().__init__()
        self.ham_in = nn.Sequential(OrderedDict(conv=nn.Conv2d(channels, channels, 1)))
        self.activate = nn.ReLU(inplace=True)
        self.ham = MatrixDecomposition(channels, rank, train_steps=train_steps, steps=steps)
        self.ham_out = _conv_norm(channels, channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        context = self.ham_out(self.ham(self.activate(self.ham_in(x))))
        return F.relu(context.add_(x), inplace=True)


class LightHamHead(SegmentationHead):
    """Stages 2 to 4 at stride 8 -> squeeze -> Hamburger -> align -> classes."""

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        num_classes: int,
        *,
        indices: Sequence[int] = (1, 2, 3),
        ham_channels: int | None = None,
        rank: int = 16,
        train_steps: int = 6,
        steps: int = 7,
        align_corners: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, num_classes, align_corners=align_corners, dropout=dropout)
        self.indices = tuple(indices)
        ham_channels = ham_channels or channels
        self.squeeze = _conv_norm(sum(in_channels), ham_channels)
        self.hamburger = Hamburger(ham_channels, rank, train_steps=train_steps, steps=steps)
        self.align = _conv_norm(ham_channels, channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, H / 8, W / 8)."""
        levels = [features[index] for index in self.indices]
        size = levels[0].shape[-2:]
        # The squeezing 1x1 is linear and so is enlarging: each level is squeezed before it is enlarged.
        slices = self.squeeze.conv.weight.split([level.shape[1] for level in levels], dim=1)
        x = F.conv2d(levels[0], slices[0])
        for level, weight in zip(levels[1:], slices[1:], strict=True):
            x += resize(F.conv2d(level, weight), size, align_corners=self.align_corners)
        x = self.squeeze.activate(self.squeeze.gn(x))
        return self.classify(self.align(self.hamburger(x)))


class SegNeXt(EncoderDecoder):
    """MSCAN and the light Hamburger decoder."""

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """The published recipe: AdamW, the head at ten times `lr`, norms not decayed."""
        return transformer_groups(self, lr, head_factor=10.0)


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int | None = None,
    rank: int = 16,
    train_steps: int = 6,
    steps: int = 7,
    dropout: float = 0.1,
) -> SegNeXt:
    """SegNeXt on any pyramid with strides 8, 16, 32.

    `channels` as published: 256 over MSCAN-T and -S, 512 over -B, 1024 over -L.
    Raises ValueError where a stride is missing.
    """
    indices = pyramid_indices(backbone.features, (8, 16, 32))
    width = 256 if channels is None else channels
    head = LightHamHead(
        [backbone.features[index].channels for index in indices],
        width,
        num_classes,
        indices=indices,
        rank=rank,
        train_steps=train_steps,
        steps=steps,
        align_corners=align_corners,
        dropout=dropout,
    )
    return SegNeXt(backbone, head, num_classes=num_classes, align_corners=align_corners)


KEY_MAPS = (
    KeyMap(
        layout="authors",
        telltale=(r"backbone\.block1\.0\.mlp\.dwconv\.dwconv\.weight",),
        rules=((r"(.+)", r"\1"),),
        inner="authors",
    ),
)


def infer_options(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's width."""
    align = shapes.get("decode_head.align.conv.weight")
    return {} if align is None else {"channels": int(align[0])}


# What a person can look at -------------------------------------------------------------------------------


def _decomposition(model: nn.Module) -> MatrixDecomposition:
    for module in model.modules():
        if isinstance(module, MatrixDecomposition):
            return module
    raise ValueError("This model has no matrix decomposition.")


@dataclass
class CapturedComponents:
    """Coefficients (R, h, w) of the last run, in a list of one."""

    maps: list[Tensor]
    image_size: tuple[int, int] = (0, 0)

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.maps)


class ComponentProbe:
    """Where each of the R components of the decomposition is present."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedComponents]:
        """While open, a run of `model` fills what is returned."""
        ham = _decomposition(model)
        captured = CapturedComponents([])

        def note_size(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            captured.image_size = (arguments[0].shape[-2], arguments[0].shape[-1])

        handle = model.get_submodule("backbone").register_forward_pre_hook(note_size)
        ham.recorders.append(captured.maps)
        try:
            yield captured
        finally:
            ham.recorders[:] = [kept for kept in ham.recorders if kept is not captured.maps]
            handle.remove()

    def map(self, captured: CapturedComponents, query: Query) -> ProbeMap:
        """(R, h, w) coefficients; `extras["at_pixel"]` has the shares of the components at the pixel."""
        if not captured.maps:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        values = captured.maps[0].float().cpu().numpy()
        rank, rows, columns = values.shape
        stride = (captured.image_size[0] / rows, captured.image_size[1] / columns)
        cell = (min(int(query.y / stride[0]), rows - 1), min(int(query.x / stride[1]), columns - 1))
        here = values[:, cell[0], cell[1]]
        total = float(here.sum())
        return ProbeMap(
            values,
            "images",
            stride,
            labels=tuple(f"component {i + 1}" for i in range(rank)),
            query_cell=cell,
            extras={"at_pixel": [float(v) / total if total > 0 else 0.0 for v in here]},
        )


def component_probe() -> ComponentProbe:
    """The probe, for the catalog to name."""
    return ComponentProbe()


@contextmanager
def steps_switch(model: nn.Module, value: int) -> Iterator[None]:
    """Number of updates of the decomposition in evaluation, 0 or more."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"The decomposition makes 0 or more steps, not {value!r}.")
    ham = _decomposition(model)
    before = ham.steps
    try:
        ham.steps = value
        yield
    finally:
        ham.steps = before
