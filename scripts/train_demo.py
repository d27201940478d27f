"""Trains the demo's three networks with the product's own command and packs their weights.

    python scripts/train_demo.py [--work build/demo]

CCNet is trained from drawn weights; the final CCNet, DANet and PSANet start from it, so that the backbone
is learned once. Runs that are finished are kept, interrupted ones are resumed. About an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import load_file

from segstudio.core.recipe import write_recipe
from segstudio.core.run_folder import RunFolder
from segstudio.core.weights_facts import facts_document, read_facts
from segstudio.worker.checkpoints import write_weights

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "resources" / "demo"
MOST_BYTES = 3_000_000

COMMON = (
    "--option width=0.5 --option channels=96 --option auxiliary=false --taxonomy resources/demo/classes.json "
    "--val-images resources/demo/images --val-labels resources/demo/labels --steps-per-epoch 40 --batch 8 "
    "--crop 256x256 --optimizer adamw --weight-decay 0.01 --threads 1 --workers 1"
)
FREQUENT = "--class-weights frequency --warmup-steps 40"
FIRST = (
    "--model ccnet_mobilenet-v2-d16 --title CCNet --epochs 22 --lr 0.003 --scale 0.5-1.25 --seed 1 "
    f"{FREQUENT}"
)
# Rare classes are learned faster when they weigh more, but then too many pixels are given to them: the
# last epochs of every network weigh all pixels the same.
STEPS: dict[str, tuple[str, ...]] = {
    "danet": (
        "--model danet_mobilenet-v2-d16 --title DANet --epochs 15 --lr 0.002 --scale 0.7-1.5 --seed 2 "
        f"{FREQUENT}",
        "--model danet_mobilenet-v2-d16 --title DANet --epochs 6 --lr 0.001 --scale 0.7-1.5 --seed 5 "
        "--warmup-steps 20",
    ),
    "psanet": (
        "--model psanet_mobilenet-v2-d16 --title PSANet --option mask_size=31,47 --epochs 15 --lr 0.002 "
        f"--scale 0.7-1.5 --seed 3 {FREQUENT}",
        "--model psanet_mobilenet-v2-d16 --title PSANet --option mask_size=31,47 --epochs 6 --lr 0.001 "
        "--scale 0.7-1.5 --seed 5 --warmup-steps 20",
    ),
    "ccnet": (
        "--model ccnet_mobilenet-v2-d16 --title CCNet --epochs 12 --lr 0.002 --scale 0.7-1.5 --seed 4 "
        "--warmup-steps 40",
    ),
}
TRAINING_PICTURES = 264


def run(words: list[str]) -> None:
    print(f"$ {shlex.join(words)}", file=sys.stderr, flush=True)
    subprocess.run(words, cwd=ROOT, check=True)


def train(out: Path, settings: str, pictures: Path, *more: str) -> list[str]:
    """Makes or resumes one run; gives the command that makes it."""
    data = ["--images", str(pictures / "images"), "--labels", str(pictures / "labels"), "--out", str(out)]
    command = ["train", *settings.split(), *COMMON.split(), *data, *more]
    folder = RunFolder(out)
    if not folder.exists:
        run([sys.executable, "-m", "segstudio", *command])
    elif folder.state()["state"] != "done":
        run([sys.executable, "-m", "segstudio", "train", str(out)])
    return command


def recorded(command: list[str], work: Path) -> str:
    """A command as it stands in the .json beside the weights, with the default working folder."""
    return "segstudio " + shlex.join(part.replace(str(work), "build/demo") for part in command)


def pack(name: str, folder: RunFolder, commands: list[str]) -> None:
    """Writes the best weights as float16 with their facts beside them."""
    best = folder.checkpoints / "best.safetensors"
    facts = replace(read_facts(best), title=folder.recipe().title)
    tensors = {
        key: value.half() if value.is_floating_point() else value for key, value in load_file(best).items()
    }
    target = DEMO / "checkpoints" / f"{name}.safetensors"
    target.parent.mkdir(exist_ok=True)
    document = facts_document(facts)
    epoch = max(
        (event for event in folder.events()[0] if event["kind"] == "epoch" and event.get("miou") is not None),
        key=lambda event: event["miou"],
    )
    document["metrics"] = {
        "data": "the twelve demo pictures, which no network was trained on",
        "miou": round(epoch["miou"], 4),
        "pixel_accuracy": round(epoch["pixel_accuracy"], 4),
        "iou": [None if value is None else round(value, 4) for value in epoch["iou"]],
    }
    document["commands"] = commands
    document["licence"] = "Apache-2.0"
    write_weights(target, tensors, facts)
    target.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    target.chmod(0o644)
    size = target.stat().st_size
    assert size <= MOST_BYTES, f"{target.name} has {size} bytes, at most {MOST_BYTES} are allowed"
    print(f"{name}: mIoU {100 * epoch['miou']:.1f}, {size / 1e6:.2f} MB", file=sys.stderr)


def pack_run(folder: RunFolder) -> None:
    """Bundles the story of one run: recipe, events, previews and log; no pictures, labels or weights."""
    target = DEMO / "runs" / "run-0001"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    recipe = replace(folder.recipe(), weights="", plugin_files=())
    write_recipe(target / "run.toml", recipe)
    shown = [sample for sample in folder.samples() if sample.split == "val"]
    # Seen from <project>/.segstudio/runs/run-0001.
    lines = [{**asdict(one), "image": f"../../../{Path(one.image).name}"} for one in shown]
    (target / "dataset.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    events = folder.events()[0]
    for event in events:
        for entry in event.get("images", ()):
            entry["image"] = Path(entry["image"]).name
    (target / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    state = folder.state()
    (target / "state.json").write_text(json.dumps({**state, "reason": ""}, indent=1))
    told = [line for line in folder.log.read_text().splitlines() if "started from" not in line]
    (target / "log.txt").write_text("\n".join(told) + "\n")
    shutil.copytree(folder.previews, target / "previews")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "demo")
    work = parser.parse_args().work.absolute()
    pictures = work / "pictures"
    if not (pictures / "classes.json").exists():
        script = str(ROOT / "scripts" / "render_demo.py")
        run([sys.executable, script, str(pictures), "--train", str(TRAINING_PICTURES)])
    first = work / "runs" / "first"
    train(first, FIRST, pictures)
    pack_run(RunFolder(first))
    for name, steps in STEPS.items():
        commands, start = [], first
        for number, settings in enumerate(steps, 1):
            out = work / "runs" / f"{name}-{number}"
            weights = str(start / "checkpoints" / "best.safetensors")
            command = train(out, settings, pictures, "--weights", weights)
            commands.append(recorded(command, work))
            start = out
        pack(name, RunFolder(start), commands)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
