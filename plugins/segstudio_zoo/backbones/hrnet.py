"""High-resolution network (HRNet): parallel branches at strides 4, 8, 16, 32 that exchange all the time.

K. Sun, B. Xiao, D. Liu, J. Wang: "Deep High-Resolution Representation Learning for Human Pose Estimation",
CVPR 2019, arXiv 1902.09212 (V1); K. Sun et al.: "High-Resolution Representations for Labeling Pixels and
Regions", arXiv 1904.04514 (V2). Layer and branch names are those of the published state dicts.

Where paper and weights differ: the figures draw a new branch fed by every scale, the published networks feed
it from the nearest one only (`transition`). Published segmentation weights enlarge coarse branches
bilinearly, the classification weights of other publishers by nearest neighbour (`upsample`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo, ProbeMap, Query
from segstudio_zoo.catalog.hrnet import WIDTHS
from segstudio_zoo.key_map import KeyMap
from segstudio_zoo.layers.residual import BasicBlock, Bottleneck, residual_stage

STEM_CHANNELS = 64


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)


def _strided_chain(in_channels: int, out_channels: int, steps: int) -> nn.Sequential:
    """`steps` strided 3x3 convolutions; only the last changes the channels and has no ReLU (Fig. 3 of V1)."""
    chain = []
    for step in range(steps):
        last = step == steps - 1
        channels = out_channels if last else in_channels
        layers = [_conv3x3(in_channels, channels, stride=2), nn.BatchNorm2d(channels)]
        chain.append(nn.Sequential(*layers, *([] if last else [nn.ReLU(inplace=True)])))
    return nn.Sequential(*chain)


class ExchangeUnit(nn.Module):
    """Branches side by side, then the exchange: each output is the sum of every branch brought to its scale.

    In and out: one tensor (N, channels[b], H / 2**b, W / 2**b) a branch. With `outputs` = 1 only the first
    branch's sum is made (the last unit of V1).
    """

    def __init__(self, channels: tuple[int, ...], blocks: int, *, upsample: str, outputs: int) -> None:
        super().__init__()
        self.upsample = upsample
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(blocks))) for width in channels
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(channels, i, j) for j in range(len(channels))) for i in range(outputs)
        )
        self.relu = nn.ReLU(inplace=False)

    @staticmethod
    def _path(channels: tuple[int, ...], i: int, j: int) -> nn.Module:
        if j == i:
            return nn.Identity()
        if j > i:
            return nn.Sequential(
                nn.Conv2d(channels[j], channels[i], 1, bias=False), nn.BatchNorm2d(channels[i])
            )
        return _strided_chain(channels[j], channels[i], i - j)

    def _enlarge(self, x: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
        """Coarse branch -> `size`. Bilinear goes by the whole factor first, then to a size that is not a
        multiple, as the published networks do."""
        if self.upsample == "nearest":
            return F.interpolate(x, size=size, mode="nearest")
        if self.upsample == "bilinear_aligned":
            return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
        x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        if x.shape[2:] == size:
            return x
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    def forward(self, branches: list[Tensor], muted: int | None = None) -> list[Tensor]:
        """`muted`: a branch that does not enter the sums."""
        branches = [branch(x) for branch, x in zip(self.branches, branches, strict=True)]
        if muted is not None:
            branches[muted] = torch.zeros_like(branches[muted])
        if len(branches) == 1:
            return branches
        fused = []
        for i, row in enumerate(self.fuse_layers):
            size = (branches[i].shape[2], branches[i].shape[3])
            total: Tensor | None = None
            for j, path in enumerate(row):  # type: ignore[arg-type]
                term = path(branches[j])
                if j > i:
                    term = self._enlarge(term, 2 ** (j - i), size)
                total = term if total is None else total + term
            assert total is not None
            fused.append(self.relu(total))
        return fused


class NewBranch(nn.Module):
    """The branch a stage adds: strided 3x3 with ReLU from the nearest scale, or from all scales, summed.

    Child "0" is the published one (from the nearest scale); "from_<j>" come from the finer scales.
    """

    def __init__(self, in_channels: tuple[int, ...], out_channels: int, *, every: bool) -> None:
        super().__init__()
        steps = len(in_channels)
        self.add_module("0", self._chain(in_channels[-1], out_channels, 1))
        self.finer = tuple(range(steps - 1)) if every else ()
        for j in self.finer:
            self.add_module(f"from_{j}", self._chain(in_channels[j], out_channels, steps - j))

    @staticmethod
    def _chain(in_channels: int, out_channels: int, steps: int) -> nn.Sequential:
        chain = _strided_chain(in_channels, out_channels, steps)
        layers = chain if steps > 1 else chain[0]
        return nn.Sequential(*layers, nn.ReLU(inplace=True))

    def forward(self, branches: list[Tensor]) -> Tensor:
        out: Tensor = self.get_submodule("0")(branches[-1])
        for j in self.finer:
            out = out + self.get_submodule(f"from_{j}")(branches[j])
        return out


class HRNet(nn.Module):
    """`image` (N, in_channels, H, W) -> branches at strides 4, 8, 16, 32 (`representation` "all", V2) or only
    the first one ("top", V1)."""

    def __init__(
        self,
        stages: tuple[tuple[int, int, tuple[int, ...]], ...],
        *,
        stage1: tuple[int, int],
        in_channels: int = 3,
        upsample: str = "bilinear",
        transition: str = "nearest",
        representation: str = "all",
    ) -> None:
        """`stages`: (exchange units, blocks a branch, channels of the branches) of stages 2-4.
        `stage1`: (bottlenecks, channels)."""
        super().__init__()
        self.representation = representation
        self.conv1 = _conv3x3(in_channels, STEM_CHANNELS, stride=2)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.conv2 = _conv3x3(STEM_CHANNELS, STEM_CHANNELS, stride=2)
        self.bn2 = nn.BatchNorm2d(STEM_CHANNELS)
        self.relu = nn.ReLU(inplace=True)
        blocks, channels = stage1
        width = channels * Bottleneck.expansion
        self.layer1 = residual_stage(Bottleneck, STEM_CHANNELS, channels, stride=1, dilations=(1,) * blocks)
        previous: tuple[int, ...] = (width,)
        for number, (units, blocks, widths) in enumerate(stages, start=2):
            self.add_module(
                f"transition{number - 1}", self._transition(previous, widths, every=transition == "all")
            )
            last_stage = number == len(stages) + 1
            self.add_module(
                f"stage{number}",
                nn.ModuleList(
                    ExchangeUnit(
                        widths,
                        blocks,
                        upsample=upsample,
                        outputs=1
                        if representation == "top" and last_stage and unit == units - 1
                        else len(widths),
                    )
                    for unit in range(units)
                ),
            )
            previous = widths
        self.stage_numbers = tuple(range(2, len(stages) + 2))
        self.muted_branch: int | None = None
        infos = [FeatureInfo(width, 4 * 2**b) for b, width in enumerate(previous)]
        self.features = tuple(infos[:1] if representation == "top" else infos)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _transition(previous: tuple[int, ...], widths: tuple[int, ...], *, every: bool) -> nn.ModuleList:
        paths: list[nn.Module] = []
        for b, width in enumerate(widths):
            if b >= len(previous):
                paths.append(NewBranch(previous, width, every=every))
            elif width != previous[b]:
                paths.append(
                    nn.Sequential(_conv3x3(previous[b], width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
                )
            else:
                paths.append(nn.Identity())
        return nn.ModuleList(paths)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.relu(self.bn1(self.conv1(image)))
        x = self.relu(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        for number in self.stage_numbers:
            paths = self.get_submodule(f"transition{number - 1}")
            branches = [
                path(branches) if isinstance(path, NewBranch) else path(branches[b])
                for b, path in enumerate(paths)  # type: ignore[arg-type]
            ]
            units = list(self.get_submodule(f"stage{number}"))  # type: ignore[call-overload]
            for unit in units:
                last = number == self.stage_numbers[-1] and unit is units[-1]
                # Where only the first branch leaves, the others count by what they add to it.
                branches = unit(
                    branches, self.muted_branch if last and self.representation == "top" else None
                )
        if self.muted_branch is not None and self.muted_branch < len(branches):
            branches[self.muted_branch] = torch.zeros_like(branches[self.muted_branch])
        return branches


def build(
    variant: str,
    *,
    output_stride: int | None = None,
    in_channels: int = 3,
    upsample: str = "bilinear",
    transition: str = "nearest",
    representation: str = "all",
) -> HRNet:
    """The HRNet called `variant`, a key of the catalog's WIDTHS.

    Raises ValueError where an output stride is asked for: the branches have theirs side by side.
    """
    if output_stride not in (None, 4, 32):
        raise ValueError(
            f"HRNet keeps strides 4, 8, 16 and 32 side by side; it cannot be built with -d{output_stride}."
        )
    stage1, stages = WIDTHS[variant]
    return HRNet(
        stages,
        stage1=stage1,
        in_channels=in_channels,
        upsample=upsample,
        transition=transition,
        representation=representation,
    )


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell; nothing where they are as published."""
    found: dict[str, Any] = {}
    if any(".from_0." in key for key in shapes):
        found["transition"] = "all"
    units = {int(key.split(".")[1]) for key in shapes if key.startswith("stage4.")}
    if units and not any(key.startswith(f"stage4.{max(units)}.fuse_layers.1.") for key in shapes):
        found["representation"] = "top"
    return found


