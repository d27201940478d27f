"""A value that an option cannot have is refused in a sentence, before anything is built with it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from segstudio.plugin_api import Option
from segstudio.plugin_api.option_values import problem_of
from segstudio_zoo import catalog, create_model

OPTIONS = [
    (entry.id if isinstance(entry, catalog.SegmentorEntry) else entry.variants[0].name, option)
    for entry in catalog.entries()
    for option in entry.options
]
WRONG: dict[str, tuple[Any, ...]] = {
    "choice": ("foo", 1234),
    "bool": ("yes", 1, None),
    "int": ("x", 1.5, True),
    "float": ("x", math.nan, math.inf, True),
    "ints": ("x", 3, (1.5,), (True,)),
}


def _wrong(option: Option) -> list[Any]:
    values = list(WRONG[option.kind])
    one = [] if option.minimum is None else [type(option.minimum)(option.minimum) - 1]
    one += [] if option.maximum is None else [option.maximum + 1]
    values += [(int(value),) for value in one] if option.kind == "ints" else one
    return values


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=lambda part: getattr(part, "name", part))
def test_a_value_that_an_option_cannot_have_is_refused(name: str, option: Option) -> None:
    for value in _wrong(option):
        with pytest.raises(ValueError, match=re.escape(f"option {option.name!r} is ")) as raised:
            create_model(name, **{option.name: value})
        assert str(raised.value).endswith(f", not {value!r}.")


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=lambda part: getattr(part, "name", part))
def test_defaults_choices_and_bounds_are_accepted(name: str, option: Option) -> None:
    good = [option.default, *option.choices]
    if option.kind in ("int", "float"):
        good += [bound for bound in (option.minimum, option.maximum) if bound is not None]
    assert [problem_of(option, value) for value in good] == [""] * len(good)


def test_none_is_taken_where_the_builder_has_a_meaning_for_it() -> None:
    assert create_model("psanet_r18-d8", num_classes=3, normalization_factor=None).num_classes == 3
    with pytest.raises(ValueError, match="option 'shrink_factor' is an integer of at least 1, not None"):
        create_model("psanet_r18-d8", shrink_factor=None)


def test_the_sentence_names_the_bounds() -> None:
    with pytest.raises(ValueError, match=r"option 'expansion' is an integer from 1 to 12, not 0\.$"):
        create_model("bisenetv2", expansion=0)
    with pytest.raises(
        ValueError, match=r"option 'pool_scales' is a row of integers of at least 1, not \(0,"
    ):
        create_model("pspnet_r18-d8", pool_scales=(0, 2))
    with pytest.raises(ValueError, match=r"num_classes is an integer of at least 1, not 0\.$"):
        create_model("pspnet_r18-d8", num_classes=0)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("dpt_vit-t16", {"widths": (8, 16)}, r"DPT cannot stand on vit-t16: it has four reassembled maps"),
        ("vit-t16", {"image_size": (8, 8)}, r"image_size is height and width, at least 16"),
        ("beit-tiny", {"image_size": (64, 64, 64)}, r"image_size is height and width"),
        ("mae-tiny", {"image_size": ()}, r"image_size is height and width"),
        ("fcn_r18-d8", {"kernel_size": 2}, r"option 'kernel_size' is one of 1, 3, 5, 7, not 2"),
    ],
)
def test_lengths_and_sizes_that_do_not_fit_are_refused(
    name: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        create_model(name, num_classes=3, **options)
