"""Any prior, any learner, any environment: learn from demonstrations, then learn a new task.

    python -m experiments.run --methods=parrot,bc_sac,sac --env=grasp/mug
    python -m experiments.run --methods=own --through=real_nvp --learner=ppo --env=maze/test --help

A method is a choice of ways in which old behaviour enters (`behavior_priors.methods.method`), and
only the chosen parts have flags. The same command continues a run that was killed. Stages are
folders of the workdir: `data/`, one for each model that is learned from data, and one for each
method; results are in `summary.json`, `figures/` and `videos/`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from behavior_priors.config import flags
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.errors import UserError
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
from behavior_priors.runs.workdir import default_workdir, open_workdir, write_summary
from behavior_priors.types import Env


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
        may_differ=("workdir", "figures", "video_episodes", "trust", "only_models"),
    )
    keep_interface(workdir, env)
    if plan.tasks is not None:
        plan = plan._replace(tasks=keep_tasks(workdir, plan.tasks))
    watch = Stopwatch()
    fitted, results = learn_from_data(config, env, data_envs, plan, workdir, watch)
    results |= judge_models(config, env, report_env, plan, fitted, workdir, watch)
    if not config.only_models:
        results |= learn_task(config, env, plan, fitted, workdir, watch, results)
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
    config: ExperimentConfig,
    env: Env,
    data_envs: Sequence[Env],
    plan: Plan,
    workdir: Path,
    watch: Stopwatch,
) -> tuple[dict[str, models.Fitted], dict[str, float]]:
    """The models that methods need, learned or restored, and how well that went."""
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


def learn_task(
    config: ExperimentConfig,
    env: Env,
    plan: Plan,
    fitted: Mapping[str, models.Fitted],
    workdir: Path,
    watch: Stopwatch,
    known: Mapping[str, float],
) -> dict[str, float]:
    """The scores of all methods, each of which learns the task; figures and videos of them."""
    results: dict[str, float] = {}
    trained = {}
    for name, method in plan.methods.items():
        agent = build(name, method, config, env, fitted)
        trained[name], scores = learning.learn(name, config, agent, plan.tasks, workdir, watch)
        results |= scores
    with watch.span("pictures"):
        if config.figures:
            oracle = known.get("oracle/return_mean")
            method_pictures.draw(workdir, config, env, plan.tasks, trained, oracle)
        if config.video_episodes:
            key, folder = named_key(config.seed, "video"), workdir / "videos"
            method_pictures.film(
                folder, config, env, plan.tasks, trained, key, config.video_episodes
            )
    return results


def judge_models(
    config: ExperimentConfig,
    env: Env,
    report_env: Env,
    plan: Plan,
    fitted: Mapping[str, models.Fitted],
    workdir: Path,
    watch: Stopwatch,
) -> dict[str, float]:
    """Scores that need no learning: those of models, of chance, and of an oracle."""
    results: dict[str, float] = {}
    with watch.span("evaluate"):
        for name in [x for x in plan.stages if x not in plan.through()]:
            results |= untaught.evaluate_clone(
                plan.stages[name].name,
                fitted[name],
                env,
                learning.evaluation_key(config.seed),
                config.eval_episodes,
            )
    if plan.through() and config.report_episodes:
        with watch.span("report"):
            known = [fitted[name] for name in plan.through()]
            results |= _report(config, env, report_env, known, workdir)
    if plan.tasks is not None:
        with watch.span("oracle"):
            results |= adapting.judge_oracle(config, env, plan.tasks, workdir)
    return results


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


def _report(
    config: ExperimentConfig,
    env: Env,
    report_env: Env,
    through: Sequence[models.Fitted],
    workdir: Path,
) -> dict[str, float]:
    """What acting by chance leads to, with each model and without, and figures of the first."""
    policies = {}
    for number, fitted in enumerate(through):
        for label, policy in untaught.untaught(fitted, env, report_env).items():
            policies[f"{fitted.model.name}/{label}" if number else label] = policy
    policies["random"] = (report_env, untaught.uniform_actions(report_env))
    if config.figures:
        key = named_key(config.seed, "picture")
        pictures.maze_paths(workdir / "figures", policies, key)
        pictures.gripper_paths(workdir / "figures", env, through[0], key)
    report_key = named_key(config.seed, "report")
    return untaught.report_policies(policies, report_key, config.report_episodes)


def start(preset: Preset) -> NoReturn:
    """The program, with a preset's choices."""
    entry.run(lambda: main(preset), functools.partial(declare, preset))


if __name__ == "__main__":
    start(RUN)
