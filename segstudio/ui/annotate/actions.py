"""The verbs of Annotate, as lines of the one action table."""

from __future__ import annotations

from segstudio.runtime.actions import ActionSpec
from segstudio.ui.annotate.tool_column import TOOLS

SCOPE = "annotate"

TOOL_ACTIONS = tuple(
    ActionSpec(f"tool.{name}", spec.title, (spec.key,), "Paint", spec.sentence, spec.icon, SCOPE)
    for name, spec in TOOLS.items()
    if name != "picker"
)

ANNOTATE_ACTIONS: tuple[ActionSpec, ...] = (
    *TOOL_ACTIONS,
    ActionSpec("paint.larger", "Larger tip", ("]",), "Paint", scope=SCOPE),
    ActionSpec("paint.smaller", "Smaller tip", ("[",), "Paint", scope=SCOPE),
    ActionSpec("paint.erase", "Erase while held", ("Ctrl",), "Paint", scope=SCOPE, held=True),
    ActionSpec("paint.preserve", "Preserve other labels", ("Shift+R",), "Paint", scope=SCOPE),
    *(
        ActionSpec(f"class.{digit}", f"Class {digit or 10}", (str(digit),), "Classes", scope=SCOPE)
        for digit in (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
    ),
    ActionSpec("class.choose", "Pick a class by name", ("`",), "Classes", icon="search", scope=SCOPE),
    ActionSpec(
        "class.under", "Pick the class under the pointer", ("C",), "Classes", icon="picker", scope=SCOPE
    ),
    ActionSpec("class.swap", "Swap the last two classes", ("X",), "Classes", icon="swap", scope=SCOPE),
    ActionSpec("class.add", "Add a class", ("Ctrl+Shift+A",), "Classes", icon="plus", scope=SCOPE),
    ActionSpec("proposal.run", "Predict as a proposal", ("F9",), "Models", icon="sparkle", scope=SCOPE),
    ActionSpec(
        "proposal.label_next",
        "Label next: least sure images first",
        ("Shift+F9",),
        "Models",
        icon="sort",
        scope=SCOPE,
    ),
    ActionSpec("proposal.accept", "Accept the region and go on", ("Y",), "Models", icon="check", scope=SCOPE),
    ActionSpec("proposal.reject", "Reject the region and go on", ("N",), "Models", icon="close", scope=SCOPE),
    ActionSpec("overlay.hide", "Overlay off while held", ("Q",), "See", scope=SCOPE, held=True),
    ActionSpec("overlay.less", "Overlay weaker", (",",), "See", scope=SCOPE),
    ActionSpec("overlay.more", "Overlay stronger", (".",), "See", scope=SCOPE),
)
