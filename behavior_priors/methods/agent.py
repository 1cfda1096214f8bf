"""Methods put together: where an agent acts, what it stays close to, and from where it starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.distributions import policy_distribution
from behavior_priors.envs.wrappers.decode import decode_action, decoder
from behavior_priors.envs.wrappers.skills import execute_skill
from behavior_priors.learner import Learner, MetaLearner, OnPolicyLearner
from behavior_priors.learners.kind import Guidance, PriorFn
from behavior_priors.learners.kl_sac import check_divergence
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.learners.registry import find_learner, find_meta_learner
from behavior_priors.methods.method import THROUGH_PRIOR, Latents, Method
from behavior_priors.methods.models import Fitted
from behavior_priors.priors.gaussian import GaussianConfig
from behavior_priors.priors.registry import find_encoder
from behavior_priors.system.own_modules import part_name
from behavior_priors.types import (
    Array,
    Env,
    Observation,
    Params,
    Prior,
    SkillModel,
    State,
    UserError,
)

DecodeFn = Callable[[State, Array], Array]


class Agent(NamedTuple):
    """A method, ready to learn.

    Attributes:
      env: where it acts: the task, or the task as seen through a model.
      learner: what acts and learns.
      decode: what it chooses as an action of the task itself; None where one choice is many, or
        takes more than observations.
    """

    env: Env
    learner: Learner | OnPolicyLearner | MetaLearner
    decode: DecodeFn | None


class _Over(NamedTuple):
    """A prior over what a policy chooses, which it stays close to or starts from.

    Attributes:
      model: the prior; None for N(0, I), which is what latents are before anything is learned.
      params: its parameters.
      limits: a config with the limits of its standard deviations.
    """

    model: Prior | None
    params: Params
    limits: Any


def build(name: str, method: Method, config: Any, env: Env, fitted: Mapping[str, Fitted]) -> Agent:
    """Puts a method together.

    Args:
      name: of the method, and of its flags.
      method: what it is.
      config: of the experiment, with the sections of the method's parts.
      env: the new task.
      fitted: the models that the method needs, by the names that it has for them.

    Raises:
      UserError: the parts do not go together.
    """
    part = part_name(method.learner)
    own = getattr(config, part)
    takes = () if method.infer else find_learner(method.learner, flag="learner").takes
    for way, what in (("close_to", "prior"), ("start_from", "start")):
        if getattr(method, way) is not None and what not in takes:
            who = f"{method.learner} with --infer" if method.infer else method.learner
            raise UserError(
                f"--{way}={getattr(method, way)}: {who} cannot do that; give another --learner, or "
                f"--{way}=none"
            )
    through = None if method.through is None else fitted[method.through]
    decode: DecodeFn | None = _as_it_is
    if through is not None:
        latents = getattr(config, name).latents
        own = _limited(own, latents, method.latents, name, method.learner)
        env, decode = _act_through(env, through, latents)
    if method.infer is not None:
        return Agent(env, _inferring(name, method, config, own, env), None)
    kind = find_learner(method.learner, flag="learner")
    guidance = Guidance()
    if method.close_to is not None:
        over = _over("close_to", method.close_to, through, fitted, env)
        divergence = getattr(config, name).divergence
        with flags.naming(f"{name}.divergence", divergence):
            check_divergence(divergence)
        guidance = guidance._replace(prior=_as_function(over, env), divergence=divergence)
    with flags.naming(part, own):
        if method.start_from is not None:
            over = _over("start_from", method.start_from, through, fitted, env)
            guidance = guidance._replace(start=_start(own, over, env))
        learner = kind.make(own, env.observation_spec, env.action_spec, guidance)
        jax.eval_shape(learner.init, jax.random.key(0))  # what a learner refuses only then
    return Agent(env, learner, decode)


def _inferring(name: str, method: Method, config: Any, own: Any, env: Env) -> MetaLearner:
    """The learner of a method that infers which task it is."""
    assert method.infer is not None
    part, inference = part_name(method.infer), getattr(config, name)
    context = getattr(config, part)
    with flags.naming(part, context):
        encoder = find_encoder(method.infer, flag="infer").make(
            context, env.observation_spec, env.action_spec
        )
    with flags.naming(name, inference):
        check_ranges(inference)
    with flags.naming(part_name(method.learner), own):
        learner = find_meta_learner(method.learner, flag="learner").make(
            inference, own, encoder, env.observation_spec, env.action_spec
        )
        jax.eval_shape(learner.init, jax.random.key(0))
    return learner


def _as_it_is(_: State, action: Array) -> Array:
    return action


def _act_through(env: Env, through: Fitted, latents: Latents) -> tuple[Env, DecodeFn | None]:
    """The task as seen through a model, and one choice there as an action of the task."""
    model, params, _ = through
    if isinstance(model, SkillModel):
        squash = latents.squash_actions
        return execute_skill(env, model, params, bound=latents.bound, squash=squash), None
    return decode_action(env, model, params, latents.bound), decoder(model, params)


def _limited(own: Any, latents: Latents, usual: Latents, name: str, learner: str) -> Any:
    """A learner's config with the limits of a policy over latents.

    Raises:
      UserError: one was chosen that the learner does not have.
    """
    changes: dict[str, Any] = {}
    has = {field.name for field in dataclasses.fields(own)}
    for limit in ("mean_bound", "max_log_std", "std_limit", "target_entropy"):
        value = getattr(latents, limit)
        if limit in has:
            if value is not None or limit == "target_entropy":
                changes[limit] = value
        elif value != getattr(usual, limit):
            raise UserError(
                f"--{name}.latents.{limit}={value} is nothing that {learner} has; leave it out"
            )
    changed = dataclasses.replace(own, **changes)
    low, high = getattr(changed, "min_log_std", None), getattr(changed, "max_log_std", None)
    if low is not None and high is not None and high < low:
        raise UserError(
            f"--{name}.latents.max_log_std={high} should be at least --{learner}.min_log_std={low}"
        )
    return changed


def _over(
    way: str, part: str, through: Fitted | None, fitted: Mapping[str, Fitted], env: Env
) -> _Over:
    """The prior that a method names, over what its policy chooses.

    Raises:
      UserError: it is over something else.
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
        return _Over(model, params, config)
    if through is None:
        raise UserError(f"--{way}={THROUGH_PRIOR} needs a model to act through; give --through")
    if not isinstance(through.model, SkillModel):
        return _Over(None, None, None)
    skills, bound = through.model, env.action_spec.bound
    if bound is None:
        prior = skills.prior
    elif skills.prior_within is not None:
        prior = skills.prior_within(bound)
    else:
        raise UserError(f"{skills.name} has no prior over bounded skills; leave the bound out")
    return _Over(prior, skills.prior_params(through.params), GaussianConfig())


def _as_function(over: _Over, env: Env) -> PriorFn:
    """A prior as a function from observations to distributions."""
    size, bound = env.action_spec
    if over.model is None:
        zeros = jnp.zeros(size)
        return lambda observation: policy_distribution(zeros, zeros, bound)
    prior, params = over.model, over.params
    distribution = prior.require("distribution", "staying close to it")

    def prior_fn(observation: Observation) -> Any:
        return distribution(params, prior.encode(params, observation))

    return prior_fn


def _start(own: Any, over: _Over, env: Env) -> Params | None:
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
