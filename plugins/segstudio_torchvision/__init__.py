"""torchvision's own segmentation networks, through the same door as anybody's plugin.

Only metadata are read here: neither torch nor torchvision is imported before a network is built.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from typing import Any

from segstudio.plugin_api import LoadReport, ModelSpec, Plugin

NAME = "segstudio_torchvision"

_NETWORKS = (
    ("fcn_resnet50", "FCN · ResNet-50 (torchvision)", "fcn", 2015),
    ("fcn_resnet101", "FCN · ResNet-101 (torchvision)", "fcn", 2015),
    ("deeplabv3_resnet50", "DeepLabV3 · ResNet-50 (torchvision)", "deeplabv3", 2017),
    ("deeplabv3_resnet101", "DeepLabV3 · ResNet-101 (torchvision)", "deeplabv3", 2017),
    ("deeplabv3_mobilenet_v3_large", "DeepLabV3 · MobileNetV3 (torchvision)", "deeplabv3", 2019),
    ("lraspp_mobilenet_v3_large", "LR-ASPP · MobileNetV3 (torchvision)", "lraspp", 2019),
)


def unavailable_reason() -> str:
    """Why torchvision's networks cannot run here, or an empty string. Imports nothing.

    Its wheels only work beside the torch they were built for: the same version, and both for the CPU or
    both for CUDA, which the part of a version after "+" says.
    """
    if importlib.util.find_spec("torchvision") is None:
        return "torchvision is not installed"
    try:
        vision, torch = importlib.metadata.version("torchvision"), importlib.metadata.version("torch")
        requirements = importlib.metadata.requires("torchvision") or []
    except importlib.metadata.PackageNotFoundError as error:
        return f"{error.name} is not installed as a package"
    public, _, build = torch.partition("+")
    for requirement in requirements:
        wanted = re.match(r"torch\s*\(?==\s*([\w.]+)", requirement)
        if wanted and wanted[1] != public:
            return f"torchvision {vision} was built for torch {wanted[1]}, but torch {torch} is installed"
    if (build == "cpu") != (vision.partition("+")[2] == "cpu"):
        return f"torchvision {vision} and torch {torch} are builds for different devices"
    return ""


def build(name: str, *, num_classes: int | None = None) -> Any:
    """A torchvision network in evaluation mode. Raises ImportError where torchvision does not load."""
    from segstudio_torchvision.segmentor import TorchvisionSegmentor

    return TorchvisionSegmentor(name, num_classes or 21).eval()


def load(model: Any, state_dict: dict[str, Any], *, strict: bool = True) -> LoadReport:
    """Loads torchvision's published state dicts. Raises ValueError, the model untouched, where they differ.

    The auxiliary head of a file is unused where the model has none.
    """
    own = model.state_dict()
    unused = tuple(key for key in state_dict if key.startswith("aux_classifier.") and key not in own)
    rest = {key: value for key, value in state_dict.items() if key not in unused}
    missing = tuple(key for key in own if key not in rest and not key.endswith("num_batches_tracked"))
    unexpected = tuple(key for key in rest if key not in own)
    mismatched = tuple(key for key in rest if key in own and rest[key].shape != own[key].shape)
    if strict and (missing or unexpected or mismatched):
        counts = f"{len(missing)} missing, {len(unexpected)} unexpected, {len(mismatched)} of another shape"
        raise ValueError(f"the keys differ: {counts}")
    fitting = {key: value for key, value in rest.items() if key in own and key not in mismatched}
    model.load_state_dict(fitting, strict=False)
    return LoadReport("torchvision", tuple(fitting), missing, unexpected, mismatched, unused)


def _plugin() -> Plugin:
    reason = unavailable_reason()
    models = tuple(
        ModelSpec(
            id=f"{NAME}/{name}",
            title=title,
            family=family,
            year=year,
            build=f"{NAME}:build",
            backbone=name.partition("_")[2],
            trainable=True,
            unavailable=reason,
        )
        for name, title, family, year in _NETWORKS
    )
    return Plugin(NAME, "torchvision", models, version="1", load=f"{NAME}:load")


PLUGIN = _plugin()
