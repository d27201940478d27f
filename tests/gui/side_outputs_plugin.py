"""A plugin file whose network sees classes by their colours, and gives a coarse side output of the same."""

from __future__ import annotations

SIDE_OUTPUTS = '''
from contextlib import contextmanager

from segstudio.plugin_api import ModelSpec, Plugin, Preprocess, Scores, SwitchSpec

COLORS = {colors}


def build(name, *, num_classes=None, **options):
    import torch
    from torch import nn
    from torch.nn import functional

    class Colours(nn.Module):
        """2 c . x - c . c is largest for the colour c that is nearest to x."""

        def __init__(self):
            super().__init__()
            self.num_classes = len(COLORS)
            colors = torch.tensor(COLORS) * 0.6 + 40
            self.nearest = nn.Conv2d(3, len(COLORS), 1)
            self.nearest.weight.data = 2 * colors[:, :, None, None]
            self.nearest.bias.data = -colors.square().sum(1)
            self.blind = False

        def scores(self, image):
            return Scores(self.nearest(image * 0 if self.blind else image) / 1000)

        def side_outputs(self, image):
            return {{"coarse": Scores(functional.avg_pool2d(self.scores(image).logits, 16))}}

        def forward(self, image):
            return self.scores(image).logits

    return Colours()


@contextmanager
def see(model, value):
    model.blind = not value
    try:
        yield
    finally:
        model.blind = False


def spec(name, title, side_outputs, switches=()):
    return ModelSpec(
        f"sides/{{name}}",
        title,
        "Sides",
        build="sides:build",
        num_classes=len(COLORS),
        taxonomy="street",
        size_divisor=16,
        preprocess=Preprocess((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        side_outputs=side_outputs,
        switches=switches,
    )


SEE = SwitchSpec("see", "Sight", "sides:see", (True, False), True)
PLUGIN = Plugin(
    "sides",
    "Sides",
    (
        spec("net", "Colour net", ("coarse", "auxiliary"), (SEE,)),
        spec("heads", "Heads only", ("coarse",)),
        spec("bare", "Bare net", ()),
    ),
)
'''
