"""Priors over what a policy chooses, as what learns is given them: to stay close, to start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.distributions import policy_distribution
from behavior_priors.errors import UserError
from behavior_priors.learners.kind import PriorFn
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.methods.method import THROUGH_PRIOR
from behavior_priors.methods.models import Fitted
from behavior_priors.priors.gaussian import GaussianConfig
from behavior_priors.training.exploring import DrawFn
from behavior_priors.types import Array, Env, Observation, Params, Prior, PRNGKey, SkillModel


class Over(NamedTuple):
    """A prior over what a policy chooses: actions, or latents of the model that it acts through.

    Attributes:
      model: the prior; None for N(0, I), which is what latents are before anything is learned.
      params: its parameters.
      limits: a config with the limits of its standard deviations.
    """

    model: Prior | None
    params: Params
    limits: Any


def find_over(
    way: str, part: str, through: Fitted | None, fitted: Mapping[str, Fitted], env: Env
) -> Over:
    """The prior that a method names.

    Args:
      way: the flag that names it.
      part: its name.
      through: the model that the method acts through, if it does.
      fitted: the models that the method needs.
      env: where it acts, as seen through that model.

    Raises:
      UserError: it is a prior over something else than what the policy chooses.
    """
    if part != THROUGH_PRIOR:
        model, params, config = fitted[part]
        if through is not None:
            raise UserError(
                f"--{way}={part} is a prior over actions, but what is chosen are latents; give "
                f"{THROUGH_PRIOR} or none"
            )
        if not isinstance(model, Prior):
            raise UserError(f"--{way}={part} is no prior over single actions; give one that is")
        return Over(model, params, config)
    if through is None:
        raise UserError(f"--{way}={THROUGH_PRIOR} needs a model to act through; give --through")
    if not isinstance(through.model, SkillModel) or through.model.prior is None:
        return Over(None, None, None)
    skills, (size, bound) = through.model, env.action_spec
    if size != skills.latent_size:
        raise UserError(
            f"--{way}={THROUGH_PRIOR} is a prior over skills, and says nothing about residuals; "
            "leave out latents.residual"
        )
    if bound is None:
        prior = skills.prior
    elif skills.prior_within is not None:
        prior = skills.prior_within(bound)
    else:
        raise UserError(f"{skills.name} has no prior over bounded skills; leave the bound out")
    return Over(prior, skills.prior_params(through.params), GaussianConfig())


def as_function(over: Over, env: Env) -> PriorFn:
    """The prior as a function from observations to distributions."""
    size, bound = env.action_spec
    if over.model is None:
        zeros = jnp.zeros(size)
        return lambda observation: policy_distribution(zeros, zeros, bound)
    prior, params = over.model, over.params
    distribution = prior.require("distribution", "staying close to it")

    def prior_fn(observation: Observation) -> Any:
        return distribution(params, prior.encode(params, observation))

    return prior_fn


def as_draw(over: Over, env: Env) -> DrawFn:
    """Choices of the prior itself, at random."""
    model, params, size = over.model, over.params, env.action_spec.size

    def draw(observation: Observation, key: PRNGKey) -> Array:
        rows = jax.tree.leaves(observation)[0].shape[0]
        latent = jax.random.normal(key, (rows, size if model is None else model.latent_size))
        if model is None:
            return latent
        return model.decode(params, latent, model.encode(params, observation))

    return draw


def as_start(own: Any, over: Over, env: Env) -> Params | None:
    """The parameters of a policy that is the prior; None for a policy that is it anyway.

    Raises:
      UserError: the policy cannot be that.
    """
    if over.model is None or over.model.name != "gaussian":
        return None
    _check_limits(own, over.limits)
    spec = env.observation_spec
    names, seen = over.model.observation or tuple(spec), own.policy_observation or tuple(spec)
    return start_from_prior(over.params, names, seen, spec)


def _check_limits(policy: Any, prior: Any) -> None:
    """Refuses limits by a tanh that are not the prior's: parameters would mean something else."""
    if "tanh" not in (policy.std_limit, prior.std_limit):
        return
    for name in ("std_limit", "min_log_std", "max_log_std"):
        ours, theirs = getattr(policy, name), getattr(prior, name)
        if ours != theirs:
            raise UserError(
                f"{name}={ours} should be {theirs}, as it is in the prior that the policy starts "
                "from: under other limits by a tanh it would be another policy"
            )
