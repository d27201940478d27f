"""The effective receptive field of a feature: which input pixels move it.

Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks",
NeurIPS 2016, arXiv 1701.04128, section 2: the gradient of one cell of a feature map by the input.

Of a cell's channels those above zero are added: behind a layer norm, as on ConvNeXt's stages, the sum of all
is a constant, and its gradient says nothing. ResNet's features are above zero as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query


@dataclass
class CapturedInput:
    """The picture (1, 3, H, W) of the last run, and the backbone that saw it."""

    backbone: nn.Module
    image: Tensor | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.image is None else self.image.nbytes


class ReceptiveFieldProbe:
    """|d sum of max(feature, 0) / d input| summed over colours, for the cell under a pixel."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedInput]:
        """While open, a run of `model` fills what is returned."""
        backbone = getattr(model, "backbone", model)
        captured = CapturedInput(backbone)

        def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            captured.image = arguments[0][:1].detach().clone()

        handle = backbone.register_forward_pre_hook(keep)
        try:
            yield captured
        finally:
            handle.remove()

    def map(self, captured: CapturedInput, query: Query, *, stage: int = 0) -> ProbeMap:
        """(H, W), largest value 1; `stage` is the feature, counted from 1, 0 the last.

        The backbone runs once more, forwards and backwards. Raises ValueError for a pixel outside.
        """
        if captured.image is None:
            raise ValueError("Nothing is kept yet: run the model on the picture first.")
        height, width = captured.image.shape[-2:]
        if not (0 <= query.y < height and 0 <= query.x < width):
            raise ValueError(f"Query ({query.y:g}, {query.x:g}) is outside the {height}x{width} picture.")
        image = captured.image.clone().requires_grad_(True)
        with torch.enable_grad():
            features = captured.backbone(image)
            if not 0 <= stage <= len(features):
                raise ValueError(f"There is no stage {stage}; stages are 1 to {len(features)}.")
            feature = features[stage - 1]
            feature = feature[0] if isinstance(feature, tuple) else feature
            rows, columns = feature.shape[-2:]
            cell = (
                min(int(query.y * rows / height), rows - 1),
                min(int(query.x * columns / width), columns - 1),
            )
            (gradient,) = torch.autograd.grad(feature[0, :, cell[0], cell[1]].relu().sum(), image)
        field = gradient[0].abs().sum(0)
        peak = field.max()
        field = field / peak if peak > 0 else field
        return ProbeMap(
            field.float().cpu().numpy(),
            query_cell=cell,
            extras={"area_half": float((field > 0.5).sum()), "area_tenth": float((field > 0.1).sum())},
        )


def receptive_field_probe() -> ReceptiveFieldProbe:
    """The probe, for catalogs to name."""
    return ReceptiveFieldProbe()
