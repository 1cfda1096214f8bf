"""Numbers of every kind of program that is compiled here, as one line of JSON.

python -m tests.system.numbers
"""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.learners.sac import make_sac
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.types import ActionSpec, ArraySpec, Prior, Transition

SPEC = {"x": ArraySpec((3,))}
ACTION = ActionSpec(4, 1.0)
PRIORS = {
    "gaussian": lambda: make_gaussian(GaussianConfig(("x",), (32,)), SPEC, ACTION),
    "real_nvp": lambda: make_real_nvp(
        RealNVPConfig(
            ("x",), couplings=2, encoder_widths=(32,), conditioner_widths=(32,), squash=True
        ),
        SPEC,
        ACTION,
    ),
}
BATCH = 256


def logarithms() -> jax.Array:
    """`log1p(y) - log1p(-y)` of a half, four of which are summed: `4 log 3`."""
    half = jnp.full((1024, 4), 0.5)
    return jax.jit(lambda y: (jnp.log1p(y) - jnp.log1p(-y)).sum(-1))(half)


def squares() -> jax.Array:
    """Sums of squares of `I @ (n, 0, 0)`: `n^2`."""
    count = jnp.arange(32_769, dtype=jnp.float32)
    rows = jnp.stack([count, 0 * count, 0 * count], axis=1)
    return jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)


def summary(tree: object) -> list[float]:
    """The mean absolute value of every array."""
    return [float(np.mean(np.abs(np.asarray(x, float)))) for x in jax.tree.leaves(tree)]


def batch() -> Transition:
    rng = np.random.default_rng(0)
    observation, following = (
        {"x": rng.normal(size=(BATCH, 3)).astype(np.float32)} for _ in range(2)
    )
    return Transition(
        observation=observation,
        action=rng.uniform(-0.9, 0.9, (BATCH, 4)).astype(np.float32),
        reward=rng.normal(size=BATCH).astype(np.float32),
        terminated=rng.random(BATCH) < 0.3,
        truncated=np.zeros(BATCH, bool),
        next_observation=following,
        valid=np.ones(BATCH, bool),
    )


def likelihood(prior: Prior) -> list[float]:
    """The logarithm of a density, and its gradient with respect to the parameters."""
    log_prob = prior.require("log_prob", "a test")
    steps = batch()

    def mean(params: object) -> jax.Array:
        features = prior.encode(params, steps.observation)
        return jnp.mean(log_prob(params, jnp.asarray(steps.action), features))

    value, gradient = jax.jit(jax.value_and_grad(mean))(prior.init(jax.random.key(0)))
    return [float(value), *summary(gradient)]


def numbers() -> dict[str, list[float]]:
    """Sums, densities with their gradients, updates of a learner, and episodes, by their names."""
    found = {"logarithms": logarithms().tolist(), "squares": squares().tolist()}
    found |= {name: likelihood(make()) for name, make in PRIORS.items()}
    learner = make_sac(SACConfig(policy_widths=(32,), critic_widths=(32,)), SPEC, ACTION)
    state, update = jax.jit(learner.init)(jax.random.key(0)), jax.jit(learner.update)
    for _ in range(3):
        state, metrics = update(state, batch())
        found["sac"] = summary(metrics)
    for name in ("maze/train?episode_length=20", "point/dense"):
        env = make_env(name)
        size = env.action_spec.size

        def policy(_: object, key: jax.Array, size: int = size) -> jax.Array:
            return jax.random.uniform(key, (size,), minval=-1.0)

        episodes = jax.jit(lambda key, env=env, policy=policy: rollout(env, policy, key, 16))
        lived = episodes(jax.random.key(0))
        found[name] = summary((lived.observation, lived.action, lived.reward, lived.length))
    return found


if __name__ == "__main__":
    print(json.dumps(numbers()))
