"""Writes a network with its weights for other programs: safetensors with its facts inside, or ONNX."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from segstudio.commands.model_arguments import add_model_arguments, model_ref
from segstudio.core.errors import UserError
from segstudio.core.weights_facts import WeightsFacts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors or .onnx")
    parser.add_argument("--half", action="store_true", help="16-bit weights, half the size (safetensors)")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(512, 512), metavar=("WIDTH", "HEIGHT"), help="ONNX input"
    )


def run(arguments: argparse.Namespace) -> int:
    kind = arguments.out.suffix.lower()
    if kind not in (".safetensors", ".onnx"):
        raise UserError(f"--out {arguments.out.name} is neither .safetensors nor .onnx")
    if kind == ".onnx" and importlib.util.find_spec("onnxscript") is None:
        raise UserError(
            "ONNX files need the packages onnx and onnxscript", action="pip install segstudio[long]"
        )
    from segstudio.registry import Registry
    from segstudio.worker.devices import choose
    from segstudio.worker.loaded_models import load_model

    loaded = load_model(Registry(arguments.plugin), model_ref(arguments), choose("cpu"), optimise=False)
    if not loaded.is_torch:
        raise UserError(f"{loaded.spec.id} is no torch network and cannot be exported")
    if kind == ".safetensors":
        from segstudio.worker.checkpoints import write_weights

        facts = WeightsFacts(
            model=loaded.spec.id,
            title=loaded.spec.title,
            num_classes=loaded.num_classes,
            options=dict(loaded.options),
            preprocess=loaded.preprocess,
            classes=loaded.classes,
        )
        tensors = loaded.model.state_dict()
        if arguments.half:
            tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        write_weights(arguments.out, tensors, facts)
    else:
        _write_onnx(loaded.model, arguments)
    return 0


def _write_onnx(model: object, arguments: argparse.Namespace) -> None:
    import torch

    from segstudio.core.atomic_file import replacing

    width, height = arguments.size
    with replacing(arguments.out) as temporary:
        torch.onnx.export(
            model,
            (torch.zeros((1, 3, height, width)),),
            str(temporary),
            input_names=["image"],
            output_names=["logits"],
            external_data=False,
            dynamo=True,
        )
