"""Pages made from the catalog hold what the catalog says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from segstudio.plugin_api import Loss
from segstudio_zoo import catalog, create_model
from segstudio_zoo.catalog.entry import SegmentorEntry
from segstudio_zoo.catalog.losses import LOSSES, PRETRAINING
from segstudio_zoo.catalog.pages import file_name, survey_page, write_pages
from segstudio_zoo.catalog.pretraining import specs_of
from segstudio_zoo.catalog.published import published
from segstudio_zoo.key_map import key_maps


def test_every_system_gets_a_page_with_paper_options_probes_and_switches(tmp_path: Path) -> None:
    write_pages(tmp_path)
    for entry in catalog.entries():
        text = (tmp_path / file_name(entry)).read_text(encoding="utf-8")
        assert entry.paper.title in text and entry.paper.authors in text
        for item in (*entry.probes, *entry.switches):
            assert f"(`{item.id}`)" in text
        for option in entry.options:
            assert f"| `{option.name}` |" in text
        for probe in entry.probes:
            assert probe.help, f"{entry.id}: {probe.id} does not say what it shows"
            for option in probe.options:
                assert f"| `{probe.id}` | `{option.name}` |" in text and option.help in text
        for loss in LOSSES.get(entry.id, ()) + PRETRAINING.get(entry.id, ()):
            assert f"| `{loss.name}` | {loss.weight:g} | {loss.meaning} |" in text
        for spec in specs_of(entry.id):
            assert f"| `{spec.name}` |" in text
            assert all(f"| `{option.name}` |" in text for option in spec.options)
        layouts = {key_map.layout for key_map in key_maps(entry.build.partition(":")[0])}
        assert all(layout in text for layout in layouts)
        for sentence in entry.deviations:
            assert sentence in text and sentence in survey_page()


def test_every_published_checkpoint_stands_on_one_page_with_its_figures(tmp_path: Path) -> None:
    write_pages(tmp_path)
    pages = "\n".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("*.md"))
    for item in published():
        if item.model:
            assert pages.count(f"]({item.url}) | {item.dataset} | {item.miou:g} |") == 1


@pytest.mark.parametrize("entry", catalog.segmentors(), ids=lambda entry: entry.id)
def test_the_losses_on_the_pages_are_those_of_the_networks(entry: SegmentorEntry) -> None:
    facts = LOSSES[entry.id]
    defaults = {option.name: option.default for option in entry.options}
    needs = dict(fact.needs for fact in facts if fact.needs)
    wanted = {name: value for name, value in needs.items() if value != defaults[name]}
    model = create_model(entry.id, num_classes=5, **wanted).train()
    side = max(64, entry.min_size)
    draw = torch.Generator().manual_seed(3)
    image = torch.randn((2, 3, side, side), generator=draw)
    target = torch.randint(0, 5, (2, side, side), generator=draw)
    found = model.losses(image, target, _cross_entropy)
    weights = {name: float(loss.weight) for name, loss in found.items()}
    assert weights == pytest.approx({fact.name: fact.weight for fact in facts})


@pytest.mark.parametrize(
    ("needs", "entry"),
    [
        (needs, entry)
        for entry in catalog.segmentors()
        for needs in dict.fromkeys(fact.needs for fact in LOSSES[entry.id] if fact.needs)
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value.id,
)
def test_a_loss_is_there_with_its_option_only(needs: tuple[str, bool], entry: SegmentorEntry) -> None:
    model = create_model(entry.id, num_classes=5, **{needs[0]: not needs[1]}).train()
    side = max(64, entry.min_size)
    image, target = torch.rand(2, 3, side, side), torch.zeros((2, side, side), dtype=torch.int64)
    found = set(model.losses(image, target, _cross_entropy))
    assert found.isdisjoint(fact.name for fact in LOSSES[entry.id] if fact.needs == needs)


def test_what_only_the_survey_has_otherwise_is_no_deviation_of_the_code() -> None:
    names, _, code = survey_page().partition("## Where published code differs from the paper")
    assert "80 %" in names and "ConvNeXt's stage ratio" in names
    assert "survey" not in code and "80 %" not in code and "stage ratio" not in code


def _cross_entropy(logits: Tensor, target: Tensor) -> Loss:
    total = functional.cross_entropy(logits, target, reduction="sum")
    return Loss(total, total.new_tensor(float(target.numel())))


def test_the_surveys_names_are_explained() -> None:
    text = survey_page()
    for word in ("PsNet", "PointNet", "PSANet", "PointRend", "Segmenter"):
        assert word in text