KEY_MAPS = (
    KeyMap(
        layout="timm",
        telltale=(r"incre_modules\.0\.0\.conv1\.weight", r"stage2\.0\.branches\.0\.0\.conv1\.weight"),
        rules=(
            (r"(incre_modules|downsamp_modules|final_layer|classifier)\..+", None),
            (r"(.+)", r"\1"),
        ),
        options={"upsample": "nearest"},
    ),
)
"""Classification weights, of the authors and of timm: their head is not part of a pyramid."""


# What a person can look at -------------------------------------------------------------------------------


def _hrnets(model: nn.Module) -> list[HRNet]:
    return [module for module in model.modules() if isinstance(module, HRNet)]


@dataclass
class CapturedBranches:
    """Mean magnitude over the channels of each branch at the end of each stage: (h, w) float32 arrays."""

    maps: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    flops: dict[tuple[int, int], int] = field(default_factory=dict)
    image_size: tuple[int, int] = (0, 0)

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in self.maps.values())


class BranchProbe:
    """The branches after every stage, stage after stage, each enlarged to the finest branch."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedBranches]:
        net = _hrnets(model)[0]
        captured = CapturedBranches()
        handles = [net.register_forward_pre_hook(lambda _, inputs: self._begin(captured, inputs[0]))]
        for number in net.stage_numbers:
            units = net.get_submodule(f"stage{number}")
            for index, unit in enumerate(units):  # type: ignore[arg-type]
                last = index == len(units) - 1  # type: ignore[arg-type]

                def keep(
                    module: Any, _: Any, out: list[Tensor], stage: int = number, last: bool = last
                ) -> None:
                    self._keep(captured, module, out, stage, last)

                handles.append(unit.register_forward_hook(keep))
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()

    @staticmethod
    def _begin(captured: CapturedBranches, image: Tensor) -> None:
        captured.maps.clear()
        captured.flops.clear()
        captured.image_size = (image.shape[2], image.shape[3])

    @staticmethod
    def _keep(
        captured: CapturedBranches, unit: ExchangeUnit, out: list[Tensor], stage: int, last: bool
    ) -> None:
        for b, x in enumerate(out):
            cells = x.shape[2] * x.shape[3]
            weights = sum(m.weight.numel() for m in unit.branches[b].modules() if isinstance(m, nn.Conv2d))
            captured.flops[stage, b] = captured.flops.get((stage, b), 0) + 2 * weights * cells
            if last:
                captured.maps[stage, b] = x[0].detach().abs().mean(0).float().cpu().numpy()

    def map(self, captured: CapturedBranches, query: Query, **options: Any) -> ProbeMap:
        if not captured.maps:
            raise ValueError("nothing was kept yet: run the network first")
        finest = next(iter(captured.maps.values())).shape
        keys = sorted(captured.maps)
        images = np.stack([_repeat_to(captured.maps[key], finest) for key in keys])
        height, width = captured.image_size
        totals: dict[str, int] = {}
        for (_, b), operations in sorted(captured.flops.items(), key=lambda item: item[0][1]):
            totals[f"stride {4 * 2**b}"] = totals.get(f"stride {4 * 2**b}", 0) + operations
        return ProbeMap(
            values=images.astype(np.float32),
            kind="images",
            stride=(height / finest[0], width / finest[1]),
            labels=tuple(
                f"stage {stage} /{4 * 2**b}: {captured.flops[stage, b] / 1e9:.2f} G" for stage, b in keys
            ),
            extras={"flops": totals},
        )


def _repeat_to(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(h, w) -> `size` by nearest neighbour: cells stay visible as cells."""
    rows = np.arange(size[0]) * values.shape[0] // size[0]
    columns = np.arange(size[1]) * values.shape[1] // size[1]
    return values[rows][:, columns]


def branch_probe() -> BranchProbe:
    return BranchProbe()


@contextmanager
def mute_branch(model: nn.Module, value: str) -> Iterator[None]:
    """Zeroes one branch of the last stage: "all" (none is), or "without 4", "without 8", ..."""
    nets = _hrnets(model)
    before = [net.muted_branch for net in nets]
    strides = {"all": None, "without 4": 0, "without 8": 1, "without 16": 2, "without 32": 3}
    for net in nets:
        net.muted_branch = strides[value]
    try:
        yield
    finally:
        for net, old in zip(nets, before, strict=True):
            net.muted_branch = old
