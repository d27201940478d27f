"""Cars, people, signs and traffic lights."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from street.picture import CAR, PERSON, SIGN, Array, Picture

PAINT = (
    (0.50, 0.05, 0.05), (0.08, 0.17, 0.40), (0.62, 0.63, 0.64), (0.07, 0.07, 0.08), (0.74, 0.73, 0.70),
    (0.60, 0.42, 0.08), (0.08, 0.30, 0.26), (0.30, 0.32, 0.34), (0.36, 0.14, 0.08),
)  # fmt: skip
CLOTHES = (
    (0.55, 0.10, 0.10), (0.10, 0.18, 0.42), (0.62, 0.45, 0.10), (0.60, 0.60, 0.58), (0.10, 0.30, 0.24),
    (0.08, 0.08, 0.10), (0.46, 0.24, 0.34), (0.70, 0.66, 0.56),
)  # fmt: skip
SKIN = ((0.72, 0.48, 0.36), (0.50, 0.30, 0.20), (0.80, 0.58, 0.46), (0.30, 0.17, 0.11))
HAIR = ((0.06, 0.04, 0.03), (0.22, 0.12, 0.06), (0.46, 0.32, 0.14), (0.38, 0.37, 0.36))

# Outlines seen from the side, rear to front: (metres along the car, height), then the glass strip's ends.
SALOON = (
    (0.0, 0.42),
    (0.02, 0.88),
    (0.45, 0.95),
    (1.05, 1.42),
    (2.35, 1.45),
    (3.15, 0.98),
    (4.15, 0.86),
    (4.28, 0.42),
)
HATCH = ((0.0, 0.42), (0.0, 0.95), (0.35, 1.46), (2.0, 1.52), (2.85, 1.02), (3.65, 0.90), (3.78, 0.42))
VAN = ((0.0, 0.42), (0.0, 1.20), (0.05, 1.95), (3.3, 2.0), (4.1, 1.25), (4.75, 1.08), (4.85, 0.42))


@dataclass(frozen=True)
class Car:
    """A car standing with its middle at (x, z). `heading` 1 drives away from the camera, -1 towards it."""

    x: float
    z: float
    heading: int
    kind: str
    seed: int


def car_length(kind: str) -> float:
    return {"saloon": SALOON, "hatch": HATCH, "van": VAN}[kind][-1][0]


def draw_car(picture: Picture, car: Car) -> None:
    rng = np.random.default_rng(car.seed)
    outline = {"saloon": SALOON, "hatch": HATCH, "van": VAN}[car.kind]
    length = outline[-1][0]
    paint = np.array(PAINT[rng.integers(len(PAINT))], np.float32)
    light = picture.light
    half = 0.9

    def at(along: float, height: float, across: float) -> tuple[float, float, float]:
        # Above the waist the body leans inwards.
        lean = 1.0 - 0.16 * max(0.0, (height - 0.95) / 0.55) * (0.6 if car.kind == "van" else 1.0)
        return (
            car.x + across * half * lean * car.heading,
            height,
            car.z + (along - length / 2) * car.heading,
        )

    def face(points: list[tuple[float, float, float]], color: Array, boost: float = 0.0) -> None:
        corners = np.array(points)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normal = normal / max(1e-9, float(np.linalg.norm(normal)))
        towards = np.asarray(picture.eye) - corners.mean(0)
        if float(normal @ towards) < 0:
            normal = -normal
        lit = light.shade(tuple(normal))
        # A little of the sky mirrors in lacquer and glass.
        mirror = boost * max(0.0, 0.35 + 0.65 * float(normal[1])) * light.horizon
        picture.face(corners, color * lit + mirror, CAR)

    tyre, glass = np.array([0.025] * 3, np.float32), np.array([0.05, 0.07, 0.09], np.float32)
    seen = 1.0 if (picture.eye[0] - car.x) * car.heading > 0 else -1.0
    underside = [at(0.1, 0.25, -1), at(0.1, 0.25, 1), at(length - 0.1, 0.25, 1), at(length - 0.1, 0.25, -1)]
    face(underside, tyre)
    wheels = (0.72, length - 0.80)
    for along in wheels:
        _disc(picture, at(along, 0.33, -seen * 0.95), 0.33, car.heading, tyre, light)
        _disc(picture, at(along, 0.33, seen * 0.8), 0.33, car.heading, tyre, light)
    # Strips across the body, farthest first; then the flank that is seen.
    strips = list(itertools.pairwise(outline))
    strips.sort(
        key=lambda pair: -abs((pair[0][0] + pair[1][0]) / 2 * car.heading + car.z - length / 2 * car.heading)
    )
    waist = 0.96
    for (a0, h0), (a1, h1) in strips:
        points = [at(a0, h0, -1), at(a0, h0, 1), at(a1, h1, 1), at(a1, h1, -1)]
        face(points, paint, 0.10)
        slanted = abs(h1 - h0) > 0.3 and max(h0, h1) > 1.3
        if slanted:
            inset = 0.12
            low, high = ((a0, h0), (a1, h1)) if h0 < h1 else ((a1, h1), (a0, h0))
            mid = (low[0] + (high[0] - low[0]) * inset, low[1] + (high[1] - low[1]) * inset)
            top = (low[0] + (high[0] - low[0]) * 0.9, low[1] + (high[1] - low[1]) * 0.9)
            if low[1] < 0.96 and car.kind == "van":
                mid = low
            pane = [at(*mid, -0.86), at(*mid, 0.86), at(*top, 0.84), at(*top, -0.84)]
            face(pane, glass, 0.30)
    flank = [at(a, h, seen) for a, h in outline]
    base = [at(length - 0.02, 0.24, seen), at(0.02, 0.24, seen)]
    face(flank + base, paint, 0.04)
    lower = [at(0.0, 0.60, seen), at(length, 0.60, seen), at(length - 0.05, 0.24, seen), at(0.05, 0.24, seen)]
    face(lower, paint * 0.62, 0.0)
    roof = [(a, h) for a, h in outline if h > 1.3]
    first, last = roof[0], roof[-1]
    front_low, rear_low = outline[outline.index(last) + 1], outline[outline.index(first) - 1]
    rear_x = max(rear_low[0], first[0] - 0.55)
    panes = [(rear_x + 0.18, first[0] + 0.08, last[0] * 0.5 + first[0] * 0.5 - 0.05),
             (last[0] * 0.5 + first[0] * 0.5 + 0.05, None, front_low[0] - 0.25)]  # fmt: skip
    top_h = min(first[1], last[1]) - 0.09
    if car.kind == "van":
        panes = panes[1:]
    for index, (start, top_start, stop) in enumerate(panes):
        upper0 = start if top_start is None else top_start
        upper1 = stop if index == 0 and len(panes) == 2 else last[0] - 0.05
        sill = waist + 0.03
        pane = [at(start, sill, seen), at(upper0, top_h, seen), at(upper1, top_h, seen), at(stop, sill, seen)]
        face(pane, glass, 0.16)
    for along in wheels:
        _disc(
            picture, at(along, 0.36, seen * 1.005), 0.40, car.heading, np.array([0.02] * 3, np.float32), light
        )
        _disc(picture, at(along, 0.33, seen * 1.01), 0.32, car.heading, tyre, light)
        _disc(
            picture, at(along, 0.33, seen * 1.02), 0.20, car.heading, np.array([0.42] * 3, np.float32), light
        )
        _disc(
            picture, at(along, 0.33, seen * 1.03), 0.08, car.heading, np.array([0.10] * 3, np.float32), light
        )
    _ends(face, at, length, outline, picture, car, light.evening)


def _ends(face, at, length: float, outline, picture: Picture, car: Car, evening: float) -> None:  # type: ignore[no-untyped-def]
    """Lamps, bumper and number plate of the end that faces the camera."""
    away = (car.z - picture.eye[2]) * car.heading > 0
    along = -0.02 if away else length + 0.02
    lamp = np.array([0.55, 0.03, 0.03] if away else [0.85, 0.84, 0.78], np.float32) * (1 + 1.6 * evening)
    high, low = (0.82, 0.66) if away else (0.78, 0.62)
    for side in (-1, 1):
        points = [
            at(along, high, side * 0.95),
            at(along, high, side * 0.62),
            at(along, low, side * 0.62),
            at(along, low, side * 0.95),
        ]
        face(points, lamp, 0.05)
    dark = np.array([0.05] * 3, np.float32)
    face([at(along, 0.46, -0.95), at(along, 0.46, 0.95), at(along, 0.26, 0.95), at(along, 0.26, -0.95)], dark)
    plate = np.array([0.75, 0.74, 0.68], np.float32)
    face(
        [
            at(along * 1.01, 0.60, -0.28),
            at(along * 1.01, 0.60, 0.28),
            at(along * 1.01, 0.48, 0.28),
            at(along * 1.01, 0.48, -0.28),
        ],
        plate,
    )


def _disc(
    picture: Picture, centre: tuple[float, float, float], radius: float, heading: int, color: Array, light
) -> None:  # type: ignore[no-untyped-def]
    turn = np.linspace(0, 2 * np.pi, 25)[:-1]
    points = np.stack(
        [np.full(24, centre[0]), centre[1] + radius * np.sin(turn), centre[2] + radius * np.cos(turn)], 1
    )
    picture.face(points, color * light.shade((0.7, 0.3, -0.5)), CAR)


def draw_person(picture: Picture, rng: np.random.Generator, foot: tuple[float, float, float]) -> None:
    """A walking person, about 1.7 m tall."""
    height = float(rng.uniform(1.55, 1.85))
    scale = picture.scale_at(foot)
    h = int(height * scale)
    if h < 5:
        return
    w = int(h * 0.56)
    patch, cover = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    light = picture.light
    lit = light.ambient * 0.8 + light.sun_color * 0.55 * max(0.3, float(light.sun[1]))
    pick = lambda table: np.array(table[rng.integers(len(table))], np.float32)  # noqa: E731
    coat, legs, skin, hair = (
        pick(CLOTHES) * lit,
        pick(CLOTHES) * 0.55 * lit,
        pick(SKIN) * lit,
        pick(HAIR) * lit,
    )
    stride = float(rng.uniform(-1, 1)) * 0.085
    cx = w / 2

    def limb(a: tuple[float, float], b: tuple[float, float], thick: float, color: Array) -> None:
        start, end = (int(cx + a[0] * h), int(a[1] * h)), (int(cx + b[0] * h), int(b[1] * h))
        width = max(1, int(thick * h))
        cv2.line(patch, start, end, color.tolist(), width, cv2.LINE_8)
        cv2.line(cover, start, end, 1.0, width, cv2.LINE_8)

    skirt = rng.random() < 0.25
    for side, tone in ((-1, 0.75), (1, 1.0)):
        knee = (side * stride * 0.7 + 0.005 * side, 0.74)
        limb((side * 0.022, 0.52), knee, 0.072, legs * tone)
        limb(knee, (side * stride * 1.25, 0.95), 0.055, (skin if skirt else legs) * tone)
        limb(
            (side * stride * 1.25, 0.965),
            (side * stride * 1.25 + 0.035, 0.972),
            0.035,
            np.array([0.03] * 3, np.float32),
        )
    limb((-0.085, 0.27), (-0.09 - stride * 0.7, 0.50), 0.05, coat * 0.78)
    torso = np.array([[-0.095, 0.20], [0.095, 0.20], [0.082, 0.40], [0.09, 0.56 if not skirt else 0.68],
                      [-0.09, 0.56 if not skirt else 0.68], [-0.082, 0.40]])  # fmt: skip
    points = [np.stack([cx + torso[:, 0] * h, torso[:, 1] * h], 1).round().astype(np.int32)]
    cv2.fillPoly(patch, points, coat.tolist())
    cv2.fillPoly(cover, points, 1.0)
    shade = int(cx + (0.03 if light.sun[0] < 0 else -0.095) * h)
    patch[int(0.2 * h) : int(0.56 * h), max(0, shade) : shade + int(0.065 * h)] *= 0.78
    limb((0.085, 0.27), (0.09 + stride * 0.7, 0.50), 0.05, coat * 0.92)
    limb((0.09 + stride * 0.7, 0.51), (0.09 + stride * 0.75, 0.53), 0.036, skin)
    limb((0, 0.17), (0, 0.2), 0.055, skin * 0.85)
    head = (int(cx), int(0.085 * h))
    axes = (max(1, int(0.052 * h)), max(1, int(0.068 * h)))
    cv2.ellipse(patch, head, axes, 0, 0, 360, skin.tolist(), -1)
    cv2.ellipse(cover, head, axes, 0, 0, 360, 1.0, -1)
    crown = (int(cx), int(0.066 * h))
    back = rng.random() < 0.5
    cv2.ellipse(patch, crown, (axes[0] + 1, max(1, int(0.056 * h))), 0, 170, 370, hair.tolist(), -1)
    cv2.ellipse(cover, crown, (axes[0] + 1, max(1, int(0.056 * h))), 0, 170, 370, 1.0, -1)
    if back:
        cv2.ellipse(patch, head, (axes[0], axes[1]), 0, 0, 360, hair.tolist(), -1)
    if rng.random() < 0.35:
        bag = np.array([0.20, 0.11, 0.06], np.float32) * lit
        limb((-0.12, 0.50), (-0.12, 0.58), 0.09, bag)
    picture.stamp(patch, cover, foot, PERSON, w / 2)


SIGN_KINDS = ("round", "blue", "warning", "parking", "diamond", "stop", "light")


def draw_sign(picture: Picture, kind: str, foot: tuple[float, float, float], *, height: float = 2.6) -> None:
    """A sign or traffic light on its post. All of it, post included, is of the class Sign symbol."""
    light = picture.light
    grey = np.array([0.36, 0.37, 0.38], np.float32) * light.shade((0, 0, -1)) * 0.9
    lit = light.shade((0, 0.2, -1)) * 0.85 + 0.16
    x, _, z = foot
    face = lambda points, color: picture.face(np.array([(x + px, py, z) for px, py in points]), color, SIGN)  # noqa: E731
    face([(-0.045, 0), (0.045, 0), (0.045, height), (-0.045, height)], grey)
    top = height - 0.42

    def regular(
        sides: int, radius: float, turn: float, color: tuple[float, float, float], cy: float = top
    ) -> None:
        angle = np.arange(sides) * 2 * np.pi / sides + turn
        points = list(zip(radius * np.cos(angle), cy + radius * np.sin(angle), strict=True))
        face(points, np.array(color, np.float32) * lit)

    red, white, blue, yellow = (0.62, 0.04, 0.05), (0.86, 0.86, 0.84), (0.05, 0.20, 0.55), (0.80, 0.58, 0.05)
    if kind == "round":
        regular(32, 0.46, 0, red)
        regular(32, 0.34, 0, white)
    elif kind == "blue":
        regular(32, 0.46, 0, white)
        regular(32, 0.43, 0, blue)
        face(
            [(-0.06, top - 0.24), (0.06, top - 0.24), (0.06, top + 0.04), (-0.06, top + 0.04)],
            np.array(white) * lit,
        )
        face([(-0.18, top + 0.02), (0.18, top + 0.02), (0, top + 0.27)], np.array(white) * lit)
    elif kind == "warning":
        regular(3, 0.60, np.pi / 2, red)
        regular(3, 0.40, np.pi / 2, white)
        face(
            [(-0.045, top - 0.08), (0.045, top - 0.08), (0.045, top + 0.18), (-0.045, top + 0.18)],
            np.array([0.03] * 3) * lit,
        )
    elif kind == "parking":
        face(
            [(-0.42, top - 0.42), (0.42, top - 0.42), (0.42, top + 0.42), (-0.42, top + 0.42)],
            np.array(white) * lit,
        )
        face(
            [(-0.38, top - 0.38), (0.38, top - 0.38), (0.38, top + 0.38), (-0.38, top + 0.38)],
            np.array(blue) * lit,
        )
        face(
            [(-0.16, top - 0.27), (-0.05, top - 0.27), (-0.05, top + 0.27), (-0.16, top + 0.27)],
            np.array(white) * lit,
        )
        bow = ((-0.05, -0.06), (0.14, -0.02), (0.2, 0.1), (0.14, 0.24), (-0.05, 0.27))
        inner = ((-0.05, 0.18), (0.06, 0.16), (0.09, 0.1), (0.06, 0.04), (-0.05, 0.02))
        face([(px, top + py) for px, py in bow + inner], np.array(white) * lit)
    elif kind == "diamond":
        regular(4, 0.52, 0, white)
        regular(4, 0.46, 0, yellow)
    elif kind == "stop":
        regular(8, 0.48, np.pi / 8, white)
        regular(8, 0.45, np.pi / 8, red)
        for start in (-0.28, -0.12, 0.04, 0.18):
            face(
                [
                    (start, top - 0.08),
                    (start + 0.09, top - 0.08),
                    (start + 0.09, top + 0.08),
                    (start, top + 0.08),
                ],
                np.array(white) * lit,
            )
    elif kind == "light":
        face(
            [(-0.22, top - 0.55), (0.22, top - 0.55), (0.22, top + 0.62), (-0.22, top + 0.62)],
            np.array([0.035] * 3) * lit,
        )
        on = int(abs(x * 7 + z * 3)) % 3
        for index, bright in enumerate(((1.6, 0.10, 0.08), (1.5, 0.85, 0.10), (0.15, 1.3, 0.45))):
            cy = top + 0.40 - index * 0.37
            glow = np.array(bright, np.float32) if index == on else np.array(bright, np.float32) * 0.06
            angle = np.arange(20) * 2 * np.pi / 20
            face(list(zip(0.13 * np.cos(angle), cy + 0.13 * np.sin(angle), strict=True)), glow)
