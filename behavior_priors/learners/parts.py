"""What learners are made of, beside their losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from behavior_priors.errors import UserError
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.networks import WIDTHS, GaussianPolicy
from behavior_priors.torso import Sight
from behavior_priors.types import Array, Observation, ObservationSpec, Params, PRNGKey, Transition


def make_adam(rate: float, decay_updates: int | None) -> optax.GradientTransformation:
    """Adam, whose step size falls linearly to a tenth over so many updates, and stays there."""
    if decay_updates is None:
        return optax.adam(rate)
    return optax.adam(optax.linear_schedule(rate, 0.1 * rate, decay_updates))


def descend(
    optimizer: optax.GradientTransformation,
    gradient: Params,
    optimizer_state: optax.OptState,
    params: Params,
) -> tuple[Params, optax.OptState]:
    """One optimiser step: new parameters and new optimiser state."""
    step, optimizer_state = optimizer.update(gradient, optimizer_state, params)
    return optax.apply_updates(params, step), optimizer_state


def resolve_names(names: Sequence[str], spec: ObservationSpec, field: str) -> tuple[str, ...]:
    """The names given, or all of the spec's if none are."""
    unknown = [name for name in names if name not in spec]
    if unknown:
        raise UserError(
            f"{field}: no observation is called {', '.join(unknown)}; there are {', '.join(spec)}"
        )
    return tuple(names) or tuple(spec)


class PolicyNetwork(NamedTuple):
    """A learner's policy.

    Attributes:
      init: `(key) -> params`, of its own or a copy of those to start from.
      mean_and_log_std: `(params, observation) -> ([..., size], [..., size])`, of the Gaussian.
    """

    init: Callable[[PRNGKey], Params]
    mean_and_log_std: Callable[[Params, Observation], tuple[Array, Array]]


def make_policy(
    config: SACConfig | PPOConfig, spec: ObservationSpec, size: int, initial: Params | None
) -> PolicyNetwork:
    """The policy of a learner.

    Args:
      config: the learner's.
      spec: of the observations.
      size: of an action.
      initial: parameters to start from, None for new ones.

    Raises:
      UserError: it names an observation that does not exist; or, from `init`, another network than
        the one that `initial` belongs to.
    """
    sight = Sight(spec, resolve_names(config.policy_observation, spec, "policy_observation"))
    widths = config.policy_widths
    if widths is None:
        widths = WIDTHS if initial is None else hidden_widths(initial)
    network = GaussianPolicy(
        widths,
        size,
        config.min_log_std,
        config.max_log_std,
        config.mean_bound,
        config.std_limit,
        sight,
    )
    apply: Callable[..., Any] = network.apply

    def init(key: PRNGKey) -> Params:
        params = network.init(key, sight.blank())
        return params if initial is None else copy_if_alike(initial, params)

    def mean_and_log_std(params: Params, observation: Observation) -> tuple[Array, Array]:
        return apply(params, observation)

    return PolicyNetwork(init, mean_and_log_std)


def hidden_widths(params: Params) -> tuple[int, ...]:
    """Widths of the hidden layers of a `GaussianPolicy` with these parameters."""
    layers = params["params"]["MLP_0"]
    widths = [layers[f"Dense_{i}"]["bias"].shape[-1] for i in range(len(layers))]
    return tuple(widths[:-1])


def copy_if_alike(given: Params, expected: Params) -> Params:
    """A copy, so that donating a learner's state leaves the given parameters usable."""
    if jax.tree.map(jnp.shape, given) != jax.tree.map(jnp.shape, expected):
        raise UserError(
            "policy_widths, policy_observation or the action's size do not fit the policy to start "
            "from; use those that it was trained with"
        )
    return jax.tree.map(jnp.copy, given)


def start_from_prior(
    params: Params,
    prior_names: Sequence[str],
    policy_names: Sequence[str],
    spec: ObservationSpec,
) -> Params:
    """The parameters of a `GaussianPolicy` that sees more than the one given, but does the same.

    The first layer's weights for what only the policy sees are zero, from where they learn.

    Args:
      params: of a Gaussian prior with a network of the same widths.
      prior_names: the observations that it sees, in this order.
      policy_names: those that the policy sees.
      spec: of the observations.

    Raises:
      UserError: the prior sees something that the policy does not, or the policy images that the
        prior does not.
    """
    hidden = [name for name in prior_names if name not in policy_names]
    if hidden:
        raise UserError(
            f"policy_observation: a policy that starts from the prior has to see what that sees, "
            f"but {', '.join(hidden)} is missing"
        )
    if tuple(prior_names) == tuple(policy_names):
        return params
    seen, sees = (Sight(spec, tuple(names)) for names in (prior_names, policy_names))
    images, own = seen.images(), sees.images()
    if images != own:
        raise UserError(
            f"policy_observation: a policy that starts from the prior has to see its images, "
            f"{', '.join(images) or 'none'}, and not {', '.join(own) or 'none'}"
        )
    first = params["params"]["MLP_0"]["Dense_0"]
    width = first["kernel"].shape[1]
    known, at = {}, 0
    for name, size in seen.inputs():
        known[name] = first["kernel"][at : at + size]
        at += size
    kernel = [known.get(name, jnp.zeros((size, width))) for name, size in sees.inputs()]
    layer = {**first, "kernel": jnp.concatenate(kernel)}
    network = {**params["params"]["MLP_0"], "Dense_0": layer}
    return {"params": {**params["params"], "MLP_0": network}}


def discounts(config: SACConfig, batch: Transition) -> Array:
    """Weights `[batch]` of the next states' values.

    A time limit or a diverged simulation ends the recording, not the task, whose rewards would have
    gone on: only termination makes the future worth nothing.
    """
    return config.discount * (1.0 - batch.terminated.astype(jnp.float32))


def follow(config: SACConfig, step: Array, source: Params, target: Params) -> Params:
    """The target's parameters after it has moved towards the source, where that is due."""
    is_due = step % config.target_period == 0
    rate = jnp.where(is_due, config.target_rate, 0.0)
    return optax.incremental_update(source, target, rate)
