"""Extra memory and time of attention over 96x192 cells of 512 channels: CCNet, ANN and DANet's position
attention against a plain non-local block.

Each block runs in a process of its own, evaluation mode, one picture, float32; extra memory is the largest
resident size while it runs, less what was resident before. The plain block keeps the whole map of
18,432 x 18,432. "ann" is the attention of APNB alone, as the plain block is; "ann_with_bottleneck" adds the
concatenation and convolution that follow it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

_REPEATS = 3  # memory does not vary; a plain pass takes seconds

_PROGRAM = """
import json, resource, sys, time
import torch
from torch import nn
CHANNELS, INNER, HEIGHT, WIDTH = 512, 64, 96, 192

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Conv2d(CHANNELS, INNER, 1), nn.Conv2d(CHANNELS, INNER, 1)
        self.value = nn.Conv2d(CHANNELS, CHANNELS, 1)
    def forward(self, x):
        query, key, value = (part(x).flatten(2) for part in (self.query, self.key, self.value))
        attention = (query.transpose(1, 2) @ key).softmax(-1)
        return x + (value @ attention.transpose(1, 2)).view_as(x)

def block(name):
    if name == "plain_non_local":
        return Plain()
    if name == "ccnet_two_hops":
        from segstudio_zoo.segmentors.ccnet import CrissCrossAttention
        hop = CrissCrossAttention(CHANNELS, 0.5)
        return nn.Sequential(hop, hop)
    if name.startswith("ann"):
        from segstudio_zoo.segmentors.ann import APNB
        whole = APNB(CHANNELS, INNER, pyramid=(1, 3, 6, 8), sampling="average")
        if name == "ann_with_bottleneck":
            return whole
        attend = whole.stages[0]
        attend.forward, both = lambda x: both(x, x), attend.forward
        return attend
    from segstudio_zoo.segmentors.danet import PositionAttention
    return PositionAttention(CHANNELS, INNER)

name = sys.argv[1]
torch.manual_seed(0)
module = block(name).eval()
image = torch.randn(1, CHANNELS, HEIGHT, WIDTH)
with torch.no_grad():
    module(image[:, :, :8, :8])  # the libraries' own buffers
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    module(image)
    took = time.perf_counter() - begun
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"extra_mb": (after - before) / 1024, "seconds": took}))
"""


def measure() -> dict[str, Any]:
    names = ("plain_non_local", "ccnet_two_hops", "ann", "ann_with_bottleneck", "danet_position")
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(_REPEATS):
        for name in names:
            run = subprocess.run(
                [sys.executable, "-c", _PROGRAM, name],
                capture_output=True,
                text=True,
                check=True,
                timeout=600,
            )
            samples[name].append(json.loads(run.stdout))
    result: dict[str, Any] = {}
    for name, rows in samples.items():
        result[name] = {
            "extra_mb": round(statistics.median(row["extra_mb"] for row in rows), 1),
            "seconds": round(statistics.median(row["seconds"] for row in rows), 3),
        }
    plain = result["plain_non_local"]
    for name in names[1:]:
        result[name]["times_less_memory"] = round(plain["extra_mb"] / result[name]["extra_mb"], 1)
        result[name]["times_faster"] = round(plain["seconds"] / result[name]["seconds"], 1)
    result["repeats"] = _REPEATS
    return result
