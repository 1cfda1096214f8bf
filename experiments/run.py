"""Any prior, any learner, any environment: learn from demonstrations, then learn a new task.

    python -m experiments.run --methods=parrot,bc_sac,sac --env=grasp/mug
    python -m experiments.run --methods=own --through=real_nvp --learner=ppo --env=maze/test --help

A method is a choice of ways in which old behaviour enters (`behavior_priors.methods.method`), and
only the chosen parts have flags. The same command continues a run that was killed. Stages are
folders of the workdir: `data/`, one for each model that is learned from data, and one for each
method; results are in `summary.json`, `figures/` and `videos/`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from behavior_priors.config import flags
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.rollout import PolicyFn
from behavior_priors.errors import UserError
from behavior_priors.evaluation.adapt import AdaptConfig
from behavior_priors.keys import named_key
from behavior_priors.methods import adapting, learning, models, others, untaught
from behavior_priors.methods.agent import build
from behavior_priors.methods.command_line import Preset, declare
from behavior_priors.methods.demonstrations import (
    check_demonstrator,
    get_all_demonstrations,
    read_all,
    related_env,
)
from behavior_priors.methods.plan import Plan, prepare
from behavior_priors.methods.presets import RUN
from behavior_priors.methods.restoring import keep_interface
from behavior_priors.methods.settings import ExperimentConfig, config_class
from behavior_priors.methods.tasks import keep_tasks, task_env
from behavior_priors.programs import entry
from behavior_priors.programs.progress import Stopwatch, format_seconds
from behavior_priors.reports import method_pictures, pictures
from behavior_priors.runs.kept import Kept
from behavior_priors.runs.run import RunConfig
from behavior_priors.runs.workdir import default_workdir, open_workdir, versions, write_summary
from behavior_priors.types import Env

SECONDS = "seconds"
"""What the seconds of a run's parts are called among its results."""

GOES_ON_WITH = (
    "workdir",
    "trust",
    "only_models",
    "figures",
    "video_episodes",
    "eval_episodes",
    "report_episodes",
    "tasks.oracle_episodes",
    *(f"adapt.{field.name}" for field in dataclasses.fields(AdaptConfig)),
    *(f"run.{field.name}" for field in dataclasses.fields(RunConfig)),
)
"""Flags that a run can be continued with other values of: they change nothing that is learned."""

GROWS = ("loop.steps", "on_policy.steps", "meta_loop.iterations")
"""Flags that a run can be continued with larger values of."""


Policies = Mapping[str, tuple[Env, PolicyFn]]
"""Ways to act, and where, by what results call them."""


class Run(NamedTuple):
    """A run under way: its flags, task and methods, its folder, and what is kept there."""

    config: ExperimentConfig
    env: Env
    plan: Plan
    workdir: Path
    watch: Stopwatch
    kept: Kept


def main(preset: Preset = RUN) -> None:
    """Runs the experiment that the command line describes."""
    config = flags.read(config_class(flags.read(ExperimentConfig)))
    # everything that can be refused is refused before anything is written
    env = task_env(config)
    plan = prepare(config, env)
    data_envs, report_env = places(config, env, plan)
    workdir = open_workdir(
        config.workdir or _workdir(config, preset),
        experiment=preset.owner,
        flags_text=flags.to_text(config),
        may_differ=GOES_ON_WITH,
        may_grow=GROWS,
    )
    keep_interface(workdir, env)
    if plan.tasks is not None:
        plan = plan._replace(tasks=keep_tasks(workdir, plan.tasks))
    kept = Kept(workdir)
    watch = Stopwatch(on_end=functools.partial(kept.keep, SECONDS, {}))
    watch.restore(kept.find(SECONDS, {}) or {})
    run = Run(config, env, plan, workdir, watch, kept)
    fitted, results = learn_from_data(run, data_envs)
    results |= judge_models(run, report_env, fitted)
    if not config.only_models:
        results |= learn_task(run, fitted, results)
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    results["wall_seconds/total"] = sum(watch.seconds().values())
    path = write_summary(workdir, results, seed=config.seed, engine=env.info.get("engine", "none"))
    print(f"done in {format_seconds(results['wall_seconds/total'])}; see {path}", flush=True)


class Places(NamedTuple):
    """Where demonstrations are collected, if any are, and where chance is judged."""

    data_envs: list[Env]
    report_env: Env


def places(config: ExperimentConfig, env: Env, plan: Plan) -> Places:
    """The environments beside the new task.

    Raises:
      UserError: one does not go with it, or nothing demonstrates there.
    """
    seen = [stage.model.observation for stage in plan.stages.values()]
    data_envs: list[Env] = []
    report_env = env
    if plan.learned() and config.data is None:
        names = (None,) if config.data_env is None else config.data_env
        if not names or len(set(names)) < len(names):
            given = ",".join(config.data_env or ())
            raise UserError(f"--data_env={given} names none, or one twice; give others")
        data_envs = [related_env(env, "data_env", n, config.engine, *seen) for n in names]
        for data_env in data_envs:
            check_demonstrator(data_env)
    if plan.through() and config.report_episodes:
        report_env = related_env(env, "report_env", config.report_env, config.engine, *seen)
    return Places(data_envs, report_env)


def learn_from_data(
    run: Run, data_envs: Sequence[Env]
) -> tuple[dict[str, models.Fitted], dict[str, float]]:
    """The models that methods need, learned or restored, and how well that went."""
    config, env, plan, workdir, watch, _ = run
    results: dict[str, float] = {}
    fitted = {}
    for name, stage in plan.stages.items():
        if stage.source is not None:
            fitted[name] = others.restore_model(stage, workdir)
            print(f"{stage.name}  from {stage.source}", flush=True)
    if plan.learned():
        with watch.span("collect"):
            readers = _demonstrations(config, data_envs, workdir)
        results["data/episodes"] = sum(reader.num_episodes for reader in readers)
    for name, stage in plan.learned().items():
        with watch.span(stage.name):
            fitted[name], facts = models.learn_model(stage, env, readers, workdir, config)
        results |= facts
    return fitted, results


