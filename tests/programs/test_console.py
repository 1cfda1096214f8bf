"""The command `behavior-priors`: any program, from any folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from behavior_priors.programs.console import programs
from behavior_priors.version import __version__

ROOT = Path(__file__).parents[2]


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "behavior_priors", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_program_has_a_name_and_a_line(tmp_path: Path) -> None:
    result = command(tmp_path)
    assert result.returncode == 0
    listed = dict(re.findall(r"^  (\w+) +(\S.+)$", result.stdout, re.MULTILINE))
    assert set(listed) == set(programs()) >= {"parrot", "run", "export", "sweep"}
    assert listed["parrot"].startswith("PARROT (Singh et al. 2021)")
    assert "child" not in listed


def test_the_version(tmp_path: Path) -> None:
    result = command(tmp_path, "--version")
    assert result.stdout.startswith(f"behavior-priors {__version__} (jax ")


@pytest.mark.parametrize(
    ("name", "hint"), [("parot", "did you mean parrot?"), ("x", "there are: "), ("-x.y", "there")]
)
def test_what_is_no_program_is_refused_in_a_line(tmp_path: Path, name: str, hint: str) -> None:
    result = command(tmp_path, name)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: behavior-priors has no program {name!r}; ")
    assert hint in result.stderr
    assert result.stderr.count("\n") == 1


def test_folders_of_the_users_are_left_alone(tmp_path: Path) -> None:
    """Those called like this package's, from which another process is started too."""
    for package in ("experiments", "benchmarks"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('not mine')")
    (tmp_path / "launch.py").write_text("raise SystemExit('not mine')")
    result = command(tmp_path, "demonstrator", "--flagfile=parrot/nothing")
    assert result.returncode == 2
    # presets are found inside of the package
    assert "--flagfile=parrot/nothing is not a file; presets are: " in result.stderr
    assert "parrot/quick" in result.stderr
    (tmp_path / "mine.py").write_text(
        "import sys, pathlib; pathlib.Path('came.txt').write_text(' '.join(sys.argv[1:]))"
    )
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "job.py").write_text((tmp_path / "mine.py").read_text())
    sweep = ("--experiment=pack.job", "--seeds=7", "--root=out", "--jobs=1")
    command(tmp_path, "sweep", *sweep)
    assert "--seed=7" in (tmp_path / "came.txt").read_text()
