"""Houses along the street: textured facades, end walls and roofs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from street.picture import BUILDING, Array, Picture, noise

PIXELS_PER_METRE = 26

WALLS = (
    (0.78, 0.66, 0.46), (0.76, 0.50, 0.36), (0.80, 0.74, 0.62), (0.56, 0.63, 0.66), (0.72, 0.56, 0.50),
    (0.62, 0.68, 0.54), (0.84, 0.78, 0.70), (0.66, 0.42, 0.32), (0.70, 0.60, 0.66), (0.52, 0.50, 0.48),
)  # fmt: skip
BRICKS = ((0.50, 0.24, 0.17), (0.44, 0.27, 0.21), (0.58, 0.38, 0.27), (0.38, 0.25, 0.23))
ROOFS = ((0.42, 0.18, 0.12), (0.28, 0.26, 0.27), (0.36, 0.24, 0.19), (0.22, 0.25, 0.30))
TRIMS = ((0.86, 0.84, 0.80), (0.30, 0.34, 0.36), (0.72, 0.66, 0.54), (0.92, 0.91, 0.88))
PAINTS = ((0.10, 0.26, 0.30), (0.42, 0.10, 0.09), (0.12, 0.28, 0.16), (0.10, 0.13, 0.28), (0.52, 0.34, 0.08))


@dataclass(frozen=True)
class House:
    """One block: its place along the street, its size in metres and how it is dressed."""

    side: int
    z0: float
    z1: float
    height: float
    depth: float
    roof: float
    set_back: float
    style: str
    seed: int


def row_of_houses(
    rng: np.random.Generator, side: int, start: float, end: float, *, gaps: float, homes: bool,
    crossing: tuple[float, float] | None,
) -> list[House]:  # fmt: skip
    """Houses from `start` to `end` on one side (-1 left, 1 right), leaving the side street open."""
    houses: list[House] = []
    z = start
    while z < end:
        width = float(rng.uniform(8, 13) if homes else rng.uniform(7, 15))
        if crossing is not None and z < crossing[1] and z + width > crossing[0] - 0.5:
            if crossing[0] - z > 6:
                width = crossing[0] - z - 0.5
            else:
                z = crossing[1] + 0.5
                continue
        style = str(
            rng.choice(["plaster", "brick", "shop", "shop", "office"], p=[0.34, 0.26, 0.16, 0.14, 0.10])
        )
        if homes:
            style = str(rng.choice(["plaster", "brick"]))
        floors = int(rng.integers(1, 3)) if homes else int(rng.integers(2, 6))
        height = floors * 3.0 + float(rng.uniform(0.4, 1.4))
        if style == "office":
            height += 6
        roof = (
            0.0 if style == "office" else float(rng.uniform(1.4, 3.2) if rng.random() < 0.8 or homes else 0)
        )
        houses.append(
            House(
                side,
                z,
                z + width,
                height,
                float(rng.uniform(8, 12)),
                roof,
                0.0,
                style,
                int(rng.integers(2**31)),
            )
        )
        z += width
        if rng.random() < gaps:
            z += float(rng.uniform(2.5, 6))
    return houses


def eave_heights(houses: list[House], start: float, end: float) -> Array:
    """The height of the shade-casting edge every half metre."""
    heights = np.zeros(int((end - start) * 2) + 1, np.float32)
    for house in houses:
        low, high = int((house.z0 - start) * 2), int((house.z1 - start) * 2)
        heights[max(low, 0) : max(high, 0)] = house.height + 0.3 * house.roof
    return heights


def draw_house(picture: Picture, house: House, front: float) -> None:
    rng = np.random.default_rng(house.seed)
    light = picture.light
    x = house.side * (front + house.set_back)
    back = house.side * (front + house.set_back + house.depth)
    wall = np.array(WALLS[rng.integers(len(WALLS))], np.float32)
    if house.style == "brick":
        wall = np.array(BRICKS[rng.integers(len(BRICKS))], np.float32)
    wall = wall * np.float32(rng.uniform(0.85, 1.08))
    roof_color = np.array(ROOFS[rng.integers(len(ROOFS))], np.float32)
    texture, glow = facade(rng, house.z1 - house.z0, house.height, house.style, wall, light.evening)
    end_wall = plain_wall(rng, house.depth, house.height, house.style, wall)

    # The end wall that faces the camera, then roof, then the facade.
    shaded = end_wall * light.shade((0, 0, -1))
    quad = np.array(
        [[x, house.height, house.z0], [back, house.height, house.z0], [back, 0, house.z0], [x, 0, house.z0]]
    )
    if house.side < 0:
        quad, shaded = quad[[1, 0, 3, 2]], shaded[:, ::-1]
    picture.quad(quad, np.ascontiguousarray(shaded), BUILDING)
    ridge_x = (x + back) / 2
    top = house.height + house.roof
    if house.roof:
        gable = np.array(
            [[x, house.height, house.z0], [ridge_x, top, house.z0], [back, house.height, house.z0]]
        )
        picture.face(gable, wall * light.shade((0, 0, -1)) * 0.95, BUILDING)
        over = 0.35 * house.side
        slope = np.array(
            [[ridge_x, top, house.z0 - 0.2], [ridge_x, top, house.z1 + 0.2],
             [x - over, house.height - 0.15, house.z1 + 0.2], [x - over, house.height - 0.15, house.z0 - 0.2]]
        )  # fmt: skip
        normal = np.array([-house.side * house.roof, house.depth / 2, 0])
        normal = normal / np.linalg.norm(normal)
        tiles = roof_tiles(rng, house.z1 - house.z0, house.depth / 2, roof_color)
        eye = np.asarray(picture.eye) - slope.mean(0)
        if float(eye @ normal) > 0:
            picture.quad(slope, tiles * light.shade(tuple(normal)), BUILDING)
    elif house.style != "office":
        texture[: PIXELS_PER_METRE // 4] *= 0.8

    lit = light.shade((-house.side, 0, 0))
    h = texture.shape[0]
    ground_shade = np.clip(np.linspace(h / PIXELS_PER_METRE, 0, h) / 2.2, 0, 1)[:, None, None].astype(
        np.float32
    )
    texture = texture * lit * (0.72 + 0.28 * ground_shade)
    quad = np.array(
        [[x, house.height, house.z0], [x, house.height, house.z1], [x, 0, house.z1], [x, 0, house.z0]]
    )
    if house.roof:
        # The eaves throw a line of shade on the wall below them.
        texture[: int(0.45 * PIXELS_PER_METRE)] *= 0.62
    picture.quad(quad, texture, BUILDING, glow=glow)
    if house.roof and rng.random() < 0.75:
        _chimney(picture, rng, house, ridge_x, top)


def _chimney(picture: Picture, rng: np.random.Generator, house: House, x: float, top: float) -> None:
    z = float(rng.uniform(house.z0 + 1, house.z1 - 1))
    brick = np.array(BRICKS[0], np.float32)
    low, high, w = top - 0.6, top + 0.9, 0.45
    front = np.array([[x - w, high, z - w], [x + w, high, z - w], [x + w, low, z - w], [x - w, low, z - w]])
    inner = x - house.side * w
    flank = np.array([[inner, high, z - w], [inner, high, z + w], [inner, low, z + w], [inner, low, z - w]])
    picture.face(flank, brick * picture.light.shade((-house.side, 0, 0)), BUILDING)
    picture.face(front, brick * picture.light.shade((0, 0, -1)), BUILDING)


def plain_wall(rng: np.random.Generator, width: float, height: float, style: str, wall: Array) -> Array:
    """A wall without openings (h, w, 3)."""
    w, h = int(width * PIXELS_PER_METRE), int(height * PIXELS_PER_METRE)
    stain = cv2.resize(noise(rng, 256, 5), (w, h), interpolation=cv2.INTER_LINEAR)
    grain = rng.normal(0, 0.03, (h, w)).astype(np.float32)
    texture = wall * (0.86 + 0.24 * stain + grain)[..., None]
    if style == "brick":
        y, x = np.mgrid[0:h, 0:w]
        course = y // 3
        joint = (y % 3 == 0) | ((x + 4 * (course % 2)) % 8 == 0)
        value = rng.random((h // 3 + 1, w // 8 + 2)).astype(np.float32)[course, (x + 4 * (course % 2)) // 8]
        texture *= (0.80 + 0.4 * value)[..., None]
        texture = np.where(joint[..., None], texture * 0.6 + 0.14, texture)
    return np.ascontiguousarray(texture.astype(np.float32))


def roof_tiles(rng: np.random.Generator, width: float, depth: float, color: Array) -> Array:
    w, h = int(width * PIXELS_PER_METRE), int(depth * PIXELS_PER_METRE)
    y, x = np.mgrid[0:h, 0:w]
    wave = 0.82 + 0.18 * np.sin(x * 2 * np.pi / 6) * 0.6 + 0.14 * ((y % 8) / 8)
    stain = cv2.resize(noise(rng, 128, 4), (w, h))
    return (color * (wave * (0.8 + 0.4 * stain))[..., None]).astype(np.float32)


def facade(
    rng: np.random.Generator, width: float, height: float, style: str, wall: Array, evening: float
) -> tuple[Array, Array]:
    """The street side of a house: its own colours (h, w, 3) and the light its windows give."""
    p = PIXELS_PER_METRE
    texture = plain_wall(rng, width, height, style, wall)
    glow = np.zeros_like(texture)
    h, w = texture.shape[:2]
    trim = np.array(TRIMS[rng.integers(len(TRIMS))], np.float32)
    paint = np.array(PAINTS[rng.integers(len(PAINTS))], np.float32)
    if style == "office":
        _curtain_wall(rng, texture, glow, trim, evening)
        return texture, glow
    floors = max(1, round((height - 0.6) / 3.0))
    columns = max(2, int(width / rng.uniform(2.2, 3.0)))
    win_w, win_h = rng.uniform(0.95, 1.25) * p, rng.uniform(1.45, 1.75) * p
    shutters = style == "plaster" and rng.random() < 0.45
    arched = rng.random() < 0.25
    door_at = int(rng.integers(columns))
    for floor in range(floors):
        base = h - floor * 3.0 * p
        for column in range(columns):
            cx = (column + 0.5) * w / columns
            if floor == 0 and style == "shop":
                continue
            if floor == 0 and column == door_at:
                _door(texture, cx, base, paint, trim)
                continue
            y0 = base - 0.9 * p - win_h
            if y0 < 0.3 * p:
                continue
            _window(
                rng, texture, glow, cx - win_w / 2, y0, win_w, win_h, trim, paint, shutters, arched, evening
            )
        if floor and rng.random() < 0.8:
            y = int(base)
            texture[y - 2 : y + 2] = trim * 0.9
            texture[y + 2 : y + 5] *= 0.72
    if style == "shop":
        _shop(rng, texture, glow, paint, trim, evening)
    texture[: int(0.28 * p)] = trim * 0.92
    texture[int(0.28 * p) : int(0.36 * p)] *= 0.6
    if style != "shop":
        plinth = int(0.45 * p)
        texture[h - plinth :] = texture[h - plinth :] * 0.35 + np.float32(0.16)
        # The plinth must not run through the door.
        cx = (door_at + 0.5) * w / columns
        _door(texture, cx, h, paint, trim)
    if rng.random() < 0.6:
        x = int(rng.choice([3, w - 5]))
        texture[:, x : x + 3] = texture[:, x : x + 3] * 0.45
    return texture, glow


def _box(texture: Array, x0: float, y0: float, x1: float, y1: float) -> Array:
    h, w = texture.shape[:2]
    return texture[max(int(y0), 0) : min(max(int(y1), 0), h), max(int(x0), 0) : min(max(int(x1), 0), w)]


def _glass(rng: np.random.Generator, part: Array, glow: Array, evening: float) -> None:
    """A pane that mirrors the sky above and darkens below; in the evening some are lit."""
    h, w = part.shape[:2]
    if h < 2 or w < 2:
        return
    down = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    tone = rng.uniform(0.7, 1.25)
    part[:] = (np.array([0.30, 0.38, 0.46], np.float32) * (1 - down) + 0.07) * tone
    slant = (np.arange(w)[None, :] + np.arange(h)[:, None] * 0.6) % max(w, 3) < w * 0.3
    part += (0.07 * slant)[..., None].astype(np.float32)
    if rng.random() < 0.35:
        curtain = max(1, int(w * rng.uniform(0.15, 0.35)))
        cloth = np.array([0.62, 0.58, 0.50], np.float32) * rng.uniform(0.7, 1.1)
        part[:, :curtain] = cloth
        part[:, w - curtain :] = cloth
    if rng.random() < 0.55 * evening:
        glow[:] = np.array([1.0, 0.66, 0.26], np.float32) * rng.uniform(0.35, 0.8) * (0.75 + 0.25 * down)


def _window(
    rng: np.random.Generator, texture: Array, glow: Array, x: float, y: float, w: float, h: float,
    trim: Array, paint: Array, shutters: bool, arched: bool, evening: float,
) -> None:  # fmt: skip
    frame = 3
    if shutters:
        for x0 in (x - 0.52 * w - 2, x + w + 2):
            board = _box(texture, x0, y, x0 + 0.5 * w, y + h)
            board[:] = paint * 1.25
            board[::3] *= 0.72
    _box(texture, x - frame, y - frame, x + w + frame, y + h + frame)[:] = trim
    if arched:
        cv2.ellipse(
            texture,
            (int(x + w / 2), int(y)),
            (int(w / 2) + frame, int(w / 3)),
            0,
            180,
            360,
            trim.tolist(),
            -1,
        )
    inside = (x, y, x + w, y + h)
    _glass(rng, _box(texture, *inside), _box(glow, *inside), evening)
    _box(texture, x + w / 2 - 1, y, x + w / 2 + 1.5, y + h)[:] = trim * 0.95
    _box(texture, x, y + h * 0.36, x + w, y + h * 0.36 + 2)[:] = trim * 0.95
    _box(texture, x, y, x + w, y + 3)[:] *= 0.5
    _box(texture, x - 5, y + h + frame, x + w + 5, y + h + frame + 3)[:] = trim * 0.88
    _box(texture, x - 5, y + h + frame + 3, x + w + 5, y + h + frame + 7)[:] *= 0.68
    if rng.random() < 0.16:
        box_y = y + h + frame - 1
        _box(texture, x - 3, box_y, x + w + 3, box_y + 6)[:] = (0.30, 0.17, 0.10)
        for _ in range(26):
            spot = (int(rng.uniform(x - 2, x + w + 2)), int(rng.uniform(box_y - 5, box_y + 2)))
            petal = [(0.62, 0.08, 0.12), (0.74, 0.42, 0.10), (0.16, 0.34, 0.10)][int(rng.integers(3))]
            cv2.circle(texture, spot, 2, petal, -1)


def _door(texture: Array, cx: float, base: float, paint: Array, trim: Array) -> None:
    p = PIXELS_PER_METRE
    w, h = 1.1 * p, 2.2 * p
    _box(texture, cx - w / 2 - 4, base - h - 4, cx + w / 2 + 4, base)[:] = trim
    _box(texture, cx - w / 2, base - h, cx + w / 2, base)[:] = paint
    _box(texture, cx - w / 2, base - h, cx + w / 2, base - h + 0.4 * p)[:] = (0.24, 0.30, 0.36)
    for dy in (0.55, 1.25):
        for dx in (-0.25, 0.25):
            panel = _box(
                texture, cx + (dx - 0.17) * p, base - (dy + 0.4) * p, cx + (dx + 0.17) * p, base - dy * p
            )
            panel[:] = paint * 0.72
    _box(texture, cx + w / 2 - 5, base - 1.05 * p, cx + w / 2 - 2, base - 0.95 * p)[:] = (0.8, 0.66, 0.3)
    _box(texture, cx - w / 2 - 6, base - 3, cx + w / 2 + 6, base)[:] = (0.45, 0.44, 0.42)


def _shop(
    rng: np.random.Generator, texture: Array, glow: Array, paint: Array, trim: Array, evening: float
) -> None:
    p = PIXELS_PER_METRE
    h, w = texture.shape[:2]
    top = h - 3.1 * p
    _box(texture, 0, top, w, h)[:] = paint * 0.9
    panes = max(2, int(w / p / 2.4))
    for index in range(panes):
        x0, x1 = index * w / panes + 5, (index + 1) * w / panes - 5
        if index == panes // 2:
            x0, x1 = x0 + 8, x1 - 8
        bottom = h - (2 if index == panes // 2 else 0.5 * p)
        inside = (x0, top + 0.75 * p, x1, bottom)
        part = _box(texture, *inside)
        _glass(rng, part, _box(glow, *inside), min(1.0, evening * 2))
        for _ in range(5):
            gx, gw = rng.uniform(x0, x1 - 6), rng.uniform(5, 13)
            gh = rng.uniform(0.3, 1.1) * p
            goods = np.array(rng.uniform(0.1, 0.6, 3), np.float32)
            _box(texture, gx, bottom - gh, min(gx + gw, x1), bottom)[:] = goods * 0.7
    _box(texture, 4, top + 4, w - 4, top + 0.6 * p)[:] = paint * 1.5 + 0.03
    # Bars where the shop's name would be: nothing to read, but it reads as lettering.
    x = w * rng.uniform(0.15, 0.35)
    while x < w * 0.75:
        step = rng.uniform(4, 10)
        _box(texture, x, top + 0.2 * p, x + step, top + 0.46 * p)[:] = trim
        x += step + 3
    if rng.random() < 0.65:
        stripe = max(6, int(0.35 * p))
        y0, y1 = top + 0.62 * p, top + 1.25 * p
        second = np.array([(0.88, 0.86, 0.80), (0.80, 0.70, 0.40)][int(rng.integers(2))], np.float32)
        for index, x0 in enumerate(range(0, w, stripe)):
            cloth = paint * 2.0 + 0.1 if index % 2 else second
            part = _box(texture, x0, y0, x0 + stripe, y1)
            part[:] = cloth * np.linspace(1.0, 0.75, part.shape[0], dtype=np.float32)[:, None, None]
            cv2.ellipse(
                texture, (x0 + stripe // 2, int(y1)), (stripe // 2, 4), 0, 0, 180, (cloth * 0.72).tolist(), -1
            )
        _box(texture, 0, y1 + 4, w, y1 + 0.6 * p)[:] *= 0.62


def _curtain_wall(rng: np.random.Generator, texture: Array, glow: Array, trim: Array, evening: float) -> None:
    p = PIXELS_PER_METRE
    h, w = texture.shape[:2]
    texture[:] = trim * 0.8
    cell_w, cell_h = 1.5 * p, 3.0 * p
    tint = np.array(
        [(0.9, 1.0, 1.1), (0.95, 1.08, 1.02), (1.1, 1.02, 0.92)][int(rng.integers(3))], np.float32
    )
    for row in range(int(h / cell_h) + 1):
        for column in range(int(w / cell_w) + 1):
            x0, y0 = column * cell_w + 2, h - (row + 1) * cell_h + 0.7 * p
            inside = (x0, y0, x0 + cell_w - 4, y0 + 2.2 * p)
            part = _box(texture, *inside)
            _glass(rng, part, _box(glow, *inside), evening)
            part *= tint * 1.15
