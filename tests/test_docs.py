"""The site is built without a warning, and has every page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.results_page import SOURCES, make_page

ROOT = Path(__file__).parent.parent


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (tmp_path / "site" / name).is_file(), f"{page} is not in the site"
    reference = (tmp_path / "site" / "api" / "training.html").read_text()
    assert "without its environment" in reference
    # links out of the pages are words there
    assert not re.search(r'href="(\.\./)+(behavior_priors|examples)/', reference)


def test_the_page_of_results_is_that_of_the_data() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == make_page(), "python -m benchmarks.results_page > docs/results.md"
    files = {path.name for path in (ROOT / "docs" / "results").glob("*.csv")}
    assert {source.file for source in SOURCES} <= files
    grasped = re.search(r"\| parrot \| PARROT \| 4 \| - \| 0\.977 \[0\.960, 0\.987\] \|", page)
    assert grasped  # 0.9875, 0.9725, 0.9875 and 0.96


def test_the_site_names_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in nav
