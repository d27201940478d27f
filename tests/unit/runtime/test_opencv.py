"""OpenCV's library is bound before the import, which would keep the interpreter meanwhile."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FILL = """
import sys
from pathlib import Path

bound = []

def listen(event, arguments):
    if event == "import" and arguments[0] == "cv2" and str(arguments[1] or "").endswith(".so"):
        bound.append(arguments[1] in Path("/proc/self/maps").read_text())

sys.addaudithook(listen)

from segstudio.core.label_map import LabelMap
from segstudio.runtime.painting import region_mask

labels = LabelMap.unlabelled(40, 30)
assert "cv2" not in sys.modules
rect, mask = region_mask(labels, 5, 5)
assert mask.all() and (rect.width, rect.height) == (40, 30)
assert "cv2" in sys.modules
print(bound)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere nothing is bound beforehand")
def test_a_fill_binds_the_library_before_it_imports_the_module():
    done = subprocess.run(
        [sys.executable, "-c", _FILL], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[True]"
