"""Trees and hedges, painted leaf by leaf from the shaded side to the lit one."""

from __future__ import annotations

import cv2
import numpy as np

from street.picture import TREE, Array, Picture

SUMMER = ((0.13, 0.27, 0.06), (0.17, 0.32, 0.08), (0.10, 0.22, 0.07), (0.22, 0.34, 0.07))
AUTUMN = ((0.48, 0.22, 0.04), (0.52, 0.33, 0.05), (0.40, 0.13, 0.04), (0.28, 0.30, 0.07))
BLOSSOM = ((0.62, 0.40, 0.45), (0.66, 0.50, 0.52), (0.17, 0.32, 0.08))
PALETTES = {"summer": SUMMER, "autumn": AUTUMN, "spring": BLOSSOM + SUMMER[:2]}


def draw_tree(
    picture: Picture, rng: np.random.Generator, foot: tuple[float, float, float], height: float, season: str
) -> None:
    """A tree of `height` metres standing on `foot`."""
    conifer = rng.random() < 0.14
    scale = picture.scale_at(foot)
    h = int(height * scale)
    if h < 6:
        return
    # Very near trees are painted smaller and enlarged: leaves then are as coarse as they look.
    shrink = min(1.0, 900 / h)
    h = max(6, int(h * shrink))
    w = int(h * 0.95)
    patch = np.zeros((h, w, 3), np.float32)
    cover = np.zeros((h, w), np.float32)
    light = picture.light
    bark = np.array([0.17, 0.12, 0.09], np.float32) * light.shade((-np.sign(foot[0]), 0, -0.3))
    trunk = max(1.0, h * 0.018)
    crown_base = 0.14 if conifer else 0.34
    _limb(
        patch,
        cover,
        (w / 2, h),
        (w / 2 + rng.normal(0, 0.01) * w, h * (1 - crown_base - 0.25)),
        trunk * 1.5,
        bark,
    )
    palette = PALETTES[season]
    leaf = np.array(SUMMER[2] if conifer else palette[rng.integers(len(palette))], np.float32)
    leaf = leaf * np.float32(rng.uniform(0.85, 1.15))
    if not conifer:
        for _ in range(5):
            y = h * rng.uniform(0.45, 0.66)
            end = (w * rng.uniform(0.25, 0.75), y - h * rng.uniform(0.1, 0.22))
            _limb(patch, cover, (w / 2, y), end, trunk * 0.7, bark)
    centres = _crown(rng, conifer, w, h)
    sun = light.sun
    middle = centres.mean(0)
    spread = np.abs(centres - middle).max(0) + 1e-3
    toward = (centres[:, 0] - middle[0]) / spread[0] * sun[0] - (centres[:, 1] - middle[1]) / spread[1] * 0.9
    toward = toward + rng.normal(0, 0.22, len(centres)) - centres[:, 2] * 0.5 * sun[2]
    radius = h * (0.055 if conifer else 0.085)
    size = max(1.0, h * 0.0095)
    count = int(np.clip(h / 7, 14, 46))
    for index in np.argsort(toward):
        x, y = centres[index, :2]
        lit = float(np.clip(0.42 + 0.40 * toward[index], 0.05, 1.0))
        strength = (
            light.ambient * (0.42 + 0.45 * lit) + light.sun_color * max(0.15, float(sun[1]) ** 0.5) * lit**1.5
        )
        angle, far = (
            rng.uniform(0, 2 * np.pi, count),
            np.sqrt(rng.random(count)) * radius * rng.uniform(0.8, 1.25),
        )
        px, py = x + np.cos(angle) * far * 1.15, y + np.sin(angle) * far * 0.85
        tones = rng.uniform(0.72, 1.28, count)
        for k in range(count):
            tone = leaf * strength * tones[k] * (1.12 if py[k] < y else 0.86)
            axes = (max(1, int(size * rng.uniform(0.8, 1.7))), max(1, int(size * rng.uniform(0.6, 1.1))))
            centre, turn = (int(px[k]), int(py[k])), float(rng.uniform(0, 180))
            cv2.ellipse(patch, centre, axes, turn, 0, 360, tone.tolist(), -1)
            cv2.ellipse(cover, centre, axes, turn, 0, 360, 1.0, -1)
    if shrink < 1:
        full = (int(w / shrink), int(h / shrink))
        patch, cover = cv2.resize(patch, full), cv2.resize(cover, full)
    picture.stamp(patch, cover, foot, TREE, cover.shape[1] / 2)


