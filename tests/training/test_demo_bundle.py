"""What the demo ships: pictures with exact labels, small networks, the story of a run; and its size."""

import json
import sys

import cv2
import numpy as np
import pytest

from segstudio.core import palette_png
from segstudio.core.resources import resource
from segstudio.core.run_folder import RunFolder
from segstudio.core.taxonomies import load_taxonomy
from segstudio.core.weights_facts import read_facts
from segstudio.runtime.run_history import RunHistory

CHECKPOINTS = ("ccnet", "danet", "psanet")


@pytest.fixture
def street(monkeypatch):
    """The renderer; it lies with the scripts, outside the package."""
    monkeypatch.syspath_prepend(str(resource().parent / "scripts"))
    from street import picture, scene

    yield picture, scene
    for name in [name for name in sys.modules if name.split(".")[0] == "street"]:
        del sys.modules[name]


def test_a_seed_is_a_picture_and_another_seed_is_another(street):
    _, scene = street
    first = scene.render(3, (96, 64), supersample=2)
    again = scene.render(3, (96, 64), supersample=2)
    other = scene.render(4, (96, 64), supersample=2)
    assert first[0].shape == (64, 96, 3) and first[1].shape == (64, 96)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_every_bundled_picture_has_labels_of_its_size_and_all_classes_occur(street):
    picture, _ = street
    classes = load_taxonomy(str(resource("demo", "classes.json"))).classes
    assert [(entry.name, entry.color) for entry in classes] == list(picture.CLASSES)
    pictures = sorted(resource("demo", "images").iterdir())
    assert len(pictures) == 12
    seen = np.zeros(len(classes), np.int64)
    for path in pictures:
        labels, palette = palette_png.read(resource("demo", "labels", f"{path.stem}.png"))
        assert labels.shape == cv2.imread(str(path)).shape[:2]
        assert palette[: len(classes)] == tuple(entry.color for entry in classes)
        seen += np.bincount(labels.ravel(), minlength=len(classes))
    assert (seen > 10_000).all()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_network_is_small_knows_its_classes_and_says_how_it_was_made(name):
    path = resource("demo", "checkpoints", f"{name}.safetensors")
    assert path.stat().st_size <= 3_000_000
    facts = read_facts(path)
    assert facts.model == f"segstudio_zoo/{name}_mobilenet-v2-d8"
    assert facts.num_classes == len(facts.classes) == 8
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert document["metrics"]["miou"] > 0.75
    assert all(command.startswith("segstudio train --model ") for command in document["commands"])


def test_the_bundled_run_shows_a_network_that_learns():
    run = RunFolder(resource("demo", "runs", "run-0001"))
    history = RunHistory()
    history.feed(run.events()[0])
    assert history.epochs[0].miou < 0.2 < 0.6 < history.epochs[-1].miou
    for epoch in history.epochs:
        for preview in history.previews:
            assert (run.previews / f"epoch-{epoch.number:04d}" / f"{preview.index}.png").exists()
    assert run.recipe().num_classes == 8 and run.state()["state"] == "done"


def test_the_resources_stay_small():
    total = sum(path.stat().st_size for path in resource().rglob("*") if path.is_file())
    assert total <= 15_000_000
