"""A picture's labels in a model's class numbers, for a switched part that works from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segstudio.core.class_space import ClassSpace, Color
from segstudio.core.project import Project
from segstudio.ipc import MappedArray

UNKNOWN = -1


def labels_for(
    project: Project, image_id: int, names: Sequence[str], colors: Sequence[Color]
) -> MappedArray | None:
    """(H, W) int32: a class of the project is the model's class of the same name, all else unknown (-1).

    None where the picture has no labels. A model that does not name its classes has the project's numbers.
    Raises UserError where a tile is damaged.
    """
    if project.image(image_id).width is None:
        return None
    labels = project.load_labels(image_id)
    table = np.full(int(np.iinfo(labels.array.dtype).max) + 1, UNKNOWN, np.int32)
    if names:
        places = ClassSpace(project.classes).add_model(names, colors)
        known = {entry.id for entry in project.classes}
        for number, place in enumerate(places.tolist()):
            if place in known and table[place] == UNKNOWN:
                table[place] = number
    else:
        for entry in project.classes:
            table[entry.id] = entry.id
    truth = table[labels.array]
    if not (truth != UNKNOWN).any():
        return None
    memory = MappedArray.create(truth.shape, "i4")
    memory.array[...] = truth
    return memory
