"""The checks for plugin authors find what they promise to find."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from segstudio.plugin_api import (
    Loss,
    ModelSpec,
    Option,
    Pictures,
    Plugin,
    Prediction,
    Preprocess,
    PretrainingSpec,
    ProbeMap,
    ProbeSpec,
    Scores,
    SwitchSpec,
    conformance,
)
from segstudio.worker.plugin_check import check_all

SPEC = ModelSpec(
    "good/net",
    "Net",
    "Net",
    build="good:build",
    options=(Option("width", "int", 8, minimum=1),),
    probes=(ProbeSpec("energy", "Energy", "good:energy"),),
    switches=(SwitchSpec("gate", "Gate", "good:gate", (True, False), True),),
)


class Net(nn.Module):
    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.gain = 1.0

    def scores(self, image: torch.Tensor) -> Scores:
        return Scores(self.layer(image) * self.gain)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(self.scores(image).logits, image.shape[2:], mode="bilinear")


def changed(**fields: Any) -> Plugin:
    return Plugin("good", "Good", (dataclasses.replace(SPEC, **fields),))


def test_good_facts_pass() -> None:
    assert conformance.check_plugin(changed()) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "bad/net"}, "an id is"),
        ({"build": "good.build"}, "module:function"),
        ({"build": ""}, "names no build"),
        ({"min_size": 0}, "at least 1"),
        ({"preprocess": Preprocess(std=(0.0, 1.0, 1.0))}, "std"),
        ({"options": (Option("width", "int", 0, minimum=1),)}, "below"),
        ({"options": (Option("kind", "choice", "x", choices=("a", "b")),)}, "none of its choices"),
        ({"options": SPEC.options * 2}, "occurs twice"),
        ({"side_outputs": ("auxiliary", "auxiliary")}, "side output 'auxiliary' occurs twice"),
        ({"switches": (SwitchSpec("gate", "Gate", "good:gate", (False,), True),)}, "no choice of it"),
        ({"year": "1999"}, "expected int"),
    ],
)
def test_wrong_facts_are_named(fields: dict[str, Any], said: str) -> None:
    problems = conformance.check_plugin(changed(**fields))
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda image: None, "expected a Prediction"),
        (lambda image: Prediction(np.zeros((2, 2), np.uint8)), "label_map is"),
        (lambda image: Prediction(np.full(image.shape[:2], 7, np.uint8)), "there are 3 classes"),
        (
            lambda image: Prediction(
                np.zeros(image.shape[:2], np.uint8), np.full(image.shape[:2], 2, np.float32)
            ),
            "0..1",
        ),
        (
            lambda image: Prediction(image.__setitem__(..., 0) or np.zeros(image.shape[:2], np.uint8)),
            "changed its input",
        ),
        (lambda image: [][0], "raised IndexError"),
    ],
)
def test_wrong_predictions_are_named(answer: Any, said: str) -> None:
    class Model:
        def predict(self, image: np.ndarray, *, cancel: Any) -> Any:
            return answer(image)

    problems = conformance.check_predictor(Model(), num_classes=3)
    assert any(said in problem for problem in problems), problems


def test_a_good_segmentor_passes_and_a_forward_of_its_own_does_not() -> None:
    assert conformance.check_segmentor(Net().eval(), SPEC) == []

    class Doubled(Net):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(image)

    assert "forward is not scores" in conformance.check_segmentor(Doubled(), SPEC)[0]

    class Batched(Net):
        def scores(self, image: torch.Tensor) -> Scores:
            return Scores(self.layer(image - image.mean(dim=0)))

    assert any("neighbours" in problem for problem in conformance.check_segmentor(Batched(), SPEC))


def test_declared_side_outputs_have_to_be_there_and_to_score_all_classes() -> None:
    class Sided(Net):
        def side_outputs(self, image: torch.Tensor) -> dict[str, Scores]:
            logits = self.scores(image).logits
            return {"coarse": Scores(logits[:, :, ::2, ::2]), "short": Scores(logits[:, :1])}

    model = Sided().eval()
    assert conformance.check_side_outputs(Net().eval(), SPEC) == [], "none is declared"
    found = conformance.check_side_outputs(
        model, dataclasses.replace(SPEC, side_outputs=("coarse", "middle"))
    )
    assert found[0] == "side_outputs lacks 'middle'"
    assert "side output 'short' is (1, 1, " in found[1] and len(found) == 2
    declared = dataclasses.replace(SPEC, side_outputs=("coarse",))
    assert "raised AttributeError" in conformance.check_side_outputs(Net().eval(), declared)[0]


def test_a_probe_that_disturbs_and_a_switch_that_stays_are_found() -> None:
    class Disturbing:
        nbytes = 0

        @contextmanager
        def attach(self, model: Net) -> Any:
            model.gain = 2.0
            yield self
            model.gain = 1.0

        def map(self, captured: Any, query: Any) -> ProbeMap:
            return ProbeMap(np.ones((2, 2), np.float32), rows_sum_to_one=True)

    problems = conformance.check_probe(Net().eval(), SPEC, "energy", Disturbing())
    assert any("changes the network" in problem for problem in problems)
    assert any("sum to 4" in problem for problem in problems)

    @contextmanager
    def gate(model: Net, value: bool) -> Any:
        model.gain = 1.0 if value else 0.0
        yield

    problems = conformance.check_switch(Net().eval(), SPEC, "gate", gate, (True, False))
    assert problems == ["switch gate = False leaves the network changed"]


def test_a_switch_may_refuse_a_value_that_this_network_lacks_but_not_break_on_it() -> None:
    @contextmanager
    def absent(model: Net, value: int) -> Any:
        if value >= 2:
            raise ValueError(f"there is no class {value}: this network has 2 classes")
        yield

    @contextmanager
    def breaking(model: Net, value: int) -> Any:
        if value >= 2:
            raise RuntimeError("sizes differ")
        yield

    @contextmanager
    def refusing(model: Net, value: int) -> Any:
        raise ValueError("no")
        yield

    net = Net().eval()
    assert not conformance.check_switch(net, SPEC, "absent", absent, (-1, 0, 1, 2, 3))
    broken = conformance.check_switch(net, SPEC, "absent", breaking, (-1, 2))
    assert broken == ["switch absent = 2 raised RuntimeError: sizes differ"]
    refused = conformance.check_switch(net, SPEC, "absent", refusing, (-1, 2))
    assert refused == ["switch absent refuses all of its values: no"]


class Fills(torch.nn.Module):
    """A way of pre-training that is as it should be; tests break one part of it."""

    image_size, cell = (16, 24), 8

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def losses(self, image: torch.Tensor) -> dict[str, Loss]:
        return {"loss": Loss((self.scale * image).square().sum(), torch.tensor(float(image.numel())))}

    def pictures(
        self, image: torch.Tensor, hidden: object = None, *, seed: int = 0, **how: object
    ) -> Pictures:
        hidden = torch.rand((2, 2, 3), generator=torch.Generator().manual_seed(seed)) < 0.5
        return Pictures({"filled": image}, hidden, torch.zeros(2, 2, 3))

    def param_groups(self, lr: float) -> list[dict[str, object]]:
        return [{"params": [self.scale], "lr": lr}]

    def advance(self, fraction: float) -> None:
        self.fraction = fraction


WAY = PretrainingSpec("p/fill", "Fill", build="p:build", options=(Option("image_size", "ints", (16, 24)),))


def test_a_way_of_pretraining_that_does_not_fit_is_told() -> None:
    assert conformance.check_pretraining(Fills(), WAY) == []
    assert "has no losses" in conformance.check_pretraining(torch.nn.ReLU(), WAY)[0]

    def broken(**parts: object) -> list[str]:
        model = Fills()
        for name, part in parts.items():
            setattr(model, name, part)
        return conformance.check_pretraining(model, WAY)

    image = torch.zeros(2, 3, 16, 24)
    assert "image_size is 16" in broken(image_size=16)[0]
    assert "gave none" in broken(losses=lambda image: {})[0]
    assert "no finite sum" in broken(losses=lambda image: {"a": Loss(image.sum(), torch.tensor(1.0))})[0]
    assert "raised ZeroDivisionError" in broken(losses=lambda image: 1 / 0)[0]
    assert "gave no parameters" in broken(param_groups=lambda lr: [])[0]
    assert "expected Pictures" in broken(pictures=lambda image, seed: image)[0]
    assert "no views" in broken(pictures=lambda image, seed: Pictures({}))[0]
    assert "view 'a' is (1,)" in broken(pictures=lambda image, seed: Pictures({"a": image[0, 0, 0, :1]}))[0]
    small = torch.zeros(2, 1, 1, dtype=torch.bool)
    assert "hidden is (2, 1, 1)" in broken(pictures=lambda image, seed: Pictures({"a": image}, small))[0]
    drawn = iter((torch.zeros(2, 2, 3), torch.ones(2, 2, 3)))
    assert broken(pictures=lambda _, seed: Pictures({"a": image}, next(drawn))) == [
        "the same seed hid other cells"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "other/fill"}, "an id is 'p', a slash"),
        ({"title": ""}, "has no title"),
        ({"build": ""}, "names no build"),
        ({"build": "nowhere"}, "nowhere"),
        ({"options": ()}, 'no option "image_size"'),
        (
            {"options": (*WAY.options, Option("start", "weights", None, needed_for=("goal", "tokens")))},
            "option start is needed for goal = 'tokens', no choice",
        ),
    ],
)
def test_facts_of_a_way_of_pretraining_are_checked(changes: dict[str, Any], words: str) -> None:
    assert conformance.check_plugin(Plugin("p", "P", (), pretraining=(WAY,))) == []
    found = conformance.check_plugin(Plugin("p", "P", (), pretraining=(dataclasses.replace(WAY, **changes),)))
    assert any(words in problem for problem in found), found
    twice = conformance.check_plugin(Plugin("p", "P", (), pretraining=(WAY, WAY)))
    assert twice == ["p/fill is declared twice"]
    assert conformance.check_plugin(Plugin("p", "P", ())) == ["the plugin declares no models"]


NEEDS_A_FILE = """
from segstudio.plugin_api import Option, Plugin, PretrainingSpec

def build(name, *, image_size, start=None, goal="tokens"):
    raise ValueError(f"built for {goal} with {start}")

def way(name, *choices):
    size, goal = Option("image_size", "ints", (8, 8)), Option("goal", "choice", "tokens", choices=choices)
    start = Option("start", "weights", None, needed_for=("goal", "tokens"))
    return PretrainingSpec(f"p/{name}", name, build="p:build", options=(size, start, goal))

PLUGIN = Plugin("p", "P", (), pretraining=(way("both", "tokens", "pixels"), way("one", "tokens")))
"""


def test_a_way_that_needs_a_file_is_run_where_a_choice_needs_none(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(NEEDS_A_FILE)
    told: list[str] = []
    problems = check_all(str(tmp_path / "p.py"), lambda place, ways, words: told.append(words))
    assert problems == ["p/both: build raised ValueError: built for pixels with None"]
    assert told == [
        "p/both with goal = pixels, since tokens needs a start",
        "p/one is not run: it needs a start",
    ]
