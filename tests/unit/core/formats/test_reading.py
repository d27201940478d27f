"""Files as other programs write them, and hostile ones."""

from __future__ import annotations

import base64
import json
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from segstudio.core import palette_png
from segstudio.core.errors import UserError
from segstudio.core.formats import (
    ade20k,
    cityscapes,
    coco,
    color_pictures,
    cvat,
    find_format,
    index_pictures,
    label_studio,
    labelme,
    load_format,
    voc,
    yolo,
)
from segstudio.core.formats.exchange import ClassNumbers, Labels, image_name, inside
from segstudio.core.formats.run_lengths import (
    brush_code,
    brush_mask,
    coco_counts,
    coco_mask,
    from_runs,
    runs_text,
    text_runs,
)
from segstudio.core.records import LabelClass
from tests.shared_data import needs_shared, shared


def put(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


# labelme


@needs_shared
@pytest.mark.parametrize(
    ("folder", "name", "expected", "background"),
    [
        ("labelme_gpl", "2011_000003.json", "expected_2011_000003.png", "_background_"),
        ("labelme_gpl", "2011_000006.json", "expected_2011_000006.png", "_background_"),
        ("bubbliiiing_mit", "cat.json", "expected_cat.png", "_background_"),
    ],
)
def test_real_labelme_files_give_the_masks_to_expect(folder: str, name: str, expected: str, background: str):
    root = shared("data", "annotations_labelme")
    names = (root / "labelme_gpl" / "class_names.txt").read_text("utf-8").split("\n")
    classes = [LabelClass(index, entry, (0, 0, 0)) for index, entry in enumerate(names) if entry]
    found = labelme.read(root / folder / name, classes=classes)
    (item,) = found.items
    wanted = np.asarray(Image.open(root / folder / expected))
    assert found.notes == []
    for value in np.unique(wanted):
        both = ((item.array == value) & (wanted == value)).sum()
        either = ((item.array == value) | (wanted == value)).sum()
        assert both / either >= 0.99, f"class {value}"


def test_labelme_shapes_of_every_type(tmp_path: Path):
    mask = base64.b64encode(palette_png.encode(np.array([[255, 0], [255, 255]], np.uint8))).decode()
    shapes = [
        ("a", "rectangle", [[1.5, 1], [6, 4]], None),
        ("b", "circle", [[20, 20], [20, 25]], None),
        ("c", "line", [[0, 40], [30, 40]], None),
        ("d", "point", [[45, 10]], None),
        ("e", "mask", [[2, 45], [3, 46]], mask),
        ("f", "polygon", [[30, 30], [90, 30], [30, 90]], None),
        ("g", "polygon", [[-5, -5], [-9, -5], [-5, -9]], None),
        ("h", "polygon", [[1, 1], [2, 2]], None),
        ("i", "cloud", [[1, 1]], None),
        ("__ignore__", "rectangle", [[1, 1], [2, 2]], None),
    ]
    document = {
        "imagePath": "..\\pictures\\one.jpg",
        "imageWidth": 50,
        "imageHeight": 50,
        "shapes": [
            {"label": label, "shape_type": kind, "points": points, "mask": data}
            for label, kind, points, data in shapes
        ],
    }
    put(tmp_path / "one.json", document)
    found = labelme.read(tmp_path)
    (item,) = found.items
    assert item.image == "pictures/one.jpg"
    names = [entry.name for entry in found.classes.classes]
    assert names == list("abcdef")
    counts = [int((item.array == index).sum()) for index in range(6)]
    assert counts[0] == 24 - 4 and 70 < counts[1] < 95 and counts[5] > 200
    assert item.array[45, 2] == 4 and counts[4] == 3
    assert (item.array[1:3, 1:3] == 255).all()
    told = [note.what for note in found.notes]
    assert any('("g") lies outside' in text for text in told)
    assert any("polygon of 2 points" in text for text in told)
    assert any("'cloud'" in text for text in told)
    assert len(told) == 3


def test_a_broken_labelme_file_does_not_stop_the_others(tmp_path: Path):
    good = {"imagePath": "a.jpg", "imageWidth": 4, "imageHeight": 4, "shapes": []}
    put(tmp_path / "a.json", good)
    put(tmp_path / "b.json", "{")
    put(tmp_path / "c.json", {"shapes": [], "imageWidth": 10**6, "imageHeight": 10**6})
    put(tmp_path / "d.json", "[" * 200_000)
    put(tmp_path / "e.json", {**good, "shapes": [{"label": "x", "points": [[float("nan"), 1]] * 3}]})
    found = labelme.read(tmp_path)
    assert [item.image for item in found.items] == ["a.jpg", "a.jpg"]
    assert sorted({note.file for note in found.notes}) == ["b.json", "c.json", "d.json", "e.json"]


# COCO


def coco_file(tmp_path: Path, annotations: list[dict], **image: object) -> Path:
    document = {
        "images": [{"id": 7, "file_name": "one.jpg", "width": 8, "height": 6, **image}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 90, "name": "cat"}],
        "annotations": [{"image_id": 7, "id": index, **entry} for index, entry in enumerate(annotations)],
    }
    return put(tmp_path / "coco.json", document)


