"""Runs that are killed end like runs that are not, and runs that go wrong keep what was right."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.programs.progress import Stopwatch
from behavior_priors.runs import run as run_module
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.metrics import read_jsonl
from behavior_priors.runs.run import RunConfig, check_run_config, run_fit, run_loop
from behavior_priors.training import fit as fit_module
from behavior_priors.training.fit import FitConfig, FitState
from behavior_priors.training.loop import Loop, LoopConfig, LoopState, make_loop
from behavior_priors.types import Prior
from tests.training.walk import make_averager, make_walk

CONFIG = LoopConfig(
    steps=80, epoch_steps=16, num_envs=4, warmup_steps=24, updates_per_step=0.5, batch_size=8
)
EPOCHS = 5
RUN = RunConfig(checkpoint_every=2, eval_every=1, eval_episodes=1)
FIT = FitConfig(steps=20, steps_per_epoch=4, batch_size=4, learning_rate=0.1)


class Killed(BaseException):
    """Nothing in the run may catch it, as nothing catches SIGKILL."""


def same(ours: Any, theirs: Any) -> None:
    """Equal structures, dtypes and bits."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert x.dtype == y.dtype
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.fixture(scope="module")
def loop() -> Loop:
    return make_loop(make_walk(), make_averager(), CONFIG)


