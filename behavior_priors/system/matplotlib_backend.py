"""A variable that is about windows, and may not keep figures from their files."""

from __future__ import annotations

import contextlib
import os
import sys

VARIABLE = "MPLBACKEND"


def forgive() -> None:
    """Imports matplotlib where the variable is set; by itself it fails where that names no backend.

    Figures are drawn without one. In a notebook the one that is named stays in use.
    """
    if VARIABLE not in os.environ or "matplotlib" in sys.modules:
        return
    named = os.environ.pop(VARIABLE)
    try:
        import matplotlib as mpl
    finally:
        os.environ[VARIABLE] = named
    if named:
        with contextlib.suppress(ValueError):
            mpl.rcParams["backend"] = named
