"""The command line as people type it: exit codes, one document on stdout, masks at the picture's size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segstudio.core.resources import resource
from tests.shared_data import needs_shared, shared
from tests.worker.plugins_for_tests import HOSTILE, TINY, write_plugin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_plugin(tmp_path, "tiny", TINY)
    write_plugin(tmp_path, "hostile", HOSTILE)
    generator = np.random.default_rng(0)
    for name, size in (("first.png", (40, 60)), ("second.jpg", (31, 17))):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    turned = Image.fromarray(generator.integers(0, 256, (20, 50, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return tmp_path


def segstudio(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "segstudio", *words],
        cwd=folder,
        env={**os.environ, "SEGSTUDIO_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def mask(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


def test_predict_writes_index_pictures_at_the_upright_size_and_one_document(folder: Path) -> None:
    words = ("--plugin", "tiny.py", "predict", "--model", "tiny/plain", "--out", "out", "--json")
    result = segstudio(folder, *words, "first.png", "second.jpg", "turned.jpg")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert [entry["width"] for entry in document["results"]] == [60, 17, 20]
    assert [mask(folder / "out" / f"{stem}.png").shape for stem in ("first", "second", "turned")] == [
        (40, 60),
        (31, 17),
        (50, 20),
    ]
    assert "preprocessing: mean 127.5 127.5 127.5" in result.stderr
    with Image.open(folder / "out" / "first.png") as picture:
        palette = picture.getpalette()
    assert palette is not None
    assert palette[:3] == document["classes"][0]["color"]


def test_predict_goes_on_past_a_refused_picture_and_says_so(folder: Path) -> None:
    result = segstudio(
        folder,
        "predict",
        "--plugin",
        "tiny.py",
        "--model",
        "plain",
        "--out",
        "out",
        "broken.png",
        "first.png",
    )
    assert result.returncode == 1
    assert "broken.png" in result.stderr
    assert result.stdout == ""
    assert mask(folder / "out" / "first.png").shape == (40, 60)
    alone = segstudio(
        folder, "predict", "--plugin", "tiny.py", "--model", "plain", "--out", "out", "broken.png"
    )
    assert alone.returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "out", "first.png", "other/first.jpg"), "would both be written to first.png"),
        (("--out", "out", "first.png", "other/FIRST.jpg"), "would both be written"),
        (("--out", ".", "first.png"), "would overwrite the image"),
        (("--out", "out", "--weights", "missing.pth", "first.png"), "There is no file of weights"),
        (("--out", "out", "--mean", "1", "2", "3", "first.png"), "--mean and --std belong together"),
        (("--out", "out", "--device", "cuda:99", "first.png"), "no device"),
        (("--out", "out", "--option", "width", "first.png"), "is no NAME=VALUE"),
        (("--out", "out", "--option", "depth=3", "first.png"), "cannot be built"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    folder: Path, words: tuple[str, ...], said: str
) -> None:
    result = segstudio(folder, "predict", "--plugin", "tiny.py", "--model", "tiny/plain", *words)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((folder / "out").glob("*")) if (folder / "out").exists() else True


def test_an_unknown_model_names_its_neighbours(folder: Path) -> None:
    result = segstudio(
        folder, "predict", "--plugin", "tiny.py", "--model", "tiny/plane", "--out", "out", "first.png"
    )
    assert result.returncode == 2
    assert "Did you mean" in result.stderr and "plain" in result.stderr


def test_a_hostile_plugin_costs_a_sentence(folder: Path) -> None:
    result = segstudio(
        folder, "predict", "--plugin", "hostile.py", "--model", "hostile/raise", "--out", "out", "first.png"
    )
    assert result.returncode == 2
    assert "no such thing" in result.stderr


def test_attend_writes_numbers_and_pictures(folder: Path) -> None:
    words = ("attend", "--plugin", "tiny.py", "--model", "tiny/attention", "--image", "turned.jpg")
    result = segstudio(folder, *words, "--at", "10,45", "--probe", "attention", "--out", "row.npy", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    row = np.load(folder / "row.npy")
    assert list(row.shape) == document["shape"] == [13, 5]
    assert document["query_cell"] == [11, 2]
    assert abs(float(row.sum()) - 1) < 1e-4
    assert (
        segstudio(folder, *words, "--at", "10,45", "--probe", "attention", "--out", "row.png").returncode == 0
    )
    with Image.open(folder / "row.png") as picture:
        assert picture.size == (20, 50)
    outside = segstudio(folder, *words, "--at", "45,10", "--probe", "attention", "--out", "row.npy")
    assert outside.returncode == 2
    assert "outside" in outside.stderr


def test_a_side_output_is_predicted_and_scored_like_the_final_one(folder: Path) -> None:
    weights = str(resource("demo", "checkpoints", "danet.safetensors"))
    network = ("--model", "danet_mobilenet-v2-d8", "--weights", weights)
    outputs = ("final", "position", "channel")
    for name in outputs:
        result = segstudio(
            folder, "predict", *network, "--output", name, "--out", name, "--json", "first.png", "second.jpg"
        )
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["output"] == name
    final, position, channel = (
        mask(folder / name / "first.png") for name in ("final", "position", "channel")
    )
    assert (position != final).any() and (channel != position).any()
    assert segstudio(folder, "predict", *network, "--out", "plain", "first.png").returncode == 0
    assert (mask(folder / "plain" / "first.png") == final).all()
    (folder / "images").mkdir()
    for name in ("first.png", "second.jpg"):
        (folder / name).rename(folder / "images" / name)
    for name, perfect in (("position", True), ("final", False)):  # held against the position branch's masks
        words = ("--images", "images", "--labels", "position", "--json")
        result = segstudio(folder, "evaluate", *network, "--output", name, *words)
        assert result.returncode == 0, result.stderr
        assert (json.loads(result.stdout)["pixel_accuracy"] == 1) == perfect


def test_a_network_at_another_input_size_is_predicted_and_scored(folder: Path) -> None:
    network = ("--plugin", "tiny.py", "predict", "--model", "tiny/plain", "--json", "--out")
    one = segstudio(folder, *network, "one", "--scale", "1", "first.png")
    half = segstudio(folder, *network, "half", "--scale", "0.5", "first.png")
    assert (one.returncode, half.returncode) == (0, 0), half.stderr
    document = json.loads(half.stdout)
    assert document["scale"] == 0.5 and "30 x 20" in document["results"][0]["notes"][0]
    masks = [mask(folder / name / "first.png") for name in ("one", "half")]
    assert masks[0].shape == masks[1].shape == (40, 60) and (masks[0] != masks[1]).any()
    words = ("--images", ".", "--labels", "half", "--json", "--scale", "0.5")
    (folder / "second.jpg").unlink()
    (folder / "turned.jpg").unlink()
    (folder / "broken.png").unlink()
    scored = segstudio(folder, "--plugin", "tiny.py", "evaluate", "--model", "tiny/plain", *words)
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["pixel_accuracy"] == 1.0
    far = segstudio(folder, *network, "far", "--scale", "9", "first.png")
    assert far.returncode == 2 and "from 0.1 to 4" in far.stderr


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("middle", "has no output 'middle'. It has the final one, position, channel and auxiliary"),
        (
            "auxiliary",
            "has no output 'auxiliary'. It has the final one, position and channel",
        ),
    ],
)
def test_an_output_that_is_not_there_costs_a_sentence(folder: Path, output: str, sentence: str) -> None:
    weights = str(resource("demo", "checkpoints", "danet.safetensors"))
    network = ("--model", "danet_mobilenet-v2-d8", "--weights", weights)
    result = segstudio(folder, "predict", *network, "--output", output, "--out", "out", "first.png")
    assert result.returncode == 2
    assert f"{sentence}\n" in result.stderr and "Traceback" not in result.stderr
    assert not (folder / "out").exists()


def test_models_prints_one_document_of_all_plugins(folder: Path) -> None:
    result = segstudio(folder, "--plugin", "tiny.py", "models", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    ids = {spec["id"] for spec in document["models"]}
    assert {"tiny/plain", "segstudio_example/grey-levels"} <= ids
    assert document["problems"] == []


def test_plugin_new_makes_a_package_that_passes_its_own_check(folder: Path) -> None:
    assert segstudio(folder, "plugin", "new", "my_threshold").returncode == 0
    check = segstudio(folder, "plugin", "check", "my_threshold/my_threshold/__init__.py")
    assert check.returncode == 0, check.stdout + check.stderr
    assert segstudio(folder, "plugin", "new", "my_threshold").returncode == 2


def test_plugin_check_says_what_does_not_fit(folder: Path) -> None:
    good = segstudio(folder, "plugin", "check", "tiny.py")
    assert "large-only" in good.stdout or good.returncode == 0, good.stdout + good.stderr
    (folder / "odd.py").write_text(
        "from segstudio.plugin_api import *\n"
        "PLUGIN = Plugin('odd', 'Odd', (ModelSpec('other/x', 'X', 'F', build='nothing'),))\n"
    )
    odd = segstudio(folder, "plugin", "check", "odd.py")
    assert odd.returncode == 2
    assert "other/x" in odd.stdout
    (folder / "leaves.py").write_text("import os\nos._exit(7)\n")
    leaves = segstudio(folder, "plugin", "check", "leaves.py")
    assert leaves.returncode == 2
    assert "exit code 7" in leaves.stderr


def test_a_changed_file_in_the_plugin_folder_does_not_run(folder: Path) -> None:
    plugins = folder / "home" / "data" / "plugins"
    plugins.mkdir(parents=True)
    marker = folder / "marker"
    (plugins / "stranger.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    result = segstudio(folder, "models")
    assert result.returncode == 0
    assert "stranger" in result.stderr and "code" in result.stderr
    assert not marker.exists()


def test_doctor_says_that_window_and_network_run(folder: Path) -> None:
    result = segstudio(folder, "doctor", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    document = json.loads(result.stdout)
    assert document["window"]["ok"] and document["model"]["ok"]
    assert document["devices"][-1]["id"] == "cpu"


def test_an_unknown_command_and_the_help(folder: Path) -> None:
    assert segstudio(folder, "predcit").returncode == 2
    result = segstudio(folder, "--help")
    assert result.returncode == 0
    for verb in ("predict", "evaluate", "attend", "train", "weights", "project", "plugin", "doctor"):
        assert verb in result.stdout


@needs_shared
def test_the_real_voc_network_gives_its_published_class_maps(folder: Path) -> None:
    weights = shared("data", "weights", "deeplabv3_mobilenetv2_voc")
    checkpoint = weights / "deeplabv3_mobilenetv2_voc.pth"
    images = [
        shared("data", "voc_samples", "images", "voc_0023.png"),
        shared("data", "photos", "bird_segmentation.bmp"),
    ]
    words = ("predict", "--model", "deeplabv3_mobilenet-v2-d16", "--weights", str(checkpoint), "--out", "out")
    result = segstudio(folder, *words, *map(str, images))
    assert result.returncode == 0, result.stderr
    for image in images:
        expected = mask(weights / "example" / f"{image.stem}.png")
        assert (mask(folder / "out" / f"{image.stem}.png") == expected).mean() >= 0.995


@needs_shared
def test_the_real_voc_network_has_its_published_score(folder: Path) -> None:
    checkpoint = shared("data", "weights", "deeplabv3_mobilenetv2_voc", "deeplabv3_mobilenetv2_voc.pth")
    samples = shared("data", "voc_samples")
    words = ("evaluate", "--model", "deeplabv3_mobilenet-v2-d16", "--weights", str(checkpoint), "--json")
    result = segstudio(
        folder, *words, "--images", str(samples / "images"), "--labels", str(samples / "labels")
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["miou"] == pytest.approx(0.788, abs=0.002)
    assert document["pixel_accuracy"] == pytest.approx(0.966, abs=0.001)


@needs_shared
def test_weights_of_a_foreign_network_are_inspected_and_refused(folder: Path) -> None:
    foreign = str(shared("data", "weights", "foreign_espnet", "espnet_p_2_q_8_camvid.pth"))
    result = segstudio(folder, "weights", "identify", foreign, "--json")
    assert result.returncode == 2
    document = json.loads(result.stdout)
    assert document["found"] == []
    assert document["tensor_count"] == 189
    words = (
        "predict",
        "--model",
        "deeplabv3_mobilenet-v2-d16",
        "--weights",
        foreign,
        "--out",
        "out",
        "first.png",
    )
    refused = segstudio(folder, *words)
    assert refused.returncode == 2
    assert "does not fit" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "expected", "other"),
    [
        (("PsNet",), "psanet_r50-d8", "pspnet_r50-d8"),
        (("PointNet",), "pointrend_r50", "psanet_r50-d8"),
        (("#18",), "segmenter_vit-t_mask", "segformer_mit-b0"),
        (("--family", "psnet"), "psanet_r101-d8", "pspnet_r50-d8"),
        (("GT-OCR", "hr48"), "ocrnet_hr48", "ocrnet_hr18"),
        (("Strudel",), "segmenter_vit-b_mask", "segformer_mit-b0"),
        (("PSANet", "ade20k"), "psanet_r50-d8", "danet_r50-d8"),
    ],
)
def test_models_are_found_by_the_names_people_have_for_them(
    folder: Path, words: tuple[str, ...], expected: str, other: str
) -> None:
    result = segstudio(folder, "models", *words)
    assert result.returncode == 0, result.stderr
    names = {line.split()[0].rpartition("/")[2] for line in result.stdout.splitlines()}
    assert expected in names and other not in names


def test_models_says_what_a_misspelt_name_may_mean(folder: Path) -> None:
    for words in (("danett",), ("--family", "danett")):
        result = segstudio(folder, "models", *words)
        assert (result.returncode, result.stdout) == (2, "")
        assert "Nothing here is called 'danett'. Did you mean DANet?" in result.stderr
    found = segstudio(folder, "models", "danett", "--json")
    assert found.returncode == 0 and json.loads(found.stdout)["models"] == []
