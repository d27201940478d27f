"""Non-local networks: every cell is answered by a weighted sum over all cells.

X. Wang, R. Girshick, A. Gupta, K. He: "Non-local Neural Networks", CVPR 2018, arXiv 1711.07971.
Eq. 1: y_i = 1/C(x) sum over j of f(x_i, x_j) g(x_j); Eq. 6: z_i = W_z y_i + x_i, W_z starting at zero.
Section 3.2 gives the four f:

* Gaussian, Eq. 2: exp(x_i . x_j), C = sum of f (a softmax);
* embedded Gaussian, Eq. 3: exp(theta(x_i) . phi(x_j)), C = sum of f;
* dot product, Eq. 4: theta(x_i) . phi(x_j), C = N;
* concatenation, Eq. 5: ReLU(w_f . [theta(x_i), phi(x_j)]), C = N.

Sub-sampling (section 3.3, "Implementation") max-pools what phi and g give by two. The published segmentation
weights divide the embedded Gaussian's scores by the square root of the channels; the paper does not
(`use_scale=False`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.catalog.nonlocal_net import FORMS
from segstudio_zoo.layers.conv import ConvNormAct
from segstudio_zoo.layers.dense_attention import (
    AttentionModule,
    DenseCapture,
    DenseRecord,
    attend,
    capturing,
    row_or_column,
)
from segstudio_zoo.layers.fcn_head import FCNHead, auxiliary_fcn
from segstudio_zoo.layers.segmentor import EncoderDecoder


class NonLocalBlock(AttentionModule):
    """(N, C, H, W) -> the same shape: Eq. 6 around one of the four f of section 3.2."""

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        instantiation: str = "embedded_gaussian",
        use_scale: bool = True,
        sub_sample: bool = False,
    ) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.instantiation = instantiation
        self.scale = inner**-0.5 if use_scale and instantiation == "embedded_gaussian" else 1.0
        self.active = True

        def sampled(layer: nn.Module) -> nn.Module:
            return nn.Sequential(layer, nn.MaxPool2d(2, ceil_mode=False)) if sub_sample else layer

        self.g = sampled(ConvNormAct(channels, inner, 1, norm=None, act=None))
        self.conv_out = ConvNormAct(inner, channels, 1, act=None)
        if instantiation == "gaussian":
            self.phi: nn.Module = nn.MaxPool2d(2) if sub_sample else nn.Identity()
        else:
            self.theta = ConvNormAct(channels, inner, 1, norm=None, act=None)
            self.phi = sampled(ConvNormAct(channels, inner, 1, norm=None, act=None))
        if instantiation == "concatenation":
            self.concat_project = ConvNormAct(2 * inner, 1, 1, norm=None, bias=False)
        assert self.conv_out.bn is not None
        nn.init.zeros_(self.conv_out.bn.weight)  # W_z = 0: the block starts as the identity (section 3.3)

    def forward(self, x: Tensor) -> Tensor:
        if not self.active:
            return x
        query_map = x if self.instantiation == "gaussian" else self.theta(x)
        key_map, value_map = self.phi(x), self.g(x)
        query, key, value = (m.flatten(2).transpose(1, 2) for m in (query_map, key_map, value_map))
        rule = "softmax"
        vectors: dict[str, Tensor] = {}
        if self.instantiation == "dot_product":
            rule = "mean"
        elif self.instantiation == "concatenation":
            vectors = {"theta": query[0], "phi": key[0]}
            query, key = self._as_products(query, key)
            rule = "relu_mean"
        height, width = x.shape[2:]
        self.remember(
            query,
            key,
            scale=self.scale,
            query_grid=(height, width),
            key_grid=(key_map.shape[2], key_map.shape[3]),
            rule=rule,  # type: ignore[arg-type]
            x=x[0].flatten(1).T,
            form=self.instantiation,
            **vectors,
        )
        y = attend(query, key, value, scale=self.scale, rule=rule)  # type: ignore[arg-type]
        y = y.transpose(1, 2).reshape(x.shape[0], -1, height, width)
        return x + self.conv_out(y)

    def _as_products(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """w_f . [theta_i, phi_j] = a_i + b_j, written as the product of (a_i, 1) and (1, b_j)."""
        weight = self.concat_project.conv.weight.flatten()
        inner = query.shape[-1]
        a, b = query @ weight[:inner], key @ weight[inner:]
        return torch.stack([a, torch.ones_like(a)], -1), torch.stack([torch.ones_like(b), b], -1)


class NonLocalHead(FCNHead):
    """Convolution, non-local block, convolution, joined with the input once more."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, *, block: NonLocalBlock, **options: Any
    ) -> None:
        super().__init__(in_channels, channels, num_classes, num_convs=2, **options)
        self.nl_block = block

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = features[self.index]
        first, second = self.convs  # type: ignore[misc]
        out = second(self.nl_block(first(x)))
        assert self.conv_cat is not None
        return self.classify(self.conv_cat(torch.cat([x, out], dim=1)))


