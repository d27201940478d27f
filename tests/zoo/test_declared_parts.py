"""What catalog entries of dense heads declare is there: options, probes, switches, side outputs."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo import catalog, create_model
from segstudio_zoo.names import resolve

MODELS = (
    "nonlocal_r18-d8",
    "ann_r18-d8",
    "encnet_r18-d8",
    "gcnet_r18-d8",
    "ocrnet_hr18s",
    "icnet_r18-d8",
    "pointrend_r18",
    "bisenetv1_r18-d32",
    "bisenetv2",
    "pspnet_r18-d8",
    "sem_fpn_r18",
    "fcn_resnest14",
)
LOOKED_INTO = (
    *MODELS,
    "ccnet_r18-d8",
    "danet_r18-d8",
    "psanet_r18-d8",
    "deeplabv3_r18-d8",
    "dpt_vit-t16",
    "segmenter_vit-t_mask",
    "segformer_mit-b0",
    "segnext_mscan-t",
    "upernet_beit-tiny",
    "lraspp_mobilenet-v3-small-d8",
)
NEEDS_LABELS = {("ocr_regions", "truth")}


def function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def entries(name: str) -> list[Any]:
    found = resolve(name)
    return [entry for entry in (found.segmentor, found.backbone) if entry is not None]


@pytest.mark.parametrize("name", MODELS)
def test_declared_options_are_those_of_the_builder_with_its_defaults(name: str) -> None:
    for entry in entries(name):
        parameters = inspect.signature(function(entry.build)).parameters
        for option in entry.options:
            assert option.name in parameters, option.name
            default = parameters[option.name].default
            assert default == option.default, option.name
            assert not option.choices or option.default in option.choices, option.name


CHOICES = [
    (entry, option)
    for entry in catalog.entries()
    for option in entry.options
    if option.kind == "choice" and option.choices
]


@pytest.mark.parametrize(
    ("entry", "option"), CHOICES, ids=lambda part: getattr(part, "id", None) or part.name
)
def test_a_value_that_is_none_of_the_choices_is_refused_with_the_choices(entry: Any, option: Any) -> None:
    segmentor = isinstance(entry, catalog.SegmentorEntry)
    name = entry.id if segmentor else entry.variants[0].name
    with pytest.raises(ValueError, match=re.escape(repr(option.choices[0]))) as raised:
        create_model(name, **{option.name: "foo"})
    assert repr(option.name) in str(raised.value) and "'foo'" in str(raised.value)


def test_settings_of_published_names_are_among_the_choices() -> None:
    for entry in catalog.entries():
        choices = {option.name: option.choices for option in entry.options if option.choices}
        variants = entry.variants if isinstance(entry, catalog.BackboneEntry) else ()
        for named in (*entry.models, *variants):
            for option, value in named.settings:
                assert option not in choices or value in choices[option], (named.name, option)


@pytest.mark.parametrize("name", MODELS)
def test_every_declared_probe_answers_as_declared(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3)
    image = torch.randn(1, 3, 64, 96)
    for entry in entries(name):
        for spec in entry.probes:
            probe = function(spec.build)()
            with torch.no_grad(), probe.attach(model) as captured:
                model.scores(image)
            assert captured.nbytes > 0, spec.id
            options = {option.name: option.default for option in spec.options}
            shown = probe.map(captured, Query(kind=spec.query, y=20, x=50, index=1), **options)
            assert isinstance(shown, ProbeMap)
            assert shown.kind == spec.kind, spec.id
            assert shown.values.dtype == np.float32, spec.id
            assert np.isfinite(shown.values).all(), spec.id
            assert shown.values.size, spec.id
            if spec.rows_sum_to_one and shown.rows_sum_to_one:
                weights = shown.values[:, 4] if spec.kind == "regions" else shown.values
                assert weights.sum() == pytest.approx(1, abs=1e-4), spec.id


@pytest.mark.parametrize("name", LOOKED_INTO)
def test_probes_that_look_at_one_run_answer_as_each_alone(name: str) -> None:
    """The window attaches all probes of a network at once, several of them to one module."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=3)
    image = torch.randn(1, 3, 64, 96)
    specs = [spec for entry in entries(name) for spec in entry.probes]

    def answer(spec: Any, probe: Any, captured: Any) -> Any:
        options = {option.name: option.default for option in spec.options}
        return probe.map(captured, Query(kind=spec.query, y=20, x=50, index=1), **options).values

    alone = []
    for spec in specs:
        probe = function(spec.build)()
        with torch.no_grad(), probe.attach(model) as captured:
            model.scores(image)
        alone.append(answer(spec, probe, captured))
    with ExitStack() as stack, torch.no_grad():
        probes = [function(spec.build)() for spec in specs]
        kept = [stack.enter_context(probe.attach(model)) for probe in probes]
        model.scores(image)
    for spec, probe, captured, expected in zip(specs, probes, kept, alone, strict=True):
        if spec.id != "branch_times":
            np.testing.assert_array_equal(answer(spec, probe, captured), expected, err_msg=spec.id)


@pytest.mark.parametrize("name", MODELS)
def test_every_declared_switch_leaves_the_model_as_it_found_it(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        normal = model.scores(image).logits
        for entry in entries(name):
            for spec in entry.switches:
                assert spec.trained in spec.choices
                with function(spec.apply)(model, spec.trained):
                    assert torch.equal(model.scores(image).logits, normal), spec.id
                for choice in spec.values(model.num_classes)[:8]:
                    if (spec.id, choice) in NEEDS_LABELS:
                        continue
                    with function(spec.apply)(model, choice):
                        assert torch.isfinite(model.scores(image).logits).all(), (spec.id, choice)
                assert torch.equal(model.scores(image).logits, normal), spec.id


@pytest.mark.parametrize("name", MODELS)
def test_declared_side_outputs_are_those_there_are(name: str) -> None:
    model = create_model(name, num_classes=3)
    with torch.no_grad():
        sides = model.side_outputs(torch.randn(1, 3, 64, 96))
    segmentor = resolve(name).segmentor
    assert segmentor is not None
    assert set(sides) == set(segmentor.side_outputs)


def test_probe_and_switch_ids_of_one_model_do_not_repeat() -> None:
    backbones = catalog.backbones()
    for segmentor in catalog.segmentors():
        for backbone in backbones:
            for field in ("probes", "switches"):
                ids = [spec.id for entry in (segmentor, backbone) for spec in getattr(entry, field)]
                assert len(ids) == len(set(ids)), (segmentor.id, backbone.id, ids)
