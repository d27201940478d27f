"""A plugin to copy: it paints an image in the k grey levels nearest to each pixel, without torch."""

import numpy as np

from segstudio.plugin_api import ModelSpec, Option, Plugin, Prediction


class GreyLevels:
    """Class i is everything between the i-th and the next of `levels` equally wide bands of grey."""

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def predict(self, image, *, cancel) -> Prediction:
        """`image` (H, W, 3) uint8 RGB. Confidence is 1 in the middle of a band and 0.5 at its edge."""
        position = image.mean(axis=2, dtype=np.float32) * (self.levels / 256)
        label_map = position.astype(np.uint8)
        confidence = 1 - np.abs(position - label_map - 0.5)
        return Prediction(label_map, confidence.astype(np.float32))


def build(name: str, *, num_classes: int | None = None, levels: int = 3) -> GreyLevels:
    return GreyLevels(num_classes or levels)


_LEVELS = Option("levels", "int", 3, "number of grey bands", minimum=2, maximum=16)
_MODEL = ModelSpec(
    "segstudio_example/grey-levels",
    "Grey levels",
    "Example",
    build="segstudio_example:build",
    options=(_LEVELS,),
)
PLUGIN = Plugin("segstudio_example", "Example", models=(_MODEL,), version="1")
