"""Trains the demo's three networks with the product's own command and packs their weights.

    python scripts/train_demo.py [--work build/demo] [--out resources/demo] [--quick]

CCNet is trained from drawn weights at stride 16, in two runs; DANet at stride 8 starts from its backbone, the
final CCNet and PSANet from DANet's. Runs that are finished are kept, interrupted ones are resumed. Takes
an hour and a half on two cores. `--quick` makes two steps on a few pictures in each run, in minutes: of no
use but to see that the whole chain holds.
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

# Widths, data and optimiser of every run.
COMMON = (
    "--option width=0.5 --option channels=96 --option auxiliary=false --taxonomy resources/demo/classes.json "
    "--steps-per-epoch 40 --batch 8 --crop 256x256 --optimizer adamw --threads 1 --workers 1"
)
# The first run is shown in the Train tab with the bundled pictures; the others choose their best epoch on
# pictures that are not bundled, so that the scores told for the bundled ones are of pictures never used.
SHOWN = "--val-images resources/demo/images --val-labels resources/demo/labels"
# Rare classes are learned faster when they weigh more, but then too many pixels are given to them.
FIRST = (
    "--model ccnet_mobilenet-v2-d16 --title CCNet --epochs 22 --lr 0.003 --scale 0.5-1.25 --seed 1 "
    f"--class-weights frequency --warmup-steps 40 --weight-decay 0.01 {SHOWN}"
)
SECOND = (
    "--model ccnet_mobilenet-v2-d16 --title CCNet --epochs 12 --lr 0.002 --scale 0.7-1.5 --seed 4 "
    f"--warmup-steps 40 --weight-decay 0.01 {SHOWN}"
)
# Stride 8 with a head drawn anew: attention between cells of 8 pixels. A low rate and much decay keep
# queries and keys small, so that a pixel attends to a region and not to a single cell.
FINAL = "--lr 0.001 --weight-decay 0.05 --scale 0.7-1.5 --ohem 0.5 --warmup-steps 40 --validate-every 2"
FINALS: dict[str, tuple[str, str]] = {
    "danet": (
        "second",
        "--model danet_mobilenet-v2-d8 --title DANet --epochs 16 --seed 11 --option inner_channels=12 "
        f"--option initial_gamma=0.5 {FINAL}",
    ),
    "ccnet": (
        "danet",
        "--model ccnet_mobilenet-v2-d8 --title CCNet --epochs 14 --seed 12 "
        f"--option initial_gamma=0.5 {FINAL}",
    ),
    "psanet": (
        "danet",
        "--model psanet_mobilenet-v2-d8 --title PSANet --epochs 14 --seed 13 "
        f"--option mask_size=31,31 {FINAL}",
    ),
}
TRAINING_PICTURES, TRAINING_SEED = 200, 10_000
HELD_OUT_PICTURES, HELD_OUT_SEED = 24, 50_000


def run(words: list[str]) -> None:
    print(f"$ {shlex.join(words)}", file=sys.stderr, flush=True)
    subprocess.run(words, cwd=ROOT, check=True)


def train(out: Path, settings: str, pictures: Path, *more: str, quick: bool = False) -> list[str]:
    """Makes or resumes one run; gives the command that makes it."""
    data = ["--images", str(pictures / "images"), "--labels", str(pictures / "labels"), "--out", str(out)]
    # Of an option given twice the last one counts.
    few = ["--epochs", "1", "--steps-per-epoch", "2", "--validate-every", "1"] if quick else []
    command = ["train", *settings.split(), *COMMON.split(), *data, *more, *few]
    folder = RunFolder(out)
    if not folder.exists:
        run([sys.executable, "-m", "segstudio", *command])
    elif folder.state()["state"] != "done":
        run([sys.executable, "-m", "segstudio", "train", str(out)])
    return command


def recorded(command: list[str], work: Path) -> str:
    """A command as it stands in the .json beside the weights, with the default working folder."""
    return "segstudio " + shlex.join(part.replace(str(work), "build/demo") for part in command)


def scores(model: str, weights: Path) -> dict[str, object]:
    """What `segstudio evaluate` says of the twelve bundled pictures."""
    words = ["--taxonomy", str(DEMO / "classes.json"), "--images", str(DEMO / "images")]
    words += ["--labels", str(DEMO / "labels"), "--model", model, "--weights", str(weights)]
    answer = subprocess.run(
        [sys.executable, "-m", "segstudio", "evaluate", "--json", *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    told = json.loads(answer.stdout)
    return {
        "data": "the twelve demo pictures, which no network was trained on",
        "miou": round(told["miou"], 4),
        "pixel_accuracy": round(told["pixel_accuracy"], 4),
        "iou": [None if one["iou"] is None else round(one["iou"], 4) for one in told["classes"]],
    }


def pack(name: str, folder: RunFolder, commands: list[str], demo: Path) -> None:
    """Writes, into `demo`, the best weights as float16 with their facts and scores beside them."""
    best = folder.checkpoints / "best.safetensors"
    facts = replace(read_facts(best), title=folder.recipe().title)
    tensors = {
        key: value.half() if value.is_floating_point() else value for key, value in load_file(best).items()
    }
    target = demo / "checkpoints" / f"{name}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_weights(target, tensors, facts)
    target.chmod(0o644)
    document = facts_document(facts)
    document["metrics"] = scores(facts.model, target)
    document["commands"] = commands
    document["licence"] = "Apache-2.0"
    target.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    size = target.stat().st_size
    assert size <= MOST_BYTES, f"{target.name} has {size} bytes, at most {MOST_BYTES} are allowed"
    print(f"{name}: {document['metrics']}, {size / 1e6:.2f} MB", file=sys.stderr)


def pack_run(folder: RunFolder, demo: Path) -> None:
    """Bundles the story of one run into `demo`: recipe, events, previews, log; no pictures or weights."""
    target = demo / "runs" / "run-0001"
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


def render(folder: Path, count: int, seed: int) -> Path:
    if not (folder / "classes.json").exists():
        script = str(ROOT / "scripts" / "render_demo.py")
        run([sys.executable, script, str(folder), "--train", str(count), "--seed", str(seed)])
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "demo")
    parser.add_argument("--out", type=Path, default=DEMO, help="where the weights and the shown run go")
    parser.add_argument("--quick", action="store_true", help="two steps a run, to see that the chain holds")
    arguments = parser.parse_args()
    work, demo, quick = arguments.work.absolute(), arguments.out.absolute(), arguments.quick
    pictures = render(work / "pictures", 8 if quick else TRAINING_PICTURES, TRAINING_SEED)
    held_out = render(work / "held-out", 2 if quick else HELD_OUT_PICTURES, HELD_OUT_SEED)
    validation = ("--val-images", str(held_out / "images"), "--val-labels", str(held_out / "labels"))
    told = [recorded(train(work / "runs" / "first", FIRST, pictures, quick=quick), work)]
    pack_run(RunFolder(work / "runs" / "first"), demo)
    second = train(
        work / "runs" / "second", SECOND, pictures, "--weights", best_of(work, "first"), quick=quick
    )
    chains = {"second": [*told, recorded(second, work)]}
    for name, (start, settings) in FINALS.items():
        out = work / "runs" / name
        start_from = ("--weights", best_of(work, start))
        command = train(out, settings, pictures, *validation, *start_from, quick=quick)
        chains[name] = [*chains[start], recorded(command, work)]
        pack(name, RunFolder(out), chains[name], demo)
    return 0


def best_of(work: Path, name: str) -> str:
    return str(work / "runs" / name / "checkpoints" / "best.safetensors")


if __name__ == "__main__":
    raise SystemExit(main())
