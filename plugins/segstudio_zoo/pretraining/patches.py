"""Pictures as rows of patches, and what a person is shown of hidden ones.

Apart from the papers' files because both masked autoencoders and masked image models cut pictures so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from segstudio_zoo.pretraining.masking import Masking, draw_mask


def patchify(image: Tensor, patch: int) -> Tensor:
    """(N, C, H, W) -> (N, L, patch patch C), channel last."""
    n, channels, height, width = image.shape
    grid = image.reshape(n, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, patch * patch * channels)


def unpatchify(patches: Tensor, patch: int, size: tuple[int, int]) -> Tensor:
    """The inverse of `patchify`."""
    n = patches.shape[0]
    grid = patches.reshape(n, size[0], size[1], patch, patch, -1)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, size[0] * patch, size[1] * patch)


def grid_of(image_size: tuple[int, ...], patch: int) -> tuple[int, int]:
    """(rows, columns) of patches of (height, width) pixels; ValueError where they do not divide."""
    height, width = image_size if len(image_size) == 2 else (image_size[0], image_size[0])
    if height % patch or width % patch or height < patch or width < patch:
        raise ValueError(f"Pictures of {width}x{height} pixels do not divide into patches of {patch}.")
    return height // patch, width // patch


def drawn_masks(kind: Masking, size: tuple[int, int], ratio: float, count: int, seed: int) -> Tensor:
    """(count, rows, columns) bool on the CPU, True = hidden; the same for the same seed."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([draw_mask(kind, size, ratio, rng) for _ in range(count)]))


def checked_mask(hidden: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """`hidden` (N, rows, columns) as bool. Raises ValueError for another shape."""
    if tuple(hidden.shape) != (count, *size):
        found = "x".join(map(str, hidden.shape))
        raise ValueError(f"The mask has {found} cells, not {count}x{size[0]}x{size[1]}.")
    return hidden.bool()


def covered(image: Tensor, hidden: Tensor, patch: int) -> Tensor:
    """`image` (N, 3, H, W) with the cells `hidden` (N, rows, columns) at zero: the mean of the pictures."""
    cells = hidden.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2)
    return image.masked_fill(cells[:, None], 0.0)


@contextmanager
def looking(model: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients, whatever `model` is doing."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
