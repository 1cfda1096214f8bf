"""What the user gets wrong costs one line that says what would be right, and no file."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from behavior_priors.config import flags
from behavior_priors.envs import probes
from behavior_priors.errors import UserError
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.system import files
from experiments import evaluate
from tests.experiments import runs
from tests.experiments.conftest import Refused, one_line
from tests.experiments.forks import Forks

PRESETS = runs.ROOT / "experiments" / "flags" / "parrot"

EPOCH = 80
SHORT = (
    *runs.TINY,
    "--env=point/dense",
    "--methods=sac",
    "--loop.steps=400",
    f"--loop.epoch_steps={EPOCH}",
    f"--loop.warmup_steps={2 * EPOCH}",
    "--run.eval_every=0",
    "--run.checkpoint_every=1",
    # from the first update on, which is in the third epoch
    "--sac.initial_temperature=1e30",
)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--env=nope/x"], ("--env=nope/x", "FAMILY/MEMBER", "grasp")),
        (["--env=mug"], ("--env=mug", "FAMILY/MEMBER", "grasp")),
        (["--env=grasp/nope"], ("--env=grasp/nope", "mug", "teapot", "train")),
        (["--data_env=nope/x"], ("--data_env=nope/x", "FAMILY/MEMBER", "grasp")),
        (["--data_env=grasp/trainn"], ("--data_env=grasp/trainn", "train", "validation", "test")),
        # before anything is collected, or judged
        (
            ["--env=place/can-in-pan", "--data_env=maze/train"],
            ("--data_env=maze/train", "place/can-in-pan", "'ee_position'", "[3]", "missing there"),
        ),
        (
            ["--report_env=maze/test", "--flow.observation=gripper,ee_position"],
            ("--report_env=maze/test", "grasp/mug", "'ee_position'"),
        ),
        (["--report_env=nope/x"], ("--report_env=nope/x", "FAMILY/MEMBER", "grasp")),
        (["--report_env=grasp/nope"], ("--report_env=grasp/nope", "train", "validation", "test")),
        (["--engine=nope"], ("--engine=nope", "auto", "c")),
        (["--engine=warp"], ("--engine=warp", "NVIDIA")),
        (["--reward=big"], ("--reward=big", "sparse", "dense")),
        (["--methods=ppo"], ("--methods=ppo", "parrot", "sac")),
        (["--methods="], ("--methods", "parrot", "sac")),
        (["--sed=3"], ("sed", "seed", "--help")),
        (["--seed=three"], ("--seed=three", "an integer")),
        (["--seed=-1"], ("--seed=-1", "at least 0")),
        (["three"], ("three", "--name=value")),
        ([f"--flagfile={PRESETS / 'nope.flags'}"], (f"{PRESETS / 'nope.flags'}", "quick.flags")),
        (["--data_episodes=1"], ("--data_episodes=1", "at least 2")),
        (["--eval_episodes=0"], ("--eval_episodes=0", "at least 1")),
        (["--video_episodes=-1"], ("--video_episodes=-1", "at least 0")),
        (["--latent_bound=0"], ("--parrot.latents.bound=0", "positive", "none")),
        (["--loop.steps=-1600"], ("loop.steps", "-1600", "at least 1")),
        (["--loop.steps=100"], ("loop.steps", "100", "a multiple of", "epoch_steps")),
        (["--loop.updates_per_step=0.3"], ("loop.updates_per_step", "0.3", "num_envs", "whole")),
        (["--loop.batch_size=0"], ("loop.batch_size", "at least 1")),
        (["--loop.warmup_steps=-1"], ("loop.warmup_steps", "at least 0")),
        (["--loop.replay_capacity=1"], ("loop.replay_capacity=1", "at least num_envs")),
        (["--fit.steps=0"], ("fit.steps", "at least 1")),
        (["--fit.steps=7"], ("fit.steps", "a multiple of", "steps_per_epoch")),
        (["--fit.validation_fraction=2"], ("fit.validation_fraction=2", "between 0 and 1")),
        (
            ["--fit.learning_rate_schedule=x"],
            ("fit.learning_rate_schedule=x", "constant", "cosine"),
        ),
        (["--sac.discount=1.5"], ("sac.discount", "1.5", "[0, 1]")),
        (["--sac.num_critics=0"], ("sac.num_critics", "at least 1")),
        (["--sac.policy_observation=nope"], ("sac.policy_observation", "nope", "ee_position")),
        (["--flow.observation=nope"], ("real_nvp.observation", "nope", "ee_position")),
        (["--flow.couplings=0"], ("real_nvp.couplings", "at least 2")),
        (["--run.checkpoint_every=0"], ("run.checkpoint_every", "at least 1")),
        (["--run.eval_every=-1"], ("run.eval_every", "at least 0")),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_flags_of_the_experiment(
    arguments: list[str], names: tuple[str, ...], refused: Refused, tmp_path: Path
) -> None:
    refused(tmp_path, "parrot", "--workdir=run", *arguments, names=names)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["collect"], ("--output", "folder")),
        (["collect", "--output=data", "--env=grasp/nope"], ("--env=grasp/nope", "train")),
        (
            ["collect", "--output=data", "--env=grasp/mug", "--engine=nope"],
            ("--engine=nope", "auto", "c"),
        ),
        (["collect", "--output=data"], ("--env", "--checkpoint")),
        (["collect", "--output=data", "--checkpoint=run"], ("--checkpoint=run", "flags.txt")),
        (
            ["collect", "--output=data", "--checkpoint=run", "--env=grasp/mug"],
            ("--checkpoint", "leave out --env"),
        ),
        (["collect", "--output=data", "--episodes=0"], ("episodes=0", "at least 1")),
        (["collect", "--output=data", "--verify"], ("data/metadata.json", "experiments.collect")),
        (["evaluate"], ("--checkpoint", "workdir")),
        (["evaluate", "--checkpoint=run"], ("--checkpoint=run", "flags.txt", "workdir of a run")),
        (["evaluate", "--checkpoint=run", "--episodes=0"], ("--episodes", "at least 1")),
        (["report", "--workdirs="], ("--workdirs", "workdirs of runs")),
        (["report", "--workdirs=run"], ("--workdirs", "run", "flags.txt", "workdirs of runs")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_of_the_other_programs(
    arguments: list[str], names: tuple[str, ...], refused: Refused, tmp_path: Path
) -> None:
    refused(tmp_path, *arguments, names=names)


@pytest.fixture(scope="module")
def broken(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose training becomes non-finite in its third epoch, after two checkpoints."""
    folder = tmp_path_factory.mktemp("broken")
    result = forks.run("parrot", *SHORT, "--workdir=run", folder=folder)
    *progress, error = result.stderr.splitlines(True)
    names = ("sac: train/", "became", "between steps 160 and 240", "lower the learning rates")
    one_line(result._replace(stderr=error), names)
    epochs = [line for line in progress if not line.endswith("so far\n")]
    assert [line.split()[:2] for line in epochs] == [["sac", "80/400"], ["sac", "160/400"]]
    return folder


