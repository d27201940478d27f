"""torchvision's own segmentation networks, through the same door as anybody's plugin.

Only metadata are read here: neither torch nor torchvision is imported before a network is built, or before
the process that lists this plugin calls `loading_problem`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from typing import Any

from segstudio.plugin_api import Checkpoint, LoadReport, ModelSpec, Plugin

NAME = "segstudio_torchvision"

_ADDRESS = "https://download.pytorch.org/models/"

_NETWORKS = (
    ("fcn_resnet50", "FCN · ResNet-50", "fcn", 2015, "fcn_resnet50_coco-1167a1af.pth", 60.5),
    ("fcn_resnet101", "FCN · ResNet-101", "fcn", 2015, "fcn_resnet101_coco-7ecb50ca.pth", 63.7),
    (
        "deeplabv3_resnet50",
        "DeepLabV3 · ResNet-50",
        "deeplabv3",
        2017,
        "deeplabv3_resnet50_coco-cd0a2569.pth",
        66.4,
    ),
    (
        "deeplabv3_resnet101",
        "DeepLabV3 · ResNet-101",
        "deeplabv3",
        2017,
        "deeplabv3_resnet101_coco-586e9e4e.pth",
        67.4,
    ),
    (
        "deeplabv3_mobilenet_v3_large",
        "DeepLabV3 · MobileNetV3",
        "deeplabv3",
        2019,
        "deeplabv3_mobilenet_v3_large-fc3c493d.pth",
        60.3,
    ),
    (
        "lraspp_mobilenet_v3_large",
        "LR-ASPP · MobileNetV3",
        "lraspp",
        2019,
        "lraspp_mobilenet_v3_large-d234d4ea.pth",
        57.9,
    ),
)
"""Builder, title, family, year, file of the official weights, their mIoU on COCO val2017 in VOC's classes."""


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


def loading_problem() -> str:
    """Why torchvision's networks cannot run here, or an empty string. Imports torchvision, and torch with it.

    Metadata do not tell of a native library that is missing or was built for something else.
    """
    reason = unavailable_reason()
    if reason:
        return reason
    try:
        importlib.import_module("torchvision.models.segmentation")
    except Exception as error:  # noqa: BLE001 - a broken native library raises more than ImportError
        vision, torch = importlib.metadata.version("torchvision"), importlib.metadata.version("torch")
        words = " ".join(str(error).split()) or type(error).__name__
        return f"torchvision {vision} does not load beside torch {torch}: {words}"
    return ""


def build(name: str, *, num_classes: int | None = None) -> Any:
    """A torchvision network in evaluation mode. Raises ImportError where torchvision does not load."""
    reason = loading_problem()
    if reason:
        raise ImportError(reason)
    from segstudio_torchvision.segmentor import TorchvisionSegmentor

    return TorchvisionSegmentor(name, num_classes or 21).eval()


def load(model: Any, state_dict: dict[str, Any], *, strict: bool = True) -> LoadReport:
    """Loads torchvision's published state dicts. Raises ValueError, the model untouched, where they differ.

    A file without an auxiliary head takes the model's away: it would show an untrained one.
    """
    own = model.state_dict()
    auxiliary = "aux_classifier."
    bare = not any(key.startswith(auxiliary) for key in state_dict)
    if bare:
        own = {key: value for key, value in own.items() if not key.startswith(auxiliary)}
    missing = tuple(key for key in own if key not in state_dict and not key.endswith("num_batches_tracked"))
    unexpected = tuple(key for key in state_dict if key not in own)
    mismatched = tuple(key for key in state_dict if key in own and state_dict[key].shape != own[key].shape)
    if strict and (missing or unexpected or mismatched):
        counts = f"{len(missing)} missing, {len(unexpected)} unexpected, {len(mismatched)} of another shape"
        raise ValueError(f"the keys differ: {counts}")
    if bare:
        model.aux_classifier = None
    fitting = {key: value for key, value in state_dict.items() if key in own and key not in mismatched}
    model.load_state_dict(fitting, strict=False)
    return LoadReport("torchvision", tuple(fitting), missing, unexpected, mismatched, ())


def _official(file: str, miou: float) -> Checkpoint:
    name, _, digest = file.removesuffix(".pth").rpartition("-")
    return Checkpoint(
        id=name,
        url=_ADDRESS + file,
        sha256=digest,
        taxonomy="pascal_voc",
        num_classes=21,
        metrics=(("mIoU", miou),),
        layout_checked=True,
        dataset="COCO, the classes of Pascal VOC",
    )


def _plugin() -> Plugin:
    reason = unavailable_reason()
    models = tuple(
        ModelSpec(
            id=f"{NAME}/{name}",
            title=f"{title} (torchvision)",
            family=family,
            year=year,
            build=f"{NAME}:build",
            backbone=name.partition("_")[2],
            checkpoints=(_official(file, miou),),
            side_outputs=() if family == "lraspp" else ("auxiliary",),
            trainable=True,
            unavailable=reason,
        )
        for name, title, family, year, file, miou in _NETWORKS
    )
    return Plugin(
        NAME, "torchvision", models, version="1", load=f"{NAME}:load", check=f"{NAME}:loading_problem"
    )


PLUGIN = _plugin()
