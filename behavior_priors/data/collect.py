"""Filling a dataset with episodes of a demonstrator: successful ones, where that is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from behavior_priors.data.bounds import KEY, bounds_of
from behavior_priors.data.episodes import EpisodeReader, EpisodeWriter
from behavior_priors.data.layout import EpisodeBatch, pad
from behavior_priors.data.metadata import EpisodeMetadata
from behavior_priors.envs.rollout import Rollout, replay_actions, rollout
from behavior_priors.errors import UserError
from behavior_priors.keys import named_key
from behavior_priors.types import Env, State

ROUND = 256
"""Episodes tried at once, unless something else is asked for; the ones kept make a shard."""

COLLECT = "collect"
"""The use of a seed that demonstrations are drawn by."""

CollectProgressFn = Callable[[int, int, int], None]
"""`(episodes kept, usable ones, episodes tried)` so far. More are usable than are kept where the
last round has more than were still missing."""

VerifyProgressFn = Callable[[int, int], None]
"""`(episodes that repeat, episodes tried)` so far."""


def collect(
    env: Env,
    directory: str | Path,
    episodes: int,
    seed: int,
    *,
    resume: bool = False,
    round_size: int = ROUND,
    policy: str = "scripted",
    keep_failures: bool = False,
    on_round: CollectProgressFn | None = None,
) -> EpisodeReader:
    """Collects demonstrations that end in success, as PARROT does (Singh et al. 2021, appendix A).

    Where the environment does not measure success, every episode is kept. A round's episodes depend
    on the seed and the round's number alone, so a collection that was killed is completed
    identically.

    Args:
      env: has a demonstrator.
      directory: where the dataset goes.
      episodes: how many to keep.
      seed: of everything random.
      resume: complete the dataset that is there; otherwise one that is there is refused.
      round_size: episodes tried at once, side by side.
      policy: who demonstrates, for the metadata.
      keep_failures: also keep episodes that do not end in success.
      on_round: called after every round.

    Returns:
      A reader of the dataset.

    Raises:
      UserError: no episodes are wanted, the directory is taken, or the demonstrator is absent or
        never succeeds.
    """
    if episodes < 1:
        raise UserError(f"episodes={episodes} should be at least 1")
    if env.demonstrate is None:
        raise UserError(f"{env.name} has no demonstrator; collect in an environment that has one")
    metadata = EpisodeMetadata(
        observation=env.observation_spec,
        action_size=env.action_spec.size,
        environment=env.name,
        policy=policy,
        engine=env.info.get("engine"),
        scenes=env.info.get("scenes", ()),
        environment_config={"episode_length": env.episode_length},
        seed=seed,
        extra={"episodes": episodes, "round": round_size, **_bounds(env)},
    )
    writer = (EpisodeWriter.resume if resume else EpisodeWriter.create)(directory, metadata)
    demonstrator = env.demonstrate
    demonstrate = jax.jit(lambda key: rollout(env, demonstrator, key, round_size))
    key = named_key(seed, COLLECT)
    diverged = 0
    while writer.totals.num_episodes < episodes:
        made = demonstrate(jax.random.fold_in(key, writer.totals.num_shards))
        diverged += int(made.final.diverged.sum())
        batch = _kept(env, keep_failures, made)
        before = writer.totals.num_episodes
        usable = before + len(batch["length"])
        writer.write(_first(batch, episodes - before))
        tried = writer.totals.num_shards * round_size
        if writer.totals.num_episodes == 0 and tried >= 10 * round_size:
            raise UserError(
                f"{env.name}: the demonstrator failed in all of {tried} episodes"
                + (f", {diverged} of which diverged" if diverged else "")
            )
        if on_round is not None:
            on_round(writer.totals.num_episodes, usable, tried)
    if not writer.complete:
        writer.finish()
    if diverged:
        logging.warning("%s: %d episodes diverged and were left out", env.name, diverged)
    return EpisodeReader(directory)


def _bounds(env: Env) -> dict[str, Any]:
    """What actions of -1 and 1 stood for, where the environment has bounds of its own."""
    bounds = bounds_of(env.info, env.action_spec.size, env.name)
    return {} if bounds is None else {KEY: bounds.as_json()}


def _kept(env: Env, keep_failures: bool, episodes: Rollout) -> dict[str, Any]:
    """The episodes that a dataset is made of as host arrays, still side by side."""
    host = jax.device_get(
        {
            "observation": dict(episodes.observation),
            "action": episodes.action,
            "reward": episodes.reward,
            "length": episodes.length,
            "terminated": episodes.final.terminated,
            # an episode outside of its state cannot be begun again
            "initial_state": {} if env.step_then_reset else _named_leaves(episodes.initial),
        }
    )
    keep = ~np.asarray(episodes.final.diverged)
    if env.measures_success:
        host["success"] = np.asarray(episodes.final_success)
        keep &= host["success"] | keep_failures
    return jax.tree.map(lambda x: x[np.flatnonzero(keep)], host)


def _first(batch: dict[str, Any], count: int) -> EpisodeBatch:
    batch = jax.tree.map(lambda x: x[:count], batch)
    initial = batch.pop("initial_state")
    return EpisodeBatch.from_padded(
        **batch,
        scene=initial.get("scene"),
        initial_state=initial,
    )


def _named_leaves(state: State) -> dict[str, Any]:
    """The simulation's arrays by their path in it, such as `physics.qpos`; empty ones left out."""
    leaves = jax.tree_util.tree_flatten_with_path(state.simulation)[0]
    return {_leaf_name(path): x for path, x in leaves if x.size}


