"""The bundle's first file: PyInstaller starts a script, not a module."""

import sys

from segstudio.__main__ import main

sys.exit(main())