def _limb(
    patch: Array,
    cover: Array,
    start: tuple[float, float],
    end: tuple[float, float],
    thick: float,
    color: Array,
) -> None:
    a, b = np.array(start), np.array(end)
    across = np.array([-(b - a)[1], (b - a)[0]]) / max(1e-6, float(np.linalg.norm(b - a)))
    shape = np.array(
        [a - across * thick, b - across * thick * 0.5, b + across * thick * 0.5, a + across * thick]
    )
    points = [shape.round().astype(np.int32)]
    cv2.fillPoly(patch, points, color.tolist())
    cv2.fillPoly(cover, points, 1.0)


def _crown(rng: np.random.Generator, conifer: bool, w: int, h: int) -> Array:
    """Cluster centres (n, 3): x and y in pixels, depth in [-1, 1]."""
    if conifer:
        t = np.sort(rng.random(90)) ** 0.7
        x = w / 2 + rng.uniform(-1, 1, 90) * t * w * 0.24
        return np.stack([x, h * (0.05 + 0.80 * t), rng.uniform(-1, 1, 90)], 1).astype(np.float32)
    lobes = rng.integers(4, 7)
    points = []
    for _ in range(lobes):
        cx, cy = w * rng.uniform(0.34, 0.66), h * rng.uniform(0.22, 0.46)
        rx, ry = w * rng.uniform(0.14, 0.23), h * rng.uniform(0.10, 0.17)
        angle, far = rng.uniform(0, 2 * np.pi, 22), np.sqrt(rng.random(22))
        points.append(
            np.stack(
                [cx + rx * far * np.cos(angle), cy + ry * far * np.sin(angle), rng.uniform(-1, 1, 22)], 1
            )
        )
    return np.concatenate(points).astype(np.float32)


def draw_hedge(
    picture: Picture, rng: np.random.Generator, x: float, z0: float, z1: float, height: float, season: str
) -> None:
    """A clipped hedge along the street from z0 to z1."""
    light = picture.light
    leaf = np.array(SUMMER[rng.integers(len(SUMMER))], np.float32) * (0.8 if season == "autumn" else 1.0)
    p = 40
    w, h = int((z1 - z0) * p), int(height * p)
    texture = np.empty((h, w, 3), np.float32)
    texture[:] = leaf * 0.42
    for _ in range(w * h // 26):
        y = rng.integers(h)
        tone = leaf * rng.uniform(0.6, 1.5) * (1.15 - 0.55 * y / h)
        cv2.circle(texture, (int(rng.integers(w)), int(y)), int(rng.integers(1, 4)), tone.tolist(), -1)
    side = 1 if x > 0 else -1
    quad = np.array([[x, height, z0], [x, height, z1], [x, 0, z1], [x, 0, z0]])
    end = np.array([[x, height, z0], [x + side * 0.8, height, z0], [x + side * 0.8, 0, z0], [x, 0, z0]])
    top = np.array(
        [[x, height, z0], [x, height, z1], [x + side * 0.8, height, z1], [x + side * 0.8, height, z0]]
    )
    picture.quad(end, texture[:, : min(w, p)] * light.shade((0, 0, -1)), TREE)
    picture.quad(top, texture[: max(2, h // 2)] * light.shade((0, 1, 0)) * 1.2, TREE)
    picture.quad(quad, texture * light.shade((-side, 0, 0)), TREE)
