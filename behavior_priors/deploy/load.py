"""The policy of a run, or of a folder that was exported, to be used anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.envs.interface import interface_of
from behavior_priors.errors import UserError
from behavior_priors.evaluation.adapt import AdaptConfig
from behavior_priors.learner import MetaLearner
from behavior_priors.methods.agent import Agent, build
from behavior_priors.methods.controller import ControllerConfig, Sense, make_controller
from behavior_priors.methods.learning import restore_trained
from behavior_priors.methods.restoring import (
    choose_methods,
    find_env,
    read_config,
    restore_models,
)
from behavior_priors.methods.shipped import named_arrays
from behavior_priors.policy import FACTS_FILE, FORMAT, Policy, load
from behavior_priors.system.foreign_files import check_folder
from behavior_priors.types import Env, Params
from behavior_priors.version import __version__


class Loaded(NamedTuple):
    """A policy as a function of lists of arrays, which is what leaves.

    Attributes:
      facts: what `policy.json` says.
      step: `policy.StepFn`.
      weights: arrays by name, its first argument in this order.
      memory: arrays, where nothing is remembered.
    """

    facts: dict[str, Any]
    step: Callable[..., Any]
    weights: dict[str, np.ndarray]
    memory: list[np.ndarray]


def load_policy(
    folder: str | Path,
    method: str | None = None,
    *,
    explore: bool = False,
    seed: int = 0,
    trust: Sequence[str] = (),
) -> Policy:
    """A policy to be called with observations, without its environment.

    Args:
      folder: the workdir of a run, finished or not; or one that `experiments.export` has written,
        whose program is then run: give those that you trust.
      method: whose policy; may be left out where the run has one method.
      explore: draw actions, instead of taking the most likely ones.
      seed: of what is drawn.
      trust: modules that the run's flags name and that may be imported; see docs/trust.md.

    Returns:
      The policy; its actions are those that the run's own evaluation would take.

    Raises:
      UserError: there is no such run, method or checkpoint.
    """
    folder = Path(folder)
    if (folder / FACTS_FILE).is_file():
        if method is not None or explore:
            raise UserError(f"{folder} is one policy as it was exported; leave method, explore out")
        try:
            check_folder(folder, depth=1)
            return load(folder)
        except ValueError as error:
            raise UserError(str(error)) from None
    loaded = take_out(folder, method, explore=explore, seed=seed, trust=trust)
    return Policy(loaded.facts, loaded.step, list(loaded.weights.values()), loaded.memory)


def take_out(
    workdir: Path,
    method: str | None = None,
    *,
    explore: bool = False,
    seed: int = 0,
    trust: Sequence[str] = (),
    flags: bool = False,
) -> Loaded:
    """A run's policy as a function; see `load_policy`.

    Args:
      workdir: of the run.
      method: whose policy.
      explore: draw actions.
      seed: of what is drawn.
      trust: modules that the run's flags name and that may be imported.
      flags: the arguments are flags, `--checkpoint` and `--method`, to the user.
    """
    given, word = (f"--checkpoint={workdir}", "--method") if flags else (str(workdir), "method")
    config = read_config(workdir, given, trust)
    methods = choose_methods(config, () if method is None else (method,), workdir, word)
    if len(methods) > 1:
        raise UserError(f"{given} has several methods; say {word}= one of: {', '.join(methods)}")
    ((name, chosen),) = methods.items()
    env = find_env(config, workdir)
    fitted = restore_models(methods, config, env, workdir)
    through = chosen.through
    trained = restore_trained(workdir / name, build(name, chosen, config, env, fitted))
    models = {} if through is None else {"model": fitted[through].params}
    params: Params = {"policy": trained.policy, **models}

    def agent_of(params: Params) -> Agent:
        own = dict(fitted)
        if through is not None:
            own[through] = fitted[through]._replace(params=params["model"])
        return build(name, chosen, config, env, own)

    # a section that is there where tasks are inferred
    adapt = getattr(config, "adapt", AdaptConfig())
    loaded = flatten(env, agent_of, params, ControllerConfig(explore, seed, adapt))
    loaded.facts.update(name=name, steps=trained.step)
    return loaded


def flatten(
    env: Env, agent_of: Callable[[Params], Agent], params: Params, config: ControllerConfig
) -> Loaded:
    """A controller as a function of lists of arrays.

    Args:
      env: the task, made or not.
      agent_of: the agent with parameters, as in `params`.
      params: of the `policy`, and of the `model` that it acts through.
      config: how it acts.
    """
    agent = agent_of(params)
    blank = make_controller(env, agent, config).init()
    remembered = jax.tree.structure(blank)
    named = named_arrays(params)
    structure = jax.tree.structure(params)

    def step(
        weights: list[Any], memory: list[Any], observation: Any, reward: Any, first: Any, last: Any
    ) -> tuple[Any, list[Any]]:
        params = jax.tree.unflatten(structure, weights)
        controller = make_controller(env, agent_of(params), config)
        sense = Sense(observation, reward, first, last)
        before = jax.tree.unflatten(remembered, memory)
        action, after = controller.act(params["policy"], before, sense)
        return action, jax.tree.leaves(after)

    interface = interface_of(env)
    facts = {
        "format": FORMAT,
        "environment": interface["name"],
        "observation": interface["observation"],
        "action": interface["action"],
        "episode_length": interface["episode_length"],
        "needs_reward": isinstance(agent.learner, MetaLearner),
        "explore": config.explore,
        "version": __version__,
    }
    return Loaded(facts, step, named, [np.asarray(x) for x in jax.tree.leaves(blank)])
