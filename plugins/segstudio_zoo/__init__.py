"""The zoo: twenty-five published segmentation systems as one library and one SegStudio plugin.

    from segstudio_zoo import create_model, list_models, load_checkpoint, identify

Importing this loads no torch; the functions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segstudio_zoo.key_map import CheckpointError
from segstudio_zoo.names import UnknownModel, list_models

if TYPE_CHECKING:
    from torch import nn

    from segstudio.plugin_api import LoadReport
    from segstudio_zoo.identifying import Identified

__all__ = [
    "CheckpointError",
    "UnknownModel",
    "create_model",
    "identify",
    "list_models",
    "load_checkpoint",
]


def create_model(
    name: str, *, backbone: str | None = None, num_classes: int | None = None, **options: Any
) -> nn.Module:
    """The network called `name`, in evaluation mode, with drawn weights.

    `backbone` replaces the one in the name. Options belong to the segmentor or its backbone.
    A bare backbone gives its pyramid and ignores `num_classes`.
    Raises UnknownModel (three nearest names), TypeError (valid options), ValueError (a pair whose
    strides or channels do not suit).
    """
    from segstudio_zoo.building import build_model

    return build_model(name, backbone=backbone, num_classes=num_classes, **options)


def load_checkpoint(model: nn.Module, path_or_state_dict: Any, *, strict: bool = True) -> LoadReport:
    """See `segstudio_zoo.key_map.load_checkpoint`."""
    from segstudio_zoo import key_map

    return key_map.load_checkpoint(model, path_or_state_dict, strict=strict)


def identify(state_dict: Any) -> list[Identified]:
    """See `segstudio_zoo.identifying.identify`."""
    from segstudio_zoo import identifying

    return identifying.identify(state_dict)
