"""Reports over folders as real runs leave them, with scores whose estimates are known by hand."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from behavior_priors.errors import UserError
from behavior_priors.reports import curves
from behavior_priors.reports.tables import (
    Table,
    make_table,
    read_run,
    to_csv,
    to_csv_of_runs,
    to_markdown,
)
from behavior_priors.runs.metrics import JsonlWriter
from behavior_priors.runs.workdir import ADAPTATION_FILE, ORACLE_FILE, open_workdir, write_summary
from experiments.report import (
    find_adaptations,
    find_workdirs,
    with_workdirs,
    write_report,
)
from tests.experiments.conftest import one_line
from tests.experiments.forks import Forks

DEFAULT = ("*/success_rate", "*/return_mean")


def make_run(
    folder: Path,
    scores: Mapping[str, Any] | None,
    *,
    seed: int,
    env: str = "grasp/mug",
    curve: tuple[float, ...] = (),
    more: Mapping[str, str] | None = None,
) -> Path:
    """A run of `parrot`, complete if it has scores."""
    text = f"--env={env}\n--loop.steps=300\n--seed={seed}\n--workdir={folder}\n"
    text += "".join(f"--{name}={value}\n" for name, value in (more or {}).items())
    open_workdir(folder, experiment="parrot", flags_text=text)
    if curve:
        (folder / "sac").mkdir()
        writer = JsonlWriter(folder / "sac" / "metrics.jsonl", last_step=None)
        for i, value in enumerate(curve):
            writer.write(100 * (i + 1), {"train/loss": 1.0, "eval/success_rate": value})
        writer.close()
    if scores is not None:
        write_summary(folder, scores, seed=seed, engine="c")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two tasks: of the mug three seeds, one of them incomplete; of the cap two."""
    for seed, rate in ((0, 0.25), (1, 0.75)):
        scores = {"sac/success_rate": rate, "sac/stochastic/success_rate": 0.5, "sac/steps": 300}
        make_run(tmp_path / "mug" / f"seed{seed}", scores, seed=seed, curve=(0.0, rate / 2, rate))
    make_run(tmp_path / "mug" / "seed2", None, seed=2, curve=(1.0, 1.0))
    for seed, value in ((0, 12.5), (1, None)):
        scores = {"sac/success_rate": 1.0, "sac/return_mean": value}
        make_run(tmp_path / "cap" / f"seed{seed}", scores, seed=seed, env="grasp/cap")
    return tmp_path


def table(folder: Path, pattern: str = "*/seed*", keys: tuple[str, ...] = DEFAULT) -> Table:
    return make_table([read_run(w) for w in find_workdirs([f"{folder}/{pattern}"])], keys)


def test_the_table_as_markdown(runs: Path) -> None:
    assert to_markdown(table(runs)) == (
        "| experiment | env | method | runs | success_rate | return_mean |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| parrot | grasp/cap | SAC | 2 | 1.000 [1.000, 1.000] | 12.5 (1 without) |\n"
        "| parrot | grasp/mug | SAC | 2 | 0.500 [0.250, 0.750] | - |\n"
        "\n"
        "Numbers: mean and range of 2 runs; one run.\n"
        "\n"
        "Not complete, and not in the table:\n"
        "\n"
        f"- {runs}/mug/seed2\n"
    )


def test_methods_are_rows_and_what_is_measured_of_them_columns(tmp_path: Path) -> None:
    scores = {
        "own_thing/success_rate": 0.25,
        "bc_sac/success_rate": 0.5,
        "own_thing/stochastic/success_rate": 0.125,
        "bc_sac/steps": 300,
    }
    make_run(tmp_path / "seed0", scores, seed=0)
    text = to_markdown(table(tmp_path, "seed*", ("*/success_rate", "*/stochastic/*", "*/steps")))
    assert text.startswith(
        "| experiment | method | runs | success_rate | stochastic/success_rate | steps |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| parrot | BC+SAC | 1 | 0.500 | - | 300.0 |\n"
        "| parrot | own_thing | 1 | 0.250 | 0.125 | - |\n"
    )


