"""PEARL (Rakelly et al. 2019): learn many tasks, and new ones from a few episodes of them.

    python -m experiments.pearl --flagfile=experiments/flags/pearl/quick_dense.flags

The same command continues a run that was killed. The tasks are in `tasks.npz` of the workdir, the
learner in `pearl/`; results are in `summary.json`, those of every test task and trajectory in
`adaptation.npz`, figures in `figures/`, a video of some test tasks in `videos/`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Episodes, EpisodesOrZero, Seed
from behavior_priors.envs.registry import make_env
from behavior_priors.evaluation.adapt import Adaptation, AdaptConfig, make_adapt, make_meta_evaluate
from behavior_priors.evaluation.evaluate import EvaluateFn
from behavior_priors.evaluation.statistics import stratified_bootstrap_interval
from behavior_priors.keys import named_key
from behavior_priors.learner import MetaLearner
from behavior_priors.learners.pearl import PearlConfig, check_pearl_config, make_pearl
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.methods.agent import Agent
from behavior_priors.methods.learning import Trained, evaluation_key, restore_trained
from behavior_priors.priors.context_encoder import ContextConfig, make_context_encoder
from behavior_priors.programs import entry
from behavior_priors.programs.progress import Stopwatch, format_seconds
from behavior_priors.runs.run import RecordConfig, check_run_config, run_loop
from behavior_priors.runs.workdir import (
    ADAPTATION_FILE,
    default_workdir,
    open_workdir,
    write_summary,
)
from behavior_priors.system.files import write_npz
from behavior_priors.training.meta.loop import make_meta_loop
from behavior_priors.training.meta.schedule import MetaLoopConfig
from behavior_priors.types import Env, Params, PRNGKey, Task
from experiments import meta_pictures
from experiments.meta_tasks import SplitTasks, draw_tasks, keep_tasks, oracle_returns, read_tasks

METHOD = "pearl"


@dataclass(frozen=True)
class PearlExperimentConfig:
    """The experiment's flags.

    Attributes:
      env: the tasks.
      engine: physics engine; auto takes the fastest one of this machine.
      seed: of everything random but the tasks.
      task_seed: of the tasks.
      workdir: folder of the run; none for runs/pearl/PRESET/seedN.
      train_tasks: tasks to learn from.
      test_tasks: other tasks, to be judged by; 0 to be judged by the same ones.
      oracle_episodes: episodes of whoever knows the task in each test task; 0 for none.
      context: what is inferred about a task, and from what.
      pearl: how that is learned.
      sac: the actor and the critics.
      loop: the experience of training tasks.
      adapt: how test tasks are met.
      run: what is written, and when.
    """

    env: str = "point/dense"
    engine: str = "auto"
    seed: Seed = 0
    task_seed: Seed = 0
    workdir: str | None = None
    train_tasks: Episodes = 80
    test_tasks: EpisodesOrZero = 20
    oracle_episodes: EpisodesOrZero = 20
    context: ContextConfig = field(default_factory=ContextConfig)
    pearl: PearlConfig = field(default_factory=PearlConfig)
    sac: SACConfig = field(default_factory=SACConfig)
    loop: MetaLoopConfig = field(default_factory=MetaLoopConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    run: RecordConfig = field(default_factory=RecordConfig)


class Meta(NamedTuple):
    """What a run needs to begin."""

    env: Env
    tasks: SplitTasks
    learner: MetaLearner


def read(_: str, path: Path, trust: Sequence[str]) -> PearlExperimentConfig:
    """The config of a run, from its own flags."""
    return flags.read_file(PearlExperimentConfig, path, trust)


def methods_of(_: PearlExperimentConfig) -> tuple[str, ...]:
    """What a run trains."""
    return (METHOD,)


def task_env(config: PearlExperimentConfig) -> Env:
    """The environment of the tasks."""
    return make_env(config.env, engine=config.engine)


def prepare(config: PearlExperimentConfig, env: Env) -> Meta:
    """Tasks and learner; refuses now what a stage would refuse minutes later.

    Raises:
      UserError: something does not fit.
    """
    with flags.naming("", config):
        check_ranges(config)
    with flags.naming("run", config.run):
        check_run_config(config.run)
    tasks = draw_tasks(env, config.train_tasks, config.test_tasks, config.task_seed)
    with flags.naming("context", config.context):
        encoder = make_context_encoder(config.context, env.observation_spec, env.action_spec)
    with flags.naming("pearl", config.pearl):
        check_pearl_config(config.pearl)
    with flags.naming("sac", config.sac):
        learner = make_pearl(
            config.pearl, config.sac, encoder, env.observation_spec, env.action_spec
        )
    with flags.naming("loop", config.loop):
        make_meta_loop(env, learner, config.loop, tasks.train)
    with flags.naming("adapt", config.adapt):
        make_adapt(env, learner, config.adapt)
    return Meta(env, tasks, learner)


def restore(
    config: PearlExperimentConfig, workdir: Path, methods: Sequence[str]
) -> dict[str, Trained]:
    """What a run has learned, from its folder."""
    meta = prepare(config, task_env(config))
    agent = Agent(meta.env, meta.learner, None)
    return {m: restore_trained(workdir / m, agent) for m in methods}


def evaluation(
    config: PearlExperimentConfig, workdir: Path, trained: Trained, episodes: int
) -> EvaluateFn:
    """Adaptation to the run's own test tasks, often enough for so many episodes."""
    tasks = _test_tasks(config, workdir, trained.env)
    once = len(jax.tree.leaves(tasks)[0]) * config.adapt.trajectories
    adapt = dataclasses.replace(config.adapt, repeats=math.ceil(episodes / once))
    return make_meta_evaluate(trained.env, _meta(trained), tasks, adapt)


