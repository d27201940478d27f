"""A plugin with one small torch network whose attention is known in closed form, run by the real worker."""

LOOKING = '''
"""One network that attends to cells of similar colour."""
from contextlib import contextmanager
from dataclasses import dataclass

from segstudio.plugin_api import ModelSpec, Plugin, ProbeMap, ProbeSpec, Scores, SwitchSpec

STRIDE = 16


def build(name, *, num_classes=None, **options):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_classes = 11
            self.sharpness = 6.0
            torch.manual_seed(0)
            self.pool = nn.AvgPool2d(STRIDE)
            self.classify = nn.Conv2d(3, 11, 1)

        def scores(self, image):
            features = self.pool(image)
            query = features.flatten(2)
            weights = (self.sharpness * torch.einsum("ncq,nck->nqk", query, query)).softmax(-1)
            mixed = torch.einsum("nqk,nck->ncq", weights, query).view_as(features)
            return Scores(self.classify(mixed))

        def forward(self, image):
            logits = self.scores(image).logits
            return F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)

    return Looking()


@dataclass
class Kept:
    features: object = None
    sharpness: float = 1.0

    @property
    def nbytes(self):
        return 0 if self.features is None else self.features.numel() * 4


class RowProbe:
    @contextmanager
    def attach(self, model):
        kept = Kept()

        def remember(_module, _inputs, features):
            kept.features = features[0].detach()
            kept.sharpness = model.sharpness

        handle = model.pool.register_forward_hook(remember)
        try:
            yield kept
        finally:
            handle.remove()

    def cell(self, kept, query):
        height, width = kept.features.shape[1:]
        return min(int(query.y // STRIDE), height - 1), min(int(query.x // STRIDE), width - 1)

    def map(self, kept, query):
        row, column = self.cell(kept, query)
        query_features = kept.features[:, row, column, None, None]
        scores = kept.sharpness * (kept.features * query_features).sum(0)
        values = scores.flatten().softmax(0).view_as(scores)
        return ProbeMap(
            values.numpy(), stride=(STRIDE, STRIDE), rows_sum_to_one=True, query_cell=(row, column),
            extras={
                "scores": 287 * values.numel(), "score_bytes": 4 * 287 * values.numel(), "scores_of": "a hop",
                "full_scores": values.numel() ** 2, "full_bytes": 4 * values.numel() ** 2,
            },
        )


class ChannelProbe(RowProbe):
    def map(self, kept, query):
        flat = kept.features.flatten(1)
        return ProbeMap((flat @ flat.T).numpy(), kind="matrix", signed=True)


@contextmanager
def set_sharpness(model, value):
    before, model.sharpness = model.sharpness, float(value)
    try:
        yield
    finally:
        model.sharpness = before


def row():
    return RowProbe()


def channel():
    return ChannelProbe()


PROBES = (
    ProbeSpec("row", "Where it looks", "looking:row", group="Position", help="Cells of a similar colour."),
    ProbeSpec(
        "channels", "Channel energy", "looking:channel", query="global", kind="matrix", group="Channels",
        signed=True, rows_sum_to_one=False,
    ),
)
SWITCHES = (SwitchSpec("sharpness", "Sharpness", "looking:set_sharpness", (0, 6, 12), 6),)
MODEL = ModelSpec(
    "looking/net", "Looking net", "Looking", build="looking:build", num_classes=11, taxonomy="street",
    probes=PROBES, switches=SWITCHES, size_divisor=16,
)
PLUGIN = Plugin("looking", "Looking", (MODEL,), version="1")
'''
