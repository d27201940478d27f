"""Plugin files that tests write: a tiny network, and plugins that misbehave."""

from __future__ import annotations

from pathlib import Path

HOSTILE = '''
"""Misbehaves in a way chosen by the model's name."""
import ctypes
import os
import sys
import time

import numpy as np

from segstudio.plugin_api import ModelSpec, Plugin, Prediction


class Hostile:
    def __init__(self, way):
        self.way = way

    def predict(self, image, *, cancel):
        print("a plugin prints", flush=True)
        os.write(1, b"and writes to descriptor 1")
        if self.way == "raise":
            raise KeyError("no such thing")
        if self.way == "leave":
            sys.exit(3)
        if self.way == "exit":
            os._exit(3)
        if self.way == "segfault":
            ctypes.string_at(0)
        if self.way == "loop":
            while True:
                pass
        if self.way == "memory":
            kept = []
            while True:  # what is reserved counts against the limit; the pages need not be written
                kept.append(np.empty(2**25, np.uint8))
        if self.way == "wait":
            while not cancel():
                time.sleep(0.01)
        if self.way == "shape":
            return Prediction(np.zeros((1, 1), np.uint8))
        if self.way == "negative":
            return Prediction(np.full(image.shape[:2], -1, np.int64))
        return Prediction((image[..., 0] > 127).astype(np.uint8), np.full(image.shape[:2], 0.75, np.float32))


def build(name, *, num_classes=None):
    return Hostile(name)


WAYS = ("good", "raise", "leave", "exit", "segfault", "loop", "memory", "wait", "shape", "negative")
PLUGIN = Plugin(
    "hostile",
    "Hostile",
    tuple(ModelSpec(f"hostile/{way}", way, "Hostile", build="hostile:build", num_classes=2) for way in WAYS),
)
'''

TINY = '''
"""A small network with everything: batch norms, a stride, attention, a probe, a switch."""
from contextlib import contextmanager

import numpy as np

from segstudio.plugin_api import ModelSpec, Plugin, Preprocess, ProbeMap, ProbeSpec, Query, Scores, SwitchSpec


def build(name, *, num_classes=None, width=8):
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
            self.bn = nn.BatchNorm2d(after)

        def forward(self, image):
            return functional.relu(self.bn(self.conv(image)))

    class Tiny(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.num_classes = classes
            self.stem = Block(3, width, 2)
            self.stage = Block(width, width, 2)
            self.query = nn.Conv2d(width, 4, 1)
            self.key = nn.Conv2d(width, 4, 1)
            self.classifier = nn.Conv2d(width, classes, 1)
            self.use_attention = name == "attention"
            generator = torch.Generator().manual_seed(28)
            for key, tensor in self.state_dict().items():
                if key.endswith("running_var"):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
                elif tensor.is_floating_point():
                    tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)

        def attend(self, features):
            query = self.query(features).flatten(2)
            key = self.key(features).flatten(2)
            return torch.softmax(query.transpose(1, 2) @ key, dim=2)

        def scores(self, image):
            if name == "large-only" and min(image.shape[2:]) < 64:
                raise ValueError("too small")
            if name == "greedy" and image.shape[2] * image.shape[3] > 200 * 200:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            features = self.stage(self.stem(image))
            if self.use_attention:
                attention = self.attend(features)
                values = features.flatten(2) @ attention.transpose(1, 2)
                features = features + values.view_as(features)
            return Scores(self.classifier(features), name == "corners")

        def forward(self, image):
            found = self.scores(image)
            return functional.interpolate(
                found.logits, image.shape[2:], mode="bilinear", align_corners=found.align_corners
            )

    return Tiny(num_classes or 5)


class Kept:
    features = None

    @property
    def nbytes(self):
        return 0 if self.features is None else self.features.numel() * 4


class AttentionProbe:
    @contextmanager
    def attach(self, model):
        kept = Kept()
        kept.model = model

        def take(module, inputs, output):
            kept.features = output.detach()

        handle = model.stage.register_forward_hook(take)
        try:
            yield kept
        finally:
            handle.remove()

    def map(self, captured, query, **options):
        import torch

        with torch.no_grad():
            attention = captured.model.attend(captured.features)[0]
        height, width = captured.features.shape[2:]
        row, column = int(query.y // 4), int(query.x // 4)
        if row >= height or column >= width:
            raise ValueError("outside")
        values = attention[row * width + column].view(height, width).float().cpu().numpy()
        return ProbeMap(values, stride=(4.0, 4.0), rows_sum_to_one=True, query_cell=(row, column))


def attention_probe():
    return AttentionProbe()


@contextmanager
def use_attention(model, value):
    before, model.use_attention = model.use_attention, value
    try:
        yield
    finally:
        model.use_attention = before


PROBES = (ProbeSpec("attention", "Attention", "tiny:attention_probe"),)
NAMES = ("plain", "attention", "corners", "large-only", "greedy")
PLUGIN = Plugin(
    "tiny",
    "Tiny networks",
    tuple(
        ModelSpec(
            f"tiny/{name}",
            f"Tiny {name}",
            "Tiny",
            build="tiny:build",
            size_divisor=4,
            min_size=8,
            preprocess=Preprocess((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
            probes=PROBES if name == "attention" else (),
            switches=(
                SwitchSpec("attention", "Use", "tiny:use_attention", (True, False), name == "attention"),
            ),
        )
        for name in NAMES
    ),
)
'''


def write_plugin(folder: Path, name: str, code: str) -> Path:
    """`code` as `<name>.py` in `folder`."""
    file = folder / f"{name}.py"
    file.write_text(code, encoding="utf-8")
    return file
