"""Methods put together: where an agent acts, what it stays close to, and from where it starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.envs.wrappers.decode import decode_action, decoder
from behavior_priors.envs.wrappers.history import with_history
from behavior_priors.envs.wrappers.skills import SkillPlayer, execute_skill, play_skills
from behavior_priors.errors import UserError
from behavior_priors.history import History
from behavior_priors.keys import key_shape
from behavior_priors.learner import Learner, MetaLearner, OnPolicyLearner
from behavior_priors.learners.kind import Guidance
from behavior_priors.learners.kl_sac import check_divergence
from behavior_priors.learners.registry import find_learner, find_meta_learner
from behavior_priors.methods.method import Latents, Method
from behavior_priors.methods.models import Fitted, remembered_by
from behavior_priors.methods.over import as_draw, as_function, as_start, find_over
from behavior_priors.priors.registry import find_encoder
from behavior_priors.system.own_modules import part_name
from behavior_priors.training.exploring import ExploreFn, make_explore
from behavior_priors.types import Array, Env, SkillModel, State

DecodeFn = Callable[[State, Array], Array]


class Agent(NamedTuple):
    """A method, ready to learn.

    Attributes:
      env: where it acts: the task, or the task as seen through a model.
      learner: what acts and learns.
      decode: what it chooses as an action of the task itself; None where one choice is many.
      explore: what it does instead while it explores; None where that is what it chooses.
      skills: what it chooses as many actions of the task, one after the other; None where one
        choice is one action.
      history: past steps that are among the observations of `env`; None where none are.
    """

    env: Env
    learner: Learner | OnPolicyLearner | MetaLearner
    decode: DecodeFn | None
    explore: ExploreFn | None = None
    skills: SkillPlayer | None = None
    history: History | None = None


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
    history = remembered_by(env, *(fitted[name].config for _, name in method.parts()))
    env = env if history is None else with_history(env, history)
    through = None if method.through is None else fitted[method.through]
    decode: DecodeFn | None = _as_it_is
    skills = None
    if through is not None:
        latents = getattr(config, name).latents
        own = _limited(own, latents, method.latents, name, method.learner)
        env, decode, skills = _act_through(env, through, latents)
    if method.infer is not None:
        _refuse_to_explore(method, f"{method.learner} with --infer")
        inferring = _inferring(name, method, config, own, env)
        return Agent(env, inferring, decode, None, skills, history)
    kind = find_learner(method.learner, flag="learner")
    guidance = Guidance()
    if method.close_to is not None:
        over = find_over("close_to", method.close_to, through, fitted, env)
        divergence = getattr(config, name).divergence
        with flags.naming(f"{name}.divergence", divergence):
            check_divergence(divergence)
        guidance = guidance._replace(prior=as_function(over, env), divergence=divergence)
    with flags.naming(part, own):
        if method.start_from is not None:
            over = find_over("start_from", method.start_from, through, fitted, env)
            guidance = guidance._replace(start=as_start(own, over, env))
        learner = kind.make(own, env.observation_spec, env.action_spec, guidance)
        jax.eval_shape(learner.init, key_shape())  # what a learner refuses only then
    explore = None
    if method.explore_with is not None:
        if not isinstance(learner, Learner):
            _refuse_to_explore(method, method.learner)
        over = find_over("explore_with", method.explore_with, through, fitted, env)
        exploring = getattr(config, name).explore
        with flags.naming(f"{name}.explore", exploring):
            explore = make_explore(exploring, as_draw(over, env), env.action_spec.bound)
    return Agent(env, learner, decode, explore, skills, history)


def _refuse_to_explore(method: Method, who: str) -> None:
    """Raises a `UserError` where experience that is not the policy's own is of no use."""
    if method.explore_with is not None:
        raise UserError(
            f"--explore_with={method.explore_with}: {who} learns from what its own policy does; "
            "give another --learner, or --explore_with=none"
        )


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
        jax.eval_shape(learner.init, key_shape())
    return learner


def _as_it_is(_: State, action: Array) -> Array:
    return action


def _act_through(
    env: Env, through: Fitted, latents: Latents
) -> tuple[Env, DecodeFn | None, SkillPlayer | None]:
    """The task as seen through a model, and a choice there as an action of the task, or as many."""
    model, params, _ = through
    bound, residual = latents.bound, latents.residual
    if isinstance(model, SkillModel):
        settings: Any = {
            "bound": bound,
            "squash": latents.squash_actions,
            "residual": residual,
        }
        acted = execute_skill(env, model, params, **settings)
        return acted, None, play_skills(model, params, **settings)
    decode = decoder(model, params, bound, residual)
    return decode_action(env, model, params, bound, residual), decode, None


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
