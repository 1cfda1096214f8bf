"""Ways to act before anything is learned: through a model by chance, or by chance alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from behavior_priors.envs.rollout import PolicyFn
from behavior_priors.envs.wrappers.decode import decode_action
from behavior_priors.envs.wrappers.skills import execute_skill
from behavior_priors.evaluation.evaluate import interaction_report, make_evaluate
from behavior_priors.keys import named_child
from behavior_priors.learner import ActFn, Choice
from behavior_priors.methods.learning import print_scores
from behavior_priors.methods.models import Fitted, seen_by
from behavior_priors.types import (
    Array,
    Env,
    Observation,
    Params,
    Prior,
    PRNGKey,
    SkillModel,
    State,
)


class _Clone(NamedTuple):
    """A prior over actions as what acts."""

    act: ActFn


def evaluate_clone(
    name: str, clone: Fitted, env: Env, key: PRNGKey, episodes: int
) -> dict[str, float]:
    """Scores of a prior over actions as a policy of its own, `NAME/...`: behavioural cloning.

    Args:
      name: of the prior.
      clone: a prior over actions.
      env: the new task.
      key: consumed.
      episodes: of the most typical actions, and of random ones, `stochastic/...`.
    """
    model, env = clone.model, seen_by(env, clone.config)
    assert isinstance(model, Prior)

    def act(policy: Params, observation: Observation, key: PRNGKey, *, explore: bool) -> Choice:
        features = model.encode(policy, observation)
        if not explore:
            return Choice(model.decode(policy, jnp.zeros(model.latent_size), features))
        if model.distribution is not None:
            return Choice(model.distribution(policy, features).sample(seed=key))
        latent = jax.random.normal(key, (model.latent_size,))
        return Choice(model.decode(policy, latent, features))

    evaluate = make_evaluate(env, _Clone(act), episodes, stochastic=True)
    scores = {what: float(x) for what, x in evaluate(clone.params, key).items()}
    print_scores(name, scores, episodes)
    return {f"{name}/{what}": x for what, x in scores.items()}


def report_policies(
    policies: Mapping[str, tuple[Env, PolicyFn]], key: PRNGKey, episodes: int
) -> dict[str, float]:
    """How often policies that have learned nothing succeed, meet objects, and get around.

    Args:
      policies: by a label, and where each acts.
      key: consumed.
      episodes: of each.

    Returns:
      What `interaction_report` gives, as `LABEL/...`. Success is called what the environment calls
      it: `prior/grasp_rate` in `grasp/...`.
    """
    results: dict[str, float] = {}
    for label, (env, policy) in policies.items():
        word = env.info.get("success", "success")
        report = interaction_report(env, policy, named_child(key, label), episodes)
        rates = {name.replace("success", word): float(x) for name, x in report.items()}
        results |= {f"{label}/{name}": x for name, x in rates.items()}
        words = [
            f"{name.removesuffix('_rate')} {x:.1%}" if name.endswith("_rate") else f"{name} {x:.4g}"
            for name, x in rates.items()
        ]
        print(f"{label:7s}  {'  '.join(words)}  ({episodes} episodes, random)", flush=True)
    return results


def untaught(fitted: Fitted, env: Env, report_env: Env) -> dict[str, tuple[Env, PolicyFn]]:
    """Ways to act through a model before anything is learned, by what results call them.

    Args:
      fitted: the model.
      env: the new task.
      report_env: where chance is judged.

    Returns:
      Of a prior over actions: its random actions, and its most typical ones on the new task. Of a
      skill model: skills from its prior; random ones, where that is not the same; those that the
      demonstrator's own next actions are, where there is a demonstrator, which shows what is lost
      on the way through the model.
    """
    model, params, config = fitted
    if isinstance(model, SkillModel):
        return _skills(model, params, report_env)
    env, report_env = seen_by(env, config), seen_by(report_env, config)
    return {
        "prior": (
            decode_action(report_env, model, params, None),
            random_latents(model.latent_size),
        ),
        "prior_mode": (decode_action(env, model, params, None), mean_latent(model.latent_size)),
    }


def _skills(skills: SkillModel, params: Params, env: Env) -> dict[str, tuple[Env, PolicyFn]]:
    acted = execute_skill(env, skills, params)
    prior, prior_params = skills.prior, skills.prior_params(params)

    def from_prior(state: State, key: PRNGKey) -> Array:
        assert prior is not None
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

    by_chance = random_latents(acted.action_spec.size)
    policies = {"prior": (acted, by_chance if prior is None else from_prior)}
    if prior is not None:
        policies["latents"] = (acted, by_chance)
    # where a state can be stepped once only, nobody can look ahead
    if env.demonstrate is not None and env.step_then_reset is None:
        policies["encoded"] = (acted, encoded)
    return policies


def uniform_actions(env: Env) -> PolicyFn:
    """Actions that know nothing."""
    size = env.action_spec.size
    return lambda _, key: jax.random.uniform(key, (size,), minval=-1.0, maxval=1.0)


def random_latents(size: int) -> PolicyFn:
    """Latents from `N(0, I)`."""
    return lambda _, key: jax.random.normal(key, (size,))


def mean_latent(size: int) -> PolicyFn:
    """The latent 0, of which a prior makes its most typical action: a policy without learning."""
    return lambda _, key: jnp.zeros(size)
