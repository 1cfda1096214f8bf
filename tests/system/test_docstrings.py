from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import behavior_priors

PACKAGE = """
'''What it is.'''

assert __doc__ + " and more"
"""

PROGRAM = """
from behavior_priors.system import docstrings
docstrings.PACKAGES = ("joins_docstrings",)
import joins_docstrings.part
print(joins_docstrings.part.__doc__, docstrings.__doc__)
"""


def test_packages_that_join_docstrings_can_be_imported_without_any(tmp_path: Path) -> None:
    folder = tmp_path / "joins_docstrings"
    folder.mkdir()
    for name in ("__init__", "part"):
        (folder / f"{name}.py").write_text(PACKAGE)
    root = Path(behavior_priors.__file__).parents[1]
    for _ in range(2):  # whatever the first import has cached
        result = subprocess.run(
            [sys.executable, "-OO", "-c", PROGRAM],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{root}:{tmp_path}", "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.stdout, result.stderr) == ("What it is. None\n", "")