@pytest.fixture
def copy(broken: Path, tmp_path: Path) -> Path:
    """A folder with that run, to do things to."""
    shutil.copytree(broken, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_training_that_breaks_keeps_its_last_good_checkpoint(copy: Path, forks: Forks) -> None:
    assert Checkpointer(copy / "run" / "sac" / "checkpoints").steps() == [EPOCH, 2 * EPOCH]
    assert [row["step"] for row in runs.rows(copy / "run" / "sac")] == [EPOCH, 2 * EPOCH]
    assert not (copy / "run" / "summary.json").exists()
    result = forks.run("evaluate", "--checkpoint=run", "--episodes=4", folder=copy)
    assert (result.status, result.stderr) == (0, "")
    assert runs.read_json(copy / "run" / "evaluation.json")["sac/steps"] == 2 * EPOCH


def spoil(checkpoint: Path) -> None:
    """Flips one bit of the arrays."""
    path = max((p for p in checkpoint.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_passed_over_and_said_so(copy: Path, forks: Forks) -> None:
    checkpoints = copy / "run" / "sac" / "checkpoints"
    spoil(checkpoints / "0000000160")
    result = forks.run("evaluate", "--checkpoint=run", "--episodes=4", folder=copy)
    assert result.status == 0, result
    assert runs.read_json(copy / "run" / "evaluation.json")["sac/steps"] == EPOCH
    assert result.stderr.count("\n") == 1, result
    for part in ("0000000160 is damaged", "has changed", "going on from the older", "0000000080"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["evaluate", "--checkpoint=run"], ["parrot", *SHORT]])
def test_no_checkpoint_is_intact(arguments: list[str], copy: Path, refused: Refused) -> None:
    checkpoints = copy / "run" / "sac" / "checkpoints"
    spoil(checkpoints / "0000000080")
    (checkpoints / "0000000160" / "manifest.json").unlink()
    names = ("0000000160 is damaged", "0000000080 is damaged", "no intact one is left", "remove")
    more = ["--workdir=run"] if arguments[0] == "parrot" else []
    refused(copy, *arguments, *more, names=names)


def test_there_is_no_checkpoint(copy: Path, refused: Refused) -> None:
    shutil.rmtree(copy / "run" / "sac" / "checkpoints")
    names = ("run/sac/checkpoints", "no checkpoint", "give a workdir that has one")
    refused(copy, "evaluate", "--checkpoint=run", names=names)


def test_a_method_that_the_run_has_not(copy: Path, refused: Refused) -> None:
    for method in ("parrot", "ppo"):
        arguments = ("--checkpoint=run", f"--methods={method}")
        refused(copy, "evaluate", *arguments, names=(f"--methods={method}", "use some of: sac"))


def other_experiment(workdir: Path) -> None:
    (workdir / "flags.txt").write_text("# experiment: other\n--seed=0\n")


def no_experiment(workdir: Path) -> None:
    (workdir / "flags.txt").unlink()


def no_text(workdir: Path) -> None:
    (workdir / "flags.txt").write_bytes(b"\xff\xfe\x00\x01")


def a_file(workdir: Path) -> None:
    shutil.rmtree(workdir)
    workdir.write_text("something else")


@pytest.mark.parametrize(
    ("change", "trains", "evaluates"),
    [
        (other_experiment, ("belongs to other, not to parrot", "another --workdir"), ("of other",)),
        (no_experiment, ("flags.txt", "new or empty folder"), ("flags.txt", "workdir of a run")),
        (no_text, ("flags.txt", "another --workdir"), ("--checkpoint=run",)),
        (a_file, ("is a file", "give a folder"), ("flags.txt", "workdir of a run")),
    ],
)
def test_a_workdir_of_something_else(
    change: Callable[[Path], None],
    trains: tuple[str, ...],
    evaluates: tuple[str, ...],
    copy: Path,
    refused: Refused,
) -> None:
    change(copy / "run")
    refused(copy, "parrot", *SHORT, "--workdir=run", names=("--workdir=run", *trains))
    refused(copy, "evaluate", "--checkpoint=run", names=("--checkpoint=run", *evaluates))


def test_a_workdir_of_a_run_with_other_flags(copy: Path, refused: Refused) -> None:
    arguments = (*SHORT, "--workdir=run", "--seed=1", "--loop.batch_size=65")
    names = ("--workdir=run", "--loop.batch_size is 64 there and 65 here", "--seed is 0 there")
    refused(copy, "parrot", *arguments, names=(*names, "another --workdir"))


def test_what_cannot_be_drawn_makes_no_video(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(env=probes.observed_reward(bound=None).env)
    monkeypatch.setattr(evaluate, "restore_run", lambda *_, **__: run)
    monkeypatch.setattr(flags, "read", lambda _: evaluate.EvaluateConfig("run", video=True))
    with pytest.raises(UserError, match=f"--video: {run.env.name} cannot be drawn; leave it out"):
        evaluate.main()


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of one method on a disk that cannot be written to, as far as this process can tell."""
    run = SimpleNamespace(
        env=SimpleNamespace(name="a/b", render=len),
        config=SimpleNamespace(seed=0),
        methods={"sac": SimpleNamespace(policy=None, step=7)},
        evaluation=lambda learned, episodes: lambda policy, key: {"return_mean": 2.5},
    )

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(evaluate, "restore_run", lambda *_, **__: run)
    monkeypatch.setattr(files, "_claim", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    return tmp_path


def test_a_run_that_can_only_be_read_is_evaluated(
    read_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flags, "read", lambda _: evaluate.EvaluateConfig(str(read_only)))
    evaluate.main()
    said = capsys.readouterr()
    assert said.out == "sac/return_mean 2.5000\n"
    assert said.err.startswith(f"note: {read_only}/evaluation.json could not be written: Read-only")
    assert said.err.count("\n") == 1


def test_a_video_of_it_is_refused_at_once(
    read_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = evaluate.EvaluateConfig(str(read_only), video=True)
    monkeypatch.setattr(flags, "read", lambda _: config)
    with pytest.raises(UserError, match=f"--video: {read_only} cannot be written to; leave it out"):
        evaluate.main()
    assert capsys.readouterr().out == ""
