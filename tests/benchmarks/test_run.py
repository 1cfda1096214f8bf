from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from behavior_priors.errors import UserError
from benchmarks import run, sac
from benchmarks.harness import BenchmarkError, Plan, Row, seconds_row
from benchmarks.run import Benchmark, RunConfig

plans: list[Plan] = []


def good(plan: Plan) -> Iterator[Row]:
    """Two rows."""
    plans.append(plan)
    yield seconds_row("good/first", [1.0] * plan.rounds, [2.0] * plan.rounds, equal="all of it")
    yield seconds_row("good/second", [2.0] * plan.rounds, [1.0] * plan.rounds, equal="all of it")


def half(plan: Plan) -> Iterator[Row]:
    """One row, then programs that differ."""
    yield seconds_row("half/first", [1.0] * plan.rounds, [1.0] * plan.rounds, equal="all of it")
    raise BenchmarkError("losses: ours and\nthe peer's differ")


def broken(plan: Plan) -> Iterator[Row]:
    """A defect, which is not for this program to hide."""
    yield from good(plan)
    raise ZeroDivisionError


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    plans.clear()
    benchmarks = {"half": Benchmark((), half), "good": Benchmark(("json",), good)}
    monkeypatch.setattr(run, "BENCHMARKS", benchmarks)


def test_rows_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "rows.json"
    assert run.run(RunConfig(only=("good",), output=str(output), rounds=7, seconds=0.1))
    assert plans == [Plan(rounds=7, seconds=0.1)]
    first, second = json.loads(output.read_text())
    assert (first["name"], first["unit"], first["rounds"]) == ("good/first", "s", 7)
    assert (first["ours"], first["peer"], first["ratio"]) == (1.0, 2.0, 2.0)
    assert (first["equal"], second["ratio"]) == ("all of it", 0.5)
    assert {"jax", "python", "mujoco"} <= first["versions"].keys()
    printed = capsys.readouterr().out
    assert "good  1 of 1 benchmarks" in printed
    assert "good/first: 1 against 2 s, ratio 2.00 (2.00 to 2.00)" in printed
    assert printed.rindex("good/second") > printed.index("name ") > printed.index("good/second")


def test_a_failed_check_is_one_line_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.json"
    assert not run.run(RunConfig(output=str(output)))
    assert [row["name"] for row in json.loads(output.read_text())] == [
        "half/first",
        "good/first",
        "good/second",
    ]
    expected = "error: half failed: losses: ours and the peer's differ\n"
    assert capsys.readouterr().err == expected


def test_a_failed_check_makes_the_exit_status_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for only, status in ((("half",), 1), (("good",), None)):
        config = RunConfig(only=only, output=str(tmp_path / "rows.json"))
        monkeypatch.setattr(run.flags, "read", lambda _, config=config: config)
        if status is None:
            run.main()
        else:
            with pytest.raises(SystemExit) as caught:
                run.main()
            assert caught.value.code == status


def test_what_was_measured_before_a_defect_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run.BENCHMARKS, "broken", Benchmark((), broken))
    output = tmp_path / "rows.json"
    with pytest.raises(ZeroDivisionError):
        run.run(RunConfig(only=("good", "broken"), output=str(output)))
    assert len(json.loads(output.read_text())) == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RunConfig(only=("good", "bad")), "no benchmark is called bad; there are half, good"),
        (RunConfig(rounds=5), "--rounds=5 .* at least 6"),
        (RunConfig(seconds=0.0), "--seconds=0.0"),
        (RunConfig(seconds=float("nan")), "--seconds=nan"),
        (RunConfig(seconds=float("inf")), "--seconds=inf"),
    ],
)
def test_bad_flags_are_refused_before_anything_runs(
    config: RunConfig, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        run.run(config)
    assert not plans
    assert not list(tmp_path.iterdir())


def test_missing_peers_are_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run.BENCHMARKS, "last", Benchmark(("json", "no_such_peer"), good))
    with pytest.raises(UserError, match="last needs no_such_peer"):
        run.run(RunConfig(output=str(tmp_path / "rows.json")))
    assert not plans
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_a_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for output, reason in ((tmp_path, "is a folder"), (tmp_path / "file" / "rows", "cannot be")):
        with pytest.raises(UserError, match=reason):
            run.run(RunConfig(only=("good",), output=str(output)))
    assert not plans
    assert (tmp_path / "file").read_text() == "kept"


def test_floating_point_operations_of_an_update_by_hand() -> None:
    # 17 observations, 6 actions, 256x256, batch 256, multiplications and additions apart:
    # a policy has 17 x 256 + 256 x 256 + 256 x 12 = 72 960 weights and is passed 4 times,
    # two critics have 2 (23 x 256 + 256 x 256 + 256) = 143 360 and are passed 6 times
    assert sac.flops_per_update() == 512 * (4 * 72_960 + 6 * 143_360) == 589_824_000
