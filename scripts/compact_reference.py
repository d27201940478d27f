"""Makes tests/zoo/figures.zip from the full reference folder: enough of every reference to check parity.

usage: python scripts/compact_reference.py REFERENCE_FOLDER tests/zoo/figures.zip

Of every stored array at most some 1,000 values are kept, by a larger step along its longest axes; its
mean, deviation and largest magnitude cover the rest. Manifests keep what a check needs: input, labels,
losses, gradient norms, entries and shapes.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

VALUES = 1000
DROPPED = {"config_path", "torch", "losses_fp32"}
KEPT_WHOLE = {"noise", "mask", "target"}  # what a reference drew, which a check must feed back


def thinned(array: np.ndarray, step: list[int]) -> tuple[np.ndarray, list[int]]:
    """`array` with every other entry of its longest axis left out until it is small; the steps multiply."""
    step = list(step)
    while array.size > VALUES:
        axis = int(np.argmax(array.shape))
        array = array[(slice(None),) * axis + (slice(None, None, 2),)]
        step[axis] *= 2
    return array, step


def main(source: Path, destination: Path) -> None:
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(source.glob("*.npz")):
            manifest = json.loads(path.with_suffix(".json").read_text())
            manifest = {key: value for key, value in manifest.items() if key not in DROPPED}
            arrays: dict[str, np.ndarray] = {}
            with np.load(path) as stored:
                for key in stored.files:
                    facts = manifest.get("arrays", {}).get(key)
                    if facts is None or key in KEPT_WHOLE or key.startswith("initial."):
                        arrays[key] = stored[key]
                    else:
                        arrays[key], facts["step"] = thinned(stored[key], facts["step"])
            packed = io.BytesIO()
            np.savez(packed, **arrays)
            for name, content in (
                (f"{path.stem}.json", json.dumps(manifest, separators=(",", ":")).encode()),
                (f"{path.stem}.npz", packed.getvalue()),
            ):
                # A fixed date, so that the same figures make the same file.
                archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_LZMA)
    print(f"{destination}: {destination.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
