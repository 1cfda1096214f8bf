"""The main experiment as a user runs it, killed or not, and the evaluation of what it leaves."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import pytest
from PIL import Image

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.runs.checkpoint import Checkpointer
from tests.experiments import runs
from tests.experiments.forks import Forks
from tests.experiments.runs import EPOCH, FIT_EPOCH, FIT_STEPS, STEPS, Program, Result

STAGES = ("real_nvp", "parrot", "sac")
CHECKPOINT = EPOCH * runs.CHECKPOINT_EVERY
"""Steps of the learners' first checkpoint."""

SCORES = ("success_rate", "ever_success_rate", "return_mean")


class Run(NamedTuple):
    """A workdir and how the process that finished it ended."""

    workdir: Path
    result: Result


def words(workdir: Path, *more: str) -> list[str]:
    return [*runs.TINY, f"--workdir={workdir}", *more]


def start(workdir: Path, *more: str, may_be_killed: bool = False) -> Program:
    """The program as a process that has imported nothing."""
    arguments, folder = words(workdir, *more), workdir.parent / "log"
    return Program("experiments.parrot", arguments, folder=folder, may_be_killed=may_be_killed)


def evaluate(forks: Forks, workdir: Path, *more: str) -> Result:
    arguments = [f"--checkpoint={workdir}", f"--episodes={runs.EVALUATION_EPISODES}", *more]
    return forks.succeed("evaluate", *arguments, folder=workdir.parent / "log")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    return Run(workdir, start(workdir, "--figures", "--video_episodes=1").succeed())


class Killed(NamedTuple):
    """What was seen of a run while it was dead, and how it ended in the end."""

    run: Run
    episodes: int
    prior_steps: list[int]
    rows: list[int]
    checkpoints: list[int]
    evaluation: dict[str, Any]
    video_bytes: int


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, uninterrupted: Run, forks: Forks) -> Killed:
    """Killed while it collects, while it trains the prior, and while it learns through it."""
    workdir = tmp_path_factory.mktemp("killed") / "run"

    program = start(workdir, may_be_killed=True)
    program.wait_until((workdir / "data" / "episodes-00000.npz").exists)
    program.kill()
    episodes = EpisodeReader(workdir / "data").num_episodes

    program = start(workdir, may_be_killed=True)
    program.wait_until(lambda: len(runs.rows(workdir / "real_nvp")) >= 2)
    program.kill()
    prior_steps = Checkpointer(workdir / "real_nvp" / "checkpoints").steps()

    program = start(workdir, may_be_killed=True)
    # one epoch after the first checkpoint, three before the next
    program.wait_until(lambda: len(runs.rows(workdir / "parrot")) > runs.CHECKPOINT_EVERY)
    program.kill()
    steps = [row["step"] for row in runs.rows(workdir / "parrot")]
    checkpoints = Checkpointer(workdir / "parrot" / "checkpoints").steps()
    evaluate(forks, workdir, "--methods=parrot", "--video", "--video_episodes=1")
    evaluation = runs.read_json(workdir / "evaluation.json")
    video = workdir / "videos" / "parrot.mp4"
    video_bytes = video.stat().st_size
    video.unlink()

    result = forks.succeed("parrot", *words(workdir), folder=workdir.parent / "log")
    run = Run(workdir, result)
    return Killed(run, episodes, prior_steps, steps, checkpoints, evaluation, video_bytes)


