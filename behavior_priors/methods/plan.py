"""The plan of a run: its methods, the models that they need, and whether all of it fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.data.dataset import split_by_episode
from behavior_priors.errors import UserError
from behavior_priors.learners.parts import resolve_names
from behavior_priors.methods import learning, models, others
from behavior_priors.methods.agent import build
from behavior_priors.methods.demonstrations import read_all, shares
from behavior_priors.methods.method import Method
from behavior_priors.methods.settings import (
    ExperimentConfig,
    chosen_methods,
    is_folder,
    learned_models,
)
from behavior_priors.methods.tasks import SplitTasks, draw_tasks
from behavior_priors.runs.run import check_run_config
from behavior_priors.system.own_modules import part_name
from behavior_priors.types import Env


class Plan(NamedTuple):
    """What a run is going to do.

    Attributes:
      methods: by their names.
      stages: the models that they need, by theirs.
      tasks: those that methods infer; None where none does.
    """

    methods: dict[str, Method]
    stages: dict[str, models.Stage]
    tasks: SplitTasks | None

    def learned(self) -> dict[str, models.Stage]:
        """The models that this run learns."""
        return {name: x for name, x in self.stages.items() if x.source is None}

    def through(self) -> tuple[str, ...]:
        """The models that methods act through."""
        names = (x.through for x in self.methods.values() if x.through is not None)
        return tuple(dict.fromkeys(names))


def stages_of(
    methods: Mapping[str, Method], config: ExperimentConfig, env: Env
) -> dict[str, models.Stage]:
    """The models that methods need, by the names that they have for them."""
    starting = {}
    for method in methods.values():
        part = part_name(method.learner)
        if method.start_from is not None:
            starting[method.start_from] = policy = getattr(config, part)
            with flags.naming(part, policy):
                resolve_names(policy.policy_observation, env.observation_spec, "policy_observation")
    stages = {
        name: models.make_stage(name, config, env, starting.get(name))
        for name in learned_models(methods)
    }
    for method in methods.values():
        for way, name in method.parts():
            if is_folder(name) and name not in stages:
                stages[name] = others.stage_of(way, name, env, config.trust)
    if config.models is not None:
        theirs = others.read_models(config.models, config.trust)
        known = stages_of(chosen_methods(theirs), theirs, env)
        return others.take(config.models, known, stages)
    return stages


def tasks_of_run(methods: Mapping[str, Method], config: Any, env: Env) -> SplitTasks | None:
    """The tasks that methods infer; None where none does.

    Raises:
      UserError: the environment is but one task, or draws such as nothing can be learned from.
    """
    if any(method.infer is not None for method in methods.values()):
        return draw_tasks(env, config.tasks)
    return None


def _check_counts(methods: Mapping[str, Method], config: ExperimentConfig) -> None:
    """Refuses numbers of episodes that no method of the run is judged by."""
    if not all(method.infer is not None for method in methods.values()):
        return
    usual = ExperimentConfig()
    for flag, ours, default in (
        ("eval_episodes", config.eval_episodes, usual.eval_episodes),
        ("run.eval_episodes", config.run.eval_episodes, usual.run.eval_episodes),
    ):
        if ours != default:
            raise UserError(
                f"--{flag}={ours}: where tasks are inferred, --adapt.repeats says how often each "
                "is met; leave it out"
            )


def prepare(config: ExperimentConfig, env: Env) -> Plan:
    """The plan of a run; refuses now what a stage would refuse minutes later.

    Raises:
      UserError: something does not fit.
    """
    methods = chosen_methods(config)
    with flags.naming("", config):
        check_ranges(config)
    with flags.naming("run", config.run):
        check_run_config(config.run)
    _check_counts(methods, config)
    tasks = tasks_of_run(methods, config, env)
    plan = Plan(methods, stages_of(methods, config, env), tasks)
    for stage in plan.learned().values():
        if config.data is not None:
            models.load_data(stage, env, read_all(config.data), config.seed)
        else:
            for episodes in shares(config.data_episodes, config.data_env or ("",)):
                split_by_episode(episodes, stage.fit.validation_fraction, config.seed)
    imagined = {
        name: others.restore_model(stage, stage.source) if stage.source else models.untrained(stage)
        for name, stage in plan.stages.items()
    }
    for name, method in methods.items():
        agent = build(name, method, config, env, imagined)
        learning.make_loop_of(config, agent, tasks)
        learning.check_evaluation(config, agent)
    return plan
