"""The script that makes the demo's networks runs through from drawn weights to packed files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from segstudio.core.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_the_chain_of_runs_ends_in_three_packed_networks(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    script = [sys.executable, "scripts/train_demo.py", "--quick", "--work", str(tmp_path), "--out", str(out)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, runs in {"ccnet": 4, "danet": 3, "psanet": 4}.items():
        assert (out / "checkpoints" / f"{name}.safetensors").stat().st_size <= 3_000_000
        facts = json.loads((out / "checkpoints" / f"{name}.json").read_text())
        assert len(facts["commands"]) == runs
        assert 0 <= facts["metrics"]["miou"] <= 1
    shown = RunFolder(out / "runs" / "run-0001")
    assert shown.state()["state"] == "done"
    assert list(shown.previews.glob("epoch-0001/*.png"))