def test_a_run_says_what_it_found(uninterrupted: Run) -> None:
    summary = runs.read_json(uninterrupted.workdir / "summary.json")
    policies = [
        f"{m}/{p}{s}" for m in ("parrot", "sac") for p in ("", "stochastic/") for s in SCORES
    ]
    rates = [
        f"{who}/{what}_rate"
        for who in ("prior", "prior_mode", "random")
        for what in ("grasp", "ever_grasp", "interaction")
    ]
    spans = ("collect", "real_nvp", "report", "parrot", "sac", "evaluate", "pictures", "total")
    learners = [f"{m}/seconds/{span}" for m in ("parrot", "sac") for span in ("train", "evaluate")]
    versions = ("python", "behavior_priors", "jax", "jaxlib", "mujoco", "numpy")
    assert set(summary) == {
        *policies,
        *rates,
        *(f"{who}/return_mean" for who in ("prior", "prior_mode", "random")),
        *learners,
        *(f"wall_seconds/{span}" for span in spans),
        *(f"versions/{name}" for name in versions),
        *(f"{m}/{count}" for m in ("parrot", "sac") for count in ("steps", "updates")),
        *("real_nvp/validation_loss", "real_nvp/kept_step", "data/episodes", "seed", "engine"),
    }
    for name in (*policies, *rates):
        assert 0.0 <= summary[name] <= 25.0, name  # rewards of 25 steps are the most there is
        if name.endswith("_rate"):
            assert (summary[name] * runs.EVALUATION_EPISODES).is_integer(), name
    assert summary["random/interaction_rate"] > 0  # random actions do meet objects
    assert math.isfinite(summary["real_nvp/validation_loss"])
    assert summary["real_nvp/kept_step"] % FIT_EPOCH == 0 < summary["real_nvp/kept_step"]
    assert summary["data/episodes"] == runs.EPISODES
    for method in ("parrot", "sac"):
        assert summary[f"{method}/steps"] == STEPS
        # one update for every four steps after the warm-up
        assert summary[f"{method}/updates"] == (STEPS - EPOCH) // 4
    assert (summary["seed"], summary["engine"]) == (0, "c")
    total = sum(summary[f"wall_seconds/{span}"] for span in spans[:-1])
    assert summary["wall_seconds/total"] == pytest.approx(total)
    assert total < uninterrupted.result.seconds
    assert "summary.json" in uninterrupted.result.stdout


def test_a_run_writes_every_stage(uninterrupted: Run) -> None:
    workdir = uninterrupted.workdir
    fit = list(range(FIT_EPOCH, FIT_STEPS + 1, FIT_EPOCH))
    learn = list(range(EPOCH, STEPS + 1, EPOCH))
    steps = {stage: [row["step"] for row in runs.rows(workdir / stage)] for stage in STAGES}
    assert steps == {"real_nvp": fit, "parrot": learn, "sac": learn}
    saved = {s: Checkpointer(workdir / s / "checkpoints").steps() for s in STAGES}
    # the last two: of every epoch of the prior, of every fourth of a learner and its last
    assert saved == {"real_nvp": fit[-2:], "parrot": [8 * EPOCH, STEPS], "sac": [8 * EPOCH, STEPS]}
    prior, learner = runs.rows(workdir / "real_nvp")[-1], runs.rows(workdir / "sac")[-1]
    assert {"train/loss", "validation/loss"} <= prior.keys()
    assert {"episode/return", "eval/success_rate", "train/critic_loss"} <= learner.keys()
    reader = EpisodeReader(workdir / "data")
    assert reader.complete
    assert reader.num_episodes == runs.EPISODES
    assert reader.metadata.environment == "grasp/train"
    assert "mug" not in {name for scene in reader.metadata.scenes for name in scene}
    assert "--env=grasp/mug\n" in (workdir / "flags.txt").read_text()


def test_a_run_draws_what_it_found(uninterrupted: Run) -> None:
    for name in ("learning_curves.png", "gripper_trajectories.png"):
        with Image.open(uninterrupted.workdir / "figures" / name) as image:
            image.load()
            assert min(image.size) > 200
    for method in ("parrot", "sac"):
        path = uninterrupted.workdir / "videos" / f"{method}.mp4"
        frames, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
        assert frames == 26 + 12  # the states of an episode, the last one held for a second more


def test_the_kills_came_when_they_should(killed: Killed) -> None:
    """Otherwise the comparisons below would compare less than they seem to."""
    assert 0 < killed.episodes < runs.EPISODES
    assert 0 < killed.prior_steps[-1] < FIT_STEPS
    # after the first checkpoint and before the second, with epochs in between that are lost
    assert killed.checkpoints == [CHECKPOINT]
    assert CHECKPOINT < killed.rows[-1] < 2 * CHECKPOINT


def test_a_killed_run_collects_the_same_episodes(uninterrupted: Run, killed: Killed) -> None:
    expected = runs.files(uninterrupted.workdir / "data")
    assert sorted(expected) == ["episodes-00000.npz", "episodes-00001.npz", "metadata.json"]
    assert runs.files(killed.run.workdir / "data") == expected


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_ends_with_the_same_bits(
    stage: str, uninterrupted: Run, killed: Killed
) -> None:
    expected, actual = (runs.arrays(w / stage) for w in (uninterrupted.workdir, killed.run.workdir))
    assert actual.keys() == expected.keys()
    assert [name for name in expected if actual[name] != expected[name]] == []
    parts = (
        ("best_params.", "key") if stage == "real_nvp" else ("learner.policy.", "replay.", "envs.")
    )
    assert all(any(name.startswith(part) for name in expected) for part in parts)


