"""Meta-updates of PEARL per second, against the same algorithm in torch.

At the sizes of the authors' half-cheetahs that run at a given speed, and at small ones, on soft
actor-critic with twin target critics and a tuned temperature. A call updates once with each of a
few batches, drawn beforehand: ours in one program, the peer in plain eager torch. Both draw their
noise.

Before the race two updates from the same weights on the same batches with the same noise have to
give the same losses, gradients and weights, target critics and temperature included.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.distributions import policy_distribution
from behavior_priors.learner import MetaLearner
from behavior_priors.learners.pearl import PearlState, make_pearl, update_keys
from behavior_priors.priors.product_of_gaussians import make_product_of_gaussians
from behavior_priors.types import (
    ActionSpec,
    ArraySpec,
    Context,
    ObservationSpec,
    Params,
    PRNGKey,
    Transition,
)
from benchmarks.harness import Contestant, Plan, Row, largest_difference
from benchmarks.pearl_configs import Configs, make_configs
from benchmarks.spirl_entrants import (
    CORES,
    LOSS_TOLERANCE,
    Arrays,
    Steps,
    compare,
    core_rows,
    draw_params,
    mlp_arrays,
)

PEERS = ("torch",)

OBSERVATION_SIZE = 20
ACTION_SIZE = 6

LOSSES = ("critic_loss", "policy_loss", "belief_divergence", "temperature_loss")
"""As our metrics have them, in the order in which the peer returns them."""

FEW = 16
"""Transitions of each task with which gradients are compared. Among thousands some hidden unit is
so close to zero that rounding decides on which side: at the paper's sizes the peer's gradients are
up to 4e-4 from those that the peer itself has in double precision."""


class Size(NamedTuple):
    """Of an update.

    Attributes:
      tasks: in a batch.
      batch: transitions of each for actor and critics.
      context: transitions of each for the encoder.
      updates: in one call, each with a batch of its own.
    """

    tasks: int
    batch: int
    context: int
    updates: int


PAPER = Size(tasks=16, batch=256, context=100, updates=4)
SMALL = Size(tasks=4, batch=32, context=32, updates=50)

RACES = (
    ("16 x 256", PAPER, make_configs()),
    ("4 x 32", SMALL, make_configs()),
    ("4 x 32, 64 wide", SMALL, make_configs(64, 64)),
)


def measure(plan: Plan) -> Iterator[Row]:
    """Yields, for each size, a row for each number of cores, and one for everybody's best."""
    from benchmarks import torch_pearl, torch_spirl

    for name, size, configs in RACES:
        data = make_data(size, OBSERVATION_SIZE, ACTION_SIZE)
        equal = check(configs, data)
        weights = arrays(make(configs, data)[1])
        contestants: dict[tuple[str, int], Contestant] = {}
        for cores in CORES:
            contestants["ours", cores] = _trainer(configs, data)
            model = torch_pearl.PearlTrainer(configs, data, weights)
            contestants["torch", cores] = functools.partial(
                torch_spirl.train, model, size.updates, cores
            )
        yield from core_rows(f"pearl/{name}", "updates/s", size.updates, contestants, plan, equal)


def make_data(size: Size, observation_size: int, action_size: int) -> dict[str, np.ndarray]:
    """Batches and contexts `[updates, tasks, transitions, ...]`, those of contexts by prefix."""
    rng = np.random.default_rng(0)

    def draw(count: int, *shape: int) -> np.ndarray:
        return rng.normal(size=(size.updates, size.tasks, count, *shape)).astype(np.float32)

    return {
        "observation": draw(size.batch, observation_size),
        "action": np.tanh(draw(size.batch, action_size)),
        "reward": draw(size.batch),
        "terminated": draw(size.batch) > 1.3,
        "next_observation": draw(size.batch, observation_size),
        "context_observation": draw(size.context, observation_size),
        "context_action": np.tanh(draw(size.context, action_size)),
        "context_reward": draw(size.context),
    }


def make(configs: Configs, data: Arrays) -> tuple[MetaLearner, PearlState]:
    """Ours: the learner, and a state whose networks are all different."""
    spec = {"observation": ArraySpec(data["observation"].shape[-1:])}
    return make_drawn(configs, spec, ActionSpec(data["action"].shape[-1]))


