"""Collections that are killed are completed, and stored actions do again what they did."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.data.collect import ROUND, collect, restore_states, verify
from behavior_priors.data.episodes import EpisodeReader, EpisodeWriter
from behavior_priors.errors import UserError
from behavior_priors.types import Env, State
from tests.training.walk import LENGTH, make_walk, round_off

EPISODES = 300
"""About half of a round succeeds, so this takes three."""


class Killed(BaseException):
    """As SIGKILL, nothing may catch it."""


def start_anywhere(env: Env) -> Env:
    """The walk from a place that differs from episode to episode, and is seen from the start."""

    def reset(key: jax.Array) -> State:
        key, place_key = jax.random.split(key)
        state = env.reset(key)
        place = round_off(jax.random.normal(place_key))
        return state._replace(
            observation=state.observation | {"action": place[None]},
            simulation=state.simulation | {"place": place},
        )

    return env._replace(reset=reset)


@pytest.fixture(scope="module")
def env() -> Env:
    return start_anywhere(make_walk())


@pytest.fixture(scope="module")
def dataset(env: Env, tmp_path_factory: pytest.TempPathFactory) -> EpisodeReader:
    return collect(env, tmp_path_factory.mktemp("data") / "whole", EPISODES, seed=3)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_successes_are_kept_and_as_many_as_were_asked_for(dataset: EpisodeReader) -> None:
    assert dataset.complete
    assert dataset.num_episodes == EPISODES
    assert dataset.totals.num_shards == 3
    assert dataset.metadata.environment == "probe/walk"
    assert dataset.metadata.seed == 3
    batch = dataset.read()
    assert batch.initial_state["lucky"].all()
    assert batch.success is not None
    assert batch.success.all()
    assert (batch.length == LENGTH).all()
    # episodes are their own: the place moves by the action
    place = batch.observation["action"].reshape(EPISODES, LENGTH + 1)
    action = batch.action.reshape(EPISODES, LENGTH)
    assert (np.diff(place, axis=1) == action).all()
    assert len(np.unique(batch.action)) > 0.99 * EPISODES * LENGTH
    assert (place[:, 0] == batch.initial_state["place"]).all()


def test_diverged_episodes_are_not_kept(tmp_path: Path) -> None:
    """There, the lucky ones claim success and diverge: nobody succeeds, which is said."""
    with pytest.raises(UserError, match="demonstrator failed in all of 2560 episodes"):
        collect(make_walk(diverges=True), tmp_path / "data", 1, seed=0)


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_collection_is_completed_identically(
    killed_after: int, env: Env, dataset: EpisodeReader, tmp_path: Path
) -> None:
    rounds = []

    def on_round(kept: int, usable: int, tried: int) -> None:
        assert kept == min(usable, EPISODES)
        rounds.append((kept, tried))
        if len(rounds) == killed_after:
            raise Killed

    with pytest.raises(Killed):
        collect(env, tmp_path / "data", EPISODES, seed=3, on_round=on_round)
    assert [tried for _, tried in rounds] == [ROUND * n for n in range(1, killed_after + 1)]
    # what is there is a valid, smaller dataset
    part = EpisodeReader(tmp_path / "data")
    assert part.num_episodes == rounds[-1][0] <= EPISODES
    assert not part.complete
    collect(env, tmp_path / "data", EPISODES, seed=3, resume=True)
    assert files(tmp_path / "data") == files(dataset.directory)


def test_a_complete_collection_is_left_alone(env: Env, dataset: EpisodeReader) -> None:
    before = files(dataset.directory)
    with pytest.raises(UserError, match="exists and is not empty"):
        collect(env, dataset.directory, EPISODES, seed=3)
    assert collect(env, dataset.directory, EPISODES, seed=3, resume=True).num_episodes == EPISODES
    for changes in ({"seed": 4}, {"episodes": EPISODES + 1}):
        with pytest.raises(UserError, match="made with another"):
            collect(
                env, dataset.directory, **{"episodes": EPISODES, "seed": 3} | changes, resume=True
            )
    assert files(dataset.directory) == before


def test_what_cannot_be_collected_is_refused_before_anything_is_written(
    env: Env, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="episodes=0 should be at least 1"):
        collect(env, tmp_path / "data", 0, seed=0)
    with pytest.raises(UserError, match="probe/walk has no demonstrator"):
        collect(env._replace(demonstrate=None), tmp_path / "data", 1, seed=0)
    assert not (tmp_path / "data").exists()


def test_stored_actions_do_again_what_they_did(env: Env, dataset: EpisodeReader) -> None:
    rounds: list[Any] = []
    assert verify(env, dataset, lambda *numbers: rounds.append(numbers)) == (EPISODES, EPISODES)
    assert rounds == [(256, 256), (300, 300)]


def test_tampering_is_noticed(env: Env, dataset: EpisodeReader, tmp_path: Path) -> None:
    """One action, one observation, and one initial state, each in an episode of its own."""
    batch = dataset.read()
    action = batch.action.copy()
    action[LENGTH * 7 + 1] += 1e-3
    observation = {name: x.copy() for name, x in batch.observation.items()}
    observation["action"][(LENGTH + 1) * 70 + LENGTH] += 1e-3
    initial_state = {name: x.copy() for name, x in batch.initial_state.items()}
    initial_state["place"][290] += 1e-3
    writer = EpisodeWriter.create(tmp_path / "data", dataset.metadata)
    writer.write(
        dataclasses.replace(
            batch, action=action, observation=observation, initial_state=initial_state
        )
    )
    writer.finish()
    assert verify(env, EpisodeReader(tmp_path / "data")) == (EPISODES - 3, EPISODES)


def test_a_simulation_that_is_one_array(env: Env, tmp_path: Path) -> None:
    def only(state: State) -> State:
        lucky, place = state.simulation["lucky"], state.simulation["place"]
        return state._replace(simulation=jnp.stack([lucky.astype(jnp.float32), place]))

    def step(state: State, action: jax.Array) -> State:
        lucky, place = state.simulation[0] > 0, state.simulation[1]
        inner = {"lucky": lucky, "nothing": jnp.zeros((0,)), "place": place}
        return only(env.step(state._replace(simulation=inner), action))

    bare = env._replace(reset=lambda key: only(env.reset(key)), step=step)
    reader = collect(bare, tmp_path / "data", 8, seed=3)
    assert reader.read().initial_state["simulation"].shape == (8, 2)
    assert verify(bare, reader) == (8, 8)


def test_initial_states_survive_the_way_through_a_file(env: Env, dataset: EpisodeReader) -> None:
    batch = dataset.read(range(5, 9))
    states = restore_states(env, batch)
    for name in ("lucky", "place"):
        assert states.simulation[name].dtype == batch.initial_state[name].dtype
        assert (np.asarray(states.simulation[name]) == batch.initial_state[name]).all()
    assert states.simulation["nothing"].shape == (4, 0)
    first = batch.observation["action"].reshape(4, LENGTH + 1)[:, 0]
    assert (np.asarray(states.observation["action"])[:, 0] == first).all()
    assert (np.asarray(states.time) == 0).all()
    assert len(np.unique(jax.random.key_data(states.key), axis=0)) == 4
    stepped = jax.vmap(env.step)(states, jnp.asarray(batch.action.reshape(4, LENGTH, 1)[:, 0]))
    second = batch.observation["action"].reshape(4, LENGTH + 1)[:, 1]
    assert (np.asarray(stepped.observation["action"])[:, 0] == second).all()


@pytest.mark.parametrize("initial_state", [{}, {"lucky": np.ones((300, 2), bool)}])
def test_a_dataset_without_initial_states_cannot_be_verified(
    initial_state: dict[str, Any], env: Env, dataset: EpisodeReader, tmp_path: Path
) -> None:
    writer = EpisodeWriter.create(tmp_path / "data", dataset.metadata)
    writer.write(dataclasses.replace(dataset.read(), initial_state=initial_state))
    writer.finish()
    with pytest.raises(UserError, match="the dataset has no initial state 'lucky'") as error:
        verify(env, EpisodeReader(tmp_path / "data"))
    assert "\n" not in str(error.value)
