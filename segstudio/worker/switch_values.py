"""Which values a model's switches are set to, and in words what cannot be set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segstudio.core.errors import UserError
from segstudio.plugin_api import SwitchSpec
from segstudio.plugin_api.option_values import same_value
from segstudio.worker.loaded_models import LoadedModel


def chosen_values(loaded: LoadedModel, switches: Mapping[str, Any]) -> dict[str, Any]:
    """Each named switch with the value it declares; words ("false", "1,2,4") stand for values too.

    Raises UserError for a switch or a value that the model does not have.
    """
    specs = {spec.id: spec for spec in loaded.spec.switches}
    for name in switches:
        if name not in specs:
            known = ", ".join(specs) or "none"
            raise UserError(f"{loaded.spec.title} has no switch {name!r}", action=f"It has {known}")
    return {name: _declared(loaded, specs[name], value) for name, value in switches.items()}


def _declared(loaded: LoadedModel, spec: SwitchSpec, value: Any) -> Any:
    values = spec.values(loaded.num_classes)
    for choice in values:
        if same_value(value, choice):
            return choice
    for choice in values:
        if isinstance(value, str) and value.lower() == str(choice).lower():
            return choice
    known = ", ".join("(nothing)" if choice == "" else str(choice) for choice in values)
    raise UserError(f"{loaded.spec.title}: switch {spec.id} cannot be {value!r}", action=f"It can be {known}")
