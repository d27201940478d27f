"""Sky, clouds, road, pavement and lawn: everything that is shaded pixel by pixel from the camera's rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from street.picture import PAVEMENT, ROAD, SKY, TREE, Array, Picture, noise, sample


@dataclass(frozen=True)
class Street:
    """The plan of a street in metres: half widths of road and pavement, a lawn beyond it, a side street."""

    road: float
    pavement: float
    lawn: float
    verge: bool
    crossing: tuple[float, float] | None
    zebra: float | None
    lanes: int
    parking: bool
    road_color: Array
    pavement_color: Array
    lawn_color: Array
    cobbles: bool

    @property
    def front(self) -> float:
        """Where the facades stand."""
        return self.road + self.pavement + self.lawn


@dataclass(frozen=True)
class Shadow:
    """A soft ellipse of shade on the ground: centre, half axes in metres, depth in [0, 1]."""

    x: float
    z: float
    rx: float
    rz: float
    depth: float
    ragged: float = 0.0


def draw_sky(picture: Picture, rng: np.random.Generator) -> None:
    light = picture.light
    x, y, z = picture.rays()
    length = np.sqrt(x * x + y * y + z * z)
    up = np.clip(y / length, 0, 1)
    blend = np.power(up, 0.55)[..., None]
    color = light.horizon * (1 - blend) + light.zenith * blend
    towards = np.clip((x * light.sun[0] + y * light.sun[1] + z * light.sun[2]) / length, 0, 1)
    warm = light.sun_color / light.sun_color.max()
    color = color + (0.30 * towards**6 + 0.8 * towards**400)[..., None] * warm
    # Clouds lie on a plane overhead, so they shrink towards the horizon as real ones do.
    fabric = noise(rng, 512, 6, 0.58)
    height = np.maximum(up, 0.03)
    u, v = x / length / height * 75 + rng.uniform(0, 512), z / length / height * 50 + rng.uniform(0, 512)
    density = sample(fabric, u, v)
    cover = np.clip((density - (1 - light.clouds)) / 0.28, 0, 1) * np.clip((up - 0.02) / 0.1, 0, 1)
    lit = sample(fabric, u + 5 * light.sun[0], v + 5 * light.sun[2])
    edge = np.clip(0.86 + 0.8 * (density - lit), 0.6, 1.15)[..., None]
    cloud = edge * (0.62 * light.horizon + 0.5 * warm)
    picture.color += color + (cloud - color) * (0.88 * cover)[..., None] - picture.color
    picture.label[:] = SKY


def draw_ground(
    picture: Picture,
    rng: np.random.Generator,
    street: Street,
    shadows: list[Shadow],
    eaves: tuple[Array, Array, float],
) -> None:
    """Shades every pixel below the horizon. `eaves`: facade heights every 0.5 m left and right, from z0."""
    light = picture.light
    dx, dy, dz = picture.rays()
    rows = np.nonzero((dy < -0.004).any(1))[0]
    if not len(rows):
        return
    top = int(rows[0])
    dx, dy, dz = dx[top:], dy[top:], dz[top:]
    below = dy < -0.004
    distance = np.where(below, picture.eye[1] / -np.minimum(dy, -0.004), 0).astype(np.float32)
    x = picture.eye[0] + distance * dx
    z = picture.eye[2] + distance * dz
    far = distance * np.sqrt(dx * dx + dz * dz)
    fine = np.exp(-far / 16)

    fabric, grain = noise(rng, 512, 5), noise(rng, 512, 7, 0.85)
    coarse = sample(fabric, x * 11, z * 11)
    small = sample(grain, x * 60, z * 60)
    side = np.abs(x)
    on_side_street = np.zeros(x.shape, bool)
    if street.crossing is not None:
        on_side_street = (z > street.crossing[0]) & (z < street.crossing[1])
    bend = 0.0
    road = (side < street.road) | on_side_street
    walk = ~road & (side < street.road + street.pavement + bend)
    lawn = ~road & ~walk
    if street.verge:
        # A strip of grass between kerb and slabs.
        strip = ~road & (side > street.road + 0.35) & (side < street.road + 1.7)
        walk &= ~strip
        lawn |= strip
    if street.lawn == 0:
        walk |= lawn & (side > street.road + street.pavement)
        lawn &= side <= street.road + street.pavement

    tone = 0.86 + 0.26 * coarse + (small - 0.5) * 0.22 * fine
    color = street.road_color * tone[..., None]
    if street.cobbles:
        bond = 0.5 * (np.floor(z / 0.22) % 2)
        joint = (np.mod(x / 0.22 + bond, 1) < 0.13) | (np.mod(z / 0.22, 1) < 0.13)
        color *= (1 - 0.30 * joint * np.exp(-far / 9))[..., None]
    # Tyre tracks, darker where wheels run; a patch of newer asphalt here and there.
    tracks = np.zeros_like(x)
    for centre in np.linspace(-street.road, street.road, street.lanes * 2 + 1)[1::2]:
        for wheel in (-0.75, 0.75):
            tracks += np.exp(-(((x - centre - wheel) / 0.28) ** 2))
    color *= (1 - 0.10 * np.clip(tracks, 0, 1) * ~on_side_street)[..., None]
    patch = (sample(fabric, x * 6 + 100, z * 3) > 0.83) & road
    color *= (1 - 0.12 * patch)[..., None]

    paint = np.zeros_like(x)
    open_road = road & ~on_side_street
    if not street.cobbles:
        if street.lanes >= 2:
            dashes = (np.mod(z, 6.0) < 3.0) & (np.abs(x) < 0.075)
            paint = np.maximum(paint, (dashes & open_road).astype(np.float32))
        edge_line = np.abs(side - (street.road - (2.35 if street.parking else 0.35))) < 0.06
        if street.parking:
            edge_line &= np.mod(z, 1.4) < 0.8
        paint = np.maximum(paint, (edge_line & open_road).astype(np.float32))
        if street.zebra is not None:
            band = (z > street.zebra) & (z < street.zebra + 3.2) & (np.mod(x + 50, 1.0) < 0.52)
            stop = (z > street.zebra - 1.5) & (z < street.zebra - 1.1) & (x > 0)
            paint = np.where((z > street.zebra - 1) & (z < street.zebra + 3.6), 0, paint)
            paint = np.maximum(
                paint, ((band | stop) & open_road & (side < street.road - 0.2)).astype(np.float32)
            )
    worn = 0.55 + 0.45 * np.clip((sample(grain, x * 25, z * 25) - 0.15) * 3, 0, 1)
    color += (np.array([0.78, 0.77, 0.74], np.float32) - color) * (paint * worn * 0.85)[..., None]

    slab = 0.6
    joints = (np.mod(side / slab, 1) < 0.05) | (
        np.mod(z / slab + 0.5 * (np.floor(side / slab) % 2), 1) < 0.05
    )
    per_slab = sample(grain, np.floor(side / slab) * 37 + 11, np.floor(z / slab) * 53)
    pave = street.pavement_color * (0.86 + 0.16 * coarse + (small - 0.5) * 0.15 * fine)[..., None]
    pave *= (1 + (per_slab - 0.5) * 0.13 * np.exp(-far / 22) - 0.24 * joints * np.exp(-far / 13))[..., None]
    color = np.where(walk[..., None], pave, color)
    kerb = walk & (side < street.road + 0.22) & ~on_side_street
    color = np.where(kerb[..., None], np.array([0.50, 0.49, 0.47], np.float32) * tone[..., None], color)
    gutter = open_road & (side > street.road - 0.16)
    color *= np.where(gutter, 0.72, 1.0)[..., None].astype(np.float32)

    blades = sample(grain, x * 90, z * 45)
    green = street.lawn_color * (0.70 + 0.45 * coarse + (blades - 0.5) * 0.8 * fine)[..., None]
    color = np.where(lawn[..., None], green, color)

    shade = _building_shade(picture, street, x, z, eaves)
    for one in shadows:
        d = np.sqrt(((x - one.x) / one.rx) ** 2 + ((z - one.z) / one.rz) ** 2)
        d += one.ragged * (sample(fabric, x * 40, z * 40) - 0.5)
        shade = np.maximum(shade, one.depth * np.clip((1.08 - d) / 0.28, 0, 1))
    near_wall = np.clip((side - (street.front - 1.2)) / 1.2, 0, 1) * ~on_side_street
    lighting = light.ambient * (1 - 0.35 * near_wall)[..., None]
    contact = np.zeros_like(x)
    for one in shadows:
        if one.depth > 1:
            d = ((x - one.x) / one.rx) ** 2 + ((z - one.z) / one.rz) ** 2
            contact = np.maximum(contact, np.clip(1.3 - d, 0, 1))
    direct = max(0.0, float(light.sun[1]))
    lighting = (
        lighting * (1 - 0.6 * contact)[..., None]
        + light.sun_color * direct * (1 - np.clip(shade, 0, 1))[..., None]
    )
    color = color * lighting
    clear = np.exp(-far / light.haze_distance)[..., None]
    color = color * clear + light.haze * (1 - clear)

    region = picture.color[top:]
    np.copyto(region, color, where=below[..., None])
    label = np.where(road, ROAD, np.where(walk, PAVEMENT, TREE)).astype(np.uint8)
    np.copyto(picture.label[top:], label, where=below)


def _building_shade(
    picture: Picture, street: Street, x: Array, z: Array, eaves: tuple[Array, Array, float]
) -> Array:
    """1 where a facade stands between the ground and the sun, soft at the edge."""
    sun = picture.light.sun
    if abs(sun[0]) < 1e-3 or sun[1] <= 0.02:
        return np.zeros_like(x)
    left, right, start = eaves
    heights = left if sun[0] < 0 else right
    wall = -street.front if sun[0] < 0 else street.front
    along = np.maximum((wall - x) / sun[0], 0)
    reach = z + along * sun[2]
    needed = along * sun[1]
    index = np.clip((reach - start) * 2, 0, len(heights) - 1).astype(int)
    return np.clip((heights[index] - needed) / 0.5 + 0.5, 0, 1).astype(np.float32)
