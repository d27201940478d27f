"""Puts a street together from a seed: light, plan, houses, trees, traffic; and renders it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from street.buildings import draw_house, eave_heights, row_of_houses
from street.picture import BUILDING, TREE, Array, Light, Picture, noise
from street.plants import draw_hedge, draw_tree
from street.sky_and_ground import Shadow, Street, draw_ground, draw_sky
from street.traffic import SIGN_KINDS, Car, car_length, draw_car, draw_person, draw_sign

FAR = 150.0


def vector(*values: float) -> Array:
    return np.array(values, np.float32)


def daylight(rng: np.random.Generator, mood: str) -> Light:
    """The light of a mood: noon, morning, golden, overcast or dusk."""
    side = float(rng.choice([-1, 1]))
    elevation, azimuth = {
        "noon": (60, 32),
        "morning": (38, 40),
        "golden": (17, 38),
        "overcast": (50, 40),
        "dusk": (8, 25),
    }[mood]
    elevation = np.deg2rad(elevation + rng.uniform(-4, 4))
    azimuth = np.deg2rad(azimuth + rng.uniform(-12, 12)) * side
    # Morning and noon light come over the shoulder, evening light from ahead.
    forward = 1.0 if mood in ("golden", "dusk") else -1.0
    sun = vector(
        np.sin(azimuth) * np.cos(elevation), np.sin(elevation), forward * np.cos(azimuth) * np.cos(elevation)
    )
    if mood == "noon":
        return Light(sun, vector(1.15, 1.08, 0.96), vector(0.30, 0.35, 0.43), vector(0.58, 0.70, 0.82), 260,
                     vector(0.10, 0.26, 0.62), vector(0.52, 0.70, 0.88), 0.50, 0.0)  # fmt: skip
    if mood == "morning":
        return Light(sun, vector(1.35, 1.12, 0.82), vector(0.27, 0.33, 0.43), vector(0.70, 0.74, 0.78), 140,
                     vector(0.17, 0.34, 0.62), vector(0.74, 0.78, 0.80), 0.42, 0.0)  # fmt: skip
    if mood == "golden":
        return Light(sun, vector(2.2, 1.35, 0.62), vector(0.26, 0.27, 0.36), vector(0.86, 0.62, 0.42), 130,
                     vector(0.18, 0.28, 0.52), vector(0.98, 0.68, 0.40), 0.48, 0.25)  # fmt: skip
    if mood == "overcast":
        return Light(sun, vector(0.22, 0.22, 0.22), vector(0.52, 0.55, 0.60), vector(0.62, 0.66, 0.70), 120,
                     vector(0.40, 0.46, 0.54), vector(0.68, 0.72, 0.76), 0.80, 0.1)  # fmt: skip
    return Light(sun, vector(0.75, 0.42, 0.34), vector(0.17, 0.18, 0.30), vector(0.52, 0.38, 0.46), 130,
                 vector(0.05, 0.09, 0.26), vector(0.80, 0.46, 0.42), 0.50, 1.0)  # fmt: skip


MOODS = ("noon", "morning", "golden", "overcast", "dusk")
SEASONS = ("summer", "autumn", "spring")
SLABS = ((0.34, 0.32, 0.29), (0.36, 0.29, 0.24), (0.30, 0.31, 0.32))
PLANS = ("town", "homes", "avenue", "crossing")


def render(
    seed: int, size: tuple[int, int], *, mood: str | None = None, plan: str | None = None,
    season: str | None = None, supersample: int = 2,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
    """One street: picture (H, W, 3) uint8 RGB and label map (H, W) uint8. `size` is (width, height)."""
    rng = np.random.default_rng(seed)
    mood = mood or str(rng.choice(MOODS, p=[0.3, 0.22, 0.18, 0.16, 0.14]))
    plan = plan or str(rng.choice(PLANS))
    season = season or str(rng.choice(SEASONS, p=[0.6, 0.28, 0.12]))
    light = daylight(rng, mood)
    homes = plan == "homes"
    crossing = None
    if plan == "crossing":
        near = float(rng.uniform(15, 24))
        crossing = (near, near + float(rng.uniform(7, 9)))
    zebra = crossing[0] - 5.0 if crossing else (float(rng.uniform(8, 20)) if rng.random() < 0.3 else None)
    parking = bool(rng.random() < 0.7) and not homes
    street = Street(
        road=float(rng.uniform(3.2, 3.8) + (1.9 if parking else 0.2)),
        pavement=float(rng.uniform(2.4, 3.6)),
        lawn=float(rng.uniform(3.5, 6.0)) if homes else 0.0,
        verge=plan == "avenue",
        crossing=crossing, zebra=zebra, lanes=2, parking=parking,
        road_color=vector(0.185, 0.182, 0.186) * rng.uniform(0.85, 1.25),
        pavement_color=vector(*SLABS[int(rng.integers(3))]),
        lawn_color=vector(0.12, 0.24, 0.05) * rng.uniform(0.9, 1.2),
        cobbles=bool(plan == "town" and rng.random() < 0.22),
    )  # fmt: skip
    width, height = size[0] * supersample, size[1] * supersample
    on_walk = rng.random() < 0.35
    eye_x = (
        float(rng.choice([-1, 1])) * (street.road + 0.9)
        if on_walk
        else float(rng.uniform(-0.4, 0.55) * street.road)
    )
    eye = (eye_x, float(rng.uniform(1.5, 2.3)), 0.0)
    # Standing aside, one looks across the street.
    yaw = float(np.deg2rad(-np.sign(eye_x) * rng.uniform(3, 13) if on_walk else rng.uniform(-7, 7)))
    picture = Picture(
        width,
        height,
        light,
        eye,
        yaw,
        float(np.deg2rad(rng.uniform(-3, 3.5))),
        width * float(rng.uniform(0.78, 0.95)),
    )

    draw_sky(picture, rng)
    _skyline(picture, rng)
    sides = {
        side: row_of_houses(rng, side, 3.0, FAR, gaps=0.75 if homes else 0.12, homes=homes, crossing=crossing)
        for side in (-1, 1)
    }
    eaves = (eave_heights(sides[-1], 3.0, FAR), eave_heights(sides[1], 3.0, FAR), 3.0)

    # What stands on the street: (distance, shadow, how it is drawn).
    things: list[tuple[float, Callable[[], None]]] = []
    shadows: list[Shadow] = []
    sun_flat = light.sun / max(0.18, float(light.sun[1]))
    strong = 0.0 if mood == "overcast" else 0.92
    _plant(picture, rng, street, plan, season, things, shadows, sun_flat, strong, crossing)
    _drive(picture, rng, street, things, shadows, sun_flat, strong, crossing)
    _walk(picture, rng, street, things, shadows, sun_flat, strong, zebra)
    _signs(picture, rng, street, things, shadows, sun_flat, strong, crossing)

    draw_ground(picture, rng, street, shadows, eaves)
    # Nothing on the street stands behind a house, so houses come first, the nearest of them last.
    for house in sorted(sides[-1] + sides[1], key=lambda house: -house.z0):
        draw_house(picture, house, street.front)
    for _, draw in sorted(things, key=lambda item: -item[0]):
        draw()
    return picture.finish(rng, size)


def _skyline(picture: Picture, rng: np.random.Generator) -> None:
    """Hills and far roofs in the haze where the street ends."""
    texture = noise(rng, 256, 4)[0]
    xs = np.linspace(-260, 260, 140)
    for distance, low, high, label in ((420.0, 8, 34, TREE), (230.0, 5, 15, BUILDING)):
        ys = low + (high - low) * texture[(np.arange(140) * 2 + int(rng.integers(256))) % 256]
        if label == BUILDING:
            ys = np.repeat(ys[::5], 5)[:140]
        top, _ = picture.project(np.stack([xs, ys, np.full(140, distance)], 1))
        base, _ = picture.project(np.stack([xs, np.full(140, -1.0), np.full(140, distance)], 1))
        tone = vector(0.10, 0.15, 0.09) if label == TREE else vector(0.26, 0.24, 0.24)
        picture.polygon(
            np.concatenate([top, base[::-1]]),
            picture.hazed(tone * picture.light.shade((0, 0.3, -0.9)), distance),
            label,
        )


def _plant(picture, rng, street, plan, season, things, shadows, sun, strong, crossing) -> None:  # type: ignore[no-untyped-def]
    step = {"town": 22.0, "homes": 11.0, "avenue": 8.5, "crossing": 15.0}[plan]
    for side in (-1, 1):
        if plan == "town" and rng.random() < 0.35:
            continue
        z = float(rng.uniform(5, 12))
        while z < FAR - 20:
            place = z + float(rng.uniform(-1.5, 1.5))
            z += step * float(rng.uniform(0.8, 1.3))
            if crossing and crossing[0] - 2 < place < crossing[1] + 2:
                continue
            x = side * (
                street.road
                + (1.0 if plan != "homes" else street.pavement + rng.uniform(1.2, street.lawn - 0.6))
            )
            if abs(place - picture.eye[2]) < 7 and abs(x - picture.eye[0]) < 2.2:
                continue
            tall = float(rng.uniform(4.5, 8.0) if plan != "avenue" else rng.uniform(7, 10))
            seed = int(rng.integers(2**31))
            foot = (float(x), 0.0, place)
            things.append((place, lambda foot=foot, tall=tall, seed=seed: draw_tree(
                picture, np.random.default_rng(seed), foot, tall, season)))  # fmt: skip
            if place < 70:
                wide = tall * (0.30 + 0.16 * min(2.0, abs(sun[0])))
                deep = tall * (0.30 + 0.10 * min(2.0, abs(sun[2])))
                centre = (x - sun[0] * tall * 0.55, place - sun[2] * tall * 0.55)
                shadows.append(Shadow(*centre, wide, deep, strong, 0.55))
                shadows.append(Shadow(float(x), place, 0.5, 0.4, 0.8))
    if plan == "homes":
        for side in (-1, 1):
            z = 3.5
            while z < 90:
                length = float(rng.uniform(4, 10))
                if rng.random() < 0.62:
                    tall, seed = float(rng.uniform(0.8, 1.4)), int(rng.integers(2**31))
                    x = side * (street.road + street.pavement + 0.15)
                    things.append((z, lambda x=x, z=z, length=length, tall=tall, seed=seed: draw_hedge(
                        picture, np.random.default_rng(seed), x, z, z + length, tall, season)))  # fmt: skip
                z += length + float(rng.uniform(1.5, 4))


def _drive(picture, rng, street, things, shadows, sun, strong, crossing) -> None:  # type: ignore[no-untyped-def]
    cars: list[Car] = []
    kinds = ("saloon", "hatch", "hatch", "van")
    if street.parking:
        for side in (-1, 1):
            z = float(rng.uniform(7, 13))
            while z < 90:
                kind = str(rng.choice(kinds))
                if rng.random() < 0.62 and not (crossing and crossing[0] - 9 < z < crossing[1] + 4):
                    cars.append(Car(side * (street.road - 1.15), z, side, kind, int(rng.integers(2**31))))
                z += car_length(kind) + float(rng.uniform(0.9, 2.5))
    lane = street.road / 2 - (0.9 if street.parking else 0)
    for heading in (-1, 1):
        z = float(rng.uniform(9, 30))
        for _ in range(int(rng.integers(1, 3))):
            x = heading * max(1.2, lane)
            if abs(x - picture.eye[0]) > 0.4 or z > 10:
                cars.append(Car(x, z, heading, str(rng.choice(kinds)), int(rng.integers(2**31))))
            z += float(rng.uniform(14, 40))
    for car in cars:
        if car.z < 6:
            continue
        things.append((car.z - car_length(car.kind) / 2 + 0.3, lambda car=car: draw_car(picture, car)))
        if car.z < 75:
            half = car_length(car.kind) / 2
            shadows.append(Shadow(car.x, car.z, 1.08, half + 0.18, 1.4))
            if strong:
                shadows.append(
                    Shadow(
                        car.x - sun[0] * 0.6,
                        car.z - sun[2] * 0.6,
                        1.0 + 0.5 * min(2.5, abs(sun[0])),
                        half + 0.3,
                        strong,
                    )
                )


def _walk(picture, rng, street, things, shadows, sun, strong, zebra) -> None:  # type: ignore[no-untyped-def]
    for _ in range(int(rng.integers(5, 14))):
        side = float(rng.choice([-1, 1]))
        x = side * (street.road + rng.uniform(0.7, max(0.9, street.pavement - 0.5)))
        z = float(5.5 + rng.gamma(1.6, 8))
        if zebra and rng.random() < 0.22:
            x, z = float(rng.uniform(-street.road, street.road)), zebra + float(rng.uniform(0.4, 2.8))
        if z > 75 or (abs(x - picture.eye[0]) < 1.0 and z < 6.5):
            continue
        for companion in range(1 + int(rng.random() < 0.3)):
            foot = (float(x) + companion * 0.62, 0.0, z + companion * 0.15)
            seed = int(rng.integers(2**31))
            things.append(
                (
                    foot[2],
                    lambda foot=foot, seed=seed: draw_person(picture, np.random.default_rng(seed), foot),
                )
            )
            reach = 0.85
            shadows.append(
                Shadow(
                    foot[0] - sun[0] * reach,
                    foot[2] - sun[2] * reach,
                    0.22 + abs(sun[0]) * reach,
                    0.2 + abs(sun[2]) * reach * 0.6,
                    strong * 0.9,
                )
            )
            shadows.append(Shadow(foot[0], foot[2], 0.3, 0.22, 0.7))


def _signs(picture, rng, street, things, shadows, sun, strong, crossing) -> None:  # type: ignore[no-untyped-def]
    places = [
        (float(rng.choice([-1, 1])), float(rng.uniform(8, 15))),
        (float(rng.choice([-1, 1])), float(rng.uniform(16, 45))),
    ]
    if rng.random() < 0.6:
        places.append((float(rng.choice([-1, 1])), float(rng.uniform(9, 28))))
    if crossing:
        places += [(-1.0, crossing[0] - 1.2), (1.0, crossing[0] - 1.2)]
    for index, (side, z) in enumerate(places):
        x = side * (street.road + 0.45)
        if abs(x - picture.eye[0]) < 1.2 and z < 9:
            continue
        kind = "light" if crossing and index >= len(places) - 2 else str(rng.choice(SIGN_KINDS[:-1]))
        tall = 3.4 if kind == "light" else float(rng.uniform(2.4, 3.0))
        things.append(
            (z, lambda kind=kind, x=x, z=z, tall=tall: draw_sign(picture, kind, (x, 0.0, z), height=tall))
        )
        shadows.append(Shadow(x, z, 0.16, 0.16, 0.7))