def test_coco_polygons_and_both_run_lengths_give_the_same_mask(tmp_path: Path):
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    runs = [2 * 6 + 1, 3, 3, 3, 3, 3, 3, 3, 14]
    for segmentation in (
        [[2, 1, 6, 1, 6, 4, 2, 4]],
        {"size": [6, 8], "counts": runs},
        {"size": [6, 8], "counts": coco_counts(mask)},
    ):
        path = coco_file(tmp_path, [{"category_id": 90, "segmentation": segmentation, "iscrowd": 0}])
        found = coco.read(path)
        (item,) = found.items
        labels = (item.array == 1).astype(int)
        if isinstance(segmentation, dict):
            assert np.array_equal(labels, mask)
        else:
            assert labels[1:4, 2:6].all() and labels.sum() <= 20
        assert [entry.name for entry in found.classes.classes] == ["dog", "cat"]
        assert found.notes == []


def test_coco_smaller_instances_lie_on_top_and_the_rest_is_told(tmp_path: Path):
    small = {"category_id": 18, "segmentation": {"size": [6, 8], "counts": [0, 6, 42]}}
    large = {"category_id": 90, "segmentation": {"size": [6, 8], "counts": [0, 48]}}
    found = coco.read(coco_file(tmp_path, [small, large]))
    (item,) = found.items
    assert (item.array[:, 0] == 0).all() and (item.array[:, 1:] == 1).all()
    assert ["6 px belong to several" in note.what for note in found.notes] == [True]


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [6, 8], "counts": [10**12]},
        {"size": [6, 8], "counts": [1, 2, 3]},
        {"size": [6, 8], "counts": [-1, 49]},
        {"size": [60000, 80000], "counts": [0]},
        {"size": [6, 8], "counts": "\x00\x01"},
        {"size": [6, 8], "counts": "ooooooooooooooooooooooo"},
        [[1, 2, 3]],
        [["a", 1, 2, 3, 4, 5]],
        [[1e300, 0, 1e300, 1, 0, 1e300]],
        None,
    ],
)
def test_coco_damaged_segmentations_become_notes(tmp_path: Path, segmentation: object):
    found = coco.read(coco_file(tmp_path, [{"category_id": 18, "segmentation": segmentation}]))
    (item,) = found.items
    assert (item.array == 255).all()
    assert len(found.notes) == 1


