"""Policies of runs: what is loaded and what is exported acts as the run's own evaluation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from behavior_priors import load_policy
from behavior_priors.errors import UserError
from behavior_priors.methods import tasks
from behavior_priors.policy import FACTS_FILE, PROGRAM_FILE, WEIGHTS_FILE
from experiments.restore import restore_run
from tests.deploy.tiny import ACT, REAL_NVP, TASK
from tests.inside.memory import remembered
from tests.inside.programs import one_environment, run_program, succeed

TINY = (*TASK, "--methods=parrot,sac", *REAL_NVP, *ACT, "--workdir=run")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Holds a run, `run`, of two methods."""
    folder = tmp_path_factory.mktemp("deploy")
    with one_environment(), remembered():
        succeed("experiments.run", TINY, folder)
        yield folder


@pytest.fixture(scope="module")
def exported(folder: Path) -> Path:
    flags = ("--checkpoint=run", "--method=parrot", "--output=out/parrot")
    ended = succeed("experiments.export", flags, folder)
    assert ended.stdout.startswith("parrot of maze/test?distance=3&episode_length=20 after 200")
    return folder / "out" / "parrot"


def observations(count: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    patches = random.integers(0, 2, (count, 7, 7), np.uint8)
    return [
        {
            "position": random.uniform(5.0, 30.0, 2).astype(np.float32),
            "velocity": random.normal(size=2).astype(np.float32),
            "patch": patch,
        }
        for patch in patches
    ]


def test_it_acts_as_the_run_evaluates_without_making_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = restore_run(folder / "run", ["parrot"])
    trained = run.methods["parrot"]
    decode = trained.agent.decode
    assert decode is not None

    def no_environment(*_: object, **__: object) -> None:
        raise AssertionError("an environment was made")

    monkeypatch.setattr(tasks, "make_env", no_environment)
    policy = load_policy(folder / "run", "parrot")
    assert policy.observation == {n: x.shape for n, x in run.env.observation_spec.items()}

    @jax.jit
    def expected(observation: dict[str, np.ndarray]) -> jax.Array:
        state = jax.eval_shape(run.env.reset, jax.eval_shape(lambda: jax.random.key(0)))
        state = state._replace(observation=observation)
        chosen = trained.learner.act(trained.policy, observation, None, explore=False).action
        return decode(state, chosen)

    for observation in observations(50):
        theirs = np.clip(np.asarray(expected(observation)), -1.0, 1.0)
        np.testing.assert_array_equal(policy(observation), theirs)


def test_what_is_exported_acts_the_same_to_the_last_bit(folder: Path, exported: Path) -> None:
    ours, theirs = load_policy(folder / "run", "parrot"), load_policy(exported)
    for observation in observations(1000):
        np.testing.assert_array_equal(ours(observation), theirs(observation))


def test_the_folder_alone_is_enough(folder: Path, exported: Path, tmp_path: Path) -> None:
    """In a process that cannot import this library, from wherever the folder has gone."""
    moved = tmp_path / "robot"
    exported.rename(moved)
    try:
        np.savez(tmp_path / "seen.npz", **observations(1)[0])
        code = (
            "import sys; sys.path.insert(0, 'robot'); sys.modules['behavior_priors'] = None;"
            "import numpy, policy; seen = dict(numpy.load('seen.npz'));"
            "numpy.save('action.npy', policy.load()(seen))"
        )
        subprocess.run([sys.executable, "-I", "-B", "-c", code], cwd=tmp_path, check=True)
        action = np.load(tmp_path / "action.npy")
    finally:
        moved.rename(exported)
    # compiled as users have it, and here as tests do
    np.testing.assert_allclose(action, load_policy(exported)(observations(1)[0]), rtol=1e-6)


def test_its_description_says_whence_it_comes(folder: Path, exported: Path) -> None:
    facts = json.loads((exported / FACTS_FILE).read_text())
    assert facts["name"] == "parrot"
    assert facts["steps"] == 200
    assert facts["program"]["platforms"] == ["cpu", "cuda", "tpu"]
    assert "--real_nvp.couplings=2" in facts["flags"]
    assert len(facts["data"]["sha256"]) == 64
    assert facts["versions"]["jax"] == jax.__version__
    position = facts["observation"]["position"]
    assert position["shape"] == [2]
    sizes = [path.stat().st_size for path in exported.iterdir()]
    assert len(sizes) == 4
    assert sum(sizes) < 200_000


def test_a_policy_that_draws_is_exported_with_its_seed(folder: Path) -> None:
    flags = ("--checkpoint=run", "--method=sac", "--output=out/sac", "--explore", "--seed=3")
    succeed("experiments.export", flags, folder)
    ours = load_policy(folder / "run", "sac", explore=True, seed=3)
    theirs = load_policy(folder / "out" / "sac")
    mode = load_policy(folder / "run", "sac")
    for observation in observations(20):
        drawn = ours(observation)
        np.testing.assert_array_equal(drawn, theirs(observation))
        assert np.abs(drawn - mode(observation)).max() > 1e-3


def test_a_method_must_be_meant_and_be_there(folder: Path) -> None:
    with pytest.raises(UserError, match="say method= one of: parrot, sac"):
        load_policy(folder / "run")
    with pytest.raises(UserError, match="method=spirl is not in"):
        load_policy(folder / "run", "spirl")
    with pytest.raises(UserError, match="give the workdir of a run"):
        load_policy(folder / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (FACTS_FILE, b"{}", "does not describe a policy"),
        (FACTS_FILE, b'{"format": 2}', "is of format 2; this reader knows 1"),
        (FACTS_FILE, b'{"format": 1}', "holds no whole policy"),
        (WEIGHTS_FILE, b"", "is no whole file of safetensors"),
        (PROGRAM_FILE, b"MLIR", "holds no whole policy"),
        (PROGRAM_FILE, b"", "holds no whole policy"),
    ],
)
def test_damaged_folders_are_refused(
    folder: Path, exported: Path, name: str, content: bytes, words: str
) -> None:
    path = exported / name
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(UserError, match=words):
            load_policy(exported)
    finally:
        path.write_bytes(before)


