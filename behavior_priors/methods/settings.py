"""The flags of an experiment: its own, and those of the parts that its methods are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from behavior_priors.config.ranges import Episodes, EpisodesOrZero, FewOrZero, Seed, TwoOrMore
from behavior_priors.config.sections import with_sections
from behavior_priors.errors import UserError
from behavior_priors.evaluation.adapt import AdaptConfig
from behavior_priors.learners.kl_sac import DivergenceConfig
from behavior_priors.learners.registry import (
    LEARNERS,
    META_LEARNERS,
    find_learner,
    find_meta_learner,
)
from behavior_priors.methods.method import METHODS, NONE, WAYS, Method
from behavior_priors.methods.tasks import TasksConfig
from behavior_priors.priors.registry import ENCODERS, MODELS, find_encoder, find_model
from behavior_priors.runs.run import RunConfig
from behavior_priors.system.own_modules import own_name, part_name
from behavior_priors.training.exploring import ExploreConfig
from behavior_priors.training.fit import FitConfig
from behavior_priors.training.loop import LoopConfig
from behavior_priors.training.meta.schedule import MetaLoopConfig
from behavior_priors.training.on_policy import OnPolicyConfig

AS_THE_METHOD = "method"
"""How a command line says that a part is what the method has."""


@dataclass(frozen=True)
class ExperimentConfig:
    """The experiment's own flags.

    Attributes:
      env: the new task; where methods infer it, one of many.
      methods: what to train.
      through: the model to act through, a name, MODULE:NAME or the folder of a run that has one;
        none for no such model, method for the method's own.
      close_to: likewise, the prior to stay close to; through.prior for the one over its latents.
      start_from: likewise, the prior that the policy starts as.
      explore_with: likewise, the prior that chooses some of the actions while the policy learns.
      infer: what says which of many tasks it is, an encoder's name or MODULE:NAME; none where
        nothing does, method for the method's own.
      learner: what learns, a name or MODULE:NAME; method for the method's own.
      models: a run whose models are taken where they were learned with the same flags, instead of
        being learned again.
      only_models: whether the run ends when models are learned and judged, before any method learns
        the task; the same command without it goes on.
      trust: modules that the flags of a run may name whose folder is given for a model; see
        docs/trust.md.
      data_env: where demonstrations are collected, of several environments as many in each; none
        for the training tasks of env's family, or, where it has none, for env itself.
      report_env: where policies that have learned nothing are judged; none for the family's test
        tasks, or env itself.
      engine: physics engine; auto takes the fastest one of this machine.
      reward: of the new task, sparse or dense in grasp/; none for the environment's own.
      seed: of everything random.
      workdir: folder of the run; none for a place of its own under runs/.
      data: a dataset to use, or several that are learned from as if they were one; none to collect
        in the workdir.
      data_episodes: demonstrations to collect, in all.
      report_episodes: episodes in which policies that have learned nothing are judged; 0 for no
        report.
      eval_episodes: episodes of the final evaluation; where methods infer tasks, adapt.repeats says
        how often each is met.
      figures: learning curves, and the paths of policies where there is a way to draw them; a sweep
        may do without, since metrics say what curves show.
      video_episodes: episodes in the video, or test tasks where these are inferred; 0 for no video.
      run: what is written, and when.
    """

    env: str = "grasp/mug"
    methods: tuple[str, ...] = ("parrot",)
    through: str = AS_THE_METHOD
    close_to: str = AS_THE_METHOD
    start_from: str = AS_THE_METHOD
    explore_with: str = AS_THE_METHOD
    infer: str = AS_THE_METHOD
    learner: str = AS_THE_METHOD
    models: str | None = None
    only_models: bool = False
    trust: tuple[str, ...] = ()
    data_env: tuple[str, ...] | None = None
    report_env: str | None = None
    engine: str = "auto"
    reward: str | None = None
    seed: Seed = 0
    workdir: str | None = None
    data: tuple[str, ...] | None = None
    data_episodes: TwoOrMore = 3_000
    report_episodes: EpisodesOrZero = 500
    eval_episodes: Episodes = 400
    figures: bool = True
    video_episodes: FewOrZero = 4
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True)
class _NoSettings:
    """Flags of a method that has none of its own."""


def chosen_methods(config: ExperimentConfig) -> dict[str, Method]:
    """The methods that a command line asks for, by their names.

    Raises:
      UserError: it names none, one twice, or one that there is not.
    """
    given = ",".join(config.methods)
    known = f"use some of: {', '.join(METHODS)}"
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise UserError(f"--methods={given} names none, or one twice; {known}")
    for name in config.methods:
        if name not in METHODS:
            raise UserError(f"--methods={name} is unknown; {known}")
    changes: dict[str, Any] = {
        way: None if (value := getattr(config, way)) == NONE else value
        for way in WAYS
        if getattr(config, way) != AS_THE_METHOD
    }
    if changes.get("learner", "") is None:
        raise UserError("--learner=none: something has to learn; leave it out")
    methods = {n: dataclasses.replace(METHODS[n], **changes) for n in config.methods}
    bare = {n for n, method in methods.items() if n in LEARNERS and method_sections(n, method)}
    if bare == methods.keys():
        raise UserError(
            f"--methods={given} has no part that --through or --infer could name; give "
            "--methods=own"
        )
    # beside methods that have such parts, a learner alone is what they are compared with
    for name in bare:
        methods[name] = dataclasses.replace(METHODS[name], learner=methods[name].learner)
    return methods


def is_folder(model: str) -> bool:
    """Whether a model's name is the folder of a run that has it.

    A model's own name never is: a run's folder has a folder that is called so.
    """
    if model in MODELS or own_name(model) is not None:
        return False
    if "/" in model or model.startswith("."):
        return True
    try:
        return Path(model).is_dir()
    except OSError:  # no folder can be called so
        return False


def learned_models(methods: Mapping[str, Method]) -> tuple[str, ...]:
    """The models that are to be learned from data, each once."""
    names = dict.fromkeys(name for method in methods.values() for _, name in method.parts())
    return tuple(name for name in names if not is_folder(name))


def config_class(config: ExperimentConfig) -> type[ExperimentConfig]:
    """The flags of an experiment with these methods.

    Raises:
      UserError: as `chosen_methods`, or a part is not there.
    """
    methods = chosen_methods(config)
    parts: dict[str, Any] = {}
    for name in learned_models(methods):
        parts |= model_sections(name)
    for method in methods.values():
        parts |= learner_sections(method)
    for name, method in methods.items():
        parts |= method_sections(name, method)
    return with_sections(ExperimentConfig, parts)


def model_sections(name: str) -> dict[str, Any]:
    """A model's flags, and those of its training."""
    model, part = find_model(name, flag="through"), part_name(name)
    return {part: model.config, f"{part}_fit": FitConfig(**model.fit)}


