"""SPiRL (Pertsch et al. 2020): learn skills and a prior over them, learn a new task with both.

    python -m experiments.spirl --flagfile=experiments/flags/spirl/maze_quick.flags
    python -m experiments.spirl --flagfile=... --method=ssp --skills=WORKDIR_OF_THE_RUN_ABOVE

Its baselines are the other values of `--method`. The same command continues a run that was killed.
Stages are folders of the workdir: `data/`, `skills/`, `clone/`, and one for the method; results
are in `summary.json`, `figures/` and `videos/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs.registry import make_env
from behavior_priors.keys import named_key
from behavior_priors.learners.kl_sac import check_divergence
from behavior_priors.programs import entry
from behavior_priors.programs.progress import Stopwatch, format_seconds
from behavior_priors.runs.run import check_run_config
from behavior_priors.runs.workdir import open_workdir, write_summary
from behavior_priors.system.trust import allow_path
from behavior_priors.types import Env, UserError
from experiments import pictures
from experiments.skill_stages import (
    WITH_CLONE,
    WITH_SKILLS,
    Learned,
    check_and_imagine,
    learn_from_data,
    read_clone,
    read_skills,
)
from experiments.spirl_methods import METHODS, SpirlConfig, make_method, untaught
from experiments.stages import (
    Trained,
    check_demonstrator,
    get_demonstrations,
    learn,
    make_loop_of,
    related_env,
    report_policies,
    restore_trained,
)

CONFIG = SpirlConfig


def methods_of(config: SpirlConfig) -> tuple[str, ...]:
    """What a run trains."""
    return (config.method,)


def task_env(config: SpirlConfig) -> Env:
    """The new task."""
    return make_env(config.env, engine=config.engine)


def check_config(config: SpirlConfig, env: Env) -> None:
    """Refuses now what a stage would refuse minutes later, given data included."""
    if config.method not in METHODS:
        raise UserError(f"--method={config.method} is unknown; use one of: {', '.join(METHODS)}")
    with flags.naming("", config):
        check_ranges(config)
    with flags.naming("run", config.run):
        check_run_config(config.run)
    for name in ("divergence", "flat_divergence"):
        divergence = getattr(config, name)
        with flags.naming(name, divergence):
            check_divergence(divergence)
    learned = check_and_imagine(config, env)
    name = "ppo" if config.method == "bc_ppo" else "sac"
    with flags.naming(name, getattr(config, name)):
        acted_env, learner = make_method(config, env, learned)
        jax.eval_shape(learner.init, jax.random.key(0))
    make_loop_of(config, acted_env, learner)


def restore(config: SpirlConfig, workdir: Path, methods: Sequence[str]) -> dict[str, Trained]:
    """What a run's method has learned, from its folder."""
    env, learned = task_env(config), Learned()
    if config.method in WITH_SKILLS:
        source = allow_path(config.skills) if config.skills is not None else workdir
        learned = Learned(skills=read_skills(config, env, source))
    elif config.method in WITH_CLONE:
        learned = Learned(clone=read_clone(config, env, workdir))
    acted = make_method(config, env, learned)
    if config.method in WITH_SKILLS:
        return {m: restore_trained(workdir / m, *acted, None) for m in methods}
    return {m: restore_trained(workdir / m, *acted) for m in methods}


def main() -> None:
    """Runs the experiment that the command line describes."""
    config = flags.read(SpirlConfig)
    # everything that can be refused is refused before anything is written
    env = task_env(config)
    check_config(config, env)
    needs_skills = config.method in WITH_SKILLS and config.skills is None
    needs_data = needs_skills or config.method in WITH_CLONE
    data_env, skill = None, config.skill
    seen: tuple[Sequence[str], ...] = ()
    if config.method in WITH_SKILLS:
        seen = (skill.prior_observation, skill.decoder_observation)
    taught = seen or (config.clone.observation,)
    if needs_data and config.data is None:
        data_env = related_env(env, "data_env", config.data_env, config.engine, *taught)
        check_demonstrator(data_env)
    report_env = related_env(env, "report_env", config.report_env, config.engine, *seen)
    default = Path("runs", "spirl", flags.preset(), config.method, f"seed{config.seed}")
    workdir = open_workdir(
        config.workdir or default,
        experiment="spirl",
        flags_text=flags.to_text(config),
        may_differ=("workdir", "video_episodes"),
    )
    watch = Stopwatch()
    reader = None
    with watch.span("collect"):
        if needs_data and config.data is not None:
            reader = EpisodeReader(config.data)
        elif data_env is not None:
            reader = get_demonstrations(
                data_env, workdir / "data", config.data_episodes, config.seed
            )
    with watch.span("data"):
        learned, results = learn_from_data(config, env, reader, workdir)
    if learned.skills is not None and config.report_episodes:
        with watch.span("report"):
            policies = untaught(report_env, learned)
            results |= report_policies(
                policies, named_key(config.seed, "report"), config.report_episodes
            )
            pictures.maze_paths(workdir / "figures", policies, named_key(config.seed, "picture"))
    acted_env, learner = make_method(config, env, learned)
    trained, scores = learn(config.method, config, acted_env, learner, workdir, watch)
    results |= scores
    with watch.span("pictures"):
        pictures.learning_curves([workdir], workdir / "figures", (config.method,), env)
        if config.video_episodes:
            pictures.videos(
                workdir / "videos",
                {config.method: trained},
                named_key(config.seed, "video"),
                config.video_episodes,
            )
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    results["wall_seconds/total"] = sum(watch.seconds().values())
    path = write_summary(workdir, results, seed=config.seed, engine=env.info.get("engine", "none"))
    print(f"done in {format_seconds(results['wall_seconds/total'])}; see {path}", flush=True)


if __name__ == "__main__":
    flags.define(SpirlConfig)
    entry.run(main)