def videos(
    config: PearlExperimentConfig,
    workdir: Path,
    folder: Path,
    trained: Mapping[str, Trained],
    key: PRNGKey,
    episodes: int,
) -> None:
    """A video of each method in so many of the run's own test tasks."""
    for method, learned in trained.items():
        env, tasks = learned.env, _test_tasks(config, workdir, learned.env)
        learner, policy = _meta(learned), learned.policy
        meta_pictures.adaptation_video(
            folder, method, env, learner, policy, tasks, config.adapt, key, episodes
        )


def _meta(trained: Trained) -> MetaLearner:
    assert isinstance(trained.learner, MetaLearner)
    return trained.learner


def _test_tasks(config: PearlExperimentConfig, workdir: Path, env: Env) -> Task:
    drawn = draw_tasks(env, config.train_tasks, config.test_tasks, config.task_seed)
    return read_tasks(workdir, drawn).test


def main() -> None:
    """Runs the experiment that the command line describes."""
    config = flags.read(PearlExperimentConfig)
    env = task_env(config)
    meta = prepare(config, env)
    workdir = open_workdir(
        config.workdir or default_workdir("pearl", flags.preset(), config.seed),
        experiment="pearl",
        flags_text=flags.to_text(config),
        may_differ=("workdir",),
    )
    meta = meta._replace(tasks=keep_tasks(workdir, meta.tasks))
    watch = Stopwatch()
    results: dict[str, float] = {}
    oracle = None
    if config.oracle_episodes:
        with watch.span("oracle"):
            oracle_key = named_key(config.seed, "oracle")
            oracle = oracle_returns(env, meta.tasks.test, config.oracle_episodes, oracle_key)
    if oracle is not None:
        results["oracle/return_mean"] = float(oracle.mean())
        print(f"oracle   return {oracle.mean():.4g}  ({len(oracle)} test tasks)", flush=True)
    policy, learned = learn(config, meta, workdir, watch)
    results |= learned
    with watch.span("evaluate"):
        adapt = jax.jit(make_adapt(env, meta.learner, config.adapt))
        tested = adapt(policy, meta.tasks.test, evaluation_key(config.seed))
        train_key = named_key(config.seed, "evaluate", "training tasks")
        trained = adapt(policy, meta.tasks.train, train_key)
    results |= scores(tested, trained)
    returns = {
        "test_returns": np.asarray(tested.returns),
        "train_returns": np.asarray(trained.returns),
    }
    if oracle is not None:
        returns["oracle_returns"] = oracle
    write_npz(workdir / ADAPTATION_FILE, returns)
    print(
        f"{METHOD:7s}  return {results['pearl/return_mean']:.4g} on trajectory "
        f"{config.adapt.trajectories}, {results['pearl/first_return_mean']:.4g} on the first  "
        f"({tested.returns.shape[0]} test tasks, {config.adapt.repeats} times each)",
        flush=True,
    )
    with watch.span("pictures"):
        meta_pictures.draw_all(
            workdir, METHOD, env, meta.tasks.test, tested, oracle, config.adapt.exploration
        )
        meta_pictures.adaptation_video(
            workdir / "videos",
            METHOD,
            env,
            meta.learner,
            policy,
            meta.tasks.test,
            config.adapt,
            named_key(config.seed, "video"),
        )
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    results["wall_seconds/total"] = sum(watch.seconds().values())
    path = write_summary(workdir, results, seed=config.seed, engine=env.info.get("engine", "none"))
    print(f"done in {format_seconds(results['wall_seconds/total'])}; see {path}", flush=True)


def learn(
    config: PearlExperimentConfig, meta: Meta, workdir: Path, watch: Stopwatch
) -> tuple[Params, dict[str, float]]:
    """Trains the meta-learner in its folder: its policy, and what it took."""
    env, tasks, learner = meta
    loop, schedule = make_meta_loop(env, learner, config.loop, tasks.train)
    seconds = Stopwatch()
    with watch.span(METHOD):
        state = run_loop(
            workdir / METHOD,
            METHOD,
            loop,
            schedule,
            make_meta_evaluate(env, learner, tasks.test, config.adapt),
            named_key(config.seed, "learn", METHOD),
            run=config.run,
            stopwatch=seconds,
            flags=dataclasses.asdict(config),
        )
    took: dict[str, float] = {"steps": int(state.steps), "updates": int(state.learner.step)}
    took |= {f"seconds/{name}": x for name, x in seconds.seconds().items()}
    return state.learner.policy, {f"{METHOD}/{name}": x for name, x in took.items()}


def scores(tested: Adaptation, trained: Adaptation) -> dict[str, float]:
    """`pearl/...`: returns by trajectory, and of the last one a bootstrap interval over tasks.

    `return_mean` is the last trajectory's in test tasks, `train_return_mean` in training tasks.
    """
    returns = np.asarray(tested.returns).mean(axis=1)
    low, high = stratified_bootstrap_interval(returns[:, -1:], lambda x: x.mean(axis=-1))
    named = {
        "return_mean": returns[:, -1].mean(),
        "return_low": low,
        "return_high": high,
        "first_return_mean": returns[:, 0].mean(),
        "train_return_mean": np.asarray(trained.returns)[..., -1].mean(),
        **{f"online/return_{i + 1:02d}": x for i, x in enumerate(returns.mean(axis=0))},
    }
    return {f"{METHOD}/{name}": float(x) for name, x in named.items()}


if __name__ == "__main__":
    flags.define(PearlExperimentConfig)
    entry.run(main)
