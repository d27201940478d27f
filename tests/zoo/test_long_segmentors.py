"""Minutes per family: other sizes, half precision, memory layouts, export. `make test-long`.

Logits are compared, never class maps: with drawn weights a class map can be constant.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.zoo.smallest import NUM_CLASSES, SMALLEST, build, picture

pytestmark = pytest.mark.long
FAMILIES = sorted(SMALLEST)

BY_RANK = {"pointrend"}
"""Networks that choose points by rank: rounding may swap points at the border of the choice."""

LOOSER_IN_BFLOAT16 = {"segmenter": 0.1}
"""Segmenter's masks are products of unit vectors, normalised over the classes: with drawn weights all
classes point nearly the same way, and the norm brings what little is between them to full size, rounding with
it. With the three more bits of float16 the gap is 0.009."""


def assert_close(
    got: torch.Tensor, expected: torch.Tensor, share_of_std: float, *, allowed: float = 0.0
) -> None:
    gap = (got.float() - expected.float()).abs()
    bound = share_of_std * float(expected.float().std())
    wrong = float((gap > bound).float().mean())
    assert wrong <= allowed, (
        f"{wrong:.2%} of the logits differ by more than {bound:.3g}, at most {float(gap.max()):.3g}"
    )


@pytest.mark.parametrize("size", [(33, 47), (1025, 769)])
@pytest.mark.parametrize("family", FAMILIES)
def test_odd_sizes_in_both_memory_layouts(family: str, size: tuple[int, int]) -> None:
    model = build(family)
    image = picture(1, *size)
    with torch.no_grad():
        plain = model.scores(image).logits
        last = (
            model.to(memory_format=torch.channels_last)
            .scores(image.contiguous(memory_format=torch.channels_last))
            .logits
        )
    assert plain.shape[1] == NUM_CLASSES
    assert_close(last, plain, 1e-3, allowed=0.002 if family in BY_RANK else 0.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_close(family: str, dtype: torch.dtype) -> None:
    model = build(family)
    image = picture(1, 129, 161)
    with torch.no_grad():
        plain = model.scores(image).logits
        with torch.autocast("cpu", dtype):
            half = model.scores(image).logits
    bound = LOOSER_IN_BFLOAT16.get(family, 3e-2) if dtype is torch.bfloat16 else 3e-2
    assert_close(half, plain, bound, allowed=0.002 if family in BY_RANK else 0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exported_network_gives_the_same_logits_in_onnx_runtime(family: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'long'")
    pytest.importorskip("onnxscript", reason="needs the extra 'long'")

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = build(family)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.model.scores(image).logits

    network = Logits().eval()
    image = picture(1, 128, 160)
    with torch.no_grad():
        expected = network(image)
        exported = torch.export.export(network, (image,))
        assert_close(exported.module()(image), expected, 1e-3, allowed=0.002 if family in BY_RANK else 0.0)
        path = tmp_path / f"{family}.onnx"
        torch.onnx.export(exported, (image,), str(path), opset_version=18, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert_close(
        torch.from_numpy(np.asarray(got)), expected, 1e-3, allowed=0.002 if family in BY_RANK else 0.0
    )
