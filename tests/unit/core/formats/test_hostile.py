"""Documents with anything anywhere: a reader gives labels, notes or one sentence, never another exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segstudio.core.errors import UserError
from segstudio.core.formats import FORMATS, Format, find_format, load_format
from segstudio.core.formats.exchange import Labels
from segstudio.core.records import LabelClass

CLASSES = [LabelClass(index, f"class {index}", (10 * index + 1, 2, 3)) for index in range(4)]
TRIANGLE = [[1, 1], [20, 1], [20, 20]]
DOCUMENTS: dict[str, Any] = {
    "labelme": {
        "imagePath": "x.png",
        "imageWidth": 80,
        "imageHeight": 60,
        "shapes": [
            {"label": "a", "shape_type": "polygon", "points": TRIANGLE},
            {"label": "b", "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "AAAA"},
            {"label": "c", "shape_type": "circle", "points": [[5, 5], [9, 9]]},
        ],
    },
    "coco": {
        "images": [{"id": 1, "file_name": "x.png", "width": 80, "height": 60}],
        "categories": [{"id": 3, "name": "a"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [[1, 1, 20, 1, 20, 20]]},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 3,
                "segmentation": {"size": [60, 80], "counts": [10, 4790]},
            },
            {
                "id": 3,
                "image_id": 1,
                "segments_info": [{"id": 4, "category_id": 3}],
                "file_name": "p.png",
            },
        ],
    },
    "labelstudio": [
        {
            "data": {"image": "x.png"},
            "annotations": [
                {
                    "result": [
                        {
                            "type": "polygonlabels",
                            "original_width": 80,
                            "original_height": 60,
                            "value": {"points": TRIANGLE, "polygonlabels": ["a"]},
                        },
                        {"type": "brushlabels", "value": {"rle": [1, 2, 3], "brushlabels": ["b"]}},
                    ]
                }
            ],
        }
    ],
    "cityscapes": {
        "imgWidth": 80,
        "imgHeight": 60,
        "objects": [{"label": "road", "polygon": TRIANGLE}],
    },
}
JUNK = [
    None,
    True,
    0,
    -1,
    1e300,
    float("inf"),
    10**30,
    "",
    "x",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "9" * 400,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_anything_anywhere_in_a_document_is_survived(tmp_path: Path, name: str):
    module = load_format(find_format(name))
    file = tmp_path / "x_gtFine_polygons.json"
    rng = np.random.default_rng(0)
    survived = 0
    for place in places(DOCUMENTS[name]):
        for junk in rng.choice(len(JUNK), 6, replace=False):
            document = copy.deepcopy(DOCUMENTS[name])
            inner = document
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = JUNK[junk]
            file.write_text(json.dumps(document), "utf-8")
            try:
                found = module.read(tmp_path, classes=CLASSES, size_of=lambda image: (80, 60))
                for item in found.items:
                    assert item.array.shape == (60, 80)
                survived += 1
            except UserError as error:
                assert str(error).endswith(".")
    assert survived > 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("entry", FORMATS, ids=lambda entry: entry.id)
def test_changed_bytes_anywhere_are_survived(tmp_path: Path, entry: Format):
    module = load_format(entry)
    labels = np.kron(np.arange(12).reshape(3, 4) % 4, np.ones((20, 20))).astype(np.uint8)
    names = ["road", "sky", "wall", "car"]  # classes of every data set
    classes = [LabelClass(index, name, CLASSES[index].color) for index, name in enumerate(names)]
    module.write(tmp_path, classes, [Labels("x.png", labels)], **({"kind": entry.kind} if entry.kind else {}))
    rng = np.random.default_rng(0)
    originals = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    source = tmp_path / "labels" if entry.id == "yolo" else tmp_path
    for _ in range(25):
        for path, content in originals.items():
            changed = bytearray(content)
            for _ in range(3):
                changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
            path.write_bytes(changed)
        try:
            for item in module.read(source, classes=classes, size_of=lambda image: (80, 60)).items:
                assert item.array.ndim == 2
        except UserError as error:
            assert str(error).endswith(".")
