"""Densities over actions side by side, as runs have learned them: likelihood, speed, way back.

    python -m benchmarks.density --workdirs='runs/sweep/density/*/*/seed*' --data=data/density

Runs are those of `experiments.run` or `experiments.parrot` that act through one model of single
actions. Runs of the same model are one line, with the range over its runs. Held out are the
episodes that each run has held out.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count, Positive
from behavior_priors.data.dataset import Windows
from behavior_priors.errors import UserError
from behavior_priors.methods.demonstrations import read_all
from behavior_priors.methods.models import Stage, load_data, seen_by
from behavior_priors.methods.others import read_experiment, restore_model, stage_of
from behavior_priors.methods.settings import chosen_methods
from behavior_priors.methods.tasks import task_env
from behavior_priors.networks import count_parameters
from behavior_priors.programs import entry
from behavior_priors.reports.tables import read_run
from behavior_priors.types import Array, Params, Prior
from benchmarks.harness import Plan, race, write_table
from experiments.report import find_workdirs

MANY = 1024
"""Observations of a call that samples for many."""

HELD_OUT = 4096
"""Held-out actions that are looked at, at most, in one call and in all where it goes back."""


@dataclass(frozen=True)
class DensityConfig:
    """The program's flags.

    Attributes:
      workdirs: of the runs, or patterns of them.
      data: the dataset of the runs, or several; none for the one that each has collected.
      output: CSV file of the table, a line for each model.
      rounds: how often each model has its turn.
      seconds: about how long a turn lasts.
    """

    workdirs: tuple[str, ...]
    data: tuple[str, ...] = ()
    output: str = "runs/density.csv"
    rounds: Count = 6
    seconds: Positive = 0.2


class Learned(NamedTuple):
    """A model of a run, and what of its data it has not seen.

    Attributes:
      name: of the model.
      method: that acts through it.
      env: the task.
      stage: the model and what it looks like.
      params: those that were kept.
      held_out: observations and actions, `[N, ...]`.
      summary: the run's results.
    """

    name: str
    method: str
    env: str
    stage: Stage
    params: Params
    held_out: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def prior(self) -> Prior:
        assert isinstance(self.stage.model, Prior)
        return self.stage.model


def read_learned(workdir: Path, data: Sequence[str]) -> Learned:
    """The model that a run acts through.

    Args:
      workdir: of the run.
      data: folders of its dataset; empty for the one that it has collected.

    Raises:
      UserError: there is none, not one of single actions, the run is not complete or has not what
        the table wants, or the dataset is not the one that it learned from.
    """
    run = read_run(workdir)
    if run.summary is None:
        raise UserError(f"{workdir} is not complete; the same command that began it goes on")
    config = read_experiment(workdir, f"--workdirs={workdir}", ())
    methods = list(chosen_methods(config))
    if len(methods) != 1:
        raise UserError(f"{workdir} has {', '.join(methods)}; give runs of one method each")
    env = task_env(config)
    stage = stage_of("through", str(workdir), env)
    if not isinstance(stage.model, Prior):
        raise UserError(f"{workdir} acts through {stage.name}, which is no prior of single actions")
    summary, method = run.summary, methods[0]
    for name, flag in (("prior", "report"), (method, "eval")):
        if success_of(summary, name) is None:
            raise UserError(
                f"{workdir} has no success of {name}; give runs of a task that measures success, "
                f"with --{flag}_episodes"
            )
    readers = read_all(data or (str(workdir / "data"),))
    episodes = sum(x.num_episodes for x in readers)
    if episodes != summary.get("data/episodes"):
        raise UserError(
            f"{workdir} has learned from {summary.get('data/episodes')} episodes, of which others "
            f"would be held out than of these {episodes}; give its own dataset as --data"
        )
    held_out = load_data(stage, seen_by(env, stage.config), readers, config.seed)[1]
    assert not isinstance(held_out, Windows)  # which are of models of several actions
    params = restore_model(stage, workdir).params
    return Learned(stage.name, method, env.name, stage, params, held_out, summary)


def log_likelihood(learned: Learned) -> float | None:
    """The mean log-density of held-out actions, nats; None for a model that has none."""
    prior, params = learned.prior, learned.params
    log_prob = prior.log_prob
    if log_prob is None:
        return None

    @jax.jit
    def summed(part: Mapping[str, Any]) -> Array:
        features = prior.encode(params, part["observation"])
        return log_prob(params, part["action"], features).sum()

    size = len(learned.held_out["action"])
    parts = (
        jax.tree.map(lambda x, at=at: x[at : at + HELD_OUT], learned.held_out)
        for at in range(0, size, HELD_OUT)
    )
    return float(np.sum([summed(part) for part in parts], dtype=np.float64) / size)


def way_back(learned: Learned) -> tuple[float, float] | None:
    """Root mean square and largest error of held-out actions, inverted and decoded again.

    None for a model that cannot be inverted.
    """
    prior, params = learned.prior, learned.params
    invert = prior.invert
    if invert is None:
        return None
    part = jax.tree.map(lambda x: x[:HELD_OUT], learned.held_out)

    @jax.jit
    def error(part: Mapping[str, Any]) -> Array:
        features = prior.encode(params, part["observation"])
        latent = invert(params, part["action"], features)
        return prior.decode(params, latent, features) - part["action"]

    found = np.asarray(error(part), np.float64)
    return float(np.sqrt(np.square(found).mean())), float(np.abs(found).max())


def sampler(learned: Learned, batch: int) -> Callable[[], None]:
    """A call that decodes as many latents, each for an observation of its own."""
    prior, params = learned.prior, learned.params
    rows = np.arange(batch) % len(learned.held_out["action"])
    observation = jax.tree.map(lambda x: x[rows], learned.held_out["observation"])
    latent = jax.random.normal(jax.random.key(0), (batch, prior.latent_size))

    @jax.jit
    def decode(params: Any, latent: Array, observation: Any) -> Array:
        return prior.decode(params, latent, prior.encode(params, observation))

    def call() -> None:
        jax.block_until_ready(decode(params, latent, observation))

    return call


def line(runs: Sequence[Learned], one: Sequence[float], many: Sequence[float]) -> dict[str, Any]:
    """A model's line of the table.

    Args:
      runs: of the model.
      one: seconds of a call for one observation, round by round.
      many: likewise for `MANY`.
    """
    shapes = jax.eval_shape(runs[0].prior.init, jax.random.key(0))
    back = [x for x in map(way_back, runs) if x is not None]
    return {
        "model": runs[0].name,
        "runs": len(runs),
        "parameters": count_parameters(shapes),
        **_spread("log_likelihood", [log_likelihood(x) for x in runs]),
        "one_action_us": statistics.median(one) * 1e6,
        "actions_per_second": MANY / statistics.median(many),
        "inversion_rms": max((x for x, _ in back), default=None),
        "inversion_largest": max((x for _, x in back), default=None),
        **_spread("prior_success_rate", [success_of(x.summary, "prior") for x in runs]),
        **_spread("success_rate", [success_of(x.summary, x.method) for x in runs]),
    }


def success_of(summary: Mapping[str, Any], name: str) -> float | None:
    """The share of episodes that end in success, which reports call by the task's name; or None."""
    pattern = rf"{re.escape(name)}/(?!ever_|interaction)[^/]*_rate"
    return next((x for key, x in summary.items() if re.fullmatch(pattern, key)), None)


