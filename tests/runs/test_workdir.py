from __future__ import annotations

import errno
import json
import platform
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.runs import workdir
from tests.held import held

FLAGS = "--a=1\n--b=none\n--c.d=x = y\n"


def open_(path: Path, experiment: str = "parrot", text: str = FLAGS, **kwargs: Any) -> Path:
    return workdir.open_workdir(path, experiment=experiment, flags_text=text, **kwargs)


def test_default_workdir_has_no_time_in_it() -> None:
    assert str(workdir.default_workdir("parrot", "quick", 3)) == "runs/parrot/quick/seed3"


def test_a_new_workdir_holds_a_flagfile_and_nothing_else(tmp_path: Path) -> None:
    path = open_(tmp_path / "deep" / "run")
    assert {entry.name for entry in path.iterdir()} == {"flags.txt", ".lock"}
    assert (path / "flags.txt").read_text() == f"# experiment: parrot\n{FLAGS}"


def test_the_same_run_is_opened_again(tmp_path: Path) -> None:
    path = open_(tmp_path / "run")
    (path / "metrics.jsonl").write_text("kept")
    assert open_(path) == path
    assert (path / "metrics.jsonl").read_text() == "kept"


def test_a_workdir_is_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "flags.txt").write_text(f"# experiment: parrot\n{FLAGS}")
    before = (path / "flags.txt").stat()
    with held(path / ".lock"), pytest.raises(UserError) as error:
        open_(path)
    assert str(error.value) == (
        f"--workdir={path} is in use by process 42 on there since then; wait for it or stop it, or "
        "choose another --workdir"
    )
    assert (path / "flags.txt").stat() == before
    assert workdir.read_owner(path) == "parrot"  # whoever reads asks nobody
    assert open_(path) == path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": "spirl"}, "belongs to parrot, not to spirl; choose another --workdir"),
        (
            {"text": "--a=2\n--b=none\n--c.d=x = y\n"},
            "other flags: --a is 1 there and 2 here; choose another --workdir",
        ),
        (
            {"text": "--a=1\n--c.d=z\n"},
            "--b is none there and absent here, --c.d is x = y there and z here;",
        ),
        ({"text": "--a=2\n--b=2\n--c.d=2\n--e=2\n--f=2\n"}, "x = y there and 2 here, and 2 more;"),
    ],
)
def test_another_run_is_refused_and_left_as_it_was(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    path = open_(tmp_path / "run")
    before = (path / "flags.txt").read_text()
    with pytest.raises(UserError) as error:
        open_(path, **change)
    assert message in str(error.value)
    assert f"--workdir={path}" in str(error.value)
    assert "\n" not in str(error.value)
    assert (path / "flags.txt").read_text() == before


def test_flags_that_may_differ_are_updated(tmp_path: Path) -> None:
    path = open_(tmp_path / "run")
    longer = FLAGS.replace("--a=1", "--a=2")
    open_(path, text=longer, may_differ=("a",))
    assert (path / "flags.txt").read_text().endswith(longer)


def test_flags_that_may_grow_are_updated(tmp_path: Path) -> None:
    path = open_(tmp_path / "run", may_grow=("a",))
    open_(path, text=FLAGS.replace("--a=1", "--a=12"), may_grow=("a",))
    assert "--a=12\n" in (path / "flags.txt").read_text()


@pytest.mark.parametrize("value", ["0", "-2", "1.5", "nan", "None", ""])
def test_flags_that_may_grow_do_nothing_else(tmp_path: Path, value: str) -> None:
    path = open_(tmp_path / "run", may_grow=("a",))
    with pytest.raises(UserError, match=r"--a can only grow: give 1 or more, or choose another"):
        open_(path, text=FLAGS.replace("--a=1", f"--a={value}"), may_grow=("a",))
    with pytest.raises(UserError, match=r"other flags: --a is 1 there and 2 here; choose another"):
        open_(path, text=FLAGS.replace("--a=1", "--a=2"), may_grow=("b",))


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"has files but no flags\.txt"):
        open_(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    # A kill while the flags were being written leaves such a file.
    (tmp_path / ".flags.txt.tmp").write_text("--a")
    assert open_(tmp_path) == tmp_path


@pytest.mark.parametrize("tail", ["", "run", "deep/run"])
def test_a_file_in_the_way_is_named(tmp_path: Path, tail: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=r"--workdir=.*file"):
        open_(tmp_path / "file" / tail)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match="run cannot be used: permission denied"):
        open_(tmp_path / "run")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    workdir.write_json_atomic(path, {"a": 1})
    write_bytes = Path.write_bytes

    def fill(self: Path, data: bytes) -> NoReturn:
        write_bytes(self, data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(UserError, match=r"summary\.json .*: No space left on device; the file is"):
        workdir.write_json_atomic(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


def test_summary_is_flat_and_says_what_it_was_obtained_with(tmp_path: Path) -> None:
    results = {
        "parrot/success_rate": jnp.float32(0.5),
        "episodes": np.int64(400),
        "task": "grasp",
        "held_out": True,
        "sac/return_mean": float("nan"),
    }
    path = workdir.write_summary(tmp_path, results, seed=7, engine="c")
    assert path == tmp_path / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["parrot/success_rate"] == 0.5
    assert summary["episodes"] == 400
    assert summary["task"] == "grasp"
    assert summary["held_out"] is True
    assert summary["sac/return_mean"] is None
    assert (summary["seed"], summary["engine"]) == (7, "c")
    assert summary["versions/jax"] == jax.__version__
    assert summary["versions/python"] == platform.python_version()
    assert all(value is None or isinstance(value, int | float | str) for value in summary.values())


def test_summary_refuses_what_is_not_a_scalar(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'curve'"):
        workdir.write_summary(tmp_path, {"curve": [1, 2]}, seed=0, engine="c")
    assert not (tmp_path / "summary.json").exists()
