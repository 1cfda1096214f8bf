"""Checkpoints that are damaged, whose save was ended, or for which the disk had no room."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore

from behavior_priors.errors import UserError
from behavior_priors.runs import checkpoint, checkpoint_arrays, checkpoint_files
from behavior_priors.runs.checkpoint import Checkpointer
from tests.runs.test_checkpoint import make_state, newest, restore, save

ROOT = Path(checkpoint.__file__).parents[2]


def truncate(checkpoint: Path) -> None:
    largest = max(checkpoint.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    largest.write_bytes(largest.read_bytes()[:-1])


def flip_a_bit(checkpoint: Path) -> None:
    path = max(checkpoint.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete_arrays(checkpoint: Path) -> None:
    (checkpoint / "arrays" / "state" / "manifest.ocdbt").unlink()


def delete_manifest(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").unlink()


def spoil_manifest(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_text("[1]")


def spoil_metadata(checkpoint: Path) -> None:
    (checkpoint / "metadata.json").write_text("{")


@pytest.mark.parametrize(
    "damage",
    [truncate, flip_a_bit, delete_arrays, delete_manifest, spoil_manifest, spoil_metadata],
)
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    for step in (10, 20):
        save(tmp_path, step)
    damage(newest(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert restore(tmp_path) == (10, 10.0)
    assert len(caplog.messages) == 1
    assert "0000000020 is damaged" in caplog.text
    assert "going on from the older" in caplog.text

    # The run goes on, and the damaged one is not among those that are kept.
    save(tmp_path, 15)
    assert Checkpointer(tmp_path).steps() == [10, 15]

    for path in tmp_path.iterdir():
        damage(path)
    with pytest.raises(UserError, match=r"no intact one is left") as error:
        restore(tmp_path)
    assert "\n" not in str(error.value)


class Killed(BaseException):
    """Ends a save as a kill would: nothing catches it."""


@pytest.mark.parametrize("operation", ["replace", "write_text", "mkdir"])
@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_save_may_end_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, call: int
) -> None:
    for step in (10, 20):
        save(tmp_path, step)
    original, calls = getattr(Path, operation), 0

    def interrupt(self: Path, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > call:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(Path, operation, interrupt)
        save(tmp_path, 30)
    assert restore(tmp_path) in [(20, 20.0), (30, 30.0)]
    save(tmp_path, 40)
    assert restore(tmp_path) == (40, 40.0)
    assert not list(tmp_path.glob(".*"))


def test_what_a_kill_hid_is_removed(tmp_path: Path) -> None:
    save(tmp_path, 10)
    (tmp_path / ".0000000005.old.tmp").mkdir()
    restore(tmp_path)  # whoever reads removes nothing
    assert (tmp_path / ".0000000005.old.tmp").exists()
    theirs = (".notes.tmp", ".0000000005.tmp.mine", ".old.tmp", ".000000005.tmp")
    for name in theirs:
        (tmp_path / name).mkdir()
    (tmp_path / ".0000000007.tmp").symlink_to(".notes.tmp")
    Checkpointer(tmp_path).clean()
    left = {"0000000010", ".0000000007.tmp", *theirs}
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.parametrize("moment", ["find_damage", "read_arrays"])
def test_a_run_may_save_and_remove_while_somebody_reads(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (10, 20):
        save(tmp_path, step)
    original, calls = getattr(checkpoint, moment), []

    def interleave(*args: Any) -> Any:
        calls.append(None)
        if len(calls) == 1:
            for step in (30, 40):
                save(tmp_path, step)
        return original(*args)

    monkeypatch.setattr(checkpoint, moment, interleave)
    restored = Checkpointer(tmp_path).restore_part("a", jnp.zeros(1000))
    assert restored.step == 40
    assert len(calls) == 2
    assert not caplog.messages


CHILD = """
import jax.numpy as jnp
from behavior_priors.runs.checkpoint import Checkpointer

checkpointer = Checkpointer("checkpoints")
state = {f"leaf{i}": jnp.zeros((100, 1000)) for i in range(20)}
restored = checkpointer.restore_latest(state)
step = restored.step if restored else 0
while True:
    step += 1
    checkpointer.save(step, {name: leaf + step for name, leaf in state.items()}, {"step": step})
    print(step, flush=True)
"""


def test_a_process_may_be_killed_while_it_saves(tmp_path: Path) -> None:
    target = {f"leaf{i}": jnp.zeros((100, 1000)) for i in range(20)}
    announced = 0
    for delay in (0.02, 0.09, 0.16):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(2):
            announced = int(child.stdout.readline())
        time.sleep(delay)
        child.kill()
        last = child.communicate()[0].split()
        announced = int(last[-1]) if last else announced

        restored = Checkpointer(tmp_path / "checkpoints").restore_latest(target)
        assert restored is not None
        assert restored.step in (announced, announced + 1)
        assert restored.metadata == {"step": restored.step}
        assert all(np.all(leaf == restored.step) for leaf in jax.tree.leaves(restored.state))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    save(tmp_path, 10)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What TensorStore cannot write it cannot write, be it for the disk's sake or for a limit's.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError) as error:
            Checkpointer(tmp_path).save(20, {"a": jnp.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "0000000020 could not be saved: File too large; that of step 10 is kept" in str(
        error.value
    )
    assert Checkpointer(tmp_path).steps() == [10]
    assert restore(tmp_path) == (10, 10.0)


def test_what_other_threads_say_of_a_full_disk_is_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorStore's threads find the event loop closed by the first write that failed."""
    heard: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda _: heard.append(str(_.exc_value)))

    def finish_too_late() -> None:
        promise, future = tensorstore.Promise.new()

        async def write() -> None:
            await future

        loop = asyncio.new_event_loop()
        task = loop.create_task(write())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        promise.set_result(None)
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it says so in a line

    finish_too_late()
    assert heard == ["Event loop is closed"]
    for _ in range(2):
        Checkpointer(tmp_path)
    finish_too_late()
    assert heard == ["Event loop is closed"]
    sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError("Event loop is closing")))  # type: ignore[arg-type]
    assert heard[1:] == ["Event loop is closing"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> NoReturn:
        raise ValueError(
            "RESOURCE_EXHAUSTED: Failed to write: No space left on device [os_error_code='28']"
        )

    monkeypatch.setattr(checkpoint_arrays.ocp, "save", fill)
    with pytest.raises(UserError, match="No space left on device; there is none before it"):
        Checkpointer(tmp_path).save(1, make_state())


def test_a_checkpoint_that_may_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (10, 20):
        save(tmp_path, step)

    def refuse(path: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path / "metadata.json"))

    monkeypatch.setattr(checkpoint_files, "read_description", refuse)
    with pytest.raises(UserError, match=r"20: metadata.json cannot be read .*ask for permission"):
        restore(tmp_path)