def learner_sections(method: Method) -> dict[str, Any]:
    """The flags of a method's learner, and those of the experience that it feeds on."""
    part = part_name(method.learner)
    if method.infer is not None:
        encoder = {part_name(method.infer): find_encoder(method.infer, flag="infer").config}
        return encoder | {part: find_meta_learner(method.learner, flag="learner").config} | MANY
    kind = find_learner(method.learner, flag="learner")
    feeds: Any = {"on_policy": OnPolicyConfig()} if kind.on_policy else {"loop": LoopConfig()}
    return {part: kind.config} | feeds


MANY: dict[str, Any] = {
    "tasks": TasksConfig(),
    "meta_loop": MetaLoopConfig(),
    "adapt": AdaptConfig(),
}
"""Flags of runs in which tasks are inferred: which ones, how they are learned, how met."""


def method_sections(name: str, method: Method) -> dict[str, Any]:
    """A method's own flags: of what it infers with, of its latents, divergence and exploring."""
    own: dict[str, Any] = {}
    if method.through is not None:
        own["latents"] = method.latents
    if method.infer is not None:
        inference = find_meta_learner(method.learner, flag="learner").inference
        return {name: with_sections(type(inference), own)() if own else inference}
    if method.close_to is not None:
        own["divergence"] = DivergenceConfig()
    if method.explore_with is not None:
        own["explore"] = ExploreConfig()
    return {name: with_sections(_NoSettings, own)()} if own else {}


def every_section() -> dict[str, Any]:
    """The flags of all parts that have a name here, whatever is chosen."""
    parts: dict[str, Any] = {}
    for model in MODELS:
        parts |= model_sections(model)
    for learner in LEARNERS:
        parts |= learner_sections(Method(learner=learner))
    for learner in META_LEARNERS:
        for encoder in ENCODERS:
            parts |= learner_sections(Method(infer=encoder, learner=learner))
    for name, method in METHODS.items():
        parts |= method_sections(name, method)
    return parts
