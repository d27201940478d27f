"""A switched part that works from the picture's labels gets them from the project (real worker)."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from segstudio import cli
from segstudio.core.errors import UserError
from segstudio.runtime.predictions import Predictions
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef
from tests.gui.street_project import Bench, make_project, street
from tests.gui.true_regions_plugin import TRUE_REGIONS

WAIT = 180_000
TRUTH = {"regions": "truth"}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "true_regions.py"
    file.write_text(TRUE_REGIONS, encoding="utf-8")
    return file


@pytest.fixture
def predictions(qtbot, tmp_path, monkeypatch, plugin):
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    bench = Bench(make_project(tmp_path, [street(width=150, seed=seed) for seed in range(2)]), plugin)
    bench.shelf.refresh()
    bench.session.open(tmp_path / "Streets")
    qtbot.waitUntil(lambda: "true_regions/net" in {each.key for each in bench.shelf.runnable}, timeout=WAIT)
    qtbot.waitUntil(lambda: bench.session.label_map is not None, timeout=WAIT)
    made = Predictions(bench.session, bench.worker, bench.reader)
    made.model = next(each for each in bench.shelf.runnable if each.key == "true_regions/net")
    made.session = bench.session
    yield made
    made.close()
    bench.close()


def test_the_labels_of_the_project_reach_the_network_and_old_ones_are_forgotten(qtbot, predictions):
    session = predictions.session
    image_id = session.images[0].id
    with qtbot.waitSignal(predictions.ready, timeout=WAIT):
        key = predictions.request(predictions.model, image_id, switches=TRUTH)
    result = predictions.get(key, image_id)
    labels = session.label_map.array
    known = labels != 255
    assert len(np.unique(labels[known])) >= 3
    assert (result.labels[known] == labels[known]).all()
    assert (result.labels[~known] == 0).all()

    recorder = session.edits.begin_stroke()
    recorder.touch(0, 0, 20, 20)
    session.label_map.array[:20, :20] = 7
    session.edits.finish_stroke("brush", 7)
    qtbot.waitUntil(lambda: session.saving.saved, timeout=WAIT)
    assert predictions.get(key, image_id) is None
    with qtbot.waitSignal(predictions.ready, timeout=WAIT):
        predictions.request(predictions.model, image_id, switches=TRUTH)
    assert (predictions.get(key, image_id).labels[:20, :20] == 7).all()


def test_a_picture_without_labels_is_told_in_one_sentence(qtbot, predictions):
    unlabelled = predictions.session.images[-1].id
    with qtbot.waitSignal(predictions.failed, timeout=WAIT) as failed:
        predictions.request(predictions.model, unlabelled, switches=TRUTH)
    assert "needs the picture's labels" in str(failed.args[2])
    with qtbot.waitSignal(predictions.ready, timeout=WAIT):
        predictions.request(predictions.model, unlabelled, switches={"regions": "predicted"})


def test_damaged_labels_end_the_request_with_their_sentence(qtbot, predictions, monkeypatch):
    def damaged(_project, _image_id):
        raise UserError("A tile of the labels is damaged")

    monkeypatch.setattr(type(predictions.session.project), "load_labels", damaged)
    image_id = predictions.session.images[0].id
    with qtbot.waitSignal(predictions.failed) as failed:
        key = predictions.request(predictions.model, image_id, switches=TRUTH)
    assert "damaged" in str(failed.args[2])
    assert not predictions.is_pending(key, image_id)


def test_evaluate_gives_the_bound_that_true_regions_set(tmp_path, plugin, capsys):
    images, labels = tmp_path / "images", tmp_path / "labels"
    for number in range(2):
        picture, truth = street(width=100, seed=number)
        for folder, pixels in ((images, picture), (labels, truth)):
            folder.mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"{number}.png"), pixels)
    words = ["evaluate", "--plugin", str(plugin), "--model", "true_regions/net", "--json"]
    words += ["--images", str(images), "--labels", str(labels)]
    assert cli.run([*words, "--switch", "regions=truth"]) == 0
    assert json.loads(capsys.readouterr().out)["pixel_accuracy"] == 1
    assert cli.run(words) == 0
    assert json.loads(capsys.readouterr().out)["pixel_accuracy"] < 0.9


def test_a_picture_that_needs_tiles_is_refused(plugin):
    engine = Engine([plugin], device="cpu", memory=1_000_000)
    ref = ModelRef("true_regions/net", switches=TRUTH)
    image = np.zeros((900, 900, 3), np.uint8)
    with pytest.raises(UserError, match="takes a picture whole"):
        engine.predict(ref, image, labels=np.zeros((900, 900), np.uint8))
