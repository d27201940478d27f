"""A plugin whose probes answer with vectors, points and over-completed maps, run by the real worker."""

BARS = '''
"""One network with probes of every answer that is not a plain map."""
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from segstudio.plugin_api import ModelSpec, Plugin, ProbeMap, ProbeSpec, Scores

STRIDE = 16
REACH = 3
MASK = 2 * REACH + 1


def build(name, *, num_classes=None, **options):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_classes = 11
            torch.manual_seed(0)
            self.pool = nn.AvgPool2d(STRIDE)
            self.classify = nn.Conv2d(3, 11, 1)

        def scores(self, image):
            return Scores(self.classify(self.pool(image)))

        def forward(self, image):
            logits = self.scores(image).logits
            return F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)

    return Net()


@dataclass
class Kept:
    size: tuple = (0, 0)
    nbytes: int = 0


class Fixed:
    def __init__(self, answer):
        self.answer = answer

    @contextmanager
    def attach(self, model):
        kept = Kept()

        def note(_module, _inputs, features):
            kept.size = tuple(features.shape[-2:])

        handle = model.pool.register_forward_hook(note)
        try:
            yield kept
        finally:
            handle.remove()

    def map(self, kept, query):
        cell = (min(int(query.y // STRIDE), kept.size[0] - 1), min(int(query.x // STRIDE), kept.size[1] - 1))
        return self.answer(kept.size, cell)


def times():
    values = np.array([3.25, 40.5, 12.125], np.float32)
    return Fixed(lambda size, cell: ProbeMap(values, "vector", labels=("light", "shared", "deep")))


def presence():
    values = np.linspace(0.95, 0.05, 11).astype(np.float32)
    return Fixed(lambda size, cell: ProbeMap(values, "vector"))


def gates():
    values = ((np.arange(512) * 37) % 512 / 512).astype(np.float32)
    return Fixed(lambda size, cell: ProbeMap(values, "vector"))


def signed():
    values = np.array([-2.0, 1.0, 0.5], np.float32)
    return Fixed(lambda size, cell: ProbeMap(values, "vector", signed=True, labels=("a", "b", "c")))


def reach():
    def answer(size, cell):
        values = np.ones(size, np.float32)
        held = [
            max(cell[0] - REACH, 0), max(cell[1] - REACH, 0),
            min(cell[0] + REACH + 1, size[0]), min(cell[1] + REACH + 1, size[1]),
        ]
        return ProbeMap(
            values / values.sum(), stride=(STRIDE, STRIDE), rows_sum_to_one=True, query_cell=cell,
            extras={"reach": held},
        )
    return Fixed(answer)


def raw():
    def answer(size, cell):
        low = [REACH - c for c in cell]
        window = [
            max(low[0], 0), max(low[1], 0), min(low[0] + size[0], MASK), min(low[1] + size[1], MASK)
        ]
        return ProbeMap(
            np.ones((MASK, MASK), np.float32), stride=(STRIDE, STRIDE), signed=True, query_cell=cell,
            extras={"window": window, "reach": [0, 0, 1, 1]},
        )
    return Fixed(answer)


def taps():
    def answer(size, cell):
        points, names, valid = [], [], {}
        for rate in (2, 6):
            held = 0
            for dy in (-rate, 0, rate):
                for dx in (-rate, 0, rate):
                    y, x = cell[0] + dy, cell[1] + dx
                    inside = 0 <= y < size[0] and 0 <= x < size[1]
                    held += inside
                    points.append(((y + 0.5) * STRIDE, (x + 0.5) * STRIDE, float(inside)))
                    names.append(f"rate {rate}")
            valid[str(rate)] = held
        return ProbeMap(
            np.array(points, np.float32), "points", labels=tuple(names), query_cell=cell,
            extras={"valid": valid},
        )
    return Fixed(answer)


def probe(name, title, kind="map", query="pixel", **other):
    return ProbeSpec(name, title, f"bars:{name}", query=query, kind=kind, **other)


PROBES = (
    probe("reach", "Collect"),
    probe("raw", "Raw map", signed=True, rows_sum_to_one=False),
    probe("taps", "Valid taps", "points", rows_sum_to_one=False),
    probe("times", "Milliseconds a branch", "vector", "global", rows_sum_to_one=False),
    probe("presence", "Class presence", "vector", "global", rows_sum_to_one=False),
    probe("gates", "Channel gate", "vector", "global", rows_sum_to_one=False),
    probe("signed", "Contributions", "vector", "global", signed=True, rows_sum_to_one=False),
)
MODEL = ModelSpec(
    "bars/net", "Bars net", "Bars", build="bars:build", num_classes=11, taxonomy="street", probes=PROBES,
    size_divisor=16,
)
PLUGIN = Plugin("bars", "Bars", (MODEL,), version="1")
'''