def evaluate(policy: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Depends on the policy and the key, so that a wrong one of either is noticed."""
    return {"success_rate": policy["mean"] + jax.random.uniform(key)}


def learn(
    folder: Path, loop: Loop, evaluate: Any = evaluate, run: RunConfig = RUN, **changes: Any
) -> LoopState:
    arguments = {"stopwatch": Stopwatch(), "flags": {}} | changes
    return run_loop(folder, "walk", loop, CONFIG, evaluate, jax.random.key(7), run=run, **arguments)


@pytest.fixture(scope="module")
def uninterrupted(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoopState, str]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return learn(folder, loop), (folder / "metrics.jsonl").read_text()


def killer(function: Callable[..., Any], at: int, *, after: bool) -> Callable[..., Any]:
    """The function, whose call number `at` (from 1) ends the process before or after it."""
    calls = []

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == at and not after:
            raise Killed
        result = function(*args, **kwargs)
        if len(calls) == at:
            raise Killed
        return result

    return call


def test_an_uninterrupted_run_writes_every_epoch(
    uninterrupted: tuple[LoopState, str],
) -> None:
    state, text = uninterrupted
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["step"] for row in rows] == [16, 32, 48, 64, 80]
    # warm-up covers the first epoch and half of the second
    assert [row["train/loss"] is None for row in rows] == [True, False, False, False, False]
    assert all("eval/success_rate" in row and "episode/return" in row for row in rows)
    assert int(state.steps) == 80
    assert int(state.learner.step) == 28  # 14 rounds after warm-up, 2 updates each


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_killed_in_any_epoch(
    epoch: int, loop: Loop, uninterrupted: tuple[LoopState, str], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        learn(tmp_path, loop, killer(evaluate, epoch, after=False))
    same(learn(tmp_path, loop), uninterrupted[0])
    assert (tmp_path / "metrics.jsonl").read_text() == uninterrupted[1]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("save", [1, 2, 3])
def test_killed_around_any_checkpoint(
    save: int,
    after: bool,
    loop: Loop,
    uninterrupted: tuple[LoopState, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Just before, the epoch's row is written already; just after, nothing is left to do again."""
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save", killer(Checkpointer.save, save, after=after))
        with pytest.raises(Killed):
            learn(tmp_path, loop)
    same(learn(tmp_path, loop), uninterrupted[0])
    assert (tmp_path / "metrics.jsonl").read_text() == uninterrupted[1]


def test_killed_again_and_again(
    loop: Loop, uninterrupted: tuple[LoopState, str], tmp_path: Path
) -> None:
    run = RunConfig(checkpoint_every=1, eval_every=1)
    for _ in range(EPOCHS):
        with pytest.raises(Killed):
            learn(tmp_path, loop, killer(evaluate, 2, after=True), run)
        if len(read_jsonl(tmp_path / "metrics.jsonl")) == EPOCHS - 1:
            break
    same(learn(tmp_path, loop, run=run), uninterrupted[0])
    assert (tmp_path / "metrics.jsonl").read_text() == uninterrupted[1]


def test_a_finished_run_is_only_read(
    loop: Loop, uninterrupted: tuple[LoopState, str], tmp_path: Path
) -> None:
    learn(tmp_path, loop)
    before = (tmp_path / "metrics.jsonl").read_text()

    def must_not(*_: Any) -> Any:
        raise AssertionError("there is nothing left to do")

    same(learn(tmp_path, loop._replace(run_epoch=must_not), must_not), uninterrupted[0])
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_damaged_checkpoint_costs_the_epochs_since_the_one_before(
    loop: Loop,
    uninterrupted: tuple[LoopState, str],
    tmp_path: Path,
) -> None:
    learn(tmp_path, loop)
    (tmp_path / "checkpoints" / "0000000080" / "metadata.json").write_text("{}")
    same(learn(tmp_path, loop), uninterrupted[0])
    assert (tmp_path / "metrics.jsonl").read_text() == uninterrupted[1]


def test_the_stopwatch_goes_on(loop: Loop, tmp_path: Path) -> None:
    """A clock that ticks once a look: an epoch costs one tick of training, one of evaluation."""

    def stopwatch() -> Stopwatch:
        ticks = iter(range(1000))
        return Stopwatch(clock=lambda: float(next(ticks)))

    with pytest.raises(Killed):
        learn(tmp_path, loop, killer(evaluate, 4, after=False), stopwatch=stopwatch())
    resumed = stopwatch()
    learn(tmp_path, loop, stopwatch=resumed)
    assert resumed.seconds() == {"train": 5.0, "evaluate": 5.0}


def test_evaluations_are_made_when_they_are_due(loop: Loop, tmp_path: Path) -> None:
    steps = {}
    for every in (0, 2):
        folder = tmp_path / str(every)
        learn(folder, loop, run=RunConfig(checkpoint_every=9, eval_every=every))
        rows = read_jsonl(folder / "metrics.jsonl")
        steps[every] = [row["step"] for row in rows if "eval/success_rate" in row]
        assert Checkpointer(folder / "checkpoints").steps() == [80]  # the last one always is
    assert steps == {0: [], 2: [32, 64, 80]}


@pytest.mark.parametrize(
    ("spoil", "suspect"),
    [
        # a loss that is none, in the middle of an epoch
        (lambda step, mean, loss: (mean, jnp.where(step == 15, jnp.nan, loss)), "train/loss"),
        (lambda step, mean, loss: (mean, jnp.where(step == 15, -jnp.inf, loss)), "train/loss"),
        # everything at once, and from then on
        (
            lambda step, mean, loss: (
                jnp.where(step >= 12, jnp.nan, mean),
                jnp.where(step >= 12, jnp.nan, loss),
            ),
            "train/",
        ),
    ],
)
def test_training_that_is_no_longer_finite_stops(spoil: Any, suspect: str, tmp_path: Path) -> None:
    """Updates 12 to 19 are the fourth epoch's, from step 48 to 64."""
    loop = make_loop(make_walk(), make_averager(spoil), CONFIG)
    with pytest.raises(UserError, match=f"walk: {suspect}.* between steps 48 and 64") as error:
        learn(tmp_path, loop)
    advice = "; lower the learning rates (the checkpoint of step 32 is kept)"
    assert str(error.value).endswith(advice)
    _holds_only_what_is_finite(tmp_path, loop)


def test_a_state_that_the_last_update_of_an_epoch_breaks_is_not_saved(tmp_path: Path) -> None:
    """Its metrics are those before that update, all finite."""

    def spoil(step: Any, mean: Any, loss: Any) -> Any:
        return jnp.where(step == 19, jnp.nan, mean), loss

    learner = make_averager(spoil)

    def update(state: Any, batch: Any) -> Any:
        after, metrics = learner.update(state, batch)
        return after, {"loss": metrics["loss"]}

    loop = make_loop(make_walk(), learner._replace(update=update), CONFIG)
    with pytest.raises(
        UserError, match=r"learner\.policy\.mean became nan between steps 48 and 64"
    ):
        learn(tmp_path, loop)
    _holds_only_what_is_finite(tmp_path, loop)


def _holds_only_what_is_finite(folder: Path, loop: Loop) -> None:
    checkpoints = Checkpointer(folder / "checkpoints")
    assert checkpoints.steps() == [32]
    restored = checkpoints.restore_latest(jax.eval_shape(loop.init, jax.random.key(0)))
    assert restored is not None
    assert np.isfinite(restored.state.learner.policy["mean"])
    assert [row["step"] for row in read_jsonl(folder / "metrics.jsonl")] == [16, 32, 48]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RunConfig(checkpoint_every=0), "checkpoint_every=0 should be at least 1"),
        (RunConfig(eval_every=-1), "eval_every=-1 should be at least 0"),
        (RunConfig(eval_episodes=0), "eval_episodes=0 should be at least 1"),
    ],
)
def test_a_run_config_out_of_range(
    config: RunConfig, message: str, loop: Loop, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        check_run_config(config)
    with pytest.raises(UserError, match=message):
        learn(tmp_path / "new", loop, run=config)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_other_settings_is_refused_and_left_alone(loop: Loop, tmp_path: Path) -> None:
    learn(tmp_path, loop)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    bigger = LoopConfig(**{**CONFIG.__dict__, "num_envs": 8})
    with pytest.raises(UserError, match="belongs to other settings"):
        learn(tmp_path, make_loop(make_walk(), make_averager(), bigger))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def _follower() -> Prior:
    """A prior of one weight that noise drags towards the actions, so that every key counts."""

    def absent(*_: Any) -> Any:
        raise AssertionError("training uses a prior's init and loss only")

    def loss(
        params: Any, batch: Any, key: jax.Array, step: Any
    ) -> tuple[jax.Array, dict[str, Any]]:
        noise = jax.random.normal(key, batch["action"].shape)
        value = jnp.square(batch["action"] + noise - params["weight"]).mean()
        return value, {"nll": value}

    return Prior(
        name="follower",
        latent_size=1,
        action_size=1,
        init=lambda key: {"weight": jax.random.normal(key)},
        encode=absent,
        decode=absent,
        loss=loss,
    )


DATA = {"observation": {}, "action": jnp.linspace(2.0, 3.0, 16)[:, None]}


def train_prior(folder: Path, prior: Prior) -> FitState:
    return run_fit(folder, prior, FIT, lambda: (DATA, DATA), jax.random.key(3), run=RUN, flags={})


def test_fitting_is_resumed_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # compiled once for all of the runs
    compiled = functools.cache(fit_module.make_fit)
    monkeypatch.setattr(fit_module, "make_fit", compiled)
    monkeypatch.setattr(run_module, "make_fit", compiled)
    prior = _follower()
    expected = train_prior(tmp_path / "uninterrupted", prior)
    rows = (tmp_path / "uninterrupted" / "metrics.jsonl").read_text()
    assert len(rows.splitlines()) == FIT.steps // FIT.steps_per_epoch
    for epoch in range(1, 6):
        for after in (False, True):
            folder = tmp_path / f"{epoch}{after}"
            with monkeypatch.context() as patch:
                patch.setattr(Checkpointer, "save", killer(Checkpointer.save, epoch, after=after))
                with pytest.raises(Killed):
                    train_prior(folder, prior)
            same(train_prior(folder, prior), expected)
            assert (folder / "metrics.jsonl").read_text() == rows


def test_fitting_that_is_no_longer_finite_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    prior = _follower()

    def loss(
        params: Any, batch: Any, key: jax.Array, step: Any
    ) -> tuple[jax.Array, dict[str, Any]]:
        value, metrics = prior.loss(params, batch, key, step)
        # from a start near 0, three epochs of steps of 0.1 lead beyond this
        return jnp.where(params["weight"] > 0.9, jnp.inf, value), metrics

    start = prior._replace(init=lambda key: {"weight": jnp.zeros(())}, loss=loss)
    with pytest.raises(UserError, match="train/loss became inf between steps 8 and 12"):
        train_prior(tmp_path, start)
    assert Checkpointer(tmp_path / "checkpoints").steps() == [4, 8]
    assert [row["step"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [4, 8]


def test_writers_are_closed_when_a_run_ends_badly(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    class Writer(run_module.JsonlWriter):
        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr(run_module, "JsonlWriter", Writer)
    with pytest.raises(Killed):
        learn(tmp_path, loop, killer(evaluate, 1, after=False))
    assert len(closed) == 1
