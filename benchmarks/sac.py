"""Updates of soft actor-critic per second, against SBX, Stable-Baselines3 and the matmul peak.

A call draws twenty batches from a replay buffer and updates once with each, as all three libraries
do between two rounds of environment steps. Networks, sizes, batches and optimisers are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.learner import Learner
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.replay import Replay, ReplayState, make_replay
from behavior_priors.types import ActionSpec, ArraySpec, Params, Transition
from benchmarks.harness import Contestant, Plan, Row, largest_difference, race, rate_row
from benchmarks.peak import find_peak, peak_row

PEERS = ("gymnasium", "sbx", "stable_baselines3", "torch")
DISTRIBUTIONS = {"sbx": "sbx-rl", "stable_baselines3": "stable-baselines3"}

OBSERVATION_SIZE = 17
ACTION_SIZE = 6
WIDTHS = (256, 256)
BATCH_SIZE = 256
UPDATES = 20
ROWS = 10_000

# Policies this narrow make their noise, which no two libraries draw alike, invisible in actions;
# at this temperature it is invisible in losses, too.
NARROW_LOG_STD = -20.0
COLD = 1e-8


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each peer, and one for the share of the machine's matmul peak."""
    from benchmarks import sac_peers

    data = _transitions(ROWS)
    equal = {library: _check(library, data) for library in DISTRIBUTIONS}
    peak = find_peak(plan)
    contestants = {"ours": _trainer(data), "peak": peak.run}
    for library in DISTRIBUTIONS:
        model = sac_peers.make(library, data, WIDTHS, temperature=1.0)
        contestants[library] = functools.partial(model.train, UPDATES, BATCH_SIZE)
    seconds = race(contestants, plan)

    for library, distribution in DISTRIBUTIONS.items():
        packages = (distribution, "torch") if library == "stable_baselines3" else (distribution,)
        yield rate_row(
            f"sac/{BATCH_SIZE} against {library}",
            "updates/s",
            (UPDATES, seconds["ours"]),
            (UPDATES, seconds[library]),
            equal=equal[library],
            packages=packages,
        )
    work = 1e-9 * UPDATES * flops_per_update()
    yield peak_row(f"sac/{BATCH_SIZE}", (work, seconds["ours"]), peak, seconds["peak"])


def flops_per_update() -> float:
    """Floating-point operations of the matrix products in an update, counted as customary.

    Of the policy: one pass over the next observations, and one forward and twice as much backward
    over the observations. Of the critics: one pass of the targets, three for their own loss, two
    for the policy's, which needs no gradient of their parameters.
    """
    first, second = WIDTHS
    policy = OBSERVATION_SIZE * first + first * second + second * 2 * ACTION_SIZE
    critics = 2 * ((OBSERVATION_SIZE + ACTION_SIZE) * first + first * second + second)
    return 2.0 * BATCH_SIZE * (4 * policy + 6 * critics)


def _transitions(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "observation": rng.normal(size=(rows, OBSERVATION_SIZE)).astype(np.float32),
        "action": rng.uniform(-1, 1, (rows, ACTION_SIZE)).astype(np.float32),
        "reward": rng.normal(size=rows).astype(np.float32),
        "terminated": rng.random(rows) < 0.1,
        "next_observation": rng.normal(size=(rows, OBSERVATION_SIZE)).astype(np.float32),
    }


def _as_transition(data: dict[str, np.ndarray]) -> Transition:
    never = jnp.zeros(len(data["reward"]), bool)
    return Transition(
        observation={"observation": jnp.asarray(data["observation"])},
        action=jnp.asarray(data["action"]),
        reward=jnp.asarray(data["reward"]),
        terminated=jnp.asarray(data["terminated"]),
        truncated=never,
        next_observation={"observation": jnp.asarray(data["next_observation"])},
        valid=~never,
    )


def _learner(**config: Any) -> Learner:
    spec = {"observation": ArraySpec((OBSERVATION_SIZE,))}
    sac = SACConfig(policy_widths=WIDTHS, critic_widths=WIDTHS, **config)
    return make_sac(sac, spec, ActionSpec(ACTION_SIZE))


def _trainer(data: dict[str, np.ndarray]) -> Contestant:
    """Ours: sampling and updating in one program, the learner's state donated."""
    learner, replay = _learner(), make_replay(1, ROWS)
    transitions = _as_transition(data)
    example = jax.tree.map(lambda x: x[0], transitions)
    ring = jax.tree.map(lambda x: x[None], transitions)
    memory = jax.jit(replay.insert)(replay.init(example), jnp.zeros(1, int), ring, ring.valid)
    train = jax.jit(functools.partial(_train, learner, replay), donate_argnums=0)
    state, key = learner.init(jax.random.key(0)), jax.random.key(1)

    def run() -> None:
        nonlocal state, key
        state, key, metrics = train(state, memory, key)
        jax.block_until_ready(metrics)

    return run


def _train(
    learner: Learner, replay: Replay, state: Any, memory: ReplayState, key: jax.Array
) -> tuple[Any, jax.Array, Any]:
    key, sample_key = jax.random.split(key)
    batches = replay.sample(memory, sample_key, (UPDATES, BATCH_SIZE))
    state, metrics = jax.lax.scan(learner.update, state, batches)
    return state, key, metrics


def _check(library: str, data: dict[str, np.ndarray]) -> str:
    """Two updates on one batch, from the same weights: the losses must be the same."""
    from benchmarks import sac_peers

    batch = {name: x[:BATCH_SIZE] for name, x in data.items()}
    learner = _learner(min_log_std=NARROW_LOG_STD, initial_temperature=COLD)
    state = _with_narrow_policy(learner.init(jax.random.key(0)))
    model = sac_peers.make(library, batch, WIDTHS, temperature=COLD)
    sac_peers.always_sample(model, batch)
    sac_peers.set_weights(library, model, *_layers(state))

    update, ours, peer = jax.jit(learner.update), [], []
    for _ in range(2):
        state, metrics = update(state, _as_transition(batch))
        ours += [metrics["critic_loss"], metrics["policy_loss"]]
        peer += [*sac_peers.losses(model, BATCH_SIZE)]
    return largest_difference("critic and policy loss of 2 updates", ours, peer, tolerance=1e-4)


def _with_narrow_policy(state: Any) -> Any:
    """Makes the policy's mean depend on what it sees; its last layer starts at zero."""
    key = jax.random.key(2)

    def change(path: Any, x: jax.Array) -> jax.Array:
        layer, kind = path[-2].key, path[-1].key
        if layer != f"Dense_{len(WIDTHS)}":
            return x
        if kind == "kernel":
            mean = 0.1 * jax.random.normal(key, (x.shape[0], ACTION_SIZE))
            return jnp.concatenate([mean, jnp.zeros_like(mean)], axis=1)
        return jnp.concatenate([jnp.zeros(ACTION_SIZE), jnp.full(ACTION_SIZE, NARROW_LOG_STD)])

    policy = jax.tree_util.tree_map_with_path(change, state.policy)
    return type(state)(**{**vars(state), "policy": policy})


def _layers(state: Any) -> tuple[list, list[list]]:
    """The state's weights, policy and critics, as `sac_peers.set_weights` takes them."""
    *hidden, (kernel, bias) = _dense(state.policy["params"]["MLP_0"])
    heads = zip(np.split(kernel, 2, axis=1), np.split(bias, 2), strict=True)
    critics = state.critic["params"]
    return [*hidden, *heads], [_dense(critics[name]) for name in sorted(critics)]


def _dense(params: Params) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"]))
        for name in sorted(params)
    ]
