from __future__ import annotations

import csv
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segstudio.core import images
from segstudio.core.errors import UserError
from segstudio.core.image_decoding import upright
from segstudio.core.images import DisplayRange, NetworkView
from tests.shared_data import SHARED, needs_shared, shared


def picture(height: int = 60, width: int = 90) -> np.ndarray:
    """A smooth RGB picture with a different colour in each corner."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 255 / (width - 1), y * 255 / (height - 1), 255 - x * 255 / (width - 1))
    return np.stack(channels, -1).astype(np.uint8)


def open_all(path: Path) -> np.ndarray:
    """Reads the file in every way there is and gives the RGB picture."""
    header = images.read_header(path)
    rgb = images.read_rgb(path)
    assert rgb.shape == (header.height, header.width, 3) and rgb.dtype == np.uint8
    levels = np.zeros(images.levels_nbytes(header.width, header.height), np.uint8)
    images.fill_levels(path, levels)
    first = next(images.level_views(levels, header.width, header.height))
    assert (first[..., 3] == 255).all()
    reduced = images.read_reduced(path, 4)
    assert reduced.shape == (-(-header.height // 4), -(-header.width // 4), 4)
    thumbnail = images.read_thumbnail(path, 64)
    assert max(thumbnail.shape[:2]) <= 64
    return rgb


if SHARED is None:
    ODDITIES: list[tuple[str, str]] = []
else:
    with shared("data", "oddities", "manifest.csv").open(newline="", encoding="utf-8") as listing:
        ODDITIES = [(row["file"], row["verdict"]) for row in csv.DictReader(listing)]


@needs_shared
@pytest.mark.parametrize(("name", "verdict"), ODDITIES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_unusual_and_broken_files_open_or_are_refused_in_one_sentence(name: str, verdict: str):
    path = shared("data", "oddities", name)
    try:
        open_all(path)
        result = "open"
    except UserError as error:
        result = "refuse"
        assert name in str(error) and str(error).endswith(".")
    assert verdict in (result, "either")


@needs_shared
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photos_taken_with_a_turned_camera_look_the_same_upright(orientation: int):
    folder = shared("data", "oddities")
    upright_one = images.read_rgb(folder / "exif_orientation_1.jpg").astype(int)
    turned = images.read_rgb(folder / f"exif_orientation_{orientation}.jpg").astype(int)
    assert turned.shape == upright_one.shape == (1200, 1800, 3)
    assert np.abs(turned - upright_one).mean() < 5


@needs_shared
def test_sixteen_bits_are_scaled_and_not_clipped():
    with tifffile.TiffFile(shared("data", "oddities", "tiff16_rgb.tiff")) as file:
        samples = file.pages[0].asarray()
    expected = np.rint(samples / 65535 * 255)
    shown = images.read_rgb(shared("data", "oddities", "tiff16_rgb.tiff"))
    assert np.abs(shown.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_in_every_format(tmp_path: Path, orientation: int):
    scene = picture()
    inverse = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    stored = Image.fromarray(upright(scene, inverse))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, options in (
        ("a.png", {"exif": exif}),
        ("a.jpg", {"exif": exif, "quality": 95, "subsampling": 0}),
        ("a.webp", {"exif": exif, "lossless": True}),
        ("a.tif", {"tiffinfo": {0x0112: orientation}}),
    ):
        stored.save(tmp_path / name, **options)
        shown = open_all(tmp_path / name)
        assert shown.shape == scene.shape, name
        assert np.abs(shown.astype(int) - scene).max() <= (12 if name == "a.jpg" else 0), name
        thumbnail = images.read_thumbnail(tmp_path / name, 45)
        small = cv2.resize(scene, (45, 30), interpolation=cv2.INTER_AREA)
        assert np.abs(thumbnail[..., 2::-1].astype(int) - small).mean() < 6, name


def test_content_decides_and_not_the_suffix(tmp_path: Path):
    Image.fromarray(picture()).save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "named.jpg")
    assert images.read_header(tmp_path / "named.jpg").format == "PNG"
    assert np.array_equal(images.read_rgb(tmp_path / "named.jpg"), picture())


def test_networks_see_transparency_black_and_people_see_it_grey(tmp_path: Path):
    rgba = np.dstack([picture(), np.full((60, 90), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    rgb = images.read_rgb(tmp_path / "a.png")
    assert (rgb[:10] == 0).all() and np.array_equal(rgb[10:], picture()[10:])
    levels = np.zeros(images.levels_nbytes(90, 60), np.uint8)
    images.fill_levels(tmp_path / "a.png", levels)
    first = next(images.level_views(levels, 90, 60))
    assert (first[:10, :, :3] == images.TRANSPARENT_GRAY).all()
    assert np.array_equal(first[10:, :, 2::-1], picture()[10:])


def test_cmyk_white_is_white_and_black_is_black(tmp_path: Path):
    cmyk = np.zeros((16, 32, 4), np.uint8)
    cmyk[:, 16:, 3] = 255
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "a.jpg", quality=95)
    rgb = images.read_rgb(tmp_path / "a.jpg")
    assert rgb[:, :12].min() > 250 and rgb[:, 20:].max() < 5


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_palette_and_grey_tiffs_open_with_any_compression(tmp_path: Path, compression: str | None):
    gray = Image.fromarray(picture()[..., 0])
    for mode in ("L", "P", "1"):
        gray.convert(mode).save(tmp_path / "a.tif", compression=compression)
        expected = np.asarray(gray.convert(mode).convert("RGB"))
        assert np.array_equal(open_all(tmp_path / "a.tif"), expected)


def test_tiled_many_page_tiffs_give_each_page(tmp_path: Path):
    pages = np.stack([picture(), picture()[::-1], picture()[:, ::-1]])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb", tile=(32, 32), compression="zlib")
    assert images.read_header(tmp_path / "a.tif").pages == 3
    for page in range(3):
        assert np.array_equal(images.read_rgb(tmp_path / "a.tif", page=page), pages[page])
    with pytest.raises(UserError, match="no image, or a damaged one"):
        images.read_rgb(tmp_path / "a.tif", page=3)


def test_the_rule_for_networks_and_the_display_range_are_apart(tmp_path: Path):
    values = np.linspace(1000, 3000, 64 * 64).astype(np.uint16).reshape(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", values)
    header = images.read_header(tmp_path / "a.tif")
    assert (header.bits, header.kind, header.has_range) == (16, "uint", True)
    by_type = images.read_rgb(tmp_path / "a.tif")
    assert by_type.max() == 12
    given = images.read_rgb(tmp_path / "a.tif", view=NetworkView(range="given", low=1000, high=3000))
    assert (given.min(), given.max()) == (0, 255)
    shown = images.read_range(tmp_path / "a.tif")
    assert shown is not None and 1000 < shown.low < 1030 and 2970 < shown.high < 3000
    levels = np.zeros(images.levels_nbytes(64, 64), np.uint8)
    used = images.fill_levels(tmp_path / "a.tif", levels, shown=DisplayRange(1000, 2000))
    assert used == DisplayRange(1000, 2000)
    assert (levels.reshape(64, 64, 4)[33:, :, 0] == 255).all()


def test_floats_negative_samples_and_many_channels_open(tmp_path: Path):
    rng = np.random.default_rng(0)
    unit = rng.random((40, 50)).astype(np.float32)
    unit[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "float.tif", unit)
    rgb = open_all(tmp_path / "float.tif")
    assert np.abs(rgb[1:, :, 0] / 255 - unit[1:]).max() < 0.003 and (rgb[0, 0] == 0).all()
    signed = rng.integers(-300, 300, (40, 50)).astype(np.int16)
    tifffile.imwrite(tmp_path / "signed.tif", signed)
    assert abs(int(open_all(tmp_path / "signed.tif").mean()) - 127) <= 1
    many = rng.integers(0, 65535, (40, 50, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "many.tif", many, photometric="minisblack", planarconfig="contig")
    assert images.read_header(tmp_path / "many.tif").channels == 7
    view = NetworkView(channels=(6, 0, 3))
    picked = images.read_rgb(tmp_path / "many.tif", view=view)
    assert np.abs(picked.astype(int) - np.rint(many[..., [6, 0, 3]] / 257)).max() <= 1
    with pytest.raises(UserError):
        images.read_rgb(tmp_path / "many.tif", view=NetworkView(channels=(7, 0, 0)))


def test_bombs_are_refused_from_the_header(tmp_path: Path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(UserError, match=r"50000x50000 pixels \(2500 megapixels\), too large"):
        images.read_header(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.bmp", "a.gif"])
def test_cut_files_are_refused(tmp_path: Path, name: str):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    for read in (images.read_rgb, lambda path: images.read_reduced(path, 8)):
        with pytest.raises(UserError, match="no image, or a damaged one"):
            read(tmp_path / name)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mutated_files_give_a_picture_or_a_sentence(tmp_path: Path):
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    originals = []
    for name in ("a.jpg", "a.png", "a.tif", "a.webp", "a.bmp", "a.gif"):
        Image.fromarray(noise).save(tmp_path / name)
        originals.append((tmp_path / name, (tmp_path / name).read_bytes()))
    refused = 0
    for number in range(300):
        path, content = originals[number % len(originals)]
        changed = bytearray(content)
        for _ in range(3):
            reach = 80 if number % 2 else len(changed)
            changed[int(rng.integers(0, reach))] = int(rng.integers(0, 256))
        path.write_bytes(changed)
        try:
            images.read_rgb(path)
        except UserError:
            refused += 1
    assert refused > 50


def test_what_is_missing_or_empty_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="file is gone"):
        images.read_header(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match="file is empty"):
        images.read_header(tmp_path / "empty.png")


def test_levels_halve_until_both_sides_are_small():
    assert images.level_sizes(512, 3) == [(512, 3)]
    assert images.level_sizes(1025, 10) == [(1025, 10), (513, 5), (257, 3)]
    assert images.levels_nbytes(1025, 10) == 4 * (10250 + 513 * 5 + 257 * 3)


def test_a_file_that_changed_its_size_meanwhile_is_told(tmp_path: Path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="90x60 now"):
        images.fill_levels(tmp_path / "a.png", np.zeros(100, np.uint8))
