"""How the page of networks comes in front of a window, and how it goes again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segstudio.ui.models.page import NetworksPage

if TYPE_CHECKING:
    from segstudio.ui.main_window import MainWindow


def show_networks(window: MainWindow, file: Path | None = None) -> None:
    """Brings the page in front, with or without a project; `file` is looked into at once."""
    services = window.services
    if services is None or services.weights is None:
        return
    page = networks_page(window) or _make(window)
    if window.pages.currentWidget() is not page:
        window.rooms.step_back()
        window.actions_table.set_scope("networks")
        window.rail.show_chosen("")
        window.pages.setCurrentWidget(page)
        window.status_bar.set_hint(page.status_hint())
        page.activated()
    if file is not None:
        page.open_file(file)


def networks_page(window: MainWindow) -> NetworksPage | None:
    """The page of this window, once it was made."""
    return window.pages.findChild(NetworksPage)


def _make(window: MainWindow) -> NetworksPage:
    services = window.services
    assert services is not None and services.weights is not None
    page = NetworksPage(services, services.weights)
    page.closed.connect(lambda: _leave(window))
    page.train_wanted.connect(lambda model: _train(window, model))
    window.pages.addWidget(page)
    return page


def _leave(window: MainWindow) -> None:
    """Back to the room that was in front, or to the first page."""
    session = window.session
    if session is None or session.project is None:
        window.actions_table.set_scope("")
        window.pages.setCurrentIndex(0)
    else:
        window.enter(window.rooms.wanted or window.rooms.entries[0].title)


def _train(window: MainWindow, model: str) -> None:
    """A new run of this network; without a project the window says what comes first."""
    window.enter("Train", lambda room: room.new_run_of(model))
