"""Trains priors on a dataset and says how likely they find the actions of held-out episodes.

    python -m experiments.fit --data=data/cube
    python -m experiments.fit --data=data/cube --priors=real_nvp --real_nvp.couplings=8 --seed=1
    python -m experiments.fit --data=data/cube --priors=my_package.my_module:my_prior --help

No environment is needed: the dataset says what was observed. Each prior has flags of its own, which
begin with its name. Results are in the workdir's `summary.json`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from behavior_priors.config import flags
from behavior_priors.config.flag_file import expand
from behavior_priors.config.ranges import Seed
from behavior_priors.config.sections import peek, with_sections
from behavior_priors.data.dataset import observation_spec_from_data
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.errors import UserError
from behavior_priors.keys import named_key
from behavior_priors.methods.demonstrations import read_all
from behavior_priors.methods.models import as_one, load_for_fit
from behavior_priors.networks import count_parameters
from behavior_priors.priors.model import Model
from behavior_priors.priors.real_nvp import RealNVPConfig
from behavior_priors.priors.registry import MODELS, find_model
from behavior_priors.priors.spline import SplineConfig
from behavior_priors.programs import entry
from behavior_priors.programs.progress import Stopwatch, format_seconds
from behavior_priors.runs.run import RunConfig, check_run_config, run_fit
from behavior_priors.runs.workdir import default_workdir, open_workdir, write_summary
from behavior_priors.system.own_modules import part_name
from behavior_priors.training.fit import FitConfig, make_fit
from behavior_priors.types import ActionSpec, ObservationSpec, Prior

PRIORS = ("real_nvp", "gaussian")
"""What is compared by default."""

DEFAULTS: Mapping[str, Any] = {
    "real_nvp": RealNVPConfig(squash=True),
    "spline": SplineConfig(squash=True),
}
"""Of priors that by default are for another use."""


@dataclass(frozen=True)
class FitProgramConfig:
    """The program's flags, besides those of each prior.

    Attributes:
      data: folder of a dataset, or of several that are learned from as if they were one.
      priors: what to train: real_nvp, spline, gaussian, mixture, conditional_vae, flow_matching, or
        MODULE:NAME for one of yours.
      seed: of everything random.
      workdir: folder of the run; none for runs/fit/PRESET/seedN.
      fit: the training, the same for each.
      run: what is written, and when.
    """

    data: tuple[str, ...]
    priors: tuple[str, ...] = PRIORS
    seed: Seed = 0
    workdir: str | None = None
    fit: FitConfig = field(default_factory=lambda: FitConfig(keep="best"))
    run: RunConfig = field(default_factory=RunConfig)


def models_of(config: FitProgramConfig) -> dict[str, Model]:
    """The models that are asked for, by the name that their flags begin with.

    Raises:
      UserError: there is none, an unknown one, or two of a name.
    """
    models = {part_name(n): find_model(n, flag="priors") for n in config.priors}
    if not models or len(models) < len(config.priors):
        raise UserError(
            f"--priors={','.join(config.priors)} names none, or two that are called alike; use "
            f"some of: {', '.join(MODELS)}"
        )
    return models


def config_class(config: FitProgramConfig) -> type[FitProgramConfig]:
    """The flags of a run that trains these priors."""
    parts = {name: DEFAULTS.get(name, x.config) for name, x in models_of(config).items()}
    return with_sections(FitProgramConfig, parts)


def observation_spec_of(reader: EpisodeReader) -> ObservationSpec:
    """The dataset's arrays, with the statistics of its first episodes as their typical values.

    Raises:
      UserError: it has no episode.
    """
    if not reader.num_episodes:
        raise UserError(f"--data={reader.directory}: has no episode; give a dataset that has some")
    return observation_spec_from_data(reader.read(slice(0, 64)).observation, minimum_scale=1e-3)


def make_prior(name: str, config: Any, model: Model, spec: ObservationSpec, size: int) -> Prior:
    """A prior, for actions in [-1, 1].

    Raises:
      UserError: its config does not fit the dataset or itself, or it is no prior over actions.
    """
    own = getattr(config, name)
    with flags.naming(name, own):
        prior = model.make(own, spec, ActionSpec(size))
    if not isinstance(prior, Prior):
        raise UserError(f"--priors={name} is no prior over single actions; leave it out")
    return prior


def declare(argv: Sequence[str]) -> Sequence[str]:
    """Declares the flags of a command line, and returns it with those names that flags have now."""
    said = [line for line, _ in expand(argv[1:])]
    argv = [argv[0], *(re.sub(r"^--?flow\.", "--real_nvp.", text) for text in said)]
    flags.define(config_class(peek(FitProgramConfig, argv)))
    return argv


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(FitProgramConfig)
    models = models_of(config)
    config = flags.read(config_class(config))
    with flags.naming("run", config.run):
        check_run_config(config.run)
    readers = read_all(config.data)
    spec = observation_spec_of(readers[0])
    size = readers[0].metadata.action_size
    priors = {n: make_prior(n, config, model, spec, size) for n, model in models.items()}
    with flags.naming("fit", config.fit):
        for prior in priors.values():
            make_fit(prior, config.fit)
    fraction = config.fit.validation_fraction
    data = as_one(
        [load_for_fit(spec, ActionSpec(size), x, (), fraction, config.seed) for x in readers]
    )
    workdir = open_workdir(
        config.workdir or default_workdir("fit", flags.preset(), config.seed),
        experiment="fit",
        flags_text=flags.to_text(config),
        may_differ=("workdir",),
    )
    watch = Stopwatch()
    results: dict[str, float] = {"data/episodes": sum(x.num_episodes for x in readers)}
    for name, prior in priors.items():
        with watch.span(name):
            state = run_fit(
                workdir / name,
                prior,
                config.fit,
                lambda: data,
                named_key(config.seed, "fit", name),
                run=config.run,
                flags=dataclasses.asdict(config),
            )
        likely = "validation_nll" if prior.log_prob is not None else "validation_loss"
        facts: dict[str, Any] = {
            likely: float(state.best_loss),
            "kept_step": int(state.best_step),
            "parameters": count_parameters(jax.eval_shape(prior.init, jax.random.key(0))),
        }
        results |= {f"{name}/{key}": value for key, value in facts.items()}
        loss = (
            f"{facts[likely]:.4g} nats an action"
            if prior.log_prob is not None
            else f"validation loss {facts[likely]:.4g}"
        )
        print(
            f"{name}: {loss} on held-out episodes, {config.fit.keep} after {facts['kept_step']} "
            f"updates; {facts['parameters']} parameters",
            flush=True,
        )
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    path = write_summary(workdir, results, seed=config.seed, engine="none")
    print(f"done in {format_seconds(sum(watch.seconds().values()))}; see {path}", flush=True)


if __name__ == "__main__":
    entry.run(main, declare)
