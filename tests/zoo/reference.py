"""The reference outputs and how closely a network has to meet them (see the folder's own description).

`check_reference(name)` does everything for a network that `create_model(name)` gives; the pieces below
serve the odd ones. Weights and inputs are drawn again from key names and seeds, nothing is stored.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segstudio.plugin_api import Loss
from tests.shared_data import SHARED, needs_shared, shared
from tests.zoo.drawing import reference_array

IGNORE = 255


_FIGURES = Path(__file__).with_name("figures.zip")
"""A compact subset of the references (`scripts/compact_reference.py`), for whoever has not the whole set."""


def reference_names() -> list[str]:
    """Every reference with stored outputs."""
    if SHARED is not None:
        return sorted(path.stem for path in shared("reference").glob("*.npz"))
    with zipfile.ZipFile(_FIGURES) as figures:
        return sorted(name.removesuffix(".npz") for name in figures.namelist() if name.endswith(".npz"))


@dataclass
class Reference:
    """One reference network: `manifest` (its description) and `arrays` (its stored outputs)."""

    name: str
    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]
    seen: set[str] = field(default_factory=set)

    @property
    def num_classes(self) -> int | None:
        return self.manifest.get("num_classes")

    def state_dict(self) -> dict[str, Tensor]:
        """The drawn weights under the reference's keys; entries that keep their built value are absent."""
        draw = reference_array
        state: dict[str, Tensor] = {}
        integers = set(self.manifest.get("integer_entries") or ())
        for key, shape in self.manifest["state_dict"].items():
            if key in integers:
                continue
            value = draw(key, shape)
            if value is not None:
                state[key] = torch.from_numpy(value).reshape(shape)
        for group in self.manifest.get("tied_entries") or []:
            if group[-1] in state:
                state.update(dict.fromkeys(group[:-1], state[group[-1]]))
        return state

    def image(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The normalised input (N, 3, H, W)."""
        recipe = self.manifest["input"]
        drawn = np.random.RandomState(recipe["seed"]).standard_normal(recipe["shape"]).astype("float32")
        assert np.allclose(drawn.ravel()[: len(recipe["first_values"])], recipe["first_values"])
        return torch.from_numpy(drawn).to(dtype)

    def target(self) -> Tensor:
        """The labels (1, H, W) int64, 255 = ignored."""
        recipe = self.manifest["labels"]
        height, width = self.manifest["input"]["shape"][-2:]
        draw = np.random.RandomState(recipe["seed"])
        blocks = draw.randint(0, recipe["classes"], (-(-height // 16), -(-width // 16)))
        labels = blocks.repeat(16, 0).repeat(16, 1)[:height, :width].copy()
        labels[draw.random_sample((height, width)) < 0.1] = IGNORE
        assert int((labels == IGNORE).sum()) == recipe["ignored"]
        return torch.from_numpy(labels.astype(np.int64))[None]

    def assert_close(self, key: str, value: Tensor | np.ndarray, *, tolerance: float = 1.0) -> None:
        """`value` (the full array) equals the stored one within the reference's tolerance."""
        facts = self.manifest["arrays"][key]
        full = value.detach().float().numpy() if isinstance(value, Tensor) else np.asarray(value, np.float32)
        assert list(full.shape) == facts["shape"], f"{key}: shape {full.shape}, expected {facts['shape']}"
        expected = self.arrays[key]
        got = full[tuple(slice(None, None, step) for step in facts["step"])]
        bound = tolerance * (1e-4 * facts["std"] + 1e-5 * facts["max_abs"])
        gap = float(np.abs(got - expected).max())
        assert gap <= bound, f"{self.name} {key}: largest difference {gap:.3g}, allowed {bound:.3g}"
        assert abs(float(full.mean()) - facts["mean"]) <= bound + 1e-5 * abs(facts["mean"])
        assert abs(float(full.std()) - facts["std"]) <= bound + 1e-5 * facts["std"]
        self.seen.add(key)

    def assert_losses(self, losses: dict[str, Loss]) -> None:
        """Every stored loss is there and equal (relative 1e-5); accuracies are not losses."""
        expected = {
            key: value for key, value in self.manifest["losses_fp64"].items() if not key.endswith("acc_seg")
        }
        got = {key: float(loss.weight * loss.sum.detach() / loss.count) for key, loss in losses.items()}
        assert set(expected) <= set(got), f"losses {sorted(got)}, expected {sorted(expected)}"
        for key, value in expected.items():
            assert got[key] == pytest.approx(value, rel=1e-5), key

    def assert_gradients(self, model: nn.Module, key_of: dict[str, str] | None = None) -> None:
        """Gradient norms after `backward` (relative 1e-3; those below 1e-4 of the largest are noise).

        `key_of` maps the reference's keys to this model's where they differ.
        """
        stored: dict[str, float] = self.manifest["grad_norm"]
        largest = max(stored.values())
        parameters = dict(model.named_parameters())
        renamed = {(key_of or {}).get(key, key): value for key, value in stored.items()}
        unknown = set(renamed) - set(parameters)
        assert not unknown, f"no such parameters: {sorted(unknown)[:5]}"
        relative = max(1e-3, 2 * float(self.manifest.get("grad_norm_fp32_worst_rel_diff") or 0.0))
        for key, parameter in parameters.items():
            norm = 0.0 if parameter.grad is None else float(parameter.grad.double().norm())
            value = renamed.get(key, 0.0)
            if max(norm, value) > 1e-4 * largest:
                assert norm == pytest.approx(value, rel=relative), f"{key}: {norm} instead of {value}"

    def assert_all_seen(self) -> None:
        """No stored array was left out of the comparison."""
        left = set(self.manifest["arrays"]) - self.seen
        assert not left, f"not compared: {sorted(left)}"


def reference(name: str) -> Reference:
    """The reference called `name`: the whole one where it is at hand, else its compact subset."""
    if SHARED is not None:
        manifest = json.loads(shared("reference", f"{name}.json").read_text())
        packed = shared("reference", f"{name}.npz").read_bytes()
    else:
        with zipfile.ZipFile(_FIGURES) as figures:
            manifest = json.loads(figures.read(f"{name}.json"))
            packed = figures.read(f"{name}.npz")
    with np.load(io.BytesIO(packed)) as stored:
        arrays = {key: stored[key] for key in stored.files}
    return Reference(name, manifest, arrays)


def mean_over_all_pixels(logits: Tensor, target: Tensor) -> Loss:
    """Cross-entropy with ignored pixels counted as zero: the average mmsegmentation takes."""
    total = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return Loss(total, torch.tensor(float(target.numel())))


def mean_over_valid_pixels(logits: Tensor, target: Tensor) -> Loss:
    """Cross-entropy averaged over labelled pixels: torchvision's and transformers' way."""
    total = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return Loss(total, (target != IGNORE).sum().to(total.dtype))


def load_reference(name: str, model_name: str | None = None, **options: Any) -> tuple[Reference, nn.Module]:
    """The reference and this zoo's network with its weights, loaded strictly."""
    from segstudio_zoo import create_model, load_checkpoint

    ref = reference(name)
    model = create_model(model_name or name, num_classes=ref.num_classes, **options)
    report = load_checkpoint(model, ref.state_dict())
    assert not (report.missing or report.unexpected or report.mismatched), report
    return ref, model


def check_segmentor(ref: Reference, model: nn.Module, *, losses: bool = True, precise: bool = False) -> None:
    """Pyramid, heads, logits, losses and gradient norms of an mmsegmentation reference.

    `precise` computes losses and gradients in float64.
    """
    image = ref.image()
    with torch.no_grad():
        features = model.extract(image)
        for index, value in enumerate(features):
            if f"feature.{index}" in ref.arrays:
                ref.assert_close(f"feature.{index}", value[0] if isinstance(value, tuple) else value)
        if "decode_head" in ref.arrays:
            ref.assert_close("decode_head", model.decode(features))
        heads = [head for _, head in model.auxiliary_heads()]
        for index, head in enumerate(heads):
            if f"auxiliary_head.{index}" in ref.arrays:
                ref.assert_close(f"auxiliary_head.{index}", head(features))
        ref.assert_close("seg_logits", model(image))
    if losses and "losses" in ref.manifest:
        if precise:
            model, image = model.double(), image.double()
        named = model.losses(image, ref.target(), mean_over_all_pixels)
        ref.assert_losses(named)
        sum(loss.weight * loss.sum / loss.count for loss in named.values()).backward()
        ref.assert_gradients(model)


def check_reference(name: str, **options: Any) -> tuple[Reference, nn.Module]:
    """`create_model(name)` with the drawn weights equals the reference in everything that is stored."""
    ref, model = load_reference(name, **options)
    check_segmentor(ref, model)
    return ref, model


def check_backbone(name: str, model_name: str | None = None, **options: Any) -> tuple[Reference, nn.Module]:
    """A bare backbone's pyramid equals the reference's."""
    ref, model = load_reference(name, model_name, **options)
    with torch.no_grad():
        features = model(ref.image())
    assert len(features) == len(model.features)
    for index, value in enumerate(features):
        ref.assert_close(f"feature.{index}", value)
    return ref, model


__all__ = [
    "Reference",
    "check_backbone",
    "check_reference",
    "check_segmentor",
    "load_reference",
    "mean_over_all_pixels",
    "mean_over_valid_pixels",
    "needs_shared",
    "reference",
    "reference_names",
]
