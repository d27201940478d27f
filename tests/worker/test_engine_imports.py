"""The engine runs in environments that have torch, numpy, cv2, Pillow and safetensors only."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import importlib.abc, sys
FORBIDDEN = {"platformdirs", "tomli_w", "tifffile", "lightning", "lightning_fabric", "torchvision", "PySide6",
             "pyqtgraph", "tensorboard", "onnx"}
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None
sys.meta_path.insert(0, Guard())
import segstudio.worker.engine
import segstudio.worker.operations
import segstudio.worker.reader
import segstudio.worker.identification
from segstudio_zoo.plugin import PLUGIN
import segstudio_zoo
segstudio_zoo.create_model("ccnet_mobilenet-v2-d8", num_classes=3)
print(len(PLUGIN.models))
"""


def test_the_engine_and_the_zoo_import_nothing_else_of_ours() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 25


def test_the_reader_never_imports_torch() -> None:
    script = "import sys, segstudio.worker.reader, segstudio.worker.program; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_first_run_does_not_wait_for_torch_s_compiler() -> None:
    script = """
import sys, numpy
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
ref = ModelRef("segstudio_zoo/bisenetv2", num_classes=3, untrained=True)
found = Engine(device="cpu").predict(ref, numpy.zeros((64, 64, 3), numpy.uint8))
print(found.label_map.shape, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "(64, 64) False", done.stderr
