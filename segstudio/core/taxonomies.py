"""The class lists of well-known data sets, and the default palette for everything else.

A taxonomy is a JSON file in resources/taxonomies:
{"id", "title", "aliases": [...], "classes": [{"name", "color": [r, g, b], "aliases": [...]}]}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.core.resources import resource
from segstudio.plugin_api import Taxonomy, TaxonomyClass

Color = tuple[int, int, int]

DEFAULT_NAMES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "Sign symbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)

_FIRST_COLORS: tuple[Color, ...] = (
    (0x5A, 0xDA, 0xF7),
    (0xF7, 0xC2, 0x77),
    (0xCF, 0xF7, 0xED),
    (0x7C, 0x44, 0x97),
    (0xC4, 0x70, 0xA5),
    (0x14, 0x67, 0x14),
    (0xF7, 0xF6, 0x5D),
    (0x58, 0xAA, 0x7A),
    (0x6B, 0x6B, 0xE2),
    (0xF7, 0x14, 0x3F),
    (0xF7, 0x80, 0x14),
)
_PALETTE_SIZES = (24, 64, 256)
_LONGEST_PALETTE = _PALETTE_SIZES[-1]

# Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# 2009: matrices of full severity, applied to linear RGB.
_DEFICIENCIES = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)
_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def taxonomy_names() -> tuple[str, ...]:
    """The ids of all bundled taxonomies, sorted."""
    return tuple(sorted(path.stem for path in resource("taxonomies").glob("*.json")))


def load_taxonomy(name: str) -> Taxonomy:
    """A bundled taxonomy by id or alias (case, "-" and "_" are equal), or one from a JSON file by path.

    Raises UserError naming the known ids, or the field that is wrong.
    """
    if name.lower().endswith(".json"):
        return _read(Path(name))
    found = _aliases().get(_plain(name))
    if found is None:
        raise UserError(
            f"There is no taxonomy named {name!r}",
            action=f"Known are {', '.join(taxonomy_names())}; or give a JSON file.",
        )
    return _read(resource("taxonomies", f"{found}.json"))


def first_classes(classes: Sequence[TaxonomyClass], number: int) -> tuple[TaxonomyClass, ...] | None:
    """The names of `number` outputs, or None where they do not fit.

    A list may end in "Unlabeled", which nothing is trained to tell, as Mapillary's 66 names of 65 classes.
    """
    rest = classes[number:]
    if len(classes) < number or any(_plain(entry.name) != "unlabeled" for entry in rest):
        return None
    return tuple(classes[:number])


def match_taxonomy(names: tuple[str, ...]) -> Taxonomy | None:
    """The bundled taxonomy whose class names are `names`, in order, or None; case and blanks do not count."""
    wanted = tuple(map(_plain, names))
    for taxonomy in map(load_taxonomy, taxonomy_names()):
        if tuple(map(_plain, taxonomy.names)) == wanted:
            return taxonomy
    return None


@cache
def _aliases() -> dict[str, str]:
    result: dict[str, str] = {}
    for identifier in taxonomy_names():
        document = json.loads(resource("taxonomies", f"{identifier}.json").read_text("utf-8"))
        for alias in (identifier, *document.get("aliases", ())):
            result[_plain(alias)] = identifier
    return result


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _read(path: Path) -> Taxonomy:
    try:
        document = json.loads(path.read_text("utf-8"))
        classes = tuple(
            TaxonomyClass(
                name=str(entry["name"]),
                color=_color(entry["color"]),
                aliases=tuple(map(str, entry.get("aliases", ()))),
            )
            for entry in document["classes"]
        )
        return Taxonomy(
            id=str(document.get("id", path.stem)),
            title=str(document.get("title", path.stem)),
            classes=classes,
        )
    except OSError as error:
        raise UserError("The taxonomy cannot be read", where=f"from {path}", details=str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            "This file is no taxonomy:",
            where=str(path),
            action='Expected {"classes": [{"name": ..., "color": [r, g, b]}, ...]}.',
            details=repr(error),
        ) from error


def _color(values: list[int]) -> Color:
    red, green, blue = (int(value) for value in values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"color {values} is not within 0-255")
    return red, green, blue


def default_palette(number: int) -> tuple[Color, ...]:
    """`number` colours: eleven fixed ones, then always the candidate that is easiest to tell from all before.

    The measure is the smallest CIE76 distance to any earlier colour, in normal sight and with full
    protanopia, deuteranopia and tritanopia, whichever is least. Colours repeat after 256.
    """
    if number <= len(_FIRST_COLORS):
        return _FIRST_COLORS[:number]
    palette = _grown_palette(next((size for size in _PALETTE_SIZES if size >= number), _LONGEST_PALETTE))
    return tuple(palette[index % _LONGEST_PALETTE] for index in range(number))


@cache
def _grown_palette(number: int) -> tuple[Color, ...]:
    steps = np.arange(20, 256, 15)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    candidate_views = seen_lab(candidates)
    palette = list(_FIRST_COLORS)
    distance = np.full(len(candidates), np.inf)
    for color in palette:
        distance = np.minimum(distance, _least_distance(candidate_views, color))
    while len(palette) < number:
        best = candidates[int(distance.argmax())]
        palette.append((int(best[0]), int(best[1]), int(best[2])))
        distance = np.minimum(distance, _least_distance(candidate_views, palette[-1]))
    return tuple(palette)


def _least_distance(views: NDArray[np.float64], color: Color) -> NDArray[np.float64]:
    difference = views - seen_lab(np.array([color]))
    result: NDArray[np.float64] = np.sqrt((difference**2).sum(axis=2)).min(axis=0)
    return result


def seen_lab(colors: NDArray[np.integer]) -> NDArray[np.float64]:
    """sRGB colours (n, 3) in 0-255 -> CIE Lab (4, n, 3) as seen by normal, protan, deutan and tritan eyes."""
    values = np.asarray(colors, np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.stack([np.clip(linear @ np.array(matrix).T, 0, 1) for matrix in _DEFICIENCIES])
    xyz = seen @ _RGB_TO_XYZ.T / _WHITE
    cube = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness = 116 * cube[..., 1] - 16
    red_green = 500 * (cube[..., 0] - cube[..., 1])
    blue_yellow = 200 * (cube[..., 1] - cube[..., 2])
    return np.stack([lightness, red_green, blue_yellow], axis=-1)
