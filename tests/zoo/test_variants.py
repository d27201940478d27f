"""Every published variant, deep ones, other class numbers, aligned corners: keys, outputs, losses, gradients.

`variants.json` has a line for each published network of its own: the digest of its key layout and, for drawn
weights and one odd-sized image, statistics and some values of what mmsegmentation 1.2.2 gives for that
configuration. Weights are drawn from key names, so neither weights nor images are stored.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segstudio_zoo import create_model
from segstudio_zoo.catalog.published import published
from segstudio_zoo.names import resolve
from tests.zoo.drawing import reference_array
from tests.zoo.reference import IGNORE, mean_over_all_pixels

VARIANTS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("variants.json").read_text())
TOLERANCE = 1e-3
"""Of a standard deviation, in float32."""

QUICK = 16e6
"""Variants of fewer parameters run in the short suite too."""


def ident(variant: dict[str, Any]) -> str:
    height, width = variant["size"]
    return (
        str(variant["configuration"])
        if (height, width) == (65, 97)
        else f"{variant['configuration']}-{height}x{width}"
    )


def built(variant: dict[str, Any]) -> nn.Module:
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in variant["options"].items()}
    return create_model(variant["name"], num_classes=variant["classes"], **options)


def layout(model: nn.Module) -> tuple[int, str]:
    """(number of keys, digest of names and shapes); counters and index tables are not in it."""
    floating = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in floating.items())
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def drawn(model: nn.Module) -> nn.Module:
    state = model.state_dict()
    for key, value in state.items():
        array = reference_array(key, tuple(value.shape)) if value.is_floating_point() else None
        if array is not None:
            state[key] = torch.from_numpy(array).reshape(value.shape)
    model.load_state_dict(state)
    return model


def image_of(variant: dict[str, Any]) -> Tensor:
    height, width = variant["size"]
    values = np.random.RandomState(3).standard_normal((1, 3, height, width))
    return torch.from_numpy(values.astype("float32"))


def target_of(variant: dict[str, Any]) -> Tensor:
    height, width = variant["size"]
    draw = np.random.RandomState(4)
    blocks = draw.randint(0, variant["classes"], (math.ceil(height / 16), math.ceil(width / 16)))
    labels = blocks.repeat(16, 0).repeat(16, 1)[:height, :width].copy()
    labels[draw.random_sample((height, width)) < 0.1] = IGNORE
    return torch.from_numpy(labels.astype(np.int64))[None]


def assert_close(name: str, value: Tensor, figures: dict[str, Any]) -> None:
    assert list(value.shape) == figures["shape"], name
    flat = value.detach().double().flatten()
    bound = TOLERANCE * figures["std"]
    places = np.linspace(0, flat.numel() - 1, len(figures["samples"])).round().astype(int)
    gap = float((flat[places] - torch.tensor(figures["samples"], dtype=torch.float64)).abs().max())
    assert gap <= bound, f"{name}: largest difference {gap:.3g}, allowed {bound:.3g}"
    assert float(flat.mean()) == pytest.approx(figures["mean"], abs=bound)
    assert float(flat.std(unbiased=False)) == pytest.approx(figures["std"], abs=bound)
    assert float(flat.abs().max()) == pytest.approx(figures["max_abs"], abs=bound + 1e-5 * figures["max_abs"])


def check_outputs(variant: dict[str, Any], model: nn.Module, image: Tensor) -> None:
    outputs: dict[str, Tensor] = {"logits": model(image)}
    features = model.extract(image)
    previous: Tensor | None = None
    for index, (_, head) in enumerate(model.decode_heads()):
        previous = head(features) if previous is None else head(features, previous)
        outputs[f"decode.{index}"] = previous
    for index, (_, head) in enumerate(model.auxiliary_heads()):
        outputs[f"aux.{index}"] = head(features)
    for name, figures in variant["arrays"].items():
        assert_close(name, outputs[name], figures)


def check_losses(variant: dict[str, Any], model: nn.Module, image: Tensor, *, relative: float) -> Tensor:
    """Compares the losses, points drawn at random apart, and gives their sum."""
    named = model.losses(image, target_of(variant), mean_over_all_pixels)
    losses = {k: v.weight * v.sum / v.count for k, v in named.items() if "point" not in k}
    assert set(losses) == set(variant["losses"])
    for key, value in variant["losses"].items():
        assert float(losses[key].detach()) == pytest.approx(value, rel=relative), key
    total: Tensor = sum(losses.values(), torch.zeros((), dtype=image.dtype))
    return total


def marked(variant: dict[str, Any]) -> Any:
    slow = variant["parameters"] > QUICK or max(variant["size"]) > 200
    return pytest.param(variant, id=ident(variant), marks=[pytest.mark.long] if slow else [])


@pytest.mark.parametrize("variant", VARIANTS, ids=ident)
def test_key_layout_is_the_published_one(variant: dict[str, Any]) -> None:
    with torch.device("meta"):
        assert layout(built(variant)) == (variant["keys"], variant["digest"])


@pytest.mark.parametrize("variant", [marked(variant) for variant in VARIANTS])
def test_outputs_and_losses_equal_the_published_implementation(variant: dict[str, Any]) -> None:
    model, image = drawn(built(variant)), image_of(variant)
    if variant.get("float64"):  # drawn weights overflow float32 in so deep a sum of products
        model, image = model.double(), image.double()
    with torch.no_grad():
        check_outputs(variant, model, image)
        check_losses(variant, model, image, relative=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("variant", [v for v in VARIANTS if "gradients" in v], ids=ident)
def test_gradients_equal_the_published_implementation(variant: dict[str, Any]) -> None:
    model, image = drawn(built(variant)).double(), image_of(variant).double()
    check_losses(variant, model, image, relative=2e-5).backward()
    norms = {k: float(p.grad.norm()) for k, p in model.named_parameters() if p.grad is not None}
    for key, value in variant["gradients"].items():
        inside = (norm for name, norm in norms.items() if name == key or name.startswith(f"{key}."))
        assert math.hypot(*inside) == pytest.approx(value, rel=1e-3), key


def test_every_published_checkpoint_has_a_compared_variant() -> None:
    def key(name: str, options: dict[str, Any]) -> str:
        told = {k: v for k, v in options.items() if k != "image_size"}
        return f"{name} {json.dumps(told, sort_keys=True)}"

    compared = {key(variant["name"], variant["options"]) for variant in VARIANTS}
    for item in published():
        own = {k: list(v) if isinstance(v, tuple) else v for k, v in item.options}
        assert key(resolve(item.name).name, own) in compared, item.name
