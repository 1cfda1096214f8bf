"""What a stranger hands on executes nothing, and nothing of the reader's is read or overwritten."""

from __future__ import annotations

import gc
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from behavior_priors.config import flags
from behavior_priors.data.episodes import EpisodeWriter
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.methods import tasks
from behavior_priors.methods.agent import build
from behavior_priors.methods.method import METHODS
from behavior_priors.methods.presets import PARROT, SPIRL
from behavior_priors.methods.tasks import task_env
from behavior_priors.reports.tables import make_table, read_run
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.workdir import open_workdir
from experiments import collect
from experiments.report import write_report
from experiments.restore import restore_run
from launch import sweep
from tests.data.examples import METADATA, write_dataset
from tests.experiments.settings import config_of
from tests.hostile.corpus import CASES, Case
from tests.hostile.spoil import SECRET, sealed

CONFIG = config_of(
    PARROT, "--env=point/dense", "--methods=sac", "--sac.policy_widths=4", "--sac.critic_widths=4"
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders without fault, by name."""
    root = tmp_path_factory.mktemp("sound")
    run = open_workdir(root / "run", experiment="parrot", flags_text=flags.to_text(CONFIG))
    learner = build("sac", METHODS["sac"], CONFIG, task_env(CONFIG), {}).learner
    shapes = jax.eval_shape(learner.init, jax.random.key(0)).policy
    policy = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)
    Checkpointer(run / "sac" / "checkpoints").save(300, {"learner": {"policy": policy}})
    (run / "videos").mkdir()
    open_workdir(
        root / "spirl",
        experiment="spirl",
        flags_text=flags.to_text(config_of(SPIRL, "--env=point/dense", "--skills=./other")),
    )
    write_dataset(root / "dataset")
    finished = open_workdir(
        root / "finished", experiment="parrot", flags_text=flags.to_text(CONFIG)
    )
    (finished / "summary.json").write_text('{"sac/success_rate": 0.5}')
    (finished / "sac").mkdir()
    (finished / "sac" / "metrics.jsonl").write_text('{"step": 1, "eval/success_rate": 0.5}\n')
    for name in ("tasks", "sweep"):
        (root / name).mkdir()
    (root / "sweep" / "logs").mkdir()
    return root


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once the stranger's code has run; that lies where Python looks."""
    path = tmp_path / "CANARY"
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "evil.py").write_text(
        f"open({str(path)!r}, 'w').close()\n"
        "from behavior_priors.envs.point_robot import FAMILY as points\n"
        "FAMILY = points._replace(complaint=lambda _: None)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger.evil", raising=False)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    return path


def verify(folder: Path, *arguments: str) -> None:
    """What `experiments.collect --verify` does."""
    values = flags.flags.FlagValues()
    flags.define(collect.CollectConfig, flag_values=values)
    values(["collect", "--verify", f"--output={folder}", *arguments])
    collect.execute_again(flags.read(collect.CollectConfig, flag_values=values))


def report(folder: Path) -> None:
    table = make_table([read_run(folder)], ("*/success_rate",))
    write_report(table, folder / "out", "eval/success_rate")


def read_tasks(folder: Path) -> None:
    tasks.read_tasks(
        folder, tasks.draw_tasks(make_env("point/dense"), tasks.TasksConfig(train=2, test=2))
    )


def continue_sweep(folder: Path) -> None:
    lock = sweep.open_root(folder)
    sweep.record_plan(folder, sweep.plan(sweep.SweepConfig(root=str(folder))))
    lock.release()


USES: dict[str, Callable[[Path], Any]] = {
    "run": restore_run,
    "spirl": restore_run,
    "dataset": verify,
    "finished": report,
    "tasks": read_tasks,
    "sweep": continue_sweep,
}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_a_stranger_hands_on_is_refused_in_a_line(
    tmp_path: Path, sound: Path, canary: Path, case: Case
) -> None:
    folder, outside = tmp_path / case.base, tmp_path / "outside"
    shutil.copytree(sound / case.base, folder)
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text(SECRET)
    case.spoil(folder, outside)
    gc.freeze()  # what other tests have left is not collected again and again in the second
    began = time.process_time()
    with pytest.raises(UserError, match=case.says) as error:
        USES[case.base](folder)
    assert time.process_time() - began < 1.0
    gc.unfreeze()
    message = str(error.value)
    assert len(message) < 600
    assert message.isprintable()
    assert SECRET not in message
    assert secret.read_text() == SECRET
    assert not canary.exists()


