"""Backbone -> (neck) -> decode head, with supervised auxiliary heads: what nearly every paper builds on.

Children are called as in published state dicts: `backbone`, `neck`, `decode_head` (a list for
cascades) and `auxiliary_head` (a list where there are several).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from segstudio.plugin_api import FeatureInfo, Loss, Scores
from segstudio_zoo.layers.resize import resize

Criterion = Callable[[Tensor, Tensor], Loss]


class SegmentationHead(nn.Module):
    """A head ends in dropout and a 1x1 convolution `conv_seg` over `channels` features.

    A paper's head writes `forward(features) -> logits (N, K, h, w)` and, where it supervises more than
    that, `losses` and `side_outputs` too.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        align_corners: bool = False,
        dropout: float = 0.1,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.loss_weight = loss_weight
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout)

    def classify(self, x: Tensor) -> Tensor:
        """(N, channels, h, w) -> class logits (N, K, h, w)."""
        return self.conv_seg(self.dropout(x))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError

    def loss_of(
        self, logits: Tensor, target: Tensor, criterion: Criterion, weight: float | None = None
    ) -> Loss:
        """The criterion on `logits` resized to the size of `target`, times this head's weight."""
        loss = criterion(resize(logits, target.shape[-2:], align_corners=self.align_corners), target)
        factor = self.loss_weight if weight is None else weight
        return Loss(loss.sum, loss.count, loss.weight * factor)

    def losses(
        self, features: Sequence[Tensor], target: Tensor, criterion: Criterion, previous: Tensor | None = None
    ) -> dict[str, Loss]:
        """Losses by name, without the head's own name in front. `previous`: output of the head before."""
        logits = self(features) if previous is None else self(features, previous)
        return {"loss_ce": self.loss_of(logits, target, criterion)}

    def side_outputs(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Further supervised logits of this head by name; none unless a paper says so."""
        return {}


class EncoderDecoder(nn.Module):
    """A segmentor: `decode_head(neck(backbone(image)))`.

    `decode_head` may be a list: each head after the first also gets the logits of the one before
    (`head(features, previous)`). Auxiliary heads only matter for losses and side outputs.
    """

    decode_head: SegmentationHead | nn.ModuleList
    auxiliary_head: SegmentationHead | nn.ModuleList | None

    def __init__(
        self,
        backbone: nn.Module,
        decode_head: SegmentationHead | Sequence[SegmentationHead],
        auxiliary_head: SegmentationHead | Sequence[SegmentationHead] | None = None,
        *,
        num_classes: int,
        align_corners: bool = False,
        neck: nn.Module | None = None,
        head_lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.head_lr_factor = head_lr_factor
        self.backbone = backbone
        self.neck = neck
        self.decode_head = decode_head if isinstance(decode_head, nn.Module) else nn.ModuleList(decode_head)
        if auxiliary_head is None or isinstance(auxiliary_head, nn.Module):
            self.auxiliary_head = auxiliary_head
        else:
            self.auxiliary_head = nn.ModuleList(auxiliary_head)

    def extract(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> what the heads see: the backbone's pyramid, after the neck where there is one."""
        features = self.backbone(image)
        return features if self.neck is None else self.neck(features)

    def decode(self, features: list[Tensor]) -> Tensor:
        """The logits (N, K, h, w) of the last decode head."""
        logits: Tensor | None = None
        for _, head in self.decode_heads():
            logits = head(features) if logits is None else head(features, logits)
        assert logits is not None
        return logits

    def decode_heads(self) -> Iterator[tuple[str, SegmentationHead]]:
        """Decode heads with the names their losses carry: "decode", or "decode_0", "decode_1", ..."""
        return _named(self.decode_head, "decode")

    def auxiliary_heads(self) -> Iterator[tuple[str, SegmentationHead]]:
        """Auxiliary heads with the names their losses carry: "aux", or "aux_0", "aux_1", ..."""
        return _named(self.auxiliary_head, "aux")

    def scores(self, image: Tensor) -> Scores:
        """`image` (N, 3, H, W) float, normalised -> scores at the head's own resolution."""
        return Scores(self.decode(self.extract(image)), self.align_corners)

    def forward(self, image: Tensor) -> Tensor:
        """`scores` resized to the input size: (N, K, H, W)."""
        return resize(self.scores(image).logits, image.shape[-2:], align_corners=self.align_corners)

    def losses(self, image: Tensor, target: Tensor, criterion: Criterion) -> dict[str, Loss]:
        """The paper's losses. `target` (N, H, W) int64; `criterion(logits (N, K, H, W), target)`."""
        features = self.extract(image)
        result: dict[str, Loss] = {}
        previous: Tensor | None = None
        cascade = isinstance(self.decode_head, nn.ModuleList)
        for name, head in self.decode_heads():
            for key, loss in head.losses(features, target, criterion, previous).items():
                result[f"{name}.{key}"] = loss
            if cascade:
                previous = head(features) if previous is None else head(features, previous)
        for name, head in self.auxiliary_heads():
            for key, loss in head.losses(features, target, criterion).items():
                result[f"{name}.{key}"] = loss
        return result

    def side_outputs(self, image: Tensor) -> dict[str, Scores]:
        """Every supervised output but the final one, by name ("auxiliary", "position", ...)."""
        features = self.extract(image)
        result: dict[str, Scores] = {}
        previous: Tensor | None = None
        heads = list(self.decode_heads())
        for index, (_, head) in enumerate(heads):
            for name, logits in head.side_outputs(features).items():
                result[name] = Scores(logits, head.align_corners)
            if index + 1 < len(heads):
                previous = head(features) if previous is None else head(features, previous)
                result[f"decode.{index}"] = Scores(previous, head.align_corners)
        auxiliary = list(self.auxiliary_heads())
        for index, (_, head) in enumerate(auxiliary):
            name = "auxiliary" if len(auxiliary) == 1 else f"auxiliary.{index}"
            result[name] = Scores(head(features), head.align_corners)
        return result

    def optimise_for_inference(self) -> None:
        """Lets heads compute the same in fewer steps; called once weights are loaded and norms folded."""
        for module in list(self.modules()):
            if module is not self and callable(getattr(module, "split_joins", None)):
                module.split_joins()

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """The backbone at `lr`, everything else at `lr * head_lr_factor`."""
        trunk = {id(p) for p in self.backbone.parameters()}
        heads = [p for p in self.parameters() if p.requires_grad and id(p) not in trunk]
        body = [p for p in self.backbone.parameters() if p.requires_grad]
        return [{"params": body, "lr": lr}, {"params": heads, "lr": lr * self.head_lr_factor}]


def _named(
    heads: SegmentationHead | nn.ModuleList | None, name: str
) -> Iterator[tuple[str, SegmentationHead]]:
    if heads is None:
        return
    if isinstance(heads, nn.ModuleList):
        for index, head in enumerate(heads):
            yield f"{name}_{index}", head
    else:
        yield name, heads


def pyramid_indices(features: Sequence[FeatureInfo], strides: Sequence[int] = (4, 8, 16, 32)) -> list[int]:
    """The index of the deepest feature at each of `strides`.

    Raises ValueError saying which strides there are where one is missing.
    """
    found = {info.stride: index for index, info in enumerate(features)}
    missing = [stride for stride in strides if stride not in found]
    if missing:
        raise ValueError(
            f"expected features at strides {', '.join(map(str, strides))}; "
            f"this backbone gives {', '.join(f'{f.channels} channels at {f.stride}' for f in features)}"
        )
    return [found[stride] for stride in strides]


def auxiliary_index(features: Sequence[FeatureInfo]) -> int:
    """The feature an auxiliary head reads: the one before the last, or the only one."""
    return max(len(features) - 2, 0)


def low_level_index(features: Sequence[FeatureInfo], stride: int = 4) -> int:
    """The deepest feature at `stride`, for skips. Raises ValueError where there is none."""
    return pyramid_indices(features, (stride,))[0]
