"""Polygons and other outlines <-> pixels.

A pixel belongs to a polygon when the polygon, with integer coordinates at pixel centres, covers or touches
it. Pillow draws polygons, as labelme does: its rounding along the border becomes the field's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = Sequence[tuple[float, float]]
Mask = NDArray[np.bool_]

_FAR = 1 << 20
"""Coordinates far outside of any picture are pulled in: drawing calculates with 32 bits."""


def polygon_mask(width: int, height: int, rings: Sequence[Points], *, offset: float = 0.0) -> Mask:
    """(H, W) bool of the area inside an odd number of `rings` of (x, y) pixels.

    `offset` is added to all coordinates: -0.5 for formats whose pixel (0, 0) has its centre at 0.5.
    """
    mask = np.zeros((height, width), bool)
    for ring in rings:
        points = np.clip(np.asarray(ring, np.float64).reshape(-1, 2) + offset, -_FAR, _FAR)
        if len(points) < 2:
            continue
        # Only the ring's own box is drawn: pictures are large and rings mostly small.
        x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0).tolist()
        x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 2, (width, height)).tolist()
        if x0 >= x1 or y0 >= y1:
            continue
        canvas = Image.new("L", (x1 - x0, y1 - y0))
        flat = (points - (x0, y0)).ravel().tolist()
        ImageDraw.Draw(canvas).polygon(flat, fill=1, outline=1)
        mask[y0:y1, x0:x1] ^= np.asarray(canvas, bool)
    return mask


def rectangle_points(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    """The corners of a rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def turned(points: Points, center: tuple[float, float], degrees: float) -> list[tuple[float, float]]:
    """`points` turned clockwise (y points down) round `center`."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cx, cy = center
    return [
        (cx + (x - cx) * cosine - (y - cy) * sine, cy + (x - cx) * sine + (y - cy) * cosine)
        for x, y in points
    ]


def ellipse_points(cx: float, cy: float, rx: float, ry: float) -> list[tuple[float, float]]:
    """An ellipse as a polygon that is nowhere further than a tenth of a pixel from it."""
    steps = int(min(2000, max(16, 8 * math.sqrt(max(rx, ry, 1)))))
    angles = np.arange(steps) * 2 * math.pi / steps
    return [(cx + rx * math.cos(angle), cy + ry * math.sin(angle)) for angle in angles]


def line_mask(width: int, height: int, points: Points, thickness: int) -> Mask:
    """(H, W) bool of an open line."""
    mask = np.zeros((height, width), np.uint8)
    fixed = np.rint(np.clip(np.asarray(points, np.float64).reshape(-1, 1, 2), -_FAR, _FAR)).astype(np.int32)
    cv2.polylines(mask, [fixed], False, 1, thickness)
    return mask.astype(bool)


def components(mask: Mask) -> list[tuple[int, int, Mask]]:
    """(x, y, part) of the connected areas of a mask: the part's corner in the picture and its pixels."""
    count, numbers, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    parts = []
    for number in range(1, count):
        x, y, w, h, _ = boxes[number].tolist()
        parts.append((x, y, numbers[y : y + h, x : x + w] == number))
    return parts


def outline(part: Mask) -> list[tuple[int, int]] | None:
    """The outer border of one connected area as (x, y) pixels, where filling it gives the area exactly.

    None for areas with holes and for those too thin for a polygon.
    """
    contours, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) != 1 or len(contours[0]) < 3:
        return None
    points = [(int(x), int(y)) for x, y in contours[0][:, 0].tolist()]
    if not np.array_equal(polygon_mask(part.shape[1], part.shape[0], [points]), part):
        return None
    return points


def bridged_outline(part: Mask) -> list[tuple[int, int]]:
    """One ring round an area, with each hole joined to the border by a cut of no width."""
    contours, hierarchy = cv2.findContours(part.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    ring: list[tuple[int, int]] = []
    holes: list[Any] = []
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0].tolist(), strict=True):
        if parent < 0:
            ring = [(int(x), int(y)) for x, y in contour[:, 0].tolist()]
        else:
            holes.append(contour[:, 0])
    for hole in holes:
        border = np.array(ring)
        distances = ((border[:, None, :] - hole[None, :, :]) ** 2).sum(axis=2)
        at, start = divmod(int(distances.argmin()), len(hole))
        inner = [(int(x), int(y)) for x, y in np.concatenate([hole[start:], hole[: start + 1]]).tolist()]
        ring = [*ring[: at + 1], *inner, *ring[at:]]
    return ring
