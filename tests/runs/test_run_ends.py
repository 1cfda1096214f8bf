"""Runs that are asked to end, that another process works on, or that get no numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from behavior_priors.errors import UserError
from behavior_priors.programs import termination
from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.run import RunConfig
from behavior_priors.training.finite import find_culprit
from behavior_priors.training.loop import Loop, LoopState, make_loop
from tests.held import held
from tests.runs import test_run
from tests.runs.test_run import CONFIG, EPOCHS, evaluate, learn, same
from tests.training.walk import make_averager, make_walk

loop, uninterrupted = test_run.loop, test_run.uninterrupted


def test_asked_to_end_it_saves_the_epoch_under_way(
    loop: Loop, uninterrupted: tuple[LoopState, str], tmp_path: Path
) -> None:
    """In each of its epochs, though every second one is saved anyway."""
    calls = []

    def ask(policy: Any, key: jax.Array) -> dict[str, jax.Array]:
        calls.append(None)
        termination._state.requested = True
        return evaluate(policy, key)

    try:
        for epoch in range(1, EPOCHS + 1):
            with pytest.raises(termination.Terminated):
                learn(tmp_path, loop, ask)
            termination._state.requested = False
            assert len(calls) == epoch
            assert Checkpointer(tmp_path / "checkpoints").steps()[-1] == 16 * epoch
            assert not termination._state.unsaved
            assert not termination._state.deferring
    finally:
        termination._state.requested = False
    same(learn(tmp_path, loop, ask), uninterrupted[0])
    assert len(calls) == EPOCHS
    assert (tmp_path / "metrics.jsonl").read_text() == uninterrupted[1]


def test_what_is_worth_waiting_for_is_what_is_not_saved(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsaved = []

    def look(policy: Any, key: jax.Array) -> dict[str, jax.Array]:
        unsaved.append(termination._state.unsaved)
        return evaluate(policy, key)

    learn(tmp_path / "short", loop, look)
    # before the first epoch's end nothing is, and every second one is saved
    assert unsaved == [False, True, False, True, False]
    assert Checkpointer(tmp_path / "short" / "checkpoints").steps() == [64, 80]

    # epochs that nobody could wait for are saved one by one, all but the one that compiles
    unsaved.clear()
    monkeypatch.setattr(termination, "PATIENCE", 0.0)
    monkeypatch.setattr("behavior_priors.runs.stage.SAVING_SHARE", 1e9)
    learn(tmp_path / "long", loop, look, RunConfig(checkpoint_every=9, eval_every=1))
    assert unsaved == [False, True, False, False, False]


def test_a_stage_is_one_process_at_a_time(loop: Loop, tmp_path: Path) -> None:
    with held(tmp_path / ".lock"), pytest.raises(UserError) as error:
        learn(tmp_path, loop)
    assert str(error.value).startswith(f"{tmp_path} is in use by process 42 on there since then;")
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}
    learn(tmp_path, loop)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "metrics.jsonl"}


def test_what_a_kill_left_is_removed_even_when_nothing_is_left_to_do(
    loop: Loop, tmp_path: Path
) -> None:
    learn(tmp_path, loop)
    checkpoints = tmp_path / "checkpoints"
    for name in (".0000000048.old.tmp", ".0000000096.tmp"):
        (checkpoints / name / "arrays").mkdir(parents=True)
    learn(tmp_path, loop)
    assert {path.name for path in checkpoints.iterdir()} == {"0000000064", "0000000080"}


def test_an_environment_whose_simulation_breaks_is_named(tmp_path: Path) -> None:
    """What it gives is finite, so nothing of it is left out; see `test_unusable` for the rest."""
    env = make_walk()

    def step(state: Any, action: jax.Array) -> Any:
        after = env.step(state, action)
        return after._replace(
            simulation=after.simulation | {"place": jnp.nan * action[0]},
            observation={n: jnp.ones_like(x) for n, x in after.observation.items()},
        )

    with pytest.raises(UserError) as error:
        learn(tmp_path, make_loop(env._replace(step=step), make_averager(), CONFIG))
    place = "walk: envs.simulation.place holds NaN or infinity, which probe/walk "
    assert str(error.value).startswith(place)
    assert str(error.value).endswith(" (nothing was saved before)")
    assert "learning rate" not in str(error.value)
    assert Checkpointer(tmp_path / "checkpoints").steps() == []


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (("replay.data.reward", "learner.policy.w"), "replay.data.reward"),
        (
            ("learner.policy.w", "context.data.observation.action"),
            "context.data.observation.action",
        ),
        (("envs.reward", "episode_return"), "envs.reward"),
        # the learner broke first, and its actions broke the rest
        (("learner.policy.w", "envs.simulation.place"), None),
        (("learner.policy.w", "replay.data.action", "replay.data.reward"), None),
        (("learner.policy.w",), None),
    ],
)
def test_who_is_to_blame(broken: tuple[str, ...], named: str | None) -> None:
    found = find_culprit(broken, "probe/walk")
    assert found is None if named is None else str(found).startswith(f"{named} holds NaN or ")


def test_infinity_may_be_a_note_of_the_environment(tmp_path: Path) -> None:
    """Such as the best distance so far."""
    env = make_walk()

    def reset(key: jax.Array) -> Any:
        state = env.reset(key)
        return state._replace(simulation=state.simulation | {"nearest": jnp.float32(jnp.inf)})

    loop = make_loop(env._replace(reset=reset), make_averager(), CONFIG)
    assert int(learn(tmp_path, loop).steps) == CONFIG.steps
