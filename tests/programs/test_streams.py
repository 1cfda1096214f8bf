"""Programs whose standard streams are closed, full or read by nobody, as cron and daemons do it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from behavior_priors.programs import entry

PROGRAM = """
import dataclasses, logging, os, sys
from pathlib import Path
from behavior_priors.config import flags
from behavior_priors.programs import entry
from behavior_priors.programs.progress import Progress
from behavior_priors.errors import UserError

@dataclasses.dataclass(frozen=True)
class Config:
    '''Config.

    Attributes:
      act: what to do.
    '''
    act: str = ""

flags.define(Config)
logging.basicConfig()  # as some libraries do while they are imported

def main():
    act = flags.read(Config).act
    if act == "warn":
        logging.warning("a warning")
    if act == "user":
        raise UserError("the user's error")
    if act == "write":
        # what is opened next would have the number of a stream that is closed
        with open("mine.txt", "w") as file:
            os.write(1, b"by a library")
            os.write(2, b"by a library")
            file.write("mine")
    progress = Progress("sac", 10)
    progress.update(5, {})
    print("\\udcff" if act == "odd" else "said")
    if act == "swallow":
        try:
            sys.stdout.flush()
        except OSError:
            pass
    Path("done.txt").write_text("done")

entry.run(main)
"""
NO_SPACE = "error: no space left on device while writing standard output\n"
LINE = "sac  5/10 steps"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(PROGRAM)
    return path


def start(
    program: Path, folder: Path, redirections: str, *arguments: str, unbuffered: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs the program in a folder, with a shell's redirections."""
    if "/dev/full" in redirections and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    root = Path(entry.__file__).parents[2]
    environment = {"PYTHONPATH": str(root), "PATH": ""}
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, program, *arguments],
        cwd=folder,
        env=environment | ({"PYTHONUNBUFFERED": "1"} if unbuffered else {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nowhere_to_write(
    program: Path, tmp_path: Path, redirections: str
) -> None:
    result = start(program, tmp_path, redirections, "--act=write")
    assert result.returncode == 0
    assert result.stdout == ("by a librarysaid\n" if redirections == "2>&-" else "")
    assert result.stderr.startswith(f"by a library{LINE}" if redirections == ">&-" else "")
    assert "Traceback" not in result.stderr
    assert (tmp_path / "done.txt").read_text() == "done"
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("redirections", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
def test_errors_keep_their_status_where_they_cannot_be_said(
    program: Path, tmp_path: Path, redirections: str
) -> None:
    result = start(program, tmp_path, redirections, "--act=user")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == ("error: the user's error\n" if redirections == ">&-" else "")


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_full_standard_output_is_named(program: Path, tmp_path: Path, unbuffered: bool) -> None:
    result = start(program, tmp_path, ">/dev/full", unbuffered=unbuffered)
    assert result.returncode == 2
    first, last = result.stderr.splitlines(True)
    assert first.startswith(LINE)
    assert last == NO_SPACE


def test_what_a_library_has_swallowed_is_not_forgotten(program: Path, tmp_path: Path) -> None:
    result = start(program, tmp_path, ">/dev/full", "--act=swallow")
    assert (result.returncode, result.stderr.splitlines(True)[1:]) == (2, [NO_SPACE])
    assert (tmp_path / "done.txt").exists()


@pytest.mark.parametrize("redirections", ["2>/dev/full", ">/dev/full 2>/dev/full"])
def test_a_full_standard_error_has_the_status_of_a_full_disk(
    program: Path, tmp_path: Path, redirections: str
) -> None:
    result = start(program, tmp_path, redirections)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "")
    assert not (tmp_path / "done.txt").exists()


def test_a_stream_that_is_for_reading_is_named(program: Path, tmp_path: Path) -> None:
    result = start(program, tmp_path, "1</dev/null")
    assert result.returncode == 2
    assert result.stderr.endswith("error: standard output cannot be written: Bad file descriptor\n")


def test_help_goes_where_it_can(program: Path, tmp_path: Path) -> None:
    closed = start(program, tmp_path, ">&-", "--help")
    assert (closed.returncode, closed.stdout, closed.stderr) == (1, "", "")
    full = start(program, tmp_path, ">/dev/full", "--help")
    assert (full.returncode, full.stderr) == (2, NO_SPACE)


def test_nobody_reads_standard_error(program: Path, tmp_path: Path) -> None:
    shell = f'("$@" 2>&1 >&- ; echo $? > status.txt) | {sys.executable} -c ""; wait'
    root = Path(entry.__file__).parents[2]
    result = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", sys.executable, program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("", "")
    assert (tmp_path / "status.txt").read_text() == "141\n"


def test_a_text_that_the_encoding_cannot_say_is_escaped(program: Path, tmp_path: Path) -> None:
    result = start(program, tmp_path, "", "--act=odd")
    assert (result.returncode, result.stdout) == (0, "\\udcff\n")


def test_warnings_are_said_once(program: Path, tmp_path: Path) -> None:
    result = start(program, tmp_path, "", "--act=warn")
    assert (result.returncode, result.stdout) == (0, "said\n")
    assert result.stderr.count("a warning\n") == 1
    closed = start(program, tmp_path, "2>&-", "--act=warn")
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "said\n", "")
    full = start(program, tmp_path, "2>/dev/full", "--act=warn")
    # logging swallows the error: the program goes on, and its status tells
    assert (full.returncode, full.stdout, full.stderr) == (2, "said\n", "")
