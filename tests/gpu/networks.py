"""Networks for the checks on a GPU: the demo's, and the zoo's with drawn weights that show all classes."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from segstudio.registry import Registry
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
from segstudio_zoo.plugin import PLUGIN

ROOT = Path(__file__).resolve().parents[2]
DRAWN = (
    "ccnet_r50-d8",
    "danet_r50-d8",
    "psanet_r50-d8",
    "segformer_mit-b0",
    "deeplabv3_mobilenet-v2-d16",
    "ccnet_mobilenet-v2-d8",
)


def best_device() -> torch.device | None:
    """The GPU to check, or None."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("mps") if torch.backends.mps.is_available() else None


def make_engine(device: str, *, half: bool = False, memory: int | None = None) -> Engine:
    precision = "float16" if half else "float32"
    return Engine(device=device, precision=precision, memory=memory, registry=Registry(given=[PLUGIN]))


def drawn_weights(name: str, folder: Path, *, spread: bool = True) -> ModelRef:
    """The zoo's network with weights that depend on names only: normal / sqrt(fan in), spread norms.

    Drawn weights of a deep network often give one class everywhere, and equality of class maps would say
    nothing: with `spread`, the class scores are shifted and scaled so that all classes are about as
    frequent. That also enlarges rounding, so comparisons of half precision do without.
    """
    path = folder / f"{name}{'' if spread else '-plain'}.safetensors"
    ref = ModelRef(f"segstudio_zoo/{name}", weights=path, num_classes=19)
    if path.exists():
        return ref
    model: nn.Module = _built(name)
    state = {key: _draw(key, tensor) for key, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    if spread:
        _spread_classes(model, state)
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, str(path))
    path.with_suffix(".json").write_text(json.dumps({"num_classes": 19}))
    return ref


def _built(name: str) -> nn.Module:
    from segstudio_zoo import create_model

    return create_model(name, num_classes=19)


def demo_checkpoints() -> list[Path]:
    """The small trained networks that come with the repository."""
    return sorted((ROOT / "resources" / "demo" / "checkpoints").glob("*.safetensors"))


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth random colours with edges."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (2 + height // 32, 2 + width // 32, 3)).astype(np.uint8)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y = int(generator.integers(0, width)), int(generator.integers(0, height))
        color = [int(value) for value in generator.integers(0, 256, 3)]
        cv2.circle(fine, (x, y), int(generator.integers(5, max(6, min(height, width) // 6))), color, -1)
    return fine


def scores_of(engine: Engine, ref: ModelRef, image: NDArray[np.uint8]) -> Tensor:
    """Scores (K, h, w) of one pass at the network's resolution, on the CPU."""
    from segstudio.worker.inference import pad, padded_size

    loaded = engine.load(ref)
    network = engine._network(loaded)
    found = network.scores(pad(image, padded_size(*image.shape[:2], loaded.spec)))
    return found.logits[0].float().cpu()


def exactly(device: torch.device) -> Callable[[], None]:
    """Turns TF32 off; the result puts it back."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False

    def undo() -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before

    return undo


def _spread_classes(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Shifts and scales the last layer in `state`, so that each class has mean 0 and deviation 1."""
    with torch.no_grad():
        logits = model.scores(_normalised(picture(257, 257))).logits
    center, spread = logits.mean(dim=(0, 2, 3)), logits.std(dim=(0, 2, 3)).clamp(min=1e-6)
    classifiers = [
        key for key in state if key.endswith("conv_seg.weight") or key.endswith("linear_pred.weight")
    ]
    weight_key = next(key for key in classifiers if key.startswith("decode_head"))
    bias_key = weight_key.removesuffix("weight") + "bias"
    scale = spread.reciprocal()
    state[weight_key] = state[weight_key] * scale.reshape(-1, 1, 1, 1)
    state[bias_key] = (state[bias_key] - center) * scale


def _normalised(image: NDArray[np.uint8]) -> Tensor:
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    return (tensor - 118) / 58


def _draw(key: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        return torch.rand(tensor.shape, generator=generator) + 0.5
    if key.endswith("running_mean") or key.endswith("bias"):
        return torch.randn(tensor.shape, generator=generator) * 0.1
    if tensor.ndim >= 2:
        fan_in = math.prod(tensor.shape[1:])
        return torch.randn(tensor.shape, generator=generator) / math.sqrt(fan_in)
    return torch.rand(tensor.shape, generator=generator) + 0.5
