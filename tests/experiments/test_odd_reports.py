"""Reports over runs that are a stranger's, or damaged: names, numbers and folders of every kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.reports.tables import Table, make_table, read_run, to_csv, to_markdown
from behavior_priors.runs.workdir import ADAPTATION_FILE
from experiments.report import find_adaptations, find_workdirs, with_workdirs, write_report
from tests.experiments.conftest import one_line
from tests.experiments.forks import Forks
from tests.experiments.test_report import DEFAULT, make_run

SCORES = {"sac/success_rate": 0.5, "sac/return_mean": 2.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", SCORES, seed=0, curve=(0.0, 0.5))


def table_of(*workdirs: Path) -> Table:
    return make_table([read_run(workdir) for workdir in workdirs], DEFAULT)


def report(*workdirs: Path) -> list[str]:
    folder = workdirs[0].parent / "out"
    return [path.name for path in write_report(table_of(*workdirs), folder, "eval/success_rate")]


@pytest.mark.parametrize("stage", [r"$\foo$", "$x^$ $", "_hidden", "文字", "a\nb", "bad\udcff"])
def test_a_stage_may_be_called_anything(run: Path, stage: str) -> None:
    shutil.copytree(run / "sac", run / stage)
    assert report(run)[-1] == "learning_curves.png"


def test_flags_may_say_anything(tmp_path: Path) -> None:
    values = (r"$\foo$", "a|b", r"x\|y", "*a* <img> [b](c) `d` ~e~", "_a_b_")
    runs = [
        make_run(tmp_path / f"run{i}", SCORES, seed=0, env=value, curve=(0.0, 0.5))
        for i, value in enumerate(values)
    ]
    assert report(*runs)[-1] == "learning_curves.png"
    lines = (tmp_path / "out" / "report.md").read_text().splitlines()
    assert lines[0] == "| experiment | env | method | runs | success_rate | return_mean |"
    end = " | SAC | 1 | 0.500 | 2.000 |"
    assert lines[2:7] == [
        rf"| parrot | \$\\foo\${end}",
        rf"| parrot | a\|b{end}",
        rf"| parrot | x\\\|y{end}",
        rf"| parrot | \*a\* \<img\> \[b\](c) \`d\` \~e\~{end}",
        rf"| parrot | \_a_b\_{end}",
    ]
    assert r"parrot,a|b,sac/success_rate,1,0.5" in to_csv(table_of(*runs))


def test_folders_that_are_not_complete_may_be_called_anything(run: Path, tmp_path: Path) -> None:
    odd = make_run(tmp_path / "odd", None, seed=1).rename(tmp_path / "a|b\udcff\nc")
    assert report(run, odd)
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.endswith("/a\\|b\\\\udcff c\n")


def test_large_numbers_are_short(run: Path, tmp_path: Path) -> None:
    (run / "summary.json").write_text('{"sac/return_mean": 3e38, "sac/success_rate": 123456.25}')
    assert "| parrot | SAC | 1 | 3e+38 | 123456.2 |\n" in to_markdown(table_of(run))


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (
            {"sac/return_mean": 1.7e308},
            r"summary.json: sac/return_mean is 1\.7e\+308, which single",
        ),
        ({"sac/return_mean": -3.5e38}, r"summary.json: sac/return_mean is -3\.5e\+38, which"),
        ({"a\nb/return_mean": 1.0}, r"summary.json: the key 'a\\nb/return_mean' is no text"),
        ({"versions/jax": "\ud800", "sac/return_mean": 1.0}, r"jax is '\\ud800', which is no text"),
    ],
)
def test_a_summary_that_no_table_can_show(
    run: Path, summary: dict[str, float | str], said: str
) -> None:
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(
        UserError, match=rf"{said}.*; run the experiment again, or leave .*/run out"
    ):
        read_run(run)


def test_a_curve_that_cannot_be_drawn_leaves_no_half_of_a_report(run: Path, tmp_path: Path) -> None:
    path = run / "sac" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 300, "eval/success_rate": -1.7e308}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 3, has -1\.7e\+308 as 'eval/succ"):
        report(run)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (
            np.full((2, 1, 3), 1.7e308),
            r"has 1\.7e\+308 in test_returns, which is not finite in sin",
        ),
        (np.array([[[np.nan]]]), r"has nan in test_returns"),
        (np.zeros((10_001, 1, 1)), r"has test_returns of 10001 tasks; at most 10000 are read"),
        (np.zeros((0, 1, 3)), r"has no test_returns; run the experiment again"),
    ],
)
def test_an_adaptation_that_cannot_be_drawn(run: Path, returns: np.ndarray, said: str) -> None:
    (run / "parrot").mkdir()
    np.savez(run / "parrot" / ADAPTATION_FILE, test_returns=returns)
    with pytest.raises(UserError, match=rf"adaptation\.npz {said}"):
        report(run)
    assert not (run.parent / "out").exists()


def test_returns_in_half_precision_have_their_mean(run: Path) -> None:
    (run / "parrot").mkdir()
    np.savez(run / "parrot" / ADAPTATION_FILE, test_returns=np.full((1, 4, 2), 6e4, np.float16))
    (returns,) = find_adaptations(table_of(run)).returns.values()
    np.testing.assert_array_equal(returns, [[6e4, 6e4]])
    assert report(run)[-1] == "adaptation.png"


@pytest.mark.parametrize("pattern", ["**y", "a**/*"])
def test_what_is_no_pattern(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UserError, match=r"--workdirs: .* is no pattern: Invalid pattern: '\*\*'"):
        find_workdirs([f"{tmp_path}/{pattern}"])


def test_folders_keep_their_spaces(tmp_path: Path, forks: Forks) -> None:
    names = ["sp ", " lead", "back\\", "b\\,c", "d,e"]
    for seed, name in enumerate(names):
        make_run(tmp_path / name, {"sac/success_rate": 0.5}, seed=seed)
    assert with_workdirs(["p", *names])[1] == r"--workdirs=sp /,./ lead,back\/,b\\,c,d\,e"
    result = forks.run("report", *names, "--output=out", folder=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    assert "| parrot | SAC | 5 | 0.500 [0.500, 0.500] |" in (tmp_path / "out/report.md").read_text()
    one_line(forks.run("report", "nope ", folder=tmp_path), ("nope / has no flags.txt",))