def test_flags_of_parts_that_some_runs_alone_have_are_left_out(tmp_path: Path) -> None:
    """Where what the part is called tells the runs apart, or where their values differ."""
    scores = {"own/success_rate": 0.5}

    def settings(**flags: Mapping[str, str]) -> list[Mapping[str, str]]:
        for name, more in flags.items():
            make_run(tmp_path / name, scores, seed=0, more=more)
        workdirs = find_workdirs([f"{tmp_path}/{name}" for name in flags])
        return [row.settings for row in make_table([read_run(w) for w in workdirs], DEFAULT).rows]

    spline = {"through": "spline", "spline.bins": "8"}
    flow = {"through": "real_nvp", "real_nvp.padding": "0"}
    told = [{"through": "spline"}, {"through": "real_nvp"}]
    assert settings(a=spline, b=flow) == [{"experiment": "parrot"} | x for x in told]
    finer = {"through": "spline", "spline.bins": "16"}
    names = [list(x) for x in settings(c=spline, d=flow, e=finer)]
    assert names == [["experiment", "spline.bins", "through"]] * 3
    # nothing else tells these apart
    assert [x["spline.bins"] for x in settings(f={"spline.bins": "8"}, g={})] == ["8", "absent"]


def test_the_table_as_csv(runs: Path) -> None:
    rows = list(csv.DictReader(to_csv(table(runs)).splitlines()))
    assert [(row["env"], row["key"], row["runs"]) for row in rows] == [
        ("grasp/cap", "sac/success_rate", "2"),
        ("grasp/cap", "sac/return_mean", "1"),
        ("grasp/mug", "sac/success_rate", "2"),
    ]
    assert [rows[-1][name] for name in ("value", "low", "high", "meaning")] == [
        "0.5",
        "0.25",
        "0.75",
        "mean and range of 2 runs",
    ]


def test_the_runs_of_a_table_as_csv(runs: Path) -> None:
    """Those that are complete, with what they have not left empty."""
    rows = list(csv.DictReader(to_csv_of_runs(table(runs)).splitlines()))
    assert [(row["env"], row["seed"]) for row in rows] == [
        ("grasp/cap", "0"),
        ("grasp/cap", "1"),
        ("grasp/mug", "0"),
        ("grasp/mug", "1"),
    ]
    assert [row["sac/success_rate"] for row in rows] == ["1.0", "1.0", "0.25", "0.75"]
    assert [row["sac/return_mean"] for row in rows] == ["12.5", "", "", ""]
    assert {row["engine"] for row in rows} == {"c"}
    assert {row["versions/jax"] for row in rows} == {jax.__version__}
    assert "sac/steps" not in rows[0]


def test_twelve_seeds_get_an_interquartile_mean(tmp_path: Path) -> None:
    """Of 0, 1, ..., 11 the middle six are 3 to 8, whose mean is 5.5."""
    for seed in range(12):
        make_run(tmp_path / f"seed{seed}", {"sac/return_mean": float(seed)}, seed=seed)
    (row,) = table(tmp_path, "seed*").rows
    estimate = row.estimates["sac/return_mean"]
    assert estimate.value == 5.5
    assert 1.0 < estimate.low < 5.5 < estimate.high < 10.0
    assert "bootstrap interval of 12 runs" in estimate.meaning
    assert list(row.settings) == ["experiment"]


def test_keys_are_chosen_by_pattern(runs: Path) -> None:
    chosen = table(runs, keys=("sac/steps", "*/*/success_rate")).keys
    assert sorted(chosen) == ["sac/steps", "sac/stochastic/success_rate"]
    with pytest.raises(UserError, match=r"--keys=nope are in no summary; there are sac/success"):
        table(runs, keys=("nope",))


def test_curves_are_those_of_complete_runs(runs: Path) -> None:
    found = curves.find_curves(table(runs), "eval/success_rate")
    assert [(x.method, x.seed, x.settings["env"]) for x in found] == [
        ("sac", "0", "grasp/mug"),
        ("sac", "1", "grasp/mug"),
    ]
    assert [(x.run[0][-1], x.run[1][-1]) for x in found] == [(300.0, 0.25), (300.0, 0.75)]
    np.testing.assert_array_equal(found[1].run[1], [0.0, 0.375, 0.75])
    assert curves.find_curves(table(runs), "eval/nope") == []


def found_in(path: Path, *settings: Mapping[str, str]) -> list[curves.Curve]:
    """A short curve of each of these settings, which have been in a file."""
    run = np.array([100.0, 200.0]), np.array([0.0, 0.125])
    path.write_text(curves.to_csv([curves.Curve(x, "sac", "0", run) for x in settings]))
    return curves.read_csv(path)


