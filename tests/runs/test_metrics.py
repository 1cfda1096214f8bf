from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import RecordWriter

from behavior_priors.errors import UserError
from behavior_priors.runs import metrics


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_on_disk_at_once_and_columns_may_grow(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = metrics.JsonlWriter(path, last_step=None)
    writer.write(1, {"loss": 0.5})
    assert read(path) == [{"step": 1, "loss": 0.5}]
    writer.write(2, {"loss": np.float32(0.25), "rate": jnp.float32(1.0)})
    assert read(path)[1:] == [{"step": 2, "loss": 0.25, "rate": 1.0}]
    writer.close()
    assert metrics.read_jsonl(path) == read(path)


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = metrics.JsonlWriter(path, last_step=None)
    writer.write(1, {"a": float("nan"), "b": float("-inf")})
    writer.close()
    assert read(path) == [{"step": 1, "a": None, "b": None}]


@pytest.mark.parametrize(
    ("last_step", "kept"), [(None, []), (0, []), (20, [10, 20, 20]), (29, [10, 20, 20])]
)
def test_resuming_drops_what_will_be_written_again(
    tmp_path: Path, last_step: int | None, kept: list[int]
) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = metrics.JsonlWriter(path, last_step=None)
    for step in (10, 20, 20, 30):
        writer.write(step, {"a": step / 3})
    writer.close()
    with path.open("a") as file:
        file.write('{"step": 40, "a": 1')  # torn by a kill

    writer = metrics.JsonlWriter(path, last_step=last_step)
    writer.write(30, {"a": -1.0})
    writer.close()
    rows = read(path)
    assert [row["step"] for row in rows] == [*kept, 30]
    assert [row["a"] for row in rows] == [*(step / 3 for step in kept), -1.0]


def test_a_full_disk_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row has no room: half of it was written before that was known."""
    writer = metrics.JsonlWriter(tmp_path / "metrics.jsonl", last_step=None)
    writer.write(1, {"a": 1.0})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    file = writer._file
    calls = []

    def fill(data: bytes) -> int:
        calls.append(data)
        if len(calls) == 1:
            return file.write(data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    full = SimpleNamespace(write=fill, tell=file.tell, truncate=file.truncate, close=file.close)
    monkeypatch.setattr(writer, "_file", full)
    with pytest.raises(UserError, match=r"metrics\.jsonl could not be written: No space left"):
        writer.write(2, {"a": 2.0})
    writer.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_reading_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl is missing"):
        metrics.read_jsonl(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize("value", [3.5e38, -1.7e308])
def test_numbers_beyond_single_precision_are_neither_written_nor_read(
    tmp_path: Path, value: float
) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = metrics.JsonlWriter(path, last_step=None)
    writer.write(1, {"a": value, "b": 3.4028234663852886e38})
    writer.close()
    assert metrics.read_jsonl(path) == [{"step": 1, "a": None, "b": 3.4028234663852886e38}]
    path.write_text(f'{{"step": 1, "a": 1.0}}\n{{"step": 2, "b": {value}}}\n')
    said = rf"metrics\.jsonl, line 2, has {value:.4g} as 'b', which single precision"
    with pytest.raises(UserError, match=said.replace("+", r"\+")):
        metrics.read_jsonl(path)


def test_steps_that_go_backwards_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2}\n{"step": 2}\n{"step": 3}\n')
    assert [row["step"] for row in metrics.read_jsonl(path)] == [2, 2, 3]
    path.write_text('{"step": 2}\n{"step": 1}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2, has step 1 after step 2; steps"):
        metrics.read_jsonl(path)


def test_tensorboard_gets_every_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[bytes] = []
    write = RecordWriter.write

    def record(self: RecordWriter, data: bytes) -> None:
        records.append(data)
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", record)
    writer = metrics.TensorBoardWriter(tmp_path, last_step=20)
    writer.write(30, {"train/loss": 0.5, "eval/return": 2.0})
    writer.close()

    events = [event_pb2.Event.FromString(data) for data in records]
    points = {
        (event.step, value.tag, value.simple_value)
        for event in events
        for value in event.summary.value
    }
    assert points == {(30, "train/loss", 0.5), (30, "eval/return", 2.0)}
    restarts = [event.step for event in events if event.HasField("session_log")]
    assert restarts == [21]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_a_missing_wandb_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"--wandb needs .*behavior-priors\[wandb\]"):
        metrics.WandbWriter(tmp_path, project="p", config={})


def test_wandb_runs_are_named_by_their_workdir(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    run = SimpleNamespace(
        log=lambda row, step: calls.append((step, row)), finish=lambda: calls.append("finish")
    )

    def init(**kwargs: Any) -> SimpleNamespace:
        calls.append(kwargs)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    workdir = Path("runs/parrot/quick/seed0")
    writer = metrics.WandbWriter(workdir, project="p", config={"seed": 0})
    writer.write(5, {"loss": np.float32(0.5)})
    writer.close()
    assert calls[0]["id"] == "parrot-quick-seed0"
    assert calls[0]["resume"] == "allow"
    assert calls[0]["config"] == {"seed": 0}
    assert calls[1:] == [(5, {"loss": 0.5}), "finish"]


def test_multi_writer_reaches_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    writer = metrics.MultiWriter([metrics.JsonlWriter(path, last_step=None) for path in paths])
    writer.write(1, {"a": 1.0})
    writer.close()
    assert read(paths[0]) == read(paths[1]) == [{"step": 1, "a": 1.0}]
