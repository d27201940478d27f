from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segstudio.core.errors import UserError
from segstudio.core.taxonomies import (
    default_palette,
    first_classes,
    load_taxonomy,
    match_taxonomy,
    seen_lab,
    taxonomy_names,
)
from tests.shared_data import needs_shared, shared


def least_distance(colors: tuple[tuple[int, int, int], ...]) -> list[float]:
    result = []
    for view in seen_lab(np.array(colors)):
        distances = np.sqrt(((view[:, None] - view[None]) ** 2).sum(-1))
        result.append(float(distances[~np.eye(len(colors), dtype=bool)].min()))
    return result


def test_the_default_colours_keep_the_distances_of_the_design():
    assert least_distance(default_palette(11)) == pytest.approx([28.4, 25.0, 24.9, 25.0], abs=0.25)


def test_further_colours_are_new_and_stay_apart():
    palette = default_palette(40)
    assert palette[:11] == default_palette(11)
    assert default_palette(24) == palette[:24]
    assert min(least_distance(default_palette(24))) > 12
    assert len(set(default_palette(256))) == 256
    assert default_palette(300)[256:] == default_palette(44)


def test_every_bundled_taxonomy_loads_with_unique_names():
    assert len(taxonomy_names()) == 14
    for name in taxonomy_names():
        taxonomy = load_taxonomy(name)
        assert taxonomy.id == name
        assert len(set(taxonomy.names)) == len(taxonomy.names) > 1


@needs_shared
def test_taxonomies_hold_the_published_names_and_colours():
    published = json.loads(shared("reference", "taxonomies.json").read_text("utf-8"))
    for name, entry in published.items():
        taxonomy = load_taxonomy(name)
        assert list(taxonomy.names) == [text.strip() for text in entry["classes"]]
        assert [list(item.color) for item in taxonomy.classes] == entry["palette"]
        found = match_taxonomy(tuple(entry["classes"]))  # ADE20K's list has a class "bed "
        assert found is not None and found.names == taxonomy.names


def test_names_are_found_by_alias_and_matched_back():
    assert load_taxonomy("VOC").id == load_taxonomy("pascal-voc").id == "pascal_voc"
    found = match_taxonomy(load_taxonomy("ade20k").names)
    assert found is not None and found.id == "ade20k"
    assert match_taxonomy(("a", "b")) is None


def test_an_unknown_taxonomy_names_the_known_ones(tmp_path: Path):
    with pytest.raises(UserError, match="cityscapes"):
        load_taxonomy("citiscapes")
    broken = tmp_path / "mine.json"
    broken.write_text('{"classes": [{"name": "a", "color": [1, 2, 300]}]}', "utf-8")
    with pytest.raises(UserError, match="no taxonomy"):
        load_taxonomy(str(broken))
    broken.write_text('{"classes": [{"name": "a", "color": [1, 2, 3]}]}', "utf-8")
    assert load_taxonomy(str(broken)).names == ("a",)


def test_a_list_may_end_in_what_nothing_is_trained_to_tell():
    vistas = load_taxonomy("mapillary_v1").classes
    assert len(vistas) == 66 and first_classes(vistas, 66) == vistas
    assert first_classes(vistas, 65) == vistas[:-1] and vistas[-1].name == "Unlabeled"
    assert first_classes(vistas, 64) is None
    assert first_classes(load_taxonomy("cityscapes").classes, 18) is None
    assert first_classes(load_taxonomy("cityscapes").classes, 20) is None
