"""Updates of KL-regularised soft actor-critic per second, against the same algorithm in torch.

The agent of SPiRL over skills, at the sizes of the authors' kitchen: the policy has the prior's
network and starts from it, two critics, a tuned temperature; the divergence in closed form, where
the authors sample it. A call draws twenty batches and updates once with each: ours from a replay
buffer in one program, the peer from tensors, in plain eager torch.

Before the race two updates from the same weights on the same transitions with the same noise have
to give the same losses, gradients and weights, target critics and temperature included.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.distributions import policy_distribution
from behavior_priors.learner import Learner
from behavior_priors.learners.kl_sac import DivergenceConfig, make_kl_sac
from behavior_priors.learners.sac import SACConfig, SACState, update_keys
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.skill_networks import LIMITS
from behavior_priors.replay import make_replay
from behavior_priors.types import ActionSpec, ArraySpec, Params, Transition
from benchmarks.harness import Contestant, Plan, Row
from benchmarks.spirl_entrants import (
    CORES,
    Arrays,
    Steps,
    compare,
    core_rows,
    draw_params,
    mlp_arrays,
)

PEERS = ("torch",)

OBSERVATION_SIZE = 60
LATENT_SIZE = 10
BATCH_SIZE = 256
UPDATES = 20
ROWS = 10_000

CONFIG = SACConfig(
    policy_widths=(128,) * 6,
    critic_widths=(256,) * 5,
    min_log_std=LIMITS[0],
    max_log_std=LIMITS[1],
)
TARGET_DIVERGENCE = 5.0


def measure(plan: Plan) -> Iterator[Row]:
    """Yields a row for each number of cores, and one for everybody's best."""
    from benchmarks import torch_spirl

    data = make_data(ROWS, OBSERVATION_SIZE, LATENT_SIZE)
    equal = check(CONFIG, data, BATCH_SIZE)
    learner, state, prior = make(CONFIG, data)
    weights = arrays(state, prior)
    contestants: dict[tuple[str, int], Contestant] = {}
    for cores in CORES:
        contestants["ours", cores] = _trainer(learner, data)
        model = torch_spirl.KLSACTrainer(CONFIG, TARGET_DIVERGENCE, BATCH_SIZE, data, weights)
        contestants["torch", cores] = functools.partial(torch_spirl.train, model, UPDATES, cores)
    yield from core_rows(f"kl_sac/{BATCH_SIZE}", "updates/s", UPDATES, contestants, plan, equal)


def make_data(rows: int, observation_size: int, latent_size: int) -> dict[str, np.ndarray]:
    """Transitions of skills."""
    rng = np.random.default_rng(0)
    return {
        "observation": rng.normal(size=(rows, observation_size)).astype(np.float32),
        "action": rng.normal(size=(rows, latent_size)).astype(np.float32),
        "reward": rng.normal(size=rows).astype(np.float32),
        "terminated": rng.random(rows) < 0.1,
        "next_observation": rng.normal(size=(rows, observation_size)).astype(np.float32),
    }


def make(config: SACConfig, data: Arrays) -> tuple[Learner, SACState, Params]:
    """Ours: the learner, a state whose networks are all different, and the prior's parameters."""
    spec = {"observation": ArraySpec(data["observation"].shape[1:])}
    actions = ActionSpec(data["action"].shape[1], None)
    gaussian = GaussianConfig((), config.policy_widths, *LIMITS)
    prior = make_gaussian(gaussian, spec, actions)
    params = draw_params(prior.init(jax.random.key(0)), seed=0)
    distribution = prior.require("distribution", "the benchmark")
    learner = make_kl_sac(
        config,
        DivergenceConfig(target=TARGET_DIVERGENCE),
        spec,
        actions,
        lambda observation: distribution(params, prior.encode(params, observation)),
        initial_policy=params,
    )
    state = learner.init(jax.random.key(1))
    drawn = {
        name: draw_params(getattr(state, name), seed)
        for seed, name in enumerate(("policy", "critic", "target_critic"), start=1)
    }
    return learner, SACState(**{**vars(state), **drawn}), params