def build(
    backbone: nn.Module,
    *,
    num_classes: int,
    align_corners: bool = False,
    instantiation: str = "embedded_gaussian",
    use_scale: bool = True,
    sub_sample: bool = False,
    reduction: int = 2,
    channels: int = 512,
    auxiliary: bool = True,
) -> EncoderDecoder:
    """Non-local head on the last feature of `backbone`; with `auxiliary`, an FCN head (0.4) on the one
    before."""
    infos = backbone.features
    block = NonLocalBlock(
        channels,
        reduction=reduction,
        instantiation=instantiation,
        use_scale=use_scale,
        sub_sample=sub_sample,
    )
    head = NonLocalHead(infos[-1].channels, channels, num_classes, block=block, align_corners=align_corners)
    side = auxiliary_fcn(infos, num_classes, align_corners=align_corners) if auxiliary else None
    return EncoderDecoder(backbone, head, side, num_classes=num_classes, align_corners=align_corners)


def infer_options(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What tensor shapes tell. Embedded Gaussian and dot product look alike: the former is meant."""
    block = "decode_head.nl_block."
    out = shapes[f"{block}conv_out.conv.weight"]
    found: dict[str, Any] = {
        "channels": out[0],
        "reduction": out[0] // out[1],
        "auxiliary": "auxiliary_head.conv_seg.weight" in shapes,
    }
    if f"{block}concat_project.conv.weight" in shapes:
        found["instantiation"] = "concatenation"
    elif not any(key.startswith(f"{block}theta.") for key in shapes):
        found["instantiation"] = "gaussian"
    if f"{block}g.0.conv.weight" in shapes:
        found["sub_sample"] = True
    return found


# What a person can look at -------------------------------------------------------------------------------


def _blocks(model: nn.Module) -> list[NonLocalBlock]:
    return [module for module in model.modules() if isinstance(module, NonLocalBlock)]


class NonLocalProbe:
    """Rows and columns of f / C. `form` shows another f on the same features, as far as the weights allow:
    Gaussian needs none, embedded Gaussian and dot product any theta and phi, concatenation its own w_f."""

    def attach(self, model: nn.Module) -> AbstractContextManager[DenseCapture]:
        return capturing(model, _blocks(model))

    def map(
        self,
        captured: DenseCapture,
        query: Query,
        *,
        view: str = "row",
        form: str = "as built",
        **options: Any,
    ) -> ProbeMap:
        built = captured.record()
        record = _in_form(built, form)
        notes = () if record is built else (f"{form} on features trained with {built.extra['form']}",)
        return row_or_column(captured, record, query, view, notes)


def _in_form(record: DenseRecord, form: str) -> DenseRecord:
    """`record` itself where it is of this form already. Raises ValueError where weights are missing."""
    if form in ("as built", record.extra["form"]):
        return record
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; it is one of {', '.join(('as built', *FORMS))}")
    if form == "gaussian":
        x = record.extra["x"]
        return replace(
            record, query=x, key=x, key_grid=record.query_grid, scale=1.0, rule="softmax", extra={}
        )
    if form == "concatenation":
        raise ValueError("concatenation needs w_f, which only a network built with it has")
    if record.extra["form"] == "gaussian":
        raise ValueError(f"{form} needs theta and phi, which a Gaussian network does without")
    theta, phi = record.extra.get("theta", record.query), record.extra.get("phi", record.key)
    scale, rule = (theta.shape[1] ** -0.5, "softmax") if form == "embedded_gaussian" else (1.0, "mean")
    return replace(record, query=theta, key=phi, scale=scale, rule=rule, extra={})


def attention_probe() -> NonLocalProbe:
    return NonLocalProbe()


@contextmanager
def block_off(model: nn.Module, value: bool) -> Iterator[None]:
    """False: z = x, the block is left out."""
    blocks = _blocks(model)
    before = [block.active for block in blocks]
    for block in blocks:
        block.active = bool(value)
    try:
        yield
    finally:
        for block, old in zip(blocks, before, strict=True):
            block.active = old