def test_a_line_is_called_after_what_most_others_do_not_have(tmp_path: Path) -> None:
    settings: list[dict[str, str]] = [
        {"experiment": "pearl", "loop.order": "random", "context.size": "5", "loop.size": "1"},
        {"experiment": "pearl", "loop.order": "random", "context.size": "5", "loop.size": "2"},
        {"experiment": "pearl", "loop.order": "lived", "context.size": "9", "loop.size": "1"},
    ]
    found = found_in(tmp_path / "curves.csv", *settings)
    (panel,) = curves.in_panels(found, None).values()
    # two flags are called size
    assert list(panel) == [
        "SAC, as most others",
        "SAC, loop.size 2",
        "SAC, order lived, context.size 9",
    ]


def test_panels_are_of_a_flag(tmp_path: Path) -> None:
    settings = [
        {"experiment": "parrot", "env": env, "loop.batch_size": size}
        for env, size in (("cap", "1"), ("mug", "1"), ("mug", "2"))
    ]
    found = found_in(tmp_path / "curves.csv", *settings)
    panels = curves.in_panels(found, "env")
    assert {name: list(lines) for name, lines in panels.items()} == {
        "cap": ["SAC"],
        "mug": ["SAC, batch size 1", "SAC, batch size 2"],
    }
    with pytest.raises(UserError, match=r"--panels=seed: the runs differ in env, loop.batch_size"):
        curves.in_panels(found, "seed")
    alone = [x._replace(settings={"experiment": "parrot"}) for x in found[:1]]
    with pytest.raises(UserError, match=r"--panels=env: the runs differ in nothing but their"):
        curves.in_panels(alone, "env")


def test_curves_that_are_kept_are_the_same_curves(tmp_path: Path) -> None:
    settings = {"experiment": "parrot", "env": 'a,"b"'}
    (found,) = found_in(tmp_path / "curves.csv", settings)
    assert (found.settings, found.method, found.seed) == (settings, "sac", "0")
    np.testing.assert_array_equal(found.run, [[100.0, 200.0], [0.0, 0.125]])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no curves"),
        ("env,method,seed,step,value\n", "has no curves"),
        ("a,b\n1,2\n", "has no curves"),
        ("env,method,seed,step,value\nx,sac,0,1\n", "line 2 is no point"),
        ("env,method,seed,step,value\nx,sac,0,1,2\nx,sac,0,1,two\n", "line 3 is no point"),
        ("env,method,seed,step,value\nx,sac,0,nan,2\n", "line 2 is no point"),
        ("env,method,seed,step,value\nx,sac,0,1e300,2\n", "line 2 is no point"),
        (f"{'x' * 200_000},method,seed,step,value\n", "has no curves: field larger than"),
    ],
)
def test_files_that_are_no_curves(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(UserError, match=f"curves.csv.*{complaint}"):
        curves.read_csv(tmp_path / "curves.csv")


def test_without_curves_there_is_no_figure(runs: Path) -> None:
    written = write_report(table(runs, "cap/*"), runs / "out", "eval/success_rate")
    assert [path.name for path in written] == ["report.md", "report.csv", "runs.csv"]
    assert sorted(runs.glob("out/*")) == sorted(written)


def test_adaptations_are_over_runs_and_tasks(runs: Path) -> None:
    assert not find_adaptations(table(runs)).returns
    for seed in (0, 1):
        # two tasks, met twice, two trajectories
        returns = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 8.0]]])
        run = runs / "mug" / f"seed{seed}"
        (run / "parrot").mkdir()
        np.savez(run / "parrot" / ADAPTATION_FILE, test_returns=returns + seed)
        np.savez(run / ORACLE_FILE, returns=np.array([5.0, 6.0 + 2 * seed]))
    found = find_adaptations(table(runs))
    assert list(found.returns) == ["PARROT, grasp/mug"]
    np.testing.assert_allclose(found.returns["PARROT, grasp/mug"], [[2, 3], [0, 4], [3, 4], [1, 5]])
    assert (found.oracle, found.exploration) == (6.0, 0)
    written = write_report(table(runs), runs / "out", None)
    assert [path.name for path in written] == [
        "report.md",
        "report.csv",
        "runs.csv",
        "adaptation.png",
    ]
    # an oracle of another environment is no measure of these
    run = runs / "cap" / "seed0"
    (run / "parrot").mkdir()
    np.savez(run / "parrot" / ADAPTATION_FILE, test_returns=np.zeros((1, 1, 3)))
    np.savez(run / ORACLE_FILE, returns=np.array([9.0]))
    mixed = find_adaptations(table(runs))
    assert (list(mixed.returns), mixed.oracle) == (
        ["PARROT, grasp/cap", "PARROT, grasp/mug"],
        None,
    )
    found = [read_run(w) for w in find_workdirs([f"{runs}/mug/seed1", f"{runs}/cap/seed0"])]
    with pytest.raises(UserError, match=r"3 trajectories, other runs of its row have 2; do not"):
        find_adaptations(make_table(found, DEFAULT, ignore=["env"]))
    (run / "parrot" / ADAPTATION_FILE).write_bytes(b"PK damaged")
    with pytest.raises(UserError, match=r"adaptation.npz cannot be read"):
        find_adaptations(table(runs))