def test_coco_images_too_large_for_memory_are_refused_before_they_are_made(tmp_path: Path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = coco.read(coco_file(tmp_path, [], width=2**31, height=2**31))
    assert list(found.items) == []
    assert "not possible" in found.notes[0].what
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_coco_panoptic_pictures_are_read_and_stay_in_their_folder(tmp_path: Path):
    ids = np.array([[5, 5 + 256 * 3], [70000, 0]])
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    (tmp_path / "pan").mkdir()
    Image.fromarray(rgb).save(tmp_path / "pan" / "one.png")
    segments = [{"id": 5, "category_id": 2}, {"id": 773, "category_id": 1}, {"id": 70000, "category_id": 2}]
    document = {
        "images": [{"id": 1, "file_name": "one.jpg", "width": 2, "height": 2}],
        "categories": [{"id": 1, "name": "sky"}, {"id": 2, "name": "car"}],
        "annotations": [{"image_id": 1, "file_name": "one.png", "segments_info": segments}],
    }
    (item,) = coco.read(put(tmp_path / "pan.json", document)).items
    assert item.array.tolist() == [[1, 0], [1, 255]]
    document["annotations"][0]["file_name"] = "../one.png"
    Image.fromarray(rgb).save(tmp_path / "one.png")
    found = coco.read(put(tmp_path / "pan.json", document))
    assert list(found.items) == [] and "leaves its folder" in found.notes[0].what


# run lengths


@given(st.lists(st.integers(0, 2**28), max_size=30))
def test_run_length_text_comes_back(runs):
    assert text_runs(runs_text(runs)) == runs


@given(arrays.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_masks_come_back_from_every_code(mask):
    height, width = mask.shape
    assert np.array_equal(coco_mask(coco_counts(mask), width, height), mask)
    assert np.array_equal(brush_mask(brush_code(mask), width, height), mask)


def test_a_published_run_length_text_is_understood():
    # Ten columns of ten rows with a 3 x 4 block: worked out by hand from the format's definition.
    runs = [23, 4, 6, 4, 6, 4, 53]
    assert runs_text(runs) == "g046000_1"
    mask = coco_mask(runs, 10, 10)
    assert mask[3:7, 2:5].all() and mask.sum() == 12


def test_runs_are_checked_before_memory_is_taken():
    for runs, length in (([2**40], 2**40), ([5], 4), ([2, 2, 2], 4), ([True, 3], 4), ([1.5, 2.5], 4)):
        with pytest.raises(ValueError):
            from_runs(runs, length)


def test_brush_strokes_of_another_size_are_refused():
    code = brush_code(np.ones((3, 4), bool))
    with pytest.raises(ValueError, match="for 12 instead of 20"):
        brush_mask(code, 5, 4)
    with pytest.raises(ValueError, match="too early"):
        brush_mask(code[:6], 4, 3)


# the others


def test_voc_refuses_jpeg_masks_and_keeps_255_unlabelled(tmp_path: Path):
    folder = tmp_path / "SegmentationClass"
    folder.mkdir()
    palette_png.write(folder / "a.png", np.array([[0, 15, 255]], np.uint8))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "b.jpg")
    found = voc.read(tmp_path)
    (item,) = found.items
    assert item.array.tolist() == [[0, 15, 255]]
    assert found.classes.classes[15].name == "person"
    assert "JPEG" in str(found.notes[0]) and found.notes[0].file == "b.jpg"


def test_cityscapes_label_ids_become_classes_and_the_rest_is_told(tmp_path: Path):
    labels = np.array([[7, 26, 0, 255, 33]], np.uint8)
    (tmp_path / "aachen").mkdir()
    palette_png.write(tmp_path / "aachen" / "x_1_gtFine_labelIds.png", labels)
    palette_png.write(tmp_path / "aachen" / "x_1_gtFine_instanceIds.png", labels)
    found = cityscapes.read(tmp_path)
    (item,) = found.items
    assert item.image == "aachen/x_1_leftImg8bit"
    assert item.array.tolist() == [[0, 13, 255, 255, 18]]
    assert "1 px" in found.notes[0].what


def test_cityscapes_polygons_are_drawn_in_order(tmp_path: Path):
    square = [[0, 0], [9, 0], [9, 9], [0, 9]]
    objects = [
        {"label": "road", "polygon": square},
        {"label": "cargroup", "polygon": [[0, 0], [4, 0], [4, 9], [0, 9]]},
        {"label": "ego vehicle", "polygon": [[0, 0], [9, 0], [9, 1], [0, 1]]},
        {"label": "sky", "polygon": square, "deleted": 1},
    ]
    put(tmp_path / "x_gtFine_polygons.json", {"imgWidth": 10, "imgHeight": 10, "objects": objects})
    found = cityscapes.read(tmp_path)
    (item,) = found.items
    assert item.array[5, 0] == 13 and item.array[5, 9] == 0 and item.array[0, 5] == 255
    assert '"ego vehicle" (20 px)' in found.notes[0].what


def test_ade20k_values_are_shifted_in_the_open(tmp_path: Path):
    palette_png.write(tmp_path / "a.png", np.array([[0, 1, 150, 200]], np.uint8))
    found = ade20k.read(tmp_path)
    (item,) = found.items
    assert item.array.tolist() == [[255, 0, 149, 255]]
    told = [note.what for note in found.notes]
    assert any("n - 1" in text for text in told) and any("2 px" in text for text in told)


def test_values_without_a_class_get_one_and_nothing_is_shifted(tmp_path: Path):
    palette_png.write(tmp_path / "a.png", np.array([[0, 38, 255]], np.uint8))
    found = index_pictures.read(tmp_path, classes=[LabelClass(0, "sky", (1, 1, 1))])
    (item,) = found.items
    assert item.array.tolist() == [[0, 38, 255]]
    assert [(entry.id, entry.name) for entry in found.classes.added] == [(38, "class 38")]
    assert "value 38 (1 px)" in found.notes[0].what


@needs_shared
def test_255_as_a_class_is_asked_about_and_mapped():
    folder = shared("data", "membrane_em", "labels")
    found = index_pictures.read(folder, classes=[LabelClass(0, "membrane", (1, 1, 1))])
    item, *others = found.items
    assert len(others) == 23 and (item.array == 255).mean() > 0.5
    assert ["if it is a class, map it" in note.what for note in found.notes] == [True]
    mapped = index_pictures.read(folder, classes=[LabelClass(0, "membrane", (1, 1, 1))], values={255: 1})
    again = next(mapped.items)
    assert np.array_equal(again.array == 1, item.array == 255) and set(np.unique(again.array)) == {0, 1}
    assert [entry.name for entry in mapped.classes.added] == ["class 1"]


@needs_shared
def test_camvid_reads_with_its_unlabelled_value_mapped():
    values = {11: -1}
    folder = shared("data", "camvid", "labels")
    found = index_pictures.read(folder, size_of=lambda stem: (480, 360), values=values)
    item = next(found.items)
    assert item.array.shape == (360, 480) and 11 not in np.unique(item.array)


def test_unknown_colours_are_told_with_their_pixels(tmp_path: Path):
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[0] = (128, 0, 0)
    rgb[1, 0] = (1, 2, 3)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    found = color_pictures.read(tmp_path, classes=[LabelClass(4, "red", (128, 0, 0))])
    (item,) = found.items
    assert item.array.tolist() == [[4, 4, 4], [255, 255, 255]]
    assert [note.what for note in found.notes] == ["no class has the colour #010203 (1 px): unlabelled"]
    with pytest.raises(UserError, match="have one colour"):
        color_pictures.read(tmp_path, classes=[LabelClass(0, "a", (1, 1, 1)), LabelClass(1, "b", (1, 1, 1))])


@pytest.mark.parametrize(
    "text",
    [
        "names: ['cat', \"dog\"]",
        "path: x\nnames:\n  - cat\n  - dog # good\nnc: 2".replace(" # good", ""),
        "nc: 2\nnames:\n  0: cat\n  1: dog\n",
        "names: [cat,\n dog]\n",
    ],
)
def test_yolo_names_are_read_from_every_way_of_writing_them(text: str):
    assert yolo.yaml_names(text.splitlines()) == ["cat", "dog"]


def test_yolo_lines_that_are_no_polygon_are_told(tmp_path: Path):
    put(
        tmp_path / "labels" / "a.txt",
        "0 0 0 1 0 1 1 0 1\n1 0.5 0.5 0.2 0.2\n9 0 0 1 1 0 1\n0 nan 0 1 1 0 1\nx 1\n",
    )
    put(tmp_path / "labels" / "b.txt", "0 0 0 1 0 1 1\n")
    put(tmp_path / "data.yaml", "names: [cat, dog]")
    found = yolo.read(tmp_path / "labels", size_of=lambda stem: (10, 10) if stem == "a" else None)
    (item,) = found.items
    assert (item.array == 0).sum() >= 90
    told = [str(note) for note in found.notes]
    assert len(told) == 5 and any("class 9 of 2" in text for text in told)
    assert any(text.startswith("b.txt: there is no picture") for text in told)


def cvat_file(tmp_path: Path, shapes: str, head: str = "") -> Path:
    text = f'<?xml version="1.0"?>{head}<annotations><version>1.1</version>'
    text += f'<image id="0" name="s/one.jpg" width="10" height="8">{shapes}</image></annotations>'
    return put(tmp_path / "annotations.xml", text)


def test_cvat_shapes_are_drawn_by_their_order(tmp_path: Path):
    shapes = (
        '<box label="top" xtl="0" ytl="0" xbr="4" ybr="8" z_order="2"/>'
        '<polygon label="low" points="0,0;10,0;10,8;0,8" z_order="0"/>'
        '<mask label="dots" rle="1, 2, 1" left="8" top="6" width="2" height="2" z_order="1"/>'
        '<points label="low" points="1,1"/>'
        '<mask label="dots" rle="9" left="9" top="7" width="3" height="3"/>'
    )
    found = cvat.read(cvat_file(tmp_path, shapes))
    (item,) = found.items
    names = {entry.name: entry.id for entry in found.classes.classes}
    assert item.image == "s/one.jpg"
    assert (item.array[:, :4] == names["top"]).all()
    assert item.array[6:, 8:].tolist() == [[names["low"], names["dots"]], [names["dots"], names["low"]]]
    told = " | ".join(note.what for note in found.notes)
    assert "covers no area" in told and "not inside the picture" in told


def test_xml_entities_and_depth_are_refused(tmp_path: Path):
    laughs = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>'
    for text in (laughs, '<!DOCTYPE a SYSTEM "file:///etc/passwd">'):
        with pytest.raises(UserError, match="document type or entities"):
            cvat.read(cvat_file(tmp_path, "&y;", text))
    with pytest.raises(UserError, match="nested too deeply"):
        cvat.read(cvat_file(tmp_path, "<a>" * 1000))


def test_label_studio_per_cent_rotation_and_uploads(tmp_path: Path):
    results = [
        {
            "type": "rectanglelabels",
            "original_width": 20,
            "original_height": 10,
            "value": {
                "x": 50,
                "y": 0,
                "width": 50,
                "height": 100,
                "rotation": 0,
                "rectanglelabels": ["right"],
            },
        },
        {
            "type": "polygonlabels",
            "value": {"points": [[0, 0], [25, 0], [25, 100], [0, 100]], "polygonlabels": ["left"]},
        },
        {"type": "choices", "value": {"choices": ["x"]}},
    ]
    task = {
        "data": {"image": "/data/upload/3/0a1b2c3d-one%20two.jpg"},
        "annotations": [{"result": []}, {"result": results}],
    }
    found = label_studio.read(put(tmp_path / "x.json", [task]))
    (item,) = found.items
    assert item.image == "one two.jpg"
    assert (item.array[:, 10:] == 0).all() and (item.array[:, :5] == 1).all()
    assert (item.array[:, 6:9] == 255).all()
    told = [note.what for note in found.notes]
    assert any("2 people annotated it" in text for text in told) and any("'choices'" in text for text in told)


# paths and names


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "C:\\x", "c:/x", "\\\\server\\share", "a\0b", "", "..\\x", "link/x"],
)
def test_paths_never_leave_their_folder(tmp_path: Path, name: str):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leaves its folder"):
        inside(root, name)


