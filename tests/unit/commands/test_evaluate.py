from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from segstudio.core import palette_png


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "segstudio", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def folders(tmp_path: Path) -> tuple[Path, Path]:
    labels, predictions = tmp_path / "labels", tmp_path / "predictions"
    for folder in (labels, predictions):
        (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "sub/b"):
        truth = rng.integers(0, 3, (20, 30)).astype(np.uint8)
        truth[0] = 255
        palette_png.write(labels / f"{name}.png", truth)
        guess = truth.copy()
        guess[guess == 255] = 0
        guess[10] = 2
        Image.fromarray(guess).save(predictions / f"{name}.tif")
    return labels, predictions


def test_json_is_one_document_with_the_fixed_fields(tmp_path: Path):
    labels, predictions = folders(tmp_path)
    done = evaluate("--predictions", predictions, "--labels", labels, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {
        "miou",
        "pixel_accuracy",
        "mean_accuracy",
        "classes",
        "confusion",
        "ignore",
        "images",
        "failed",
    }
    assert result["images"] == 2 and result["failed"] == 0
    assert [entry["name"] for entry in result["classes"]] == ["0", "1", "2"]
    assert sum(map(sum, result["confusion"])) == 2 * 19 * 30


def test_what_does_not_fit_is_told_and_the_rest_done(tmp_path: Path):
    labels, predictions = folders(tmp_path)
    (predictions / "a.tif").unlink()
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(predictions / "sub" / "c.png")
    palette_png.write(labels / "sub" / "c.png", np.zeros((5, 5), np.uint8))
    done = evaluate("--predictions", predictions, "--labels", labels, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["images"] == 1 and json.loads(done.stdout)["failed"] == 2
    assert "There is nothing for a in" in done.stderr
    assert "colours" in done.stderr and "c.png" in done.stderr


def test_nothing_to_compare_is_one_sentence_and_code_2(tmp_path: Path):
    labels, predictions = folders(tmp_path)
    for path in predictions.rglob("*.tif"):
        path.unlink()
    done = evaluate("--predictions", predictions, "--labels", labels)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("segstudio: Nothing could be compared")
    done = evaluate("--labels", labels)
    assert done.returncode == 2 and "either --predictions or --model" in done.stderr


def test_jpeg_masks_are_refused(tmp_path: Path):
    labels, predictions = folders(tmp_path)
    (labels / "a.png").unlink()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(labels / "a.png", format="JPEG")
    done = evaluate("--predictions", predictions, "--labels", labels, "--taxonomy", "street")
    assert done.returncode == 1 and "a JPEG changes class indices" in done.stderr
    assert "Sky" in done.stdout and "mean accuracy" in done.stdout


def test_a_model_is_run_on_the_images(tmp_path: Path):
    labels, _ = folders(tmp_path)
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(images / f"{name}.png")
    done = evaluate("--model", "grey-levels", "--images", images, "--labels", labels, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["images"] == 2 and result["classes"][0]["accuracy"] == 1.0
