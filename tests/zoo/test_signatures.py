"""The stored signatures are those of the networks, and every declared variant is identified from its keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from segstudio.plugin_api import Option
from segstudio_zoo import (
    catalog,
    create_model,
    identify,
    list_models,
    load_checkpoint,
    signatures,
    skeletons,
)
from segstudio_zoo.names import resolve
from tests.zoo.smallest import NUM_CLASSES, SMALLEST


def test_every_listed_name_has_a_signature() -> None:
    stored = json.loads(signatures.FILE.read_text())
    assert set(stored["models"]) == set(list_models())


def test_signatures_know_the_options_that_the_catalog_declares() -> None:
    # anew: python -m segstudio_zoo.signatures
    stored = json.loads(signatures.FILE.read_text())["options"]
    entries = (*catalog.segmentors(), *catalog.backbones())
    assert stored == {entry.id: signatures.declared(entry) for entry in entries}


@pytest.mark.long
def test_signatures_are_those_of_the_networks_as_they_are() -> None:
    # anew: python -m segstudio_zoo.signatures
    assert signatures.FILE.read_text() == signatures.text(signatures.written())


@pytest.mark.parametrize("name", ["fcn_hr48", "deeplabv3_r101-d8", "segformer_mit-b5", "hrnet-w48"])
def test_a_listed_network_is_identified_almost_without_building(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    build = skeletons.built

    def counted(what: str, **arguments: object) -> nn.Module:
        built.append(what)
        return build(what, **arguments)

    with torch.device("meta"):
        state = create_model(name, num_classes=23).state_dict()
    monkeypatch.setattr(skeletons, "built", counted)
    found = identify(state)
    assert found[0].name == name and found[0].options == {}
    assert found[0].num_classes == (None if name == "hrnet-w48" else 23)
    assert len(built) <= 2


ON_RESIDUAL = {("deeplabv3", "arrangement", "cascaded"), ("gcnet", "placement", "blocks")}
"""Parts that only a residual network can have."""

ON_PYRAMID = {("ocrnet", "levels", "all"): {"backbone": "hr18s"}}
ON_TRANSFORMER = {
    ("upernet", "neck", value): {"backbone": "vit-t16"} for value in ("pyramid", "levels", "none")
}

NO_KEYS = {
    "no weights": {
        ("ann", "sampling"),
        ("bisenetv1", "context_resize"),
        ("ccnet", "recurrence"),
        ("danet", "channel_softmax"),
        ("dpt", "upsample"),
        ("dpt", "auxiliary_level"),
        ("encnet", "aggregation"),
        ("encnet", "gate_residual"),
        ("fcn", "dilation"),
        ("fcn", "auxiliary_dilation"),
        ("nonlocal", "use_scale"),
        ("pointrend", "subdivision_steps"),
        ("psanet", "shrink_factor"),
        ("psanet", "psa_softmax"),
        ("psanet", "projection_padding"),
        ("segformer", "fusion_order"),
        ("segnext", "rank"),
        ("segnext", "steps"),
    },
    "how it is trained": {
        ("ccnet", "leaky"),
        ("icnet", "label_guidance"),
        ("pointrend", "subdivision_points"),
        ("pointrend", "training_points"),
        ("segnext", "train_steps"),
    },
    "one kernel, cells or offsets: `note` says so": {("psanet", "compact")},
    "the same projections without a softmax": {("nonlocal", "instantiation", "dot_product")},
}
"""Option (or one value of it) that leaves every key and shape as by default: reason -> options."""

ALIKE = {
    ("psanet", "direction", "distribute"): "keys of collect: `note` says so",
    ("dpt", "readout", "add"): "keys of ignore: `note` says so",
}
"""Values whose keys are those of another value that is not the default."""


def _values(option: Option) -> tuple[Any, ...]:
    """Every declared choice, and for whole numbers one that differs from the default."""
    if option.kind == "bool":
        return (not option.default,)
    if option.kind == "choice":
        return tuple(choice for choice in option.choices if choice != option.default)
    if option.kind == "int":
        default = option.default if isinstance(option.default, int) else 8
        other = int(max(2 * default or 3, option.minimum or 0))
        if option.maximum is not None:
            other = min(other, int(option.maximum))
        return (other,) if other != default else (default - 1,)
    return ()


def option_cases() -> list[Any]:
    cases = []
    for entry in catalog.segmentors():
        for option in entry.options:
            for value in _values(option):
                quick = option.kind in ("bool", "choice")
                marks = [] if quick else [pytest.mark.long]
                cases.append(
                    pytest.param(
                        entry.id, option.name, value, marks=marks, id=f"{entry.id}-{option.name}={value}"
                    )
                )
    return cases


def _setting(family: str, option: str, value: Any) -> dict[str, Any]:
    case = (family, option, value)
    if case in ON_RESIDUAL:
        return {"backbone": "r18-d8"}
    return {**ON_PYRAMID, **ON_TRANSFORMER}.get(case, SMALLEST[family])


def _network(family: str, settings: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return create_model(family, num_classes=NUM_CLASSES, **settings)


@pytest.mark.parametrize(("family", "option", "value"), option_cases())
def test_every_declared_option_is_identified_from_keys(family: str, option: str, value: Any) -> None:
    settings = _setting(family, option, value)
    model = _network(family, {**settings, option: value})
    state = model.state_dict()
    shapes = {key: tensor.shape for key, tensor in state.items()}
    plain = {key: tensor.shape for key, tensor in _network(family, settings).state_dict().items()}
    untold = {case for cases in NO_KEYS.values() for case in cases}
    told = shapes != plain
    if not told:
        by_backbone = settings is not SMALLEST[family]
        assert by_backbone or {(family, option), (family, option, value)} & untold

    matches = [match for match in identify(state) if resolve(match.name).segmentor is model_entry(family)]
    assert matches, "none of ours"
    found = matches[0]
    assert found.num_classes == NUM_CLASSES
    with torch.device("meta"):
        again = create_model(found.name, num_classes=found.num_classes, **found.options)
    report = load_checkpoint(again, state)
    assert not (report.missing or report.unexpected or report.mismatched or report.unused)
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == shapes
    if told and (family, option, value) not in ALIKE:
        defaults = {declared.name: declared.default for declared in model_entry(family).options}
        chosen = {**defaults, **resolve(found.name).settings, **found.options}
        assert chosen[option] == value


def model_entry(family: str) -> Any:
    return next(entry for entry in catalog.segmentors() if entry.id == family)


@pytest.mark.parametrize("case", sorted(ALIKE))
def test_what_keys_leave_open_is_said(case: tuple[str, str, str]) -> None:
    family, option, value = case
    found = identify(_network(family, {**SMALLEST[family], option: value}).state_dict())[0]
    assert option in found.note and found.options[option] in found.note and value[:5] in found.note
    assert identify(_network("fcn", SMALLEST["fcn"]).state_dict())[0].note == ""


COMBINED = {
    "danet": {"branches": "channel", "auxiliary": False},
    "deeplabv3": {"image_pool": False, "projection": "1x1", "channels": 48},
    "deeplabv3plus": {"separable_aspp": False, "separable_decoder": False},
    "dpt": {"channels": 96, "residual_norm": False, "readout": "ignore"},
    "encnet": {"second_encoding": True, "se_loss": False, "lateral": True},
    "nonlocal": {"instantiation": "concatenation", "sub_sample": True},
    "pointrend": {"coarse": "deeplabv3", "point_layers": 2},
}


@pytest.mark.parametrize("family", sorted(COMBINED))
def test_options_together_are_identified(family: str) -> None:
    options = COMBINED[family]
    state = _network(family, {**SMALLEST[family], **options}).state_dict()
    found = identify(state)[0]
    assert resolve(found.name).segmentor is model_entry(family)
    assert {key: found.options.get(key) for key in options} == options


@pytest.mark.parametrize(("levels", "name"), [("all", "fcn_r50-d8"), ("first", "fcn_mobilenet-v2-d8")])
def test_the_features_that_fcn_reads_are_inferred_without_trying_networks(
    levels: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        state = create_model(name, num_classes=23, levels=levels).state_dict()
    tried: list[str] = []
    build = skeletons.built

    def counted(what: str, **arguments: object) -> nn.Module:
        tried.append(what)
        return build(what, **arguments)

    monkeypatch.setattr(skeletons, "built", counted)
    found = identify(state)[0]
    assert (found.name, found.num_classes, found.options) == (name, 23, {"levels": levels})
    assert len(tried) <= 8
