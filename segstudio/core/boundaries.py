"""Where classes meet in a label map, and how well two maps agree there.

Boundary IoU: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021,
arXiv 2103.16562, equation 3, with the inner band of each class: its pixels within `width` of its border.
"""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudio.core.label_map import LabelArray

BAND_WIDTHS = (1, 2, 4, 8, 16)
"""Pixels on each side of a border, that may be chosen."""


def boundary_band(labels: LabelArray, width: int, *, ignore: int = -1) -> NDArray[np.bool_]:
    """The pixels (H, W) from which a pixel of another class is at most `width` rows and columns away.

    `labels` (H, W) uint8 or uint16. A border with pixels of the value `ignore` is none: nobody drew it. The
    edge of the picture is no border either. Raises ValueError where `width` is under 1.
    """
    if width < 1:
        raise ValueError(f"a band is at least 1 pixel wide, not {width}")
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    low, high, inside = labels, labels, None
    if ignore >= 0 and (labels == ignore).any():
        most = np.iinfo(labels.dtype).max
        inside = labels != ignore
        # Left out of both: the largest value where the smallest is sought, and the other way round.
        low, high = np.where(inside, labels, most), np.where(inside, labels, 0)
    band: NDArray[np.bool_] = cv2.erode(low, kernel) != cv2.dilate(high, kernel)
    return band if inside is None else band & inside


def boundary_iou(
    truth: LabelArray, prediction: LabelArray, classes: Collection[int], width: int, *, ignore: int = 255
) -> dict[int, float]:
    """Intersection over union of the inner bands of each of `classes` that has one in either map, 0-1.

    `truth` and `prediction` (H, W); pixels whose truth is `ignore` do not count.
    """
    counted = truth != ignore
    own, other = boundary_band(truth, width, ignore=ignore), boundary_band(prediction, width)
    found: dict[int, float] = {}
    for index in classes:
        one = own & (truth == index) & counted
        two = other & (prediction == index) & counted
        union = int((one | two).sum())
        if union:
            found[index] = int((one & two).sum()) / union
    return found
