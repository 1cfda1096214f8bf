"""What the site does otherwise than whoever reads these pages in the repository."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files of the repository become their words: the site has no such pages."""
    return re.sub(r"\[([^\]]+)\]\((\.\./)+(?!images)[^)]*\)", r"\1", markdown)