def _spread(name: str, values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean, least and largest of those that there are."""
    found = [x for x in values if x is not None]
    if not found:
        return {name: None, f"{name}_least": None, f"{name}_largest": None}
    return {
        name: statistics.fmean(found),
        f"{name}_least": min(found),
        f"{name}_largest": max(found),
    }


def as_markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """The table as documents have it."""
    head = (
        "model",
        "parameters",
        "log-likelihood, nats",
        "one action, µs",
        "actions/s",
        "there and back, rms (largest)",
        "random actions succeed",
        "success after learning",
    )
    rows = [head, tuple("---" for _ in head)]
    for x in lines:
        back = "" if x["inversion_rms"] is None else _back(x)
        rows.append(
            (
                f"`{x['model']}`",
                str(x["parameters"]),
                _range(x, "log_likelihood"),
                f"{x['one_action_us']:.0f}",
                f"{x['actions_per_second']:.3g}",
                back,
                _range(x, "prior_success_rate"),
                _range(x, "success_rate"),
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _back(x: Mapping[str, Any]) -> str:
    return f"{x['inversion_rms']:.1e} ({x['inversion_largest']:.1e})"


def _range(x: Mapping[str, Any], name: str) -> str:
    if x[name] is None:
        return ""
    return f"{x[name]:.2f} ({x[f'{name}_least']:.2f} to {x[f'{name}_largest']:.2f})"


def add(learned: dict[str, list[Learned]], workdir: Path, x: Learned) -> None:
    """Adds a run to those of the same density.

    Raises:
      UserError: theirs looks otherwise, or they learned another task.
    """
    runs = learned.setdefault(x.name, [])
    if runs and (x.env, x.stage.config) != (runs[0].env, runs[0].stage.config):
        raise UserError(f"{workdir} has another {x.name} or task than those before; leave it out")
    runs.append(x)


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(DensityConfig)
    learned: dict[str, list[Learned]] = {}
    for workdir in find_workdirs(config.workdirs):
        x = read_learned(workdir, config.data)
        print(f"{workdir}: {x.name}", flush=True)
        add(learned, workdir, x)
    plan = Plan(config.rounds, config.seconds)
    one, many = (
        race({name: sampler(runs[0], batch) for name, runs in learned.items()}, plan)
        for batch in (1, MANY)
    )
    lines = [line(runs, one[name], many[name]) for name, runs in learned.items()]
    write_table(config.output, lines)
    print(f"\n{as_markdown(lines)}\n\nsee {config.output}")


if __name__ == "__main__":
    flags.define(DensityConfig)
    entry.run(main)
