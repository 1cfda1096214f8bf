r"""Latents of priors over actions, drawn narrower and with noise on top: what comes of each.

    python -m benchmarks.latents --workdirs='runs/sweep/models/figure3_models/seed*' \
        --models=real_nvp,conditional_vae --env=place/validation

Success of random latents says how often a new task begins with a reward. Drawn at half their width,
latents leave out what is rare in demonstrations, such as the noise on their actions; a decoder that
has left it out itself loses when as much noise is added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Episodes, Seed, TwoOrMore, Weight
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.evaluation.evaluate import summarize_rollout
from behavior_priors.methods.models import make_stage, seen_by
from behavior_priors.methods.others import read_experiment, restore_model
from behavior_priors.programs import entry
from behavior_priors.types import Array, Env, Metrics, Params, Prior, PRNGKey, State
from benchmarks.harness import write_table
from experiments.report import find_workdirs


@dataclass(frozen=True)
class LatentsConfig:
    """The program's flags.

    Attributes:
      workdirs: of runs that have learned the models, or patterns of them.
      models: those of each run that are looked at, priors over single actions.
      env: where they act, a task that measures success.
      scales: standard deviations of latents, 1 for the prior's own, 0 for the latent 0 alone.
      noises: standard deviations of what is added to actions, in every dimension.
      episodes: of each.
      draws: latents of each state, from which the spread of actions is estimated.
      seed: of episodes and latents, the same for every model.
      output: CSV file of the table, a line for each model and way to draw.
    """

    workdirs: tuple[str, ...]
    models: tuple[str, ...] = ("real_nvp", "conditional_vae")
    env: str = "place/validation"
    scales: tuple[Weight, ...] = (1.0, 0.75, 0.5, 0.0)
    noises: tuple[Weight, ...] = (0.1, 0.2)
    episodes: Episodes = 500
    draws: TwoOrMore = 64
    seed: Seed = 0
    output: str = "runs/latents.csv"


ScoreFn = Callable[[Params, Array, Array, PRNGKey], Metrics]
"""(parameters, width of latents, noise on actions, key) -> scores of episodes."""

SpreadFn = Callable[[Params, PRNGKey], Array]
"""(parameters, key) -> standard deviations `[size]` of actions over latents, at a state."""


def make_score(env: Env, prior: Prior, episodes: int) -> ScoreFn:
    """A function that scores random latents of a prior."""

    @jax.jit
    def score(params: Params, scale: Array, noise: Array, key: PRNGKey) -> Metrics:
        def policy(state: State, key: PRNGKey) -> Array:
            latent_key, noise_key = jax.random.split(key)
            latent = scale * jax.random.normal(latent_key, (prior.latent_size,))
            features = prior.encode(params, state.observation)
            action = prior.decode(params, latent, features)
            return action + noise * jax.random.normal(noise_key, action.shape)

        return summarize_rollout(env, rollout(env, policy, key, episodes))

    return score


def make_spread(env: Env, prior: Prior, states: int, draws: int) -> SpreadFn:
    """A function that measures how much of an action a latent decides, at the first states."""

    @jax.jit
    def spread(params: Params, key: PRNGKey) -> Array:
        reset_key, key = jax.random.split(key)
        first = jax.vmap(env.reset)(jax.random.split(reset_key, states))
        features = prior.encode(params, first.observation)
        latents = jax.random.normal(key, (draws, states, prior.latent_size))
        actions = jax.vmap(lambda latent: prior.decode(params, latent, features))(latents)
        return jnp.sqrt(actions.var(0, ddof=1).mean(0))

    return spread


def measure(config: LatentsConfig) -> list[dict[str, Any]]:
    """The lines of the table.

    Raises:
      UserError: there are no such runs or models, one is no prior over single actions, nothing is
        to be drawn, or the task does not measure success.
    """
    check_ranges(config)
    task = make_env(config.env)
    if not task.measures_success:
        raise UserError(f"--env={config.env} does not measure success; give one that does")
    workdirs = find_workdirs(config.workdirs)
    key = jax.random.key(config.seed)
    ways = {(scale, 0.0): None for scale in config.scales}
    ways |= {(1.0, noise): None for noise in config.noises}
    if not (ways and config.models):
        raise UserError("there is nothing to draw; give --models, and --scales or --noises")
    lines = []
    for name in dict.fromkeys(config.models):
        found: dict[tuple[float, float], list[float]] = {way: [] for way in ways}
        spreads = []
        compiled: dict[Any, tuple[ScoreFn, SpreadFn]] = {}
        for workdir in workdirs:
            stage = make_stage(name, read_experiment(workdir, f"--workdirs={workdir}", ()), task)
            prior = stage.model
            if not isinstance(prior, Prior):
                raise UserError(f"--models={name} is no prior of single actions; give others")
            params = restore_model(stage, workdir).params
            if stage.config not in compiled:
                env = seen_by(task, stage.config)
                compiled[stage.config] = (
                    make_score(env, prior, config.episodes),
                    make_spread(env, prior, config.episodes, config.draws),
                )
            score, spread = compiled[stage.config]
            for way in ways:
                scores = score(params, jnp.float32(way[0]), jnp.float32(way[1]), key)
                found[way].append(float(scores["success_rate"]))
            spreads.append(np.asarray(spread(params, key)))
            print(f"{workdir}: {name}", flush=True)
        for (scale, noise), rates in found.items():
            lines.append(
                {
                    "model": name,
                    "runs": len(rates),
                    "scale": scale,
                    "noise": noise,
                    "success_rate": float(np.mean(rates)),
                    "success_rate_least": min(rates),
                    "success_rate_largest": max(rates),
                    "spread": " ".join(f"{x:.3f}" for x in np.mean(spreads, axis=0)),
                }
            )
    return lines


def as_markdown(lines: list[dict[str, Any]]) -> str:
    """The table as documents have it: models in columns, ways to draw in rows."""
    models = list(dict.fromkeys(line["model"] for line in lines))
    ways = list(dict.fromkeys((line["scale"], line["noise"]) for line in lines))
    cell = {(x["model"], x["scale"], x["noise"]): x for x in lines}
    rows = [["width of latents", "noise on actions", *(f"`{x}`" for x in models)]]
    rows.append(["---"] * len(rows[0]))
    for way in ways:
        rates = (cell[(model, *way)] for model in models)
        rows.append([*map(str, way), *map(_range, rates)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _range(x: dict[str, Any]) -> str:
    least, largest = x["success_rate_least"], x["success_rate_largest"]
    return f"{x['success_rate']:.2f} ({least:.2f}–{largest:.2f})"


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(LatentsConfig)
    lines = measure(config)
    write_table(config.output, lines)
    for name in config.models:
        spread = next(x["spread"] for x in lines if x["model"] == name)
        print(f"{name}: actions differ over latents by {spread} in each dimension")
    print(f"\n{as_markdown(lines)}\n\nsee {config.output}")


if __name__ == "__main__":
    flags.define(LatentsConfig)
    entry.run(main)
