"""SPiRL and its baselines: their flags, where each acts, what it stays close to, how it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax

from behavior_priors.config.ranges import (
    Episodes,
    EpisodesOrZero,
    FewOrZero,
    Limit,
    Seed,
    TwoOrMore,
)
from behavior_priors.envs.rollout import PolicyFn
from behavior_priors.envs.wrappers.skills import execute_skill
from behavior_priors.learner import Learner, OnPolicyLearner
from behavior_priors.learners.kl_sac import DivergenceConfig, PriorFn, make_kl_sac
from behavior_priors.learners.parts import start_from_prior
from behavior_priors.learners.ppo import make_ppo
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.learners.regularized import make_regularized
from behavior_priors.learners.sac import SACConfig, entropy_penalty
from behavior_priors.priors.gaussian import GaussianConfig
from behavior_priors.priors.skill_vae import SkillVAEConfig, make_skill_prior
from behavior_priors.runs.run import RunConfig
from behavior_priors.training.fit import FitConfig
from behavior_priors.training.loop import LoopConfig
from behavior_priors.training.on_policy import OnPolicyConfig
from behavior_priors.types import (
    Array,
    Env,
    Observation,
    Params,
    Prior,
    PRNGKey,
    State,
    UserError,
)
from experiments.skill_stages import Learned
from experiments.stages import random_latents, uniform_actions

METHODS = ("spirl", "ssp", "flat_prior", "bc_sac", "bc_ppo", "sac")


@dataclass(frozen=True)
class SpirlConfig:
    """The experiment's flags.

    Attributes:
      env: the new task.
      method: spirl; ssp, through skills without their prior; flat_prior, close to a prior over
        single actions; bc_sac and bc_ppo, from a cloned policy; or sac.
      data_env: where demonstrations are collected; none for the training tasks of env's family.
      report_env: where random skills and actions are judged; none for the family's test tasks.
      engine: physics engine; auto takes the fastest one of this machine.
      seed: of everything random.
      workdir: folder of the run; none for runs/spirl/PRESET/METHOD/seedN.
      data: a dataset to use; none to collect one in the workdir.
      data_episodes: demonstrations to collect.
      skills: workdir of a run whose data and skill model to use; none to make them.
      start_from_prior: the policy starts as the prior; else from N(0, I), or as it is initialised.
      stay_close: the policy pays for its divergence from the prior; else it is paid for its
        entropy.
      skill_bound: skills that spirl chooses are this times tanh of a Gaussian; none for the
        Gaussian itself, which the decoder has learned from.
      ssp_bound: likewise of ssp, where no divergence keeps skills to those that the decoder knows.
      squash_actions: execute the tanh of decoded actions.
      bound_once: where the policy is paid for its entropy, count the logarithm of the bound once
        and not for each dimension.
      report_episodes: episodes in which random skills and actions are judged; 0 for no report.
      eval_episodes: episodes of the final evaluation.
      video_episodes: episodes in the video; 0 for no video.
      skill: the skill model.
      fit: its training.
      clone: the policy over single actions that flat_prior, bc_sac and bc_ppo start from.
      clone_fit: its training.
      divergence: how close spirl stays to the prior over skills.
      flat_divergence: how close flat_prior stays to the prior over actions.
      sac: the actor and the critics of every method but bc_ppo.
      ppo: the actor and the value of bc_ppo.
      loop: the experience of every method but bc_ppo.
      on_policy: the experience of bc_ppo.
      run: what is written, and when.
    """

    env: str = "maze/test"
    method: str = "spirl"
    data_env: str | None = None
    report_env: str | None = None
    engine: str = "auto"
    seed: Seed = 0
    workdir: str | None = None
    data: str | None = None
    data_episodes: TwoOrMore = 4_096
    skills: str | None = None
    start_from_prior: bool = True
    stay_close: bool = True
    skill_bound: Limit | None = None
    ssp_bound: Limit | None = 2.0
    squash_actions: bool = False
    bound_once: bool = False
    report_episodes: EpisodesOrZero = 100
    eval_episodes: Episodes = 100
    video_episodes: FewOrZero = 4
    skill: SkillVAEConfig = field(default_factory=SkillVAEConfig)
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(batch_size=128, gradient_clip=10.0, keep="last")
    )
    clone: GaussianConfig = field(default_factory=GaussianConfig)
    clone_fit: FitConfig = field(default_factory=lambda: FitConfig(keep="best"))
    divergence: DivergenceConfig = field(default_factory=DivergenceConfig)
    flat_divergence: DivergenceConfig = field(default_factory=DivergenceConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    on_policy: OnPolicyConfig = field(default_factory=OnPolicyConfig)
    run: RunConfig = field(default_factory=RunConfig)


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
        if config.start_from_prior:
            _check_limits(chosen, config.clone if learned.clone is not None else GaussianConfig())
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


def _check_limits(policy: SACConfig | PPOConfig, prior: GaussianConfig) -> None:
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


def as_function(prior: Prior, params: Params) -> PriorFn:
    """A prior as a function from observations to distributions."""
    distribution = prior.require("distribution", "KL-regularised soft actor-critic")

    def prior_fn(observation: Observation) -> Any:
        return distribution(params, prior.encode(params, observation))

    return prior_fn


def untaught(env: Env, learned: Learned) -> dict[str, tuple[Env, PolicyFn]]:
    """Ways to act before anything is learned.

    The skill prior; random skills; the skills that the demonstrator's own next actions are, where
    there is a demonstrator, which shows what is lost on the way through the model; random actions.
    """
    assert learned.skills is not None
    skills, params = learned.skills
    acted = execute_skill(env, skills, params)
    prior, prior_params = skills.prior, skills.prior_params(params)

    def from_prior(state: State, key: PRNGKey) -> Array:
        noise = jax.random.normal(key, (prior.latent_size,))
        return prior.decode(prior_params, noise, prior.encode(prior_params, state.observation))

    def encoded(state: State, key: PRNGKey) -> Array:
        assert env.demonstrate is not None
        demonstrate = env.demonstrate

        def step(state: State, key: PRNGKey) -> tuple[State, tuple[Observation, Array]]:
            action = demonstrate(state, key)
            return env.step(state, action), (state.observation, action)

        shown = jax.lax.scan(step, state, jax.random.split(key, skills.horizon))[1]
        observation, action = jax.tree.map(lambda x: x[None], shown)
        return skills.infer(params, observation, action).mode()[0]

    policies = {
        "prior": (acted, from_prior),
        "latents": (acted, random_latents(acted.action_spec.size)),
    }
    # where a state can be stepped once only, nobody can look ahead
    if env.demonstrate is not None and env.step_then_reset is None:
        policies["encoded"] = (acted, encoded)
    return policies | {"random": (env, uniform_actions(env))}