def check(config: SACConfig, data: Arrays, batch_size: int) -> str:
    """Two updates of both from the same weights: says how equal, or raises `BenchmarkError`."""
    from benchmarks import torch_spirl

    learner, state, prior = make(config, data)
    weights = arrays(state, prior)
    peer = torch_spirl.KLSACTrainer(config, TARGET_DIVERGENCE, batch_size, data, weights)
    update, transitions = jax.jit(learner.update), as_transition(data)
    losses: tuple[list, list] = ([], [])
    taken: list[tuple[Arrays, Arrays]] = []
    for number in range(2):
        rows = np.arange(number * batch_size, (number + 1) * batch_size)
        noise = np.stack([_noise(key, batch_size, data) for key in _noise_keys(state)])
        state, metrics = update(state, jax.tree.map(lambda x, rows=rows: x[rows], transitions))
        losses[0].extend(metrics[f"{name}_loss"] for name in ("critic", "policy", "temperature"))
        losses[1].extend(peer.update(rows, noise))
        if not taken:
            taken = [(_gradient(state), _learned(state)), (peer.gradient(), peer.weights())]
    ours_took, peer_took = (Steps(loss, *x) for loss, x in zip(losses, taken, strict=True))
    return compare(ours_took, peer_took, config.policy_learning_rate)


def arrays(state: SACState, prior: Params) -> dict[str, np.ndarray]:
    """All weights of a state and the prior's, as torch has them."""
    return _learned(state) | mlp_arrays("prior", prior["params"]["MLP_0"])


def as_transition(data: Arrays) -> Transition:
    """The same, as learners take it."""
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


def _trainer(learner: Learner, data: Arrays) -> Contestant:
    """Ours: sampling and updating in one program, the learner's state donated."""
    rows = len(data["reward"])
    replay, transitions = make_replay(1, rows), as_transition(data)
    example = jax.tree.map(lambda x: x[0], transitions)
    ring = jax.tree.map(lambda x: x[None], transitions)
    memory = jax.jit(replay.insert)(replay.init(example), jnp.zeros(1, int), ring, ring.valid)
    state, key = learner.init(jax.random.key(0)), jax.random.key(1)

    def train(state: Any, memory: Any, key: jax.Array) -> tuple[Any, jax.Array, Any]:
        key, sample_key = jax.random.split(key)
        batches = replay.sample(memory, sample_key, (UPDATES, BATCH_SIZE))
        state, metrics = jax.lax.scan(learner.update, state, batches)
        return state, key, metrics

    program = jax.jit(train, donate_argnums=0)

    def run() -> None:
        nonlocal state, key
        state, key, metrics = program(state, memory, key)
        jax.block_until_ready((state, metrics))

    return run


def _noise_keys(state: SACState) -> tuple[jax.Array, jax.Array]:
    """What the next update draws with: the next action, then the action."""
    _, next_key, _, key = update_keys(state.key)
    return next_key, key


def _noise(key: jax.Array, batch_size: int, data: Arrays) -> np.ndarray:
    zeros = jnp.zeros((batch_size, data["action"].shape[1]))
    return np.asarray(policy_distribution(zeros, zeros, None).sample(seed=key))


def _learned(state: SACState) -> dict[str, np.ndarray]:
    return {
        **mlp_arrays("policy", state.policy["params"]["MLP_0"]),
        **_critic_arrays("critics", state.critic),
        **_critic_arrays("targets", state.target_critic),
        "log_temperature": np.asarray(state.log_temperature),
    }


def _gradient(state: SACState) -> dict[str, np.ndarray]:
    """The first update's: Adam's first moment is a tenth of it."""
    policy, critic, temperature = (
        jax.tree.map(lambda x: 10.0 * x, optimizer[0].mu)
        for optimizer in (
            state.policy_optimizer,
            state.critic_optimizer,
            state.temperature_optimizer,
        )
    )
    return {
        **mlp_arrays("policy", policy["params"]["MLP_0"]),
        **_critic_arrays("critics", critic),
        "log_temperature": np.asarray(temperature),
    }


def _critic_arrays(name: str, params: Params) -> dict[str, np.ndarray]:
    critics = params["params"]
    found: dict[str, np.ndarray] = {}
    for number in range(len(critics)):
        found |= mlp_arrays(f"{name}.{number}", critics[f"Critic_{number}"])
    return found