def test_a_killed_run_reports_the_same_numbers(uninterrupted: Run, killed: Killed) -> None:
    for stage in STAGES:
        expected, actual = (
            [runs.without_seconds(row) for row in runs.rows(workdir / stage)]
            for workdir in (uninterrupted.workdir, killed.run.workdir)
        )
        assert actual == expected, stage
    expected, actual = (
        runs.read_json(w / "summary.json") for w in (uninterrupted.workdir, killed.run.workdir)
    )
    assert actual.keys() == expected.keys()
    assert runs.without_seconds(actual) == runs.without_seconds(expected)


def test_a_dead_run_can_be_evaluated(killed: Killed) -> None:
    """By its last checkpoint, without disturbing what it goes on to do."""
    names = [f"parrot/{policy}{score}" for policy in ("", "stochastic/") for score in SCORES]
    assert set(killed.evaluation) == {*names, "parrot/steps"}
    assert killed.evaluation["parrot/steps"] == CHECKPOINT
    assert killed.video_bytes > 1000


def test_evaluating_again_gives_the_same_episodes(uninterrupted: Run, forks: Forks) -> None:
    before = runs.files(uninterrupted.workdir)
    result = evaluate(forks, uninterrupted.workdir)
    summary = runs.read_json(uninterrupted.workdir / "summary.json")
    evaluation = runs.read_json(uninterrupted.workdir / "evaluation.json")
    names = [f"{m}/{p}{s}" for m in ("parrot", "sac") for p in ("", "stochastic/") for s in SCORES]
    assert set(evaluation) == {*names, "parrot/steps", "sac/steps"}
    assert evaluation == {name: summary[name] for name in evaluation}
    assert f"parrot/return_mean {summary['parrot/return_mean']:.4f}" in result.stdout
    after = runs.files(uninterrupted.workdir)
    assert {name: x for name, x in after.items() if name != "evaluation.json"} == before


@pytest.fixture(scope="module")
def finished(uninterrupted: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run that may be gone on with."""
    return shutil.copytree(
        uninterrupted.workdir,
        tmp_path_factory.mktemp("finished") / "run",
        copy_function=shutil.copy2,
    )


def test_a_finished_run_is_only_told_of(finished: Path, forks: Forks) -> None:
    names = ("figures/learning_curves.png", "videos/sac.mp4", "parrot/metrics.jsonl")
    times = {name: (finished / name).stat().st_mtime_ns for name in names}
    summary = runs.read_json(finished / "summary.json")
    more = ("--figures", "--video_episodes=1")
    result = forks.succeed("parrot", *words(finished, *more), folder=finished.parent)
    assert {name: (finished / name).stat().st_mtime_ns for name in names} == times
    again = runs.read_json(finished / "summary.json")
    assert again.keys() == summary.keys()
    assert runs.without_seconds(again) == runs.without_seconds(summary)
    # what an earlier process took is not forgotten
    assert again["wall_seconds/parrot"] == summary["wall_seconds/parrot"]
    for part in ("report", "paths", "figures", "videos"):
        assert f"{part:7s}  done before\n" in result.stdout
    assert f"sac      success {summary['sac/success_rate']:.1%}" in result.stdout


def test_a_finished_run_goes_on(finished: Path, uninterrupted: Run, forks: Forks) -> None:
    longer = [f"--loop.steps={STEPS + EPOCH}", "--eval_episodes=8", "--run.eval_episodes=16"]
    result = forks.succeed("parrot", *words(finished, *longer), folder=finished.parent)
    assert "report   done before\n" in result.stdout
    summary = runs.read_json(finished / "summary.json")
    assert summary["parrot/steps"] == STEPS + EPOCH
    assert (summary["parrot/success_rate"] * 8).is_integer()
    rows, before = (runs.rows(w / "parrot") for w in (finished, uninterrupted.workdir))
    assert rows[:-1] == before
    assert (rows[-1]["eval/success_rate"] * 16).is_integer()
    assert "--run.eval_episodes=16\n" in (finished / "flags.txt").read_text()
    refused = forks.run("parrot", *words(finished), folder=finished.parent)
    assert refused.status == 2
    assert f"--loop.steps is {STEPS + EPOCH} there and {STEPS} here" in refused.stderr
