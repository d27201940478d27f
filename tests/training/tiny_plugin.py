"""A very small trainable network as a plugin file, so that training is tested without any real one.

torch is imported when a network is built, as in every good plugin: listing its models stays quick.
SEGSTUDIO_TEST_KILL=N kills the process, as `kill -9` would, in its N-th training step.
"""

import os
import signal

from segstudio.plugin_api import ModelSpec, Option, Plugin, Preprocess, Scores


def build(name, *, num_classes, width=8, norm=True, dropout=0.1):
    import torch
    from torch import nn
    from torch.nn import functional

    class TinyNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_classes = num_classes
            self.steps = 0
            layers = [nn.Conv2d(3, width, 3, stride=2, padding=1)]
            if norm:
                layers.append(nn.BatchNorm2d(width))
            layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Dropout(dropout)]
            self.body = nn.Sequential(*layers)
            self.head = nn.Conv2d(width, num_classes, 1)

        def scores(self, image):
            return Scores(self.head(self.body(image)))

        def forward(self, image):
            return functional.interpolate(self.scores(image).logits, image.shape[-2:], mode="bilinear")

        def losses(self, image, target, criterion):
            self.steps += 1
            if self.steps == int(os.environ.get("SEGSTUDIO_TEST_KILL", "0")):
                os.kill(os.getpid(), signal.SIGKILL)
            return {"decode.loss_ce": criterion(self(image), target)}

        def param_groups(self, lr):
            return [
                {"params": list(self.body.parameters()), "lr": lr},
                {"params": list(self.head.parameters()), "lr": 2 * lr},
            ]

    torch.manual_seed(7)
    return TinyNet()


PLUGIN = Plugin(
    name="tiny_plugin",
    title="Tiny",
    models=(
        ModelSpec(
            id="tiny_plugin/tinynet",
            title="TinyNet",
            family="test",
            build="tiny_plugin:build",
            options=(
                Option("width", "int", 8),
                Option("norm", "bool", True),
                Option("dropout", "float", 0.1),
            ),
            preprocess=Preprocess((128.0, 128.0, 128.0), (64.0, 64.0, 64.0)),
            size_divisor=2,
            trainable=True,
        ),
        ModelSpec(id="tiny_plugin/fixed", title="Fixed", family="test", build="tiny_plugin:build"),
    ),
)