def test_there_are_enough_of_them() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 100


def put(run: Path, line: str) -> None:
    name = line.partition("=")[0]
    path = run / "flags.txt"
    lines = [x for x in path.read_text().splitlines() if not x.startswith(f"{name}=")]
    path.write_text("\n".join([*lines, line]) + "\n")


@pytest.fixture
def copied(tmp_path: Path, sound: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copied"))


def test_what_is_sound_needs_no_consent(copied: Path) -> None:
    assert restore_run(copied / "run").methods["sac"].step == 300
    report(copied / "finished")
    continue_sweep(copied / "sweep")
    assert (copied / "finished" / "out" / "learning_curves.png").is_file()


def test_modules_are_imported_with_consent(copied: Path, canary: Path) -> None:
    put(copied / "run", "--env=stranger.evil:dense")
    for trust in ((), ("stranger",), ("evil",), ("stranger.evil:dense",)):
        with pytest.raises(UserError, match=r"add --trust=stranger\.evil$"):
            restore_run(copied / "run", trust=trust)
    assert not canary.exists()
    run = restore_run(copied / "run", trust=("stranger.evil",))
    assert canary.exists()
    assert (run.env.name, run.methods["sac"].step) == ("point/dense", 300)


def test_what_the_command_line_names_needs_no_consent(canary: Path) -> None:
    assert make_env("stranger.evil:dense").name == "point/dense"
    assert canary.exists()


def test_gymnasiums_modules_are_imported_with_consent(copied: Path, canary: Path) -> None:
    pytest.importorskip("gymnasium")
    put(copied / "run", "--env=gym/stranger.evil:X-v0")
    with pytest.raises(UserError, match=r"--env=gym/stranger\.evil:X-v0 is unknown"):
        restore_run(copied / "run", trust=("stranger.evil",))
    assert canary.exists()


def test_a_dataset_names_modules_with_consent(copied: Path, canary: Path) -> None:
    path = copied / "dataset" / "metadata.json"
    path.write_text(path.read_text().replace('"table"', '"stranger.evil:dense"'))
    with pytest.raises(UserError, match=r"add --trust=stranger\.evil$"):
        verify(copied / "dataset")
    assert not canary.exists()
    with pytest.raises(UserError, match="scenes are not those of point/dense"):
        verify(copied / "dataset", "--trust=stranger.evil")
    assert canary.exists()


def test_folders_are_read_with_consent(copied: Path) -> None:
    put(copied / "spirl", f"--through={copied}/other, one")
    with (
        jax.numpy_rank_promotion("allow"),
        pytest.raises(UserError, match=r"add --trust='.*/other, one'$"),
    ):
        restore_run(copied / "spirl")
    with (
        jax.numpy_rank_promotion("allow"),
        pytest.raises(UserError, match=r"other, one has no flags\.txt"),
    ):
        restore_run(copied / "spirl", trust=(f"{copied}/other", "one"))


def test_a_run_is_not_begun_through_links(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".partial-flags.txt").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match=r"\.partial-flags\.txt is a link"):
        open_workdir(tmp_path / "run", experiment="parrot", flags_text="")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_dataset_is_not_continued_through_links(copied: Path) -> None:
    mine = copied / "mine"
    mine.write_text("mine")
    path = copied / "dataset" / "metadata.json"
    (path.parent / ".partial-metadata.json").symlink_to(mine)
    EpisodeWriter.resume(path.parent, METADATA).finish()
    assert mine.read_text() == "mine"
    assert not path.is_symlink()


def test_a_checkpoint_may_not_claim_more_than_it_has(copied: Path) -> None:
    def enlarge(checkpoint: Path, _: Path) -> None:
        path = checkpoint / "metadata.json"
        path.write_text('{"step": 300, "metadata": {}, "leaves": {"x": "float32[1099511627776]"}}')

    sealed(enlarge)(copied / "run", copied)
    checkpoints = Checkpointer(copied / "run" / "sac" / "checkpoints")
    with pytest.raises(UserError, match=r"bytes of arrays that should have 4398046511104"):
        checkpoints.restore_latest({"x": jax.ShapeDtypeStruct((1 << 40,), jnp.float32)})
