"""Small controls every room uses, each drawn from the tokens of the theme."""

from segstudio.ui.widgets.buttons import IconButton, ToolColumnButton, icon_button, push_button
from segstudio.ui.widgets.card import Card, NoticeCard
from segstudio.ui.widgets.chip import paint_chip, paint_swatch
from segstudio.ui.widgets.choice_box import ChoiceBox
from segstudio.ui.widgets.empty_state import EmptyState
from segstudio.ui.widgets.labels import ElidedLabel, KeyCaps, key_cap, label, rule, tag
from segstudio.ui.widgets.number_field import DecimalField, NumberField
from segstudio.ui.widgets.progress import ProgressBar
from segstudio.ui.widgets.section import FoldSection
from segstudio.ui.widgets.segmented import SegmentedControl
from segstudio.ui.widgets.slider import Slider
from segstudio.ui.widgets.table import RowDelegate, RowTable

__all__ = [
    "Card",
    "ChoiceBox",
    "DecimalField",
    "ElidedLabel",
    "EmptyState",
    "FoldSection",
    "IconButton",
    "KeyCaps",
    "NoticeCard",
    "NumberField",
    "ProgressBar",
    "RowDelegate",
    "RowTable",
    "SegmentedControl",
    "Slider",
    "ToolColumnButton",
    "icon_button",
    "key_cap",
    "label",
    "paint_chip",
    "paint_swatch",
    "push_button",
    "rule",
    "tag",
]