def test_an_ignored_flag_makes_no_row(runs: Path) -> None:
    make_run(runs / "can" / "seed3", {"sac/success_rate": 0.0}, seed=3, env="grasp/can")
    found = [read_run(w) for w in find_workdirs([f"{runs}/mug/seed0", f"{runs}/can/*"])]
    assert len(make_table(found, DEFAULT).rows) == 2
    for ignore in ("env", "e*"):
        (row,) = make_table(found, DEFAULT, ignore=[ignore]).rows
    assert row.estimates["sac/success_rate"][:3] == (0.125, 0.0, 0.25)


def test_what_cannot_be_reported(runs: Path) -> None:
    with pytest.raises(UserError, match=r"--workdirs is empty"):
        find_workdirs([])
    with pytest.raises(UserError, match=r"--workdirs: .*/mug has no flags.txt"):
        find_workdirs([f"{runs}/mug"])
    with pytest.raises(UserError, match=r"--workdirs: .*/nope\* matches no folder with flags.txt"):
        find_workdirs([f"{runs}/nope*"])
    with pytest.raises(UserError, match=r"none of the 1 runs has a summary.json"):
        table(runs, "mug/seed2")
    make_run(runs / "copy" / "seed1", {"sac/success_rate": 0.0}, seed=1)
    with pytest.raises(UserError, match=r"copy/seed1 and .*mug/seed1 have the same flags and the"):
        table(runs)
    for text in ('{"sac/success_rate": 0.', "[]"):
        (runs / "copy" / "seed1" / "summary.json").write_text(text)
        with pytest.raises(UserError, match=r"copy/seed1/summary.json .*run the experiment again"):
            table(runs)
    (runs / "file").write_text("")
    with pytest.raises(UserError, match=r"file/report.md could not be written: .*--output"):
        write_report(table(runs, "cap/*"), runs / "file", None)


def test_a_folder_that_is_given_twice_counts_once(runs: Path) -> None:
    found = find_workdirs([f"{runs}/cap/seed0", f"{runs}/cap/*", f"{runs}/mug/../cap/seed1"])
    assert [path.name for path in found] == ["seed0", "seed1"]


def test_first_arguments_are_workdirs() -> None:
    assert with_workdirs(["p", "a", "b", "--output=c", "d"]) == [
        "p",
        "--workdirs=a,b",
        "--output=c",
        "d",
    ]
    assert with_workdirs(["p", "sweep/methods=sac,parrot/seed0", "a"]) == [
        "p",
        r"--workdirs=sweep/methods=sac\,parrot/seed0,a",
    ]
    assert with_workdirs(["p", "--workdirs=a"]) == ["p", "--workdirs=a"]
    assert with_workdirs(["p"]) == ["p"]


def test_the_program(runs: Path, forks: Forks) -> None:
    arguments = ["mug/seed0", "mug/seed1", "--output=out"]
    result = forks.succeed("report", *arguments, folder=runs)
    text = (runs / "out" / "report.md").read_text()
    assert "| parrot | SAC | 2 | 0.500 [0.250, 0.750] |\n" in text
    assert text in result.stdout
    with Image.open(runs / "out" / "learning_curves.png") as image:
        image.load()
        assert min(image.size) > 200
    one_line(
        forks.run("report", "mug/seed9", folder=runs),
        ("--workdirs", "mug/seed9", "flags.txt"),
    )
    # and drawn again from what was kept
    drawn = (runs / "out" / "learning_curves.png").read_bytes()
    again = ["--curves=out/curves.csv", "--output=again"]
    assert "see again/" in forks.succeed("report", *again, folder=runs).stdout
    assert (runs / "again" / "learning_curves.png").read_bytes() == drawn