def test_names_inside_files_are_only_names():
    assert image_name("..\\..\\pictures\\a.jpg") == "pictures/a.jpg"
    assert image_name("C:\\data\\a.jpg") == "data/a.jpg"
    assert image_name("./a//b.png") == "a/b.png"
    assert inside(Path("/tmp"), "a/b.png") == Path("/tmp/a/b.png")


def test_numbers_for_names_never_collide():
    numbers = ClassNumbers([LabelClass(254, "last", (0, 0, 0), aliases=("final",))])
    assert numbers.number("LAST ") == numbers.number("Final") == 254
    assert numbers.number("next") == 256
    assert numbers.number("wanted", wanted=3) == 3
    assert numbers.number("taken", wanted=3) == 257
    assert numbers.number("void", wanted=255) == 258


@pytest.mark.parametrize("name", ["png", "labelme", "coco", "yolo", "cvat", "labelstudio", "colors"])
def test_a_picture_that_cannot_be_opened_does_not_stop_an_import(tmp_path: Path, name: str):
    module = load_format(find_format(name))
    classes = [LabelClass(0, "sky", (1, 1, 1))]
    items = [Labels(f"{stem}.png", np.zeros((3, 4), np.uint8)) for stem in ("broken", "good")]
    module.write(tmp_path, classes, items)

    def size_of(image: str) -> tuple[int, int]:
        if image.startswith("broken"):
            raise UserError("The file is no image")
        return 4, 3

    source = tmp_path / "labels" if name == "yolo" else tmp_path
    found = module.read(source, classes=classes, size_of=size_of)
    assert "good" in [item.image.split(".")[0] for item in found.items]
