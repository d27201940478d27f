"""Pages made from the catalog hold what the catalog says."""

from __future__ import annotations

from pathlib import Path

from segstudio_zoo import catalog
from segstudio_zoo.catalog.pages import file_name, survey_page, write_pages
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


def test_the_surveys_names_are_explained() -> None:
    text = survey_page()
    for word in ("PsNet", "PointNet", "PSANet", "PointRend", "Segmenter"):
        assert word in text