def make_drawn(
    configs: Configs, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> tuple[MetaLearner, PearlState]:
    """The learner of any environment, and a state of arbitrary parameters."""
    encoder = make_product_of_gaussians(configs.context, observation_spec, action_spec)
    learner = make_pearl(configs.pearl, configs.sac, encoder, observation_spec, action_spec)
    state = learner.init(jax.random.key(1))
    rest = dataclasses.replace(
        state.rest,
        critic=draw_params(state.rest.critic, 1),
        target_critic=draw_params(state.rest.target_critic, 2),
    )
    policy = {
        "actor": draw_params(state.policy["actor"], 3),
        "encoder": draw_params(state.policy["encoder"], 4),
    }
    return learner, dataclasses.replace(state, policy=policy, rest=rest)


def check(configs: Configs, data: Arrays) -> str:
    """Two updates of both from the same weights: says how equal, or raises `BenchmarkError`.

    Gradients and weights are compared with a few of the transitions, losses with all of them.
    """
    learner, state = make(configs, data)
    few = {name: x if name.startswith("context") else x[:, :, :FEW] for name, x in data.items()}
    update = jax.jit(learner.update)
    equal = compare(*_two_updates(update, state, configs, few), configs.sac.policy_learning_rate)
    ours, peer = _two_updates(update, state, configs, data)
    whole = largest_difference("losses of all", ours.losses, peer.losses, LOSS_TOLERANCE)
    return f"{equal}, {whole}"


def _two_updates(
    update: Any, state: PearlState, configs: Configs, data: Arrays
) -> tuple[Steps, Steps]:
    """What two updates of ours, and of the peer, come to."""
    from benchmarks import torch_pearl

    peer = torch_pearl.PearlTrainer(configs, data, arrays(state))
    batches = as_batches(data)
    losses: tuple[list, list] = ([], [])
    taken: list[tuple[Arrays, Arrays]] = []
    for number in range(2):
        noise = _noise(state, configs, data)
        state, metrics = update(state, *jax.tree.map(lambda x, at=number: x[at], batches))
        losses[0].extend(metrics[name] for name in LOSSES)
        losses[1].extend(peer.update(number, *noise))
        if not taken:
            taken = [(_gradient(state), arrays(state)), (peer.gradient(), peer.weights())]
    ours_took, peer_took = (Steps(loss, *x) for loss, x in zip(losses, taken, strict=True))
    return ours_took, peer_took


def arrays(state: PearlState) -> dict[str, np.ndarray]:
    """All weights of a state, as torch has them."""
    return {
        **_named(state.policy["encoder"], state.policy["actor"], state.rest.critic),
        **_critic_arrays("targets", state.rest.target_critic),
        "log_temperature": np.asarray(state.rest.log_temperature),
    }


def as_batches(data: Arrays) -> tuple[Context, Transition]:
    """The same, as learners take it."""
    rows = {name: jnp.asarray(x) for name, x in data.items()}
    never = jnp.zeros(data["reward"].shape, bool)
    seen = {"observation": rows["context_observation"]}
    context = Context(
        observation=seen,
        action=rows["context_action"],
        reward=rows["context_reward"],
        next_observation=seen,  # which the encoder does not look at
        counts=jnp.ones(data["context_reward"].shape, bool),
    )
    transition = Transition(
        observation={"observation": rows["observation"]},
        action=rows["action"],
        reward=rows["reward"],
        terminated=rows["terminated"],
        truncated=never,
        next_observation={"observation": rows["next_observation"]},
        valid=~never,
    )
    return context, transition


def _trainer(configs: Configs, data: Arrays) -> Contestant:
    """Ours: all updates in one program, the learner's state donated."""
    learner, state = make(configs, data)
    batches = as_batches(data)

    def train(state: PearlState, batches: tuple[Context, Transition]) -> Any:
        return jax.lax.scan(lambda state, batch: learner.update(state, *batch), state, batches)

    program = jax.jit(train, donate_argnums=0)

    def run() -> None:
        nonlocal state
        state, metrics = program(state, batches)
        jax.block_until_ready((state, metrics))

    return run


def _noise(state: PearlState, configs: Configs, data: Arrays) -> list[np.ndarray]:
    """What the next update draws: of descriptions, next actions, actions."""
    _, describe_key, next_key, _, key = update_keys(state.key)
    tasks, batch, size = data["action"].shape[1:]
    description = jax.random.normal(describe_key, (tasks, configs.context.latent_size))
    actions = (standard_noise(x, tasks * batch, size) for x in (next_key, key))
    return [np.asarray(description), *actions]


def standard_noise(key: PRNGKey, count: int, size: int) -> np.ndarray:
    """What a policy of bounded actions draws `[count, size]` before it scales and squashes."""
    zeros = jnp.zeros((count, size))
    return np.asarray(policy_distribution(zeros, zeros, None).sample(seed=key))


def _gradient(state: PearlState) -> dict[str, np.ndarray]:
    """The first update's: Adam's first moment is a tenth of it."""
    encoder, policy, critic, temperature = (
        jax.tree.map(lambda x: 10.0 * x, optimizer[0].mu)
        for optimizer in (
            state.encoder_optimizer,
            state.rest.policy_optimizer,
            state.rest.critic_optimizer,
            state.rest.temperature_optimizer,
        )
    )
    return {**_named(encoder, policy, critic), "log_temperature": np.asarray(temperature)}


def _named(encoder: Params, policy: Params, critic: Params) -> dict[str, np.ndarray]:
    return {
        **mlp_arrays("encoder", encoder["params"]),
        **mlp_arrays("policy", policy["params"]["MLP_0"]),
        **_critic_arrays("critics", critic),
    }


def _critic_arrays(name: str, params: Params) -> dict[str, np.ndarray]:
    critics = params["params"]
    found: dict[str, np.ndarray] = {}
    for number in range(len(critics)):
        found |= mlp_arrays(f"{name}.{number}", critics[f"Critic_{number}"])
    return found
