"""What top bar, status bar and title say: place, pixel, class, zoom, saved state, jobs, device."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor

from segstudio.ui.room import Services, WindowStatus
from segstudio.ui.status_bar import StatusBar
from segstudio.ui.top_bar import TopBar

_NO_PROJECT = "Drop a folder of images anywhere"


class ReadOuts(QObject):
    """Follows the window's services; `title_changed(title)`, `devices_known(list of dict)`."""

    title_changed = Signal(str)
    devices_known = Signal(list)

    def __init__(self, top_bar: TopBar, status_bar: StatusBar, status: WindowStatus) -> None:
        super().__init__(top_bar)
        self._top, self._bar = top_bar, status_bar
        self._services: Services | None = None
        self._device = ""
        self.devices: list[dict[str, Any]] = []
        self._total = 0.0
        status.pointed.connect(self._pointed)
        status.zoomed.connect(status_bar.set_zoom)
        status.hint_changed.connect(status_bar.set_hint)
        self.show_no_project()

    def follow(self, services: Services) -> None:
        """Show what these services say from now on."""
        self._services = services
        session = services.session
        for signal in (session.opened, session.current_changed, session.images_changed, session.image_ready):
            signal.connect(self.show_place)
        session.closed.connect(self.show_no_project)
        session.current_changed.connect(lambda: self._pointed(None, None))
        session.opened.connect(lambda: self._show_saved(True))
        session.saved_changed.connect(self._show_saved)
        services.viewport.changed.connect(self.show_zoom)
        if services.jobs is not None:
            services.jobs.changed.connect(self._show_jobs)
        if services.worker is not None:
            services.worker.heard.connect(self._heard)

    def show_no_project(self) -> None:
        """Nothing is open."""
        self._top.set_place("", "", 0, 0)
        self._top.set_saved(None)
        self._bar.set_class(None)
        self._bar.set_zoom(None)
        self._bar.set_size("")
        self._bar.set_ready("Ready")
        self._bar.set_hint(_NO_PROJECT)
        self.title_changed.emit("SegStudio")

    def show_place(self) -> None:
        """Project, image, n of N, and what the image is."""
        session = self._services.session if self._services is not None else None
        if session is None or session.project is None:
            return
        record = session.current
        name = record.display_name.rsplit("/", 1)[-1] if record is not None else ""
        number = session.images.position(record.id) + 1 if record is not None else 0
        self._top.set_place(session.project.name, name, number, len(session.images))
        self._bar.set_size(session.image.description if session.image is not None else "")
        self.title_changed.emit(
            " – ".join(part for part in (name, session.project.name, "SegStudio") if part)
        )

    def show_zoom(self) -> None:
        """The scale of the shared viewport."""
        services = self._services
        if services is not None and services.session.project is not None:
            self._bar.set_zoom(services.viewport.scale)

    def show_devices(self, values: dict[str, Any]) -> None:
        """The worker's answer to `devices`."""
        devices: list[dict[str, Any]] = list(values.get("devices", []))
        self.devices = devices
        best = next((entry for entry in devices if entry.get("id") != "cpu"), None)
        self._device = "GPU" if best is not None else "CPU"
        self._total = float((best or {}).get("memory") or 0) / 1e9
        title = str((best or (devices[0] if devices else {})).get("title", ""))
        self._bar.set_device(self._device, f"Networks run here: {title}" if title else "")
        self.devices_known.emit(devices)

    def _pointed(self, pixel: tuple[int, int] | None, entry: tuple[str, QColor | None] | None) -> None:
        self._bar.set_pixel(pixel)
        self._bar.set_class(entry)

    def _show_saved(self, saved: bool) -> None:
        session = self._services.session if self._services is not None else None
        read_only = session is not None and bool(session.read_only_reason)
        self._top.set_saved(None if read_only else saved, "Read-only" if read_only else "")
        if session is not None and saved and not session.images:
            self._bar.set_pixel(None)

    def _show_jobs(self) -> None:
        jobs = self._services.jobs.running if self._services is not None and self._services.jobs else ()
        known = [job.fraction for job in jobs if job.fraction is not None]
        self._bar.set_jobs(len(jobs), sum(known) / len(jobs) if known else None)

    def _heard(self, message: dict[str, Any]) -> None:
        memory = message.get("memory")
        if memory and self._device:
            words = f"{self._device} {float(memory) / 1e9:.1f}"
            words += f" / {self._total:.0f} GB" if self._total else " GB"
            self._bar.set_device(words, "Where networks run, and the memory they hold")
