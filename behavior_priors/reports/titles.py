"""Titles of figures and videos: short, and on as many lines as they need."""

from __future__ import annotations

import textwrap

from behavior_priors.system.texts import printable

LONGEST_LINE = 60
"""Letters on a line of a figure's title."""


def short_name(name: str) -> str:
    """An environment's name for a title: without options, and without the module that it is in."""
    return name.partition("?")[0].rpartition(":")[2]


def in_lines(title: str, longest: int = LONGEST_LINE) -> str:
    """A title on as many lines as it needs."""
    return "\n".join(textwrap.wrap(printable(title), longest))