def test_nothing_is_overwritten(folder: Path, exported: Path) -> None:
    before = {path: path.read_bytes() for path in exported.iterdir()}
    flags = ("--checkpoint=run", "--method=parrot", "--output=out/parrot")
    ended = run_program("experiments.export", flags, folder)
    assert ended.status == 2
    assert "--output=out/parrot is there already; give a new or empty folder" in ended.stderr
    assert {path: path.read_bytes() for path in exported.iterdir()} == before


def test_a_run_is_evaluated_in_another_environment_that_looks_the_same(folder: Path) -> None:
    flags = ("--checkpoint=run", "--methods=parrot", "--episodes=3")
    other = "--env=maze/validation?distance=4&episode_length=20"
    succeed("experiments.evaluate", (*flags, other), folder)
    kept = folder / "run" / "evaluation" / "maze_validation_distance=4_episode_length=20.json"
    assert json.loads(kept.read_text()).keys() >= {"parrot/success_rate", "parrot/steps"}
    assert not (folder / "run" / "evaluation.json").exists()
    ended = run_program("experiments.evaluate", (*flags, "--env=point/dense"), folder)
    assert ended.status == 2
    assert "--env=point/dense does not go with maze/test" in ended.stderr
    assert "observation 'velocity' is float32[2] in the run, but missing there" in ended.stderr


def test_links_and_pipes_in_an_exported_folder_are_refused(exported: Path, tmp_path: Path) -> None:
    """A pipe would be waited for, a link leads elsewhere."""
    for name, make in (("pipe", os.mkfifo), ("link", lambda path: path.symlink_to(exported))):
        folder = tmp_path / name
        shutil.copytree(exported, folder)
        (folder / WEIGHTS_FILE).unlink()
        make(folder / WEIGHTS_FILE)
        with pytest.raises(UserError, match=r"neither a file nor a folder|is a link"):
            load_policy(folder)
