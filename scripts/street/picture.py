"""The canvas and the camera of the renderer: colour, class and depth order of what is drawn.

World axes: x right, y up, z forward along the street, in metres. Pixels are those of the supersampled
canvas; `finish` averages colours and takes the class with the largest share of each final pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("Sky", (0x5A, 0xDA, 0xF7)),
    ("Building", (0xF7, 0xC2, 0x77)),
    ("Road", (0x7C, 0x44, 0x97)),
    ("Pavement", (0xC4, 0x70, 0xA5)),
    ("Tree", (0x14, 0x67, 0x14)),
    ("Sign symbol", (0xF7, 0xF6, 0x5D)),
    ("Car", (0x6B, 0x6B, 0xE2)),
    ("Pedestrian", (0xF7, 0x14, 0x3F)),
)
SKY, BUILDING, ROAD, PAVEMENT, TREE, SIGN, CAR, PERSON = range(8)

Array = NDArray[np.float32]
_SHIFT = 4


def noise(rng: np.random.Generator, size: int = 512, octaves: int = 5, persistence: float = 0.55) -> Array:
    """A tileable fractal noise (size, size) float32 in [0, 1]."""
    total = np.zeros((size, size), np.float32)
    amplitude, cells = 1.0, 4
    for _ in range(octaves):
        grid = rng.random((cells, cells)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        step = size // cells
        big = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += amplitude * big[2 * step : 2 * step + size, 2 * step : 2 * step + size]
        amplitude *= persistence
        cells *= 2
    low, high = np.percentile(total, (1, 99))
    return np.clip((total - low) / (high - low), 0, 1).astype(np.float32)


def sample(texture: Array, u: Array, v: Array) -> Array:
    """`texture` (S, S), read with wrap-around at (u, v) in texels."""
    size = texture.shape[0]
    return cv2.remap(
        texture,
        np.mod(u, size).astype(np.float32),
        np.mod(v, size).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


@dataclass(frozen=True)
class Light:
    """Sun, sky and air of one scene. Colours are linear RGB around 1; `sun` points towards the sun."""

    sun: Array
    sun_color: Array
    ambient: Array
    haze: Array
    haze_distance: float
    zenith: Array
    horizon: Array
    clouds: float
    evening: float

    def shade(self, normal: tuple[float, float, float], lit: float = 1.0) -> Array:
        """The light that falls on a surface: (3,) factors on its own colour."""
        direct = max(0.0, float(np.dot(np.asarray(normal, np.float32), self.sun))) * lit
        sky = 0.75 + 0.25 * normal[1]
        return (self.ambient * sky + self.sun_color * direct).astype(np.float32)


@dataclass
class Picture:
    """Colour (H, W, 3) float32 and class (H, W) uint8, seen through one camera."""

    width: int
    height: int
    light: Light
    eye: tuple[float, float, float]
    yaw: float
    pitch: float
    focal: float
    color: Array = field(init=False)
    label: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.color = np.zeros((self.height, self.width, 3), np.float32)
        self.label = np.full((self.height, self.width), SKY, np.uint8)
        cy, sy, cp, sp = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.pitch), np.sin(self.pitch)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        self._rotation = tilt @ turn

    def project(self, points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World points (n, 3) -> pixels (n, 2) and depths (n,) in metres."""
        view = (np.asarray(points, float) - np.asarray(self.eye)) @ self._rotation.T
        depth = view[:, 2]
        safe = np.maximum(depth, 0.05)
        x = self.width / 2 + self.focal * view[:, 0] / safe
        y = self.height / 2 - self.focal * view[:, 1] / safe
        return np.stack([x, y], 1), depth

    def scale_at(self, point: tuple[float, float, float]) -> float:
        """Pixels per metre at a world point."""
        _, depth = self.project(np.array([point]))
        return float(self.focal / max(depth[0], 0.05))

    def rays(self) -> tuple[Array, Array, Array]:
        """The world direction of every pixel: three (H, W) arrays x, y, z."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.focal
        y = -(np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.focal
        gx, gy = np.meshgrid(x, y)
        view = np.stack([gx, gy, np.ones_like(gx)], -1)
        world = view @ self._rotation.astype(np.float32)
        return world[..., 0], world[..., 1], world[..., 2]

    def hazed(self, color: Array, depth: float) -> Array:
        """`color` seen through `depth` metres of air."""
        clear = np.float32(np.exp(-depth / self.light.haze_distance))
        return color * clear + self.light.haze * (1 - clear)

    def polygon(self, points: NDArray[np.floating], color: Array, label: int, *, alpha: float = 1.0) -> None:
        """Fills pixels (n, 2). A negative `label` leaves the class below untouched."""
        points = np.asarray(points, float)
        low = np.floor(points.min(0)).astype(int) - 1
        high = np.ceil(points.max(0)).astype(int) + 2
        x0, y0 = np.clip(low, 0, (self.width, self.height))
        x1, y1 = np.clip(high, 0, (self.width, self.height))
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        fixed = np.clip((points - (x0, y0)) * (1 << _SHIFT), -(2**26), 2**26).round().astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1, shift=_SHIFT)
        self._blend(x0, y0, mask.astype(np.float32) * np.float32(alpha), color, label)

    def face(
        self,
        points: NDArray[np.floating],
        color: Array,
        label: int,
        *,
        alpha: float = 1.0,
    ) -> None:
        """Fills a polygon of world points that lies before the camera."""
        pixels, depth = self.project(points)
        if depth.min() < 0.3:
            return
        self.polygon(
            pixels, self.hazed(np.asarray(color, np.float32), float(depth.mean())), label, alpha=alpha
        )

    def quad(
        self, corners: NDArray[np.floating], texture: Array, label: int, *, glow: Array | None = None
    ) -> None:
        """Draws `texture` (h, w, 3) on the world quad top-left, top-right, bottom-right, bottom-left."""
        pixels, depth = self.project(corners)
        if depth.min() < 0.3:
            return
        low = np.floor(pixels.min(0)).astype(int) - 1
        high = np.ceil(pixels.max(0)).astype(int) + 2
        x0, y0 = np.clip(low, 0, (self.width, self.height))
        x1, y1 = np.clip(high, 0, (self.width, self.height))
        if x0 >= x1 or y0 >= y1:
            return
        span = np.linalg.norm(np.roll(pixels, -1, 0) - pixels, axis=1)
        wide, tall = max(span[0], span[2]), max(span[1], span[3])
        if glow is not None:
            texture = texture + glow
        h, w = texture.shape[:2]
        smaller = (max(2, min(w, round(wide))), max(2, min(h, round(tall))))
        if smaller != (w, h):
            texture = cv2.resize(texture, smaller, interpolation=cv2.INTER_AREA)
        w, h = smaller
        source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(source, (pixels - (x0, y0)).astype(np.float32))
        size = (int(x1 - x0), int(y1 - y0))
        drawn = cv2.warpPerspective(
            texture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        mask = np.zeros((size[1], size[0]), np.uint8)
        fixed = np.clip((pixels - (x0, y0)) * (1 << _SHIFT), -(2**26), 2**26).round().astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1, shift=_SHIFT)
        # One depth a column is enough for the haze: facades stand upright.
        column = np.linspace(0, 1, size[0], dtype=np.float32)
        left, right = float(depth[[0, 3]].mean()), float(depth[[1, 2]].mean())
        if pixels[0, 0] > pixels[1, 0]:
            left, right = right, left
        inverse = (1 - column) / left + column / right
        clear = np.exp(-1 / inverse / self.light.haze_distance)[None, :, None]
        drawn = drawn * clear + self.light.haze * (1 - clear)
        self._blend(x0, y0, mask.astype(np.float32), drawn, label)

    def stamp(
        self, patch: Array, cover: Array, foot: tuple[float, float, float], label: int, anchor: float
    ) -> None:
        """Puts a patch (h, w, 3) with cover (h, w) in [0, 1] upright on a world point.

        `anchor` is the column of the patch that stands on the point. The label follows cover above a half.
        """
        pixels, depth = self.project(np.array([foot]))
        if depth[0] < 0.3:
            return
        h, w = cover.shape
        left, top = round(pixels[0, 0] - anchor), round(pixels[0, 1] - h)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, self.width), min(top + h, self.height)
        if x0 >= x1 or y0 >= y1:
            return
        inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        self._blend(x0, y0, cover[inside], self.hazed(patch[inside], float(depth[0])), label)

    def _blend(self, x0: int, y0: int, cover: Array, color: Array, label: int) -> None:
        h, w = cover.shape
        region = self.color[y0 : y0 + h, x0 : x0 + w]
        region += (color - region) * cover[..., None]
        if label >= 0:
            self.label[y0 : y0 + h, x0 : x0 + w][cover >= 0.5] = label

    def finish(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(width, height) -> the picture (H, W, 3) uint8 RGB and its label map (H, W) uint8."""
        color = cv2.resize(self.color, size, interpolation=cv2.INTER_AREA)
        shares = [
            cv2.resize((self.label == index).astype(np.float32), size, interpolation=cv2.INTER_AREA)
            for index in range(len(CLASSES))
        ]
        label = np.argmax(np.stack(shares), axis=0).astype(np.uint8)
        bright = np.maximum(color - 0.85, 0)
        glow = cv2.GaussianBlur(bright, (0, 0), size[0] / 60)
        color = color + 0.55 * glow
        w, h = size
        gx, gy = np.meshgrid(np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32))
        color = color * (1 - 0.13 * (gx**2 + gy**2) / 2)[..., None]
        # A soft shoulder keeps highlights from clipping; then the display's gamma.
        color = np.maximum(color, 0) * 1.14
        grey = color.mean(-1, keepdims=True)
        color = np.maximum(grey + 1.13 * (color - grey), 0)
        color = np.where(color > 0.7, 0.7 + 0.3 * np.tanh((color - 0.7) / 0.45), color)
        color = np.power(color, 1 / 2.0)
        color += rng.normal(0, 0.008, (h, w, 1)).astype(np.float32)
        color += rng.normal(0, 0.006, (h, w, 3)).astype(np.float32)
        return (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8), label
