"""Learning from pictures alone: the network's own losses, judged by their sum on held-out pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from segstudio.core.atomic_file import write_bytes
from segstudio.core.crops import centre_crop, random_box, resized
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder, Sample
from segstudio.plugin_api import Loss, Pictures
from segstudio.training.augment import change_color
from segstudio.training.data import Part, PictureStore, TrainingBatches, normalise
from segstudio.training.model import Trainee
from segstudio.training.objective import Verdict
from segstudio.training.ranks import joined, summed


class PretrainingObjective:
    """See `Objective`. A part is one tensor of images (N, 3, h, w) float32, normalised.

    Training crops have a share of the picture's area drawn from `recipe.scale` and are mirrored by chance, as
    in MAE (2111.06377, appendix A.1) and BEiT (2106.08254, section 3.1). Validation sees the middle of each
    held-out picture, with the same masks in every epoch.
    """

    worst = -math.inf

    def __init__(self, folder: RunFolder, recipe: Recipe, trainee: Trainee, fabric: Fabric) -> None:
        self._folder, self._recipe, self._device = folder, recipe, fabric.device
        self._mean = np.asarray(trainee.preprocess.mean, np.float32)
        self._std = np.asarray(trainee.preprocess.std, np.float32)
        samples = folder.samples()
        training = [sample for sample in samples if sample.split == "train"]
        self._held_out = [sample for sample in samples if sample.split == "val"]
        self.validates = bool(self._held_out)
        self._store = PictureStore(folder, recipe)
        self.batches = TrainingBatches(
            training, recipe, self._cut, rank=fabric.global_rank, ranks=fabric.world_size
        )
        count = min(recipe.previews, len(self._held_out))
        places = np.linspace(0, len(self._held_out) - 1, count).round().astype(int) if count else []
        self._shown = {int(place): index for index, place in enumerate(places)}

    def _cut(self, sample: Sample, rng: np.random.Generator) -> Part:
        image = self._store.load(sample)
        width, height = self._recipe.crop
        box = random_box(image.shape[1], image.shape[0], rng, area=self._recipe.scale, ratio=width / height)
        values = change_color(resized(image, box, (width, height)), self._recipe.color, rng)
        if self._recipe.flip and rng.random() < 0.5:
            values = cv2.flip(values, 1)
        return (torch.from_numpy(normalise(values, self._mean, self._std)),)

    def write_originals(self) -> list[dict[str, Any]]:
        entries = []
        for place, index in self._shown.items():
            sample = self._held_out[place]
            crop = centre_crop(self._store.load(sample), self._recipe.crop)
            _write_picture(self._folder.previews / f"image-{index}.png", crop)
            entries.append({"index": index, "image": sample.image, "size": list(self._recipe.crop)})
        return entries

    def begin_step(self, module: nn.Module, fraction: float) -> None:
        """Schedules of the network's own, such as the temperature of a discrete VAE."""
        module.advance(fraction)  # type: ignore[operator]

    def worth(self, part: Part) -> Tensor:
        """Pictures."""
        return torch.tensor(len(part[0]))

    def losses(self, model: Any, part: Part, device: torch.device) -> Mapping[str, Loss]:
        image = part[0].to(device, non_blocking=True, memory_format=torch.channels_last)
        losses: Mapping[str, Loss] = model.losses(image)
        return losses

    @torch.no_grad()  # and not inference_mode: tables that a network keeps must serve training, too
    def validate(
        self, module: nn.Module, epoch: int, fabric: Fabric, stop: Callable[[], bool]
    ) -> Verdict | None:
        module.eval()
        found: list[tuple[int, dict[str, tuple[float, float, float]]]] = []
        previews = []
        for place in range(fabric.global_rank, len(self._held_out), fabric.world_size):
            if stop():
                break
            crop = centre_crop(self._store.load(self._held_out[place]), self._recipe.crop)
            values = normalise(crop.astype(np.float32), self._mean, self._std)
            image = torch.from_numpy(values)[None].to(self._device)
            # The next training step seeds the generators anew, so these seeds disturb nothing.
            torch.manual_seed(place)
            losses = module.losses(image)  # type: ignore[operator]
            found.append((place, {name: _plain(loss) for name, loss in losses.items()}))
            if place in self._shown:
                pictures = module.pictures(image, seed=place)  # type: ignore[operator]
                previews.append(self._preview(self._shown[place], epoch, pictures))
        module.train()
        done = summed(fabric, torch.tensor(float(len(found)), device=fabric.device))
        if int(done) < len(self._held_out):
            return None
        # In the order of the pictures, so that one rank and several add up to the same digits.
        losses_by_name = _means(
            [losses for _, losses in sorted(joined(fabric, found), key=lambda one: one[0])]
        )
        total = sum(losses_by_name.values())
        entry = {
            "val_loss": total,
            "val_losses": losses_by_name,
            "previews": sorted(joined(fabric, previews), key=lambda preview: preview["index"]),
        }
        return Verdict(entry, -total)

    def best_entry(self, score: float) -> dict[str, float]:
        return {"loss": -score}

    def _preview(self, index: int, epoch: int, pictures: Pictures) -> dict[str, Any]:
        folder = self._folder.previews / f"epoch-{epoch:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, view in pictures.views.items():
            planes = view[0].float().cpu().numpy().transpose(1, 2, 0)
            pixels = np.clip(np.rint(planes * self._std + self._mean), 0, 255).astype(np.uint8)
            _write_picture(folder / f"{index}-{name}.png", pixels)
        error = None
        if pictures.error is not None:
            errors = pictures.error[0].float()
            hidden = pictures.hidden[0] if pictures.hidden is not None else None
            chosen = errors[hidden] if hidden is not None and hidden.any() else errors
            error = float(chosen.mean())
        return {"index": index, "error": error, "views": list(pictures.views)}


def _plain(loss: Loss) -> tuple[float, float, float]:
    return float(loss.sum), float(loss.count), loss.weight


def _means(found: list[dict[str, tuple[float, float, float]]]) -> dict[str, float]:
    """Weighted means by name from sums, counts and weights of single pictures."""
    result = {}
    for name in sorted({name for losses in found for name in losses}):
        terms = [losses[name] for losses in found if name in losses]
        result[name] = (
            terms[0][2] * sum(term[0] for term in terms) / max(1e-9, sum(term[1] for term in terms))
        )
    return result


def _write_picture(path: Any, pixels: NDArray[np.uint8]) -> None:
    """An RGB picture (H, W, 3) as PNG, whole or not at all."""
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels[:, :, ::-1]))
    if not done:
        raise OSError(f"{path} could not be encoded")
    write_bytes(path, encoded.tobytes())
