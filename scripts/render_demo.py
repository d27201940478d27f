"""Renders the demo project's pictures, their exact labels, and training pictures for the demo networks.

python scripts/render_demo.py resources/demo              the bundled pictures (committed)
python scripts/render_demo.py build/demo --train 240      pictures to train on (not committed)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))

from street.picture import CLASSES
from street.scene import render

SIZE = (640, 416)

# Seeds chosen by eye from many; the demo networks are never trained on them.
SHOWN = (20, 11, 45, 34, 33, 46, 12, 38, 35, 43, 40, 25)


def save(folder: Path, name: str, image: np.ndarray, label: np.ndarray) -> None:
    """Writes images/<name>.jpg and labels/<name>.png, an index PNG with the palette of the classes."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=92, subsampling=0)
    indexed = Image.fromarray(label, mode="P")
    indexed.putpalette([value for _, color in CLASSES for value in color] + [0] * (256 - len(CLASSES)) * 3)
    indexed.save(folder / "labels" / f"{name}.png", optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--train", type=int, default=0, metavar="N", help="render N pictures to train on instead"
    )
    parser.add_argument("--seed", type=int, default=10_000, help="first seed of the training pictures")
    arguments = parser.parse_args()
    if arguments.train:
        for index in range(arguments.train):
            image, label = render(arguments.seed + index, SIZE)
            save(arguments.folder, f"train_{index:04d}", image, label)
    else:
        for index, seed in enumerate(SHOWN):
            image, label = render(seed, SIZE, supersample=3)
            save(arguments.folder, f"street_{index + 1:02d}", image, label)
    classes = [{"name": name, "color": list(color), "aliases": []} for name, color in CLASSES]
    document = {"id": "demo_streets", "title": "Demo streets", "aliases": [], "classes": classes}
    text = json.dumps(document, indent=1)
    (arguments.folder / "classes.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
