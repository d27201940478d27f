"""Very small trainable networks as a plugin file, so that training is tested without any real one.

torch is imported when a network is built, as in every good plugin: listing its models stays quick.
SEGSTUDIO_TEST_KILL=N kills the process, as `kill -9` would, in its N-th training step.
"""

import os
import signal

from segstudio.plugin_api import (
    Loss,
    ModelSpec,
    Option,
    Pictures,
    Plugin,
    Preprocess,
    PretrainingSpec,
    Scores,
)

CELL = 4


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


def build_filling(name, *, image_size, width=8, masking="random", noise=0.1, start=None):
    """Three layers fill in hidden cells; with `masking` "grid" every other cell is hidden, without chance.

    `start` are the tensors of a file. `noise` on what is seen fades as training goes on.
    """
    import torch
    from torch import nn

    class TinyFill(nn.Module):
        def __init__(self):
            super().__init__()
            self.image_size, self.cell = image_size, CELL
            self.steps = 0
            self.fraction = 0.0
            self.body = nn.Sequential(nn.Conv2d(4, width, 5, padding=2), nn.ReLU())
            self.head = nn.Sequential(
                nn.Conv2d(width, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 3, 1)
            )

        def losses(self, image):
            if self.training:
                self.steps += 1
                if self.steps == int(os.environ.get("SEGSTUDIO_TEST_KILL", "0")):
                    os.kill(os.getpid(), signal.SIGKILL)
            hidden = self.drawn(image, 0.5, masking, None)
            made = self.filled(image, hidden, (1 - self.fraction) * noise)
            pixels = self.pixels(hidden)
            squared = (made - image).square().mean(1, keepdim=True)
            offset = (made.mean((2, 3)) - image.mean((2, 3))).abs()
            return {
                "fill.cells": Loss((squared * pixels).sum(), pixels.sum()),
                "fill.mean": Loss(offset.sum(), torch.tensor(float(offset.numel())), 0.5),
            }

        def pictures(self, image, hidden=None, *, ratio=None, masking=masking, seed=0):
            if hidden is None:
                generator = torch.Generator().manual_seed(seed)
                hidden = self.drawn(image, ratio or 0.5, masking, generator)
            made = self.filled(image, hidden, 0.0)
            pixels = self.pixels(hidden)
            squared = (made - image).square().mean(1, keepdim=True) * pixels
            error = nn.functional.avg_pool2d(squared, CELL)[:, 0]
            views = {"masked": image * (1 - pixels), "reconstruction": image * (1 - pixels) + made * pixels}
            return Pictures(views, hidden, error, ("a tiny net",))

        def drawn(self, image, ratio, masking, generator):
            size = (image.shape[0], image.shape[2] // CELL, image.shape[3] // CELL)
            if masking == "grid":
                rows, columns = torch.arange(size[1])[:, None], torch.arange(size[2])[None]
                return ((rows + columns) % 2 == 0).expand(size).to(image.device)
            return torch.rand(size, generator=generator).to(image.device) < ratio

        def filled(self, image, hidden, noise):
            pixels = self.pixels(hidden)
            seen = image * (1 - pixels)
            if noise:
                seen = seen + noise * torch.randn_like(seen)
            return self.head(self.body(torch.cat([seen, pixels], 1)))

        def pixels(self, hidden):
            return hidden[:, None].repeat_interleave(CELL, 2).repeat_interleave(CELL, 3).float()

        def param_groups(self, lr):
            return [{"params": list(self.parameters()), "lr": lr}]

        def advance(self, fraction):
            self.fraction = fraction

    torch.manual_seed(7)
    module = TinyFill()
    if start is not None:
        module.load_state_dict(start)
    return module


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
    pretraining=(
        PretrainingSpec(
            id="tiny_plugin/tinyfill",
            title="TinyFill",
            build="tiny_plugin:build_filling",
            options=(
                Option("image_size", "ints", (32, 32)),
                Option("width", "int", 8),
                Option("masking", "choice", "random", choices=("random", "grid")),
                Option("noise", "float", 0.1),
                Option("start", "weights", ""),
            ),
            preprocess=Preprocess((128.0, 128.0, 128.0), (64.0, 64.0, 64.0)),
            size_divisor=CELL,
            rate=0.003,
        ),
    ),
)