def _leaf_name(path: Any) -> str:
    """The name of an array in a simulation's state, which may be all of it."""
    return jax.tree_util.keystr(path, simple=True, separator=".") or "simulation"


def restore_states(env: Env, episodes: EpisodeBatch) -> State:
    """The stored initial states `[E]`, from which stored actions can be re-executed.

    Keys are not stored: an environment that draws random numbers in its steps draws others.

    Raises:
      UserError: the stored arrays are not those of this environment.
    """
    count = len(episodes.length)
    reset_key, keys = named_key(0, "restore"), jax.random.split(named_key(0, "restored"), count)
    state = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (count, *x.shape)), jax.jit(env.reset)(reset_key)
    )
    first_rows = np.cumsum(episodes.length + 1) - (episodes.length + 1)
    leaves, structure = jax.tree_util.tree_flatten_with_path(state.simulation)
    restored = []
    for path, leaf in leaves:
        name = _leaf_name(path)
        stored = episodes.initial_state.get(name, leaf if leaf.size == 0 else None)
        if stored is None or stored.shape != leaf.shape:
            raise UserError(
                f"{env.name}: the dataset has no initial state {name!r} {list(leaf.shape[1:])}; "
                "use the environment that it was collected in"
            )
        restored.append(jnp.asarray(stored, leaf.dtype))
    return state._replace(
        key=keys,
        observation={n: jnp.asarray(x[first_rows]) for n, x in episodes.observation.items()},
        simulation=jax.tree.unflatten(structure, restored),
    )


def _check_repeatable(env: Env, reader: EpisodeReader) -> None:
    ours, theirs = (
        {name: (tuple(x.shape), np.dtype(x.dtype)) for name, x in spec.items()}
        for spec in (env.observation_spec, reader.metadata.observation)
    )
    if ours != theirs:
        raise UserError(
            f"{reader.directory}: its observations are not those of {env.name}; use the "
            "environment that it was collected in"
        )
    if (size := reader.metadata.action_size) != env.action_spec.size:
        raise UserError(
            f"{reader.directory}: its actions have size {size}, those of {env.name} have size "
            f"{env.action_spec.size}; use the environment that it was collected in"
        )
    if reader.lengths.max(initial=0) > env.episode_length:
        raise UserError(
            f"{reader.directory}: an episode has {reader.lengths.max()} steps, one of {env.name} "
            f"at most {env.episode_length}; use the environment that it was collected in"
        )


def verify(
    env: Env, reader: EpisodeReader, on_round: VerifyProgressFn | None = None
) -> tuple[int, int]:
    """Re-executes every stored episode.

    Args:
      env: the one that the data was collected in; its episodes live in its states.
      reader: the dataset.
      on_round: called after every round.

    Returns:
      How many episodes give the stored observations again, bit for bit, and how many there are.
      An episode's first observation comes with the state that it is executed from.

    Raises:
      UserError: the dataset holds no initial states of this environment.
    """
    if env.step_then_reset is not None:
        raise UserError(f"{env.name}: its episodes live outside of its states and cannot repeat")
    _check_repeatable(env, reader)
    same = tried = 0
    run = jax.jit(lambda initial, actions: replay_actions(env, initial, actions))
    for start in range(0, reader.num_episodes, ROUND):
        batch = reader.read(slice(start, start + ROUND))
        count = len(batch.length)
        # always the same number of episodes, so that one program serves all rounds
        fill = np.resize(np.arange(count), ROUND)
        initial = jax.tree.map(lambda x, fill=fill: x[fill], restore_states(env, batch))
        actions = pad(batch.action, batch.length)[fill]
        again = jax.device_get(run(initial, jnp.asarray(actions)).observation)
        equal = np.ones(count, bool)
        for name, stored in batch.observation.items():
            stored = pad(stored, batch.length + 1)
            steps = np.arange(stored.shape[1])
            difference = again[name][:count, : len(steps)] != stored
            differs = difference.reshape(count, len(steps), -1).any(-1)
            equal &= ~(differs & (steps <= batch.length[:, None])).any(-1)
        same, tried = same + int(equal.sum()), tried + count
        if on_round is not None:
            on_round(same, tried)
    return same, tried
