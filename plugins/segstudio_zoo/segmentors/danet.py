"""DANet: attention between positions beside attention between channels, summed.

Fu, Liu, Tian, Li, Bao, Fang, Lu: Dual Attention Network for Scene Segmentation, CVPR 2019,
arXiv 1809.02983. Section 3.2: position attention, equations 1 and 2; section 3.3: channel attention,
equations 3 and 4; section 3.4: the sum, with a loss on each branch.

Shapes: N batch, C channels, L = H * W cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from segstudio_zoo.layers.conv import ConvNormAct, Scale
from segstudio_zoo.layers.encoding_layout import conv_norm, encoding_maps
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.segmentor import Criterion, EncoderDecoder, SegmentationHead

CHUNK_SCORES = 1 << 22
"""At inference, this many scores (16 MiB) exist at once; L x L never does."""


class PositionAttention(nn.Module):
    """E_j = gamma * sum over i of s_ji D_i, plus A_j; s = softmax over i of B_i . C_j; equations 1, 2."""

    def __init__(self, channels: int, inner_channels: int, initial_gamma: float = 0.0) -> None:
        super().__init__()
        self.query_project = nn.Conv2d(channels, inner_channels, 1)
        self.key_project = nn.Conv2d(channels, inner_channels, 1)
        self.value_project = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale(initial_gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W). Without gradients, queries are taken in chunks."""
        query = self.query_project(x).flatten(2).transpose(1, 2)  # (N, L, C')
        key = self.key_project(x).flatten(2)  # (N, C', L)
        value = self.value_project(x).flatten(2).transpose(1, 2)  # (N, L, C)
        cells = key.shape[-1]
        if torch.is_grad_enabled() or torch.compiler.is_exporting():
            out = torch.bmm(query, key).softmax(dim=-1) @ value
        else:
            chunk = max(CHUNK_SCORES // (cells * len(x)), 1)
            parts = [torch.bmm(part, key).softmax(dim=-1) @ value for part in query.split(chunk, dim=1)]
            out = torch.cat(parts, dim=1)
        return self.gamma(out.transpose(1, 2).reshape(x.shape)) + x


def channel_energy(flat: Tensor) -> Tensor:
    """Inner products between channels: (N, C, L) -> (N, C, C).

    Sums over all cells leave float16's range, so they are taken in float32 there.
    """
    if flat.dtype is torch.float16:
        with torch.autocast(flat.device.type, enabled=False):
            return torch.bmm(flat.float(), flat.float().transpose(1, 2))
    return torch.bmm(flat, flat.transpose(1, 2))


def channel_attention(energy: Tensor, *, inverted: bool = True) -> Tensor:
    """Softmax of (largest - energy) along the last axis; of the energy itself unless `inverted`.

    The published code subtracts the energy from its row's maximum, so the *least* similar channels weigh
    most; equation 3 of the paper has the plain softmax of the energy.
    """
    if not inverted:
        return energy.softmax(dim=-1)
    return (energy.amax(dim=-1, keepdim=True) - energy).softmax(dim=-1)


class ChannelAttention(nn.Module):
    """E_j = gamma * sum over i of x_ji A_i, plus A_j, on the channels' own inner products; equations 3, 4."""

    def __init__(self, initial_gamma: float = 0.0, *, inverted: bool = True) -> None:
        super().__init__()
        self.gamma = Scale(initial_gamma)
        self.inverted = inverted

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        flat = x.flatten(2)  # (N, C, L)
        attention = channel_attention(channel_energy(flat), inverted=self.inverted).to(flat.dtype)
        return self.gamma(torch.bmm(attention, flat).reshape(x.shape)) + x


class DAHead(SegmentationHead):
    """The two branches and their sum; figure 2. `branches` is "both", "position" or "channel".

    `channel_softmax` is over "inverted" energies (published code) or the "energy" itself (equation 3).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        *,
        inner_channels: int = 64,
        branches: str = "both",
        channel_softmax: str = "inverted",
        initial_gamma: float = 0.0,
        align_corners: bool = False,
    ) -> None:
        if branches not in ("both", "position", "channel"):
            raise ValueError(f'branches must be "both", "position" or "channel", not {branches!r}')
        if channel_softmax not in ("inverted", "energy"):
            raise ValueError(f'channel_softmax must be "inverted" or "energy", not {channel_softmax!r}')
        super().__init__(channels, num_classes, align_corners=align_corners)
        self.has_position, self.has_channel = branches != "channel", branches != "position"
        if self.has_position:
            self.pam_in_conv = ConvNormAct(in_channels, channels, 3)
            self.pam = PositionAttention(channels, inner_channels, initial_gamma)
            self.pam_out_conv = ConvNormAct(channels, channels, 3)
            self.pam_conv_seg = nn.Conv2d(channels, num_classes, 1)
        if self.has_channel:
            self.cam_in_conv = ConvNormAct(in_channels, channels, 3)
            self.cam = ChannelAttention(initial_gamma, inverted=channel_softmax == "inverted")
            self.cam_out_conv = ConvNormAct(channels, channels, 3)
            self.cam_conv_seg = nn.Conv2d(channels, num_classes, 1)

    def _branches(self, x: Tensor) -> dict[str, Tensor]:
        found = {}
        if self.has_position:
            found["position"] = self.pam_out_conv(self.pam(self.pam_in_conv(x)))
        if self.has_channel:
            found["channel"] = self.cam_out_conv(self.cam(self.cam_in_conv(x)))
        return found

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, H, W) of the sum of both branches."""
        return self.classify(sum_of(list(self._branches(features[-1]).values())))

    def _branch_logits(self, branches: Mapping[str, Tensor]) -> dict[str, Tensor]:
        heads = {"position": "pam_conv_seg", "channel": "cam_conv_seg"}
        return {
            name: self.get_submodule(heads[name])(self.dropout(value)) for name, value in branches.items()
        }

    def losses(
        self,
        features: Sequence[Tensor],
        target: Tensor,
        criterion: Criterion,
        previous: Tensor | None = None,
    ) -> dict[str, Loss]:
        """Cross-entropy on the sum and on each branch; section 3.4."""
        branches = self._branches(features[-1])
        fused = self.classify(sum_of(list(branches.values())))
        losses = {"pam_cam.loss_ce": self.loss_of(fused, target, criterion)}
        short = {"position": "pam", "channel": "cam"}
        for name, logits in self._branch_logits(branches).items():
            losses[f"{short[name]}.loss_ce"] = self.loss_of(logits, target, criterion)
        return losses

    def side_outputs(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """The logits of the branches alone: "position", "channel"."""
        return self._branch_logits(self._branches(features[-1]))


def sum_of(values: Sequence[Tensor]) -> Tensor:
    """The sum of one or two tensors of one shape."""
    return values[0] if len(values) == 1 else values[0] + values[1]


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 512,
    inner_channels: int = 64,
    branches: str = "both",
    channel_softmax: str = "inverted",
    initial_gamma: float = 0.0,
    auxiliary: bool = True,
    auxiliary_channels: int = 256,
) -> EncoderDecoder:
    """DANet on any backbone. The authors' own models use `multi_grid=(4, 8, 16)` in the backbone."""
    head = DAHead(
        backbone.features[-1].channels,
        channels,
        num_classes,
        inner_channels=inner_channels,
        branches=branches,
        channel_softmax=channel_softmax,
        initial_gamma=initial_gamma,
        align_corners=align_corners,
    )
    side = (
        auxiliary_fcn(
            backbone.features, num_classes, channels=auxiliary_channels, align_corners=align_corners
        )
        if auxiliary
        else None
    )
    return EncoderDecoder(backbone, head, side, num_classes=num_classes, align_corners=align_corners)


KEY_MAPS = encoding_maps(
    r"head\.sa\.query_conv\.weight",
    (
        *conv_norm(r"head\.conv5a", "decode_head.pam_in_conv"),
        *conv_norm(r"head\.conv5c", "decode_head.cam_in_conv"),
        *conv_norm(r"head\.conv51", "decode_head.pam_out_conv"),
        *conv_norm(r"head\.conv52", "decode_head.cam_out_conv"),
        (r"head\.sa\.(query|key|value)_conv\.(.+)", r"decode_head.pam.\1_project.\2"),
        (r"head\.sa\.gamma", "decode_head.pam.gamma.scale"),
        (r"head\.sc\.gamma", "decode_head.cam.gamma.scale"),
        (r"head\.conv6\.1\.(.+)", r"decode_head.pam_conv_seg.\1"),
        (r"head\.conv7\.1\.(.+)", r"decode_head.cam_conv_seg.\1"),
        (r"head\.conv8\.1\.(.+)", r"decode_head.conv_seg.\1"),
    ),
    {"multi_grid": (4, 8, 16)},
)
"""The authors' own repository; the last stage's rates are those of their published models."""


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Head widths and branches from tensor shapes."""
    options: dict[str, Any] = {"auxiliary": "auxiliary_head.conv_seg.weight" in shapes}
    if "decode_head.conv_seg.weight" in shapes:
        options["channels"] = shapes["decode_head.conv_seg.weight"][1]
    if options["auxiliary"]:
        options["auxiliary_channels"] = shapes["auxiliary_head.conv_seg.weight"][1]
    position, channel = "decode_head.pam.query_project.weight", "decode_head.cam.gamma.scale"
    if position in shapes:
        options["inner_channels"] = shapes[position][0]
    if (position in shapes) != (channel in shapes):
        options["branches"] = "position" if position in shapes else "channel"
    return options


@contextmanager
def position_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: gamma of the position attention = 0. ValueError where there is none."""
    head = model.decode_head
    if value and not head.has_position:
        raise ValueError("This DANet has no position attention (branches='channel').")
    with _zero_gamma(head.pam) if value else nullcontext():
        yield


@contextmanager
def channel_off(model: nn.Module, value: bool) -> Iterator[None]:
    """Switch: gamma of the channel attention = 0. ValueError where there is none."""
    head = model.decode_head
    if value and not head.has_channel:
        raise ValueError("This DANet has no channel attention (branches='position').")
    with _zero_gamma(head.cam) if value else nullcontext():
        yield


@contextmanager
def _zero_gamma(attention: nn.Module) -> Iterator[None]:
    gamma = attention.gamma.scale
    before = gamma.detach().clone()
    with torch.no_grad():
        gamma.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            gamma.copy_(before)
