"""The window: widgets only."""

from segstudio.ui.overrides import keep_errors_in_python

keep_errors_in_python()
