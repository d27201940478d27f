"""The code on docs/plugin.md runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugin.md"
BLOCK = re.compile(r"```python(?: file=(\S+))?\n(.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's named files, and a picture."""
    for name, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if name:
            (tmp_path / name).write_text(code, encoding="utf-8")
    picture = np.zeros((40, 50, 3), np.uint8)
    picture[10:20, 5:30] = 220
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "segstudio", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["bright.py", "tiny_network.py", "fill_in.py"])
def test_the_page_s_plugins_pass_plugin_check(folder: Path, name: str) -> None:
    result = run(folder, "plugin", "check", name)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_smallest_plugin_predicts_from_the_command_line(folder: Path) -> None:
    result = run(
        folder,
        "--plugin",
        "bright.py",
        "predict",
        "--model",
        "bright/threshold",
        "--out",
        "masks",
        "picture.png",
    )
    assert result.returncode == 0, result.stderr
    indices = np.asarray(Image.open(folder / "masks" / "picture.png"))
    assert indices.shape == (40, 50)
    assert (indices[10:20, 5:30] == 1).all()
    assert int((indices == 1).sum()) == 10 * 25


def test_what_the_page_s_check_finds_stands_at_the_way_of_pretraining(folder: Path) -> None:
    arguments = ("worker", "--plugin", "fill_in.py", "--list", "fill_in")
    plugin = json.loads(run(folder, *arguments).stdout)["plugin"]
    assert [spec["unavailable"] for spec in plugin["pretraining"]] == [""]
    file = folder / "fill_in.py"
    file.write_text(
        file.read_text(encoding="utf-8").replace('"torch"', '"no_such_library"'), encoding="utf-8"
    )
    plugin = json.loads(run(folder, *arguments).stdout)["plugin"]
    assert "needs torch" in plugin["pretraining"][0]["unavailable"]


def test_the_unnamed_blocks_run(folder: Path) -> None:
    blocks = [code for name, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if not name]
    assert blocks
    for code in blocks:
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result.stderr
