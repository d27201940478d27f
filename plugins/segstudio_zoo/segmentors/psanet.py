"""PSANet: every position predicts a map of weights around itself, to collect by and to distribute by.

Zhao, Zhang, Liu, Shi, Loy, Lin, Jia: PSANet: Point-wise Spatial Attention Network for Scene Parsing,
ECCV 2018. Section 3.1, equations 1 and 2: collect and distribute; section 3.2 and figure 3: the
over-completed map of (2H-1) x (2W-1) offsets; section 3.3: the module inside the network.

Shapes: N batch, C channels, h x w cells of the shrunk grid, M_h x M_w offsets of the over-completed map.
Attention is (sources j, targets i), softmax over the sources in both branches, as published. Offsets that
the map does not hold keep logit 0, as published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.fcn_head import auxiliary_fcn
from segstudio_zoo.layers.resize import resize
from segstudio_zoo.layers.segmentor import EncoderDecoder, SegmentationHead
from segstudio_zoo.layers.semseg_layout import SEMSEG_OPTIONS, SEMSEG_RULES

CHUNK_SCORES = 1 << 22
"""At inference, about this many scores (16 MiB) exist at once."""


def by_offset(mask: Tensor, mask_size: tuple[int, int]) -> Tensor:
    """The over-completed map read by position: V[a, b] = mask of position a at offset b - a, 0 outside.

    (N, M_h * M_w, h, w) -> a view (N, h, w, h, w): position a, then position b. Offset (0, 0) lies at
    index ((M_h - 1) // 2, (M_w - 1) // 2).
    """
    n, _, h, w = mask.shape
    high, wide = mask_size
    half_h, half_w = (high - 1) // 2, (wide - 1) // 2
    maps = mask.permute(0, 2, 3, 1).reshape(n, h, w, high, wide)
    top, left = max(0, h - 1 - half_h), max(0, w - 1 - half_w)
    bottom, right = max(0, h + half_h - high), max(0, w + half_w - wide)
    if top or left or bottom or right:
        maps = F.pad(maps, (left, right, top, bottom))
    y0, x0 = half_h + top, half_w + left  # where offset (0, 0) lies now
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        dy = torch.arange(h)[None, :] - torch.arange(h)[:, None] + y0  # (a, b)
        dx = torch.arange(w)[None, :] - torch.arange(w)[:, None] + x0
        ay, ax = torch.arange(h)[:, None, None, None], torch.arange(w)[None, :, None, None]
        return maps[:, ay, ax, dy[:, None, :, None], dx[None, :, None, :]]
    maps = maps.contiguous()
    sn, sy, sx, sdy, sdx = maps.stride()
    start = maps.storage_offset() + y0 * sdy + x0 * sdx
    return maps.as_strided((n, h, w, h, w), (sn, sy - sdy, sx - sdx, sdy, sdx), start)


def by_offset_on_grid(features: Tensor, kernels: Tensor, mask_size: tuple[int, int]) -> Tensor:
    """`by_offset` of the map that `kernels` (M_h * M_w, C, 1, 1) predict from `features` (N, C, h, w).

    Only rows of offsets that lead from a row of the grid to another are computed: of 97 x 97 offsets on a
    grid of 32 x 64 a third. (N, h, w, h, w), to read only.
    """
    n, channels, h, w = features.shape
    high, wide = mask_size
    half_h, half_w = (high - 1) // 2, (wide - 1) // 2
    left, right = max(0, w - 1 - half_w), max(0, w + half_w - wide)
    kernels = kernels.reshape(high, wide, channels)
    cells = features.permute(0, 2, 3, 1)
    maps = features.new_zeros(n, h, w, h, left + wide + right)
    for y in range(h):
        nearest = half_h - y  # the row of offsets that leads to row 0
        first, end = max(nearest, 0), min(nearest + h, high)
        found = cells[:, y] @ kernels[first:end].flatten(0, 1).T
        maps[:, y, :, first - nearest : end - nearest, left : left + wide] = found.unflatten(2, (-1, wide))
    sn, sy, sx, sb, sdx = maps.stride()
    return maps.as_strided((n, h, w, h, w), (sn, sy, sx - sdx, sb, sdx), (half_w + left) * sdx)


def collect_logits(mask: Tensor, mask_size: tuple[int, int]) -> Tensor:
    """Target i reads the logit of source j from its own map: (N, j_y, j_x, i_y, i_x), equation 1."""
    return by_offset(mask, mask_size).permute(0, 3, 4, 1, 2)


def distribute_logits(mask: Tensor, mask_size: tuple[int, int]) -> Tensor:
    """Source j states the logit for target i in its own map: (N, j_y, j_x, i_y, i_x), equation 2."""
    return by_offset(mask, mask_size)


class PSAHead(SegmentationHead):
    """Reduce, predict maps, collect and/or distribute, project, join to the input; figure 2.

    `direction` is "both", "collect" or "distribute". `compact` predicts one weight per cell of the grid
    instead of one per offset, so it works at the trained grid only: `grid_size`, to which features are
    then always resized. `grid_size` may be given for the over-completed map too. The gathered context is
    divided by `normalization_factor`: None or 0 is the number N of the grid's cells, as equation 1 has it.
    Two published details: the 1x1 after the attention has padding 1 (`projection_padding`; the authors: 0),
    and where both sides of the feature map are odd, shrinking and enlarging align corners whatever the
    configuration says.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        *,
        mask_size: tuple[int, int] = (97, 97),
        grid_size: tuple[int, int] | None = None,
        direction: str = "both",
        compact: bool = False,
        shrink_factor: int = 2,
        normalization_factor: float | None = 1.0,
        softmax: bool = True,
        projection_padding: int = 1,
        align_corners: bool = False,
    ) -> None:
        if direction not in ("both", "collect", "distribute"):
            raise ValueError(f'direction must be "both", "collect" or "distribute", not {direction!r}')
        if compact and grid_size is None:
            grid_size = mask_size
        super().__init__(channels, num_classes, align_corners=align_corners)
        self._mask_size = (int(mask_size[0]), int(mask_size[1]))
        self.grid_size = None if grid_size is None else (int(grid_size[0]), int(grid_size[1]))
        self.direction, self.compact = direction, compact
        self.shrink_factor, self.normalization_factor = shrink_factor, normalization_factor
        self.softmax = softmax
        self.zeroed: str | None = None
        self.only_on_grid = False
        offsets = self._mask_size[0] * self._mask_size[1]
        if compact and self.grid_size is not None:
            offsets = self.grid_size[0] * self.grid_size[1]
        else:  # a checkpoint's kernel says how many offsets its map holds
            self.tables_of_any_size = ("attention.1.weight", "attention_p.1.weight")
        self.reduce = ConvNormAct(in_channels, channels, 1)
        self.attention = _map_predictor(channels, offsets)
        if direction == "both":
            self.reduce_p = ConvNormAct(in_channels, channels, 1)
            self.attention_p = _map_predictor(channels, offsets)
        joined = 2 * channels if direction == "both" else channels
        self.proj = ConvNormAct(joined, in_channels, 1, padding=projection_padding)
        self.bottleneck = ConvNormAct(2 * in_channels, channels, 3)

    @property
    def mask_size(self) -> tuple[int, int]:
        """(M_h, M_w) as built, or the square map that a loaded kernel predicts."""
        offsets = self.attention[1].weight.shape[0]
        if self.compact or offsets == self._mask_size[0] * self._mask_size[1]:
            return self._mask_size
        side = isqrt(offsets)
        if side * side != offsets:
            raise ValueError(f"a map of {offsets} offsets is not square; give mask_size=(rows, columns)")
        return side, side

    def shrunk(self, size: Sequence[int]) -> tuple[tuple[int, int], bool]:
        """(grid on which attention is computed, whether it aligns corners) of a feature map's size."""
        height, width = int(size[0]), int(size[1])
        factor = self.shrink_factor
        align = self.align_corners
        if factor != 1:
            align = bool(height % factor and width % factor)
            if align:
                height, width = (height - 1) // factor + 1, (width - 1) // factor + 1
            else:
                height, width = max(height // factor, 1), max(width // factor, 1)
        return self.grid_size or (height, width), align

    def logits(self, mask: Tensor, direction: str) -> Tensor:
        """The predicted map -> logits (N, j_y, j_x, i_y, i_x) of one branch."""
        if self.compact:
            n, _, h, w = mask.shape
            maps = mask.reshape(n, h, w, h, w)
            return maps if direction == "collect" else maps.permute(0, 3, 4, 1, 2)
        return (collect_logits if direction == "collect" else distribute_logits)(mask, self.mask_size)

    def weights(self, logits: Tensor) -> Tensor:
        """(N, j_y, j_x, i_y, i_x) -> (N, sources, targets), softmax over the sources."""
        flat = logits.reshape(len(logits), logits.shape[1] * logits.shape[2], -1)
        return flat.softmax(dim=1) if self.softmax else flat

    def _attend(self, x: Tensor, predictor: nn.Sequential, direction: str) -> Tensor:
        """Sum over the sources, targets taken in strips of rows where no gradient is wanted."""
        n, c, h, w = x.shape
        logits = self._predicted_logits(x, predictor, direction)
        flat = x.reshape(n, c, h * w)
        if torch.is_grad_enabled() or torch.compiler.is_exporting():
            out = torch.bmm(flat, self.weights(logits))
        else:
            rows = max(CHUNK_SCORES // (n * h * w * w), 1)
            parts = [torch.bmm(flat, self.weights(part)) for part in logits.split(rows, dim=3)]
            out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        return out.reshape(n, c, h, w) * (1.0 / (self.normalization_factor or h * w))

    def _predicted_logits(self, x: Tensor, predictor: nn.Sequential, direction: str) -> Tensor:
        """`logits` of the map that `predictor` gives, or, once optimised, of what of it lies on the grid.

        Where somebody keeps the map (a probe), learns or exports, it is made whole all the same.
        """
        watched = any(part._forward_hooks or part._forward_pre_hooks for part in (predictor, *predictor))
        whole = watched or torch.is_grad_enabled() or torch.compiler.is_exporting()
        if not self.only_on_grid or whole or torch.onnx.is_in_onnx_export():
            return self.logits(predictor(x), direction)
        maps = by_offset_on_grid(predictor[0](x), predictor[1].weight, self.mask_size)
        return maps.permute(0, 3, 4, 1, 2) if direction == "collect" else maps

    def split_joins(self) -> None:
        """For inference: offsets that lead off the grid are not predicted."""
        self.only_on_grid = not self.compact

    def _inputs(self, x: Tensor) -> list[tuple[str, Tensor, nn.Sequential]]:
        """(direction, reduced and shrunk features, what predicts the map) of each branch."""
        size, align = self.shrunk(x.shape[-2:])
        first = "collect" if self.direction == "both" else self.direction
        found = [(first, resize(self.reduce(x), size, align_corners=align), self.attention)]
        if self.direction == "both":
            reduced = resize(self.reduce_p(x), size, align_corners=align)
            found.append(("distribute", reduced, self.attention_p))
        return found

    def branches(self, x: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        """(direction, reduced and shrunk features, predicted map) of each branch."""
        return [(direction, reduced, predictor(reduced)) for direction, reduced, predictor in self._inputs(x)]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The pyramid -> logits (N, K, H, W) at the last feature's stride."""
        x = features[-1]
        _, align = self.shrunk(x.shape[-2:])
        attended = []
        for direction, reduced, predictor in self._inputs(x):
            if direction == self.zeroed:
                attended.append(torch.zeros_like(reduced))
            else:
                attended.append(self._attend(reduced, predictor, direction))
        out = self.proj(torch.cat(attended, dim=1) if len(attended) > 1 else attended[0])
        out = resize(out, x.shape[-2:], align_corners=align)
        return self.classify(self.bottleneck(torch.cat([x, out], dim=1)))


def _map_predictor(channels: int, offsets: int) -> nn.Sequential:
    return nn.Sequential(ConvNormAct(channels, channels, 1), nn.Conv2d(channels, offsets, 1, bias=False))


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    channels: int = 512,
    mask_size: Sequence[int] | int | None = None,
    grid_size: Sequence[int] | int | None = None,
    direction: str = "both",
    compact: bool = False,
    shrink_factor: int = 2,
    normalization_factor: float | None = 1.0,
    psa_softmax: bool = True,
    projection_padding: int = 1,
    auxiliary: bool = True,
    auxiliary_channels: int = 256,
) -> EncoderDecoder:
    """PSANet on any backbone.

    `grid_size`: rows and columns of the grid the attention is trained on (after shrinking); the map then
    holds all its offsets, 2 * size - 1, unless `mask_size` says otherwise. Without both, 97 x 97 offsets.
    `normalization_factor` None or 0 divides the context by the number of the grid's cells.
    """
    grid = _two(grid_size)
    mask = _two(mask_size)
    if mask is None:
        mask = (97, 97) if grid is None else (2 * grid[0] - 1, 2 * grid[1] - 1)
    head = PSAHead(
        backbone.features[-1].channels,
        channels,
        num_classes,
        mask_size=mask,
        grid_size=grid,
        direction=direction,
        compact=compact,
        shrink_factor=shrink_factor,
        normalization_factor=normalization_factor,
        projection_padding=projection_padding,
        softmax=psa_softmax,
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


def _two(value: Sequence[int] | int | None) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, int):
        return (value, value)
    return (int(value[0]), int(value[-1]))


_BRANCH = r"psa\.(reduce|reduce_p|proj)\."
_ATTENTION = r"psa\.(attention|attention_p)\."

KEY_MAPS = (
    KeyMap(
        layout="authors (semseg)",
        telltale=(r"psa\.attention\.3\.weight", r"cls\.4\.weight", r"layer0\.6\.weight"),
        rules=(
            (rf"{_BRANCH}0\.(.+)", r"decode_head.\1.conv.\2"),
            (rf"{_BRANCH}1\.(.+)", r"decode_head.\1.bn.\2"),
            (rf"{_ATTENTION}0\.(.+)", r"decode_head.\1.0.conv.\2"),
            (rf"{_ATTENTION}1\.(.+)", r"decode_head.\1.0.bn.\2"),
            (rf"{_ATTENTION}3\.(.+)", r"decode_head.\1.1.\2"),
            *SEMSEG_RULES,
        ),
        options={**SEMSEG_OPTIONS, "projection_padding": 0},
    ),
)
"""The authors' own repository, for pictures of 8 n + 1 pixels a side with odd n shrunk once."""


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Head width, map size (read off the kernel, taken as square) and branches from tensor shapes."""
    options: dict[str, Any] = {"auxiliary": "auxiliary_head.conv_seg.weight" in shapes}
    if "decode_head.conv_seg.weight" in shapes:
        options["channels"] = shapes["decode_head.conv_seg.weight"][1]
    if options["auxiliary"]:
        options["auxiliary_channels"] = shapes["auxiliary_head.conv_seg.weight"][1]
    kernel = shapes.get("decode_head.attention.1.weight")
    if kernel is not None and isqrt(kernel[0]) ** 2 == kernel[0]:
        options["mask_size"] = (isqrt(kernel[0]),) * 2
    if kernel is not None and "decode_head.attention_p.1.weight" not in shapes:
        options["direction"] = "collect"
    return options


def untold(shapes: Mapping[str, Sequence[int]]) -> str:
    """What tensor shapes leave open, in words."""
    if "decode_head.attention.1.weight" not in shapes:
        return ""
    kernel = shapes["decode_head.attention.1.weight"][0]
    open_points = []
    if "decode_head.attention_p.1.weight" not in shapes:
        open_points.append("whether the one branch collects or distributes (direction; collect is assumed)")
    open_points.append(f"whether the {kernel} values are offsets or cells (compact; offsets are assumed)")
    return f"The file's keys do not tell {' and '.join(open_points)}."


@contextmanager
def branch(model: nn.Module, value: str) -> Iterator[None]:
    """Switch: "both", or only "collect" or "distribute", the other one's context set to zero.

    A network of one branch takes "both" and its own name, which change nothing; ValueError for the other.
    """
    head = model.decode_head
    others = {"both": None, "collect": "distribute", "distribute": "collect"}
    if value not in others:
        raise ValueError(f'the branches must be "both", "collect" or "distribute", not {value!r}')
    if head.direction != "both" and value not in ("both", head.direction):
        raise ValueError(f"This PSANet has only the {head.direction} branch (direction='{head.direction}').")
    head.zeroed = others[value]
    try:
        yield
    finally:
        head.zeroed = None
