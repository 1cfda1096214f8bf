"""SPiRL and its baselines: where each acts, what it stays close to, and from where it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from behavior_priors.envs.rollout import PolicyFn
from behavior_priors.envs.skills import execute_skill
from behavior_priors.learner import Learner, OnPolicyLearner
from behavior_priors.learners.kl_sac import PriorFn, make_kl_sac
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.learners.ppo import make_ppo
from behavior_priors.learners.regularized import make_regularized
from behavior_priors.learners.sac import entropy_penalty
from behavior_priors.priors.skill_vae import make_skill_prior
from behavior_priors.types import Array, Env, Observation, Params, Prior, PRNGKey, State
from experiments.skill_stages import Learned
from experiments.stages import random_latents, uniform_actions

if TYPE_CHECKING:
    from experiments.spirl import SpirlConfig


def make_method(
    config: SpirlConfig, env: Env, learned: Learned
) -> tuple[Env, Learner | OnPolicyLearner]:
    """What distinguishes one method from another.

    That is where it acts, what it stays close to, and from where it starts.
    """
    prior_fn: PriorFn | None = None
    initial = None
    names: tuple[str, ...] = ()
    if learned.skills is not None:
        skills, params = learned.skills
        bound = config.skill_bound if config.method == "spirl" else config.ssp_bound
        env = execute_skill(env, skills, params, bound=bound, squash=config.squash_actions)
        if config.method == "spirl":
            prior = make_skill_prior(config.skill, env.observation_spec, bound)
            prior_params = skills.prior_params(params)
            names = config.skill.prior_observation
            prior_fn = as_function(prior, prior_params)
            initial = prior_params if config.skill.prior == "gaussian" else None
    if learned.clone is not None:
        prior, prior_params = learned.clone
        names = config.clone.observation
        prior_fn = as_function(prior, prior_params) if config.method == "flat_prior" else None
        initial = prior_params
    if initial is not None:
        spec = env.observation_spec
        chosen = config.ppo if config.method == "bc_ppo" else config.sac
        seen = chosen.policy_observation or tuple(spec)
        initial = start_from_prior(initial, names or tuple(spec), seen, spec)
    if not config.start_from_prior:
        initial = None
    specs = (env.observation_spec, env.action_spec)
    if config.method == "bc_ppo":
        return env, make_ppo(config.ppo, *specs, initial)
    if prior_fn is None or not config.stay_close:
        penalty = entropy_penalty(config.sac, env.action_spec, bound_once=config.bound_once)
        return env, make_regularized(config.sac, *specs, penalty, initial)
    divergence = config.divergence if config.method == "spirl" else config.flat_divergence
    return env, make_kl_sac(config.sac, divergence, *specs, prior_fn, initial)


def as_function(prior: Prior, params: Params) -> PriorFn:
    """A prior as a function from observations to distributions."""
    distribution = prior.require("distribution", "KL-regularised soft actor-critic")

    def prior_fn(observation: Observation) -> Any:
        return distribution(params, prior.encode(params, observation))

    return prior_fn


def untaught(env: Env, learned: Learned) -> dict[str, tuple[Env, PolicyFn]]:
    """Ways to act before anything is learned: the skill prior, random skills, random actions."""
    assert learned.skills is not None
    skills, params = learned.skills
    acted = execute_skill(env, skills, params)
    prior, prior_params = skills.prior, skills.prior_params(params)

    def from_prior(state: State, key: PRNGKey) -> Array:
        noise = jax.random.normal(key, (prior.latent_size,))
        return prior.decode(prior_params, noise, prior.encode(prior_params, state.observation))

    return {
        "prior": (acted, from_prior),
        "latents": (acted, random_latents(skills.latent_size)),
        "random": (env, uniform_actions(env)),
    }
