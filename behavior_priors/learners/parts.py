"""What learners are made of, beside their losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from behavior_priors.types import ObservationSpec, Params, UserError


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
      UserError: the prior sees something that the policy does not.
    """
    hidden = [name for name in prior_names if name not in policy_names]
    if hidden:
        raise UserError(
            f"policy_observation: a policy that starts from the prior has to see what that sees, "
            f"but {', '.join(hidden)} is missing"
        )
    if tuple(prior_names) == tuple(policy_names):
        return params
    first = params["params"]["MLP_0"]["Dense_0"]
    sizes = [math.prod(spec[name].shape) for name in prior_names]
    rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    known = dict(zip(prior_names, rows, strict=True))
    width = first["kernel"].shape[1]
    kernel = [
        first["kernel"][known[name]]
        if name in known
        else jnp.zeros((math.prod(spec[name].shape), width))
        for name in policy_names
    ]
    layer = {**first, "kernel": jnp.concatenate(kernel)}
    return {
        "params": {**params["params"], "MLP_0": {**params["params"]["MLP_0"], "Dense_0": layer}}
    }