def judge_models(
    run: Run, report_env: Env, fitted: Mapping[str, models.Fitted]
) -> dict[str, float]:
    """Scores that need no learning: those of models, of chance, and of an oracle."""
    config, env, plan, workdir, watch, kept = run
    made_by: dict[str, Any] = versions()
    results: dict[str, float] = {}
    for name in [x for x in plan.stages if x not in plan.through()]:
        label = plan.stages[name].name
        of = {"eval_episodes": config.eval_episodes, **made_by}
        judge = functools.partial(
            untaught.evaluate_clone,
            label,
            fitted[name],
            env,
            learning.evaluation_key(config.seed),
            config.eval_episodes,
        )
        with watch.span("evaluate"):
            results |= kept.once(
                f"clone/{label}", of, judge, f"{config.eval_episodes} episodes of each policy"
            )
    if plan.through() and config.report_episodes:
        of = {"report_episodes": config.report_episodes, **made_by}
        policies = _untaught(env, report_env, [fitted[name] for name in plan.through()])
        with watch.span("report"):
            results |= kept.once(
                "report",
                of,
                lambda: _report(config, policies),
                f"{config.report_episodes} episodes of each policy that has learned nothing",
            )
            if config.figures:
                first = fitted[plan.through()[0]]
                kept.once(
                    "paths", made_by, lambda: _draw_untaught(run, policies, first), "drawing paths"
                )
    if plan.tasks is not None:
        many: Any = config
        of = {"oracle_episodes": many.tasks.oracle_episodes, **made_by}
        judge = functools.partial(adapting.judge_oracle, config, env, plan.tasks, workdir)
        with watch.span("oracle"):
            results |= kept.once("oracle", of, judge, "the demonstrator in each test task")
    return results


def learn_task(
    run: Run, fitted: Mapping[str, models.Fitted], known: Mapping[str, float]
) -> dict[str, float]:
    """The scores of all methods, each of which learns the task; figures and videos of them."""
    config, env, plan, workdir, watch, kept = run
    results: dict[str, float] = {}
    trained = {}
    for name, method in plan.methods.items():
        agent = build(name, method, config, env, fitted)
        trained[name], scores = learning.learn(
            name, config, agent, plan.tasks, workdir, watch, kept
        )
        results |= scores
    of: dict[str, Any] = {f"steps/{name}": learned.step for name, learned in trained.items()}
    of |= versions()
    if plan.tasks is not None:
        many: Any = config
        of |= dataclasses.asdict(many.adapt)
    with watch.span("pictures"):
        if config.figures:
            kept.once("figures", of, lambda: _draw(run, trained, known), "drawing")
        if config.video_episodes:
            of |= {"video_episodes": config.video_episodes}
            kept.once("videos", of, lambda: _film(run, trained), "filming")
    return results


def _draw(
    run: Run, trained: Mapping[str, learning.Trained], known: Mapping[str, float]
) -> dict[str, float]:
    oracle = known.get("oracle/return_mean")
    method_pictures.draw(run.workdir, run.config, run.env, run.plan.tasks, trained, oracle)
    return {}


def _film(run: Run, trained: Mapping[str, learning.Trained]) -> dict[str, float] | None:
    """Films all methods; None where that was not possible, and may be after all next time."""
    config, key = run.config, named_key(run.config.seed, "video")
    is_filmed = method_pictures.film(
        run.workdir / "videos", config, run.env, run.plan.tasks, trained, key, config.video_episodes
    )
    return {} if is_filmed else None


def _workdir(config: ExperimentConfig, preset: Preset) -> Path:
    """Where a run lies unless it is told: the same place for the same command."""
    default = default_workdir(preset.owner, flags.preset(), config.seed)
    return default.parent / "+".join(config.methods) / default.name if preset.by_method else default


def _demonstrations(
    config: ExperimentConfig, data_envs: Sequence[Env], workdir: Path
) -> list[EpisodeReader]:
    if config.data is not None:
        return read_all(config.data)
    return get_all_demonstrations(data_envs, workdir / "data", config.data_episodes, config.seed)


def _untaught(env: Env, report_env: Env, through: Sequence[models.Fitted]) -> Policies:
    """Ways to act by chance, with each model and without, and where each is judged."""
    policies = {}
    for number, fitted in enumerate(through):
        for label, policy in untaught.untaught(fitted, env, report_env).items():
            policies[f"{fitted.model.name}/{label}" if number else label] = policy
    return policies | {"random": (report_env, untaught.uniform_actions(report_env))}


def _report(config: ExperimentConfig, policies: Policies) -> dict[str, float]:
    key = named_key(config.seed, "report")
    return untaught.report_policies(policies, key, config.report_episodes)


def _draw_untaught(run: Run, policies: Policies, first: models.Fitted) -> dict[str, float]:
    """Draws the paths of policies that have learned nothing, where there is a way to."""
    key, folder = named_key(run.config.seed, "picture"), run.workdir / "figures"
    pictures.maze_paths(folder, policies, key)
    pictures.gripper_paths(folder, run.env, first, key)
    return {}


def start(preset: Preset) -> NoReturn:
    """The program, with a preset's choices."""
    entry.run(lambda: main(preset), functools.partial(declare, preset))


if __name__ == "__main__":
    start(RUN)
