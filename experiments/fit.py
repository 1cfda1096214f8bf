"""Trains priors on a dataset and says how likely they find the actions of held-out episodes.

    python -m experiments.fit --data=data/cube
    python -m experiments.fit --data=data/cube --priors=real_nvp --flow.couplings=8 --seed=1

No environment is needed: the dataset says what was observed. Results are in the workdir's
`summary.json`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import jax

from behavior_priors.config import flags
from behavior_priors.config.ranges import Seed
from behavior_priors.data.dataset import observation_spec_from_data
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.keys import named_key
from behavior_priors.networks import count_parameters
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
from behavior_priors.programs import entry
from behavior_priors.programs.progress import Stopwatch, format_seconds
from behavior_priors.runs.run import RunConfig, check_run_config
from behavior_priors.runs.workdir import default_workdir, open_workdir, write_summary
from behavior_priors.training.fit import FitConfig, make_fit
from behavior_priors.types import ActionSpec, ObservationSpec, Prior, UserError
from experiments.stages import load_for_fit, train_prior

PRIORS = ("real_nvp", "gaussian")


@dataclass(frozen=True)
class FitProgramConfig:
    """The program's flags.

    Attributes:
      data: folder of a dataset.
      priors: what to train, of real_nvp and gaussian.
      seed: of everything random.
      workdir: folder of the run; none for runs/fit/PRESET/seedN.
      flow: the real-NVP.
      gaussian: the Gaussian.
      fit: the training, the same for each.
      run: what is written, and when.
    """

    data: str
    priors: tuple[str, ...] = PRIORS
    seed: Seed = 0
    workdir: str | None = None
    flow: RealNVPConfig = field(default_factory=lambda: RealNVPConfig(squash=True))
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    fit: FitConfig = field(default_factory=lambda: FitConfig(keep="best"))
    run: RunConfig = field(default_factory=RunConfig)


def observation_spec_of(reader: EpisodeReader) -> ObservationSpec:
    """The dataset's arrays, with the statistics of its first episodes as their typical values.

    Raises:
      UserError: it has no episode.
    """
    if not reader.num_episodes:
        raise UserError(f"--data={reader.directory}: has no episode; give a dataset that has some")
    return observation_spec_from_data(reader.read(slice(0, 64)).observation, minimum_scale=1e-3)


def make_prior(name: str, config: FitProgramConfig, spec: ObservationSpec, size: int) -> Prior:
    """The prior of that name, for actions in [-1, 1].

    Raises:
      UserError: its config does not fit the dataset or itself.
    """
    if name == "real_nvp":
        with flags.naming("flow", config.flow):
            return make_real_nvp(config.flow, spec, ActionSpec(size))
    with flags.naming("gaussian", config.gaussian):
        return make_gaussian(config.gaussian, spec, ActionSpec(size))


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(FitProgramConfig)
    if not config.priors or not set(config.priors) <= set(PRIORS):
        raise UserError(f"--priors={','.join(config.priors)}: use some of: {', '.join(PRIORS)}")
    with flags.naming("run", config.run):
        check_run_config(config.run)
    reader = EpisodeReader(config.data)
    spec = observation_spec_of(reader)
    size = reader.metadata.action_size
    priors = {name: make_prior(name, config, spec, size) for name in config.priors}
    with flags.naming("fit", config.fit):
        for prior in priors.values():
            make_fit(prior, config.fit)
    data = load_for_fit(
        spec, ActionSpec(size), reader, (), config.fit.validation_fraction, config.seed
    )
    workdir = open_workdir(
        config.workdir or default_workdir("fit", flags.preset(), config.seed),
        experiment="fit",
        flags_text=flags.to_text(config),
        may_differ=("workdir",),
    )
    watch = Stopwatch()
    results: dict[str, float] = {}
    for name, prior in priors.items():
        with watch.span(name):
            _, facts = train_prior(
                prior,
                workdir / name,
                config.fit,
                data,
                named_key(config.seed, "fit", name),
                run=config.run,
                all_flags=dataclasses.asdict(config),
            )
        facts = {key.removeprefix("prior/"): value for key, value in facts.items()}
        facts["parameters"] = count_parameters(jax.eval_shape(prior.init, jax.random.key(0)))
        results |= {f"{name}/{key}": value for key, value in facts.items()}
        print(
            f"{name}: {facts['validation_nll']:.4g} nats an action on held-out episodes, "
            f"{config.fit.keep} after {facts['kept_step']} updates; {facts['parameters']} "
            "parameters",
            flush=True,
        )
    results |= {f"wall_seconds/{name}": x for name, x in watch.seconds().items()}
    path = write_summary(workdir, results, seed=config.seed, engine="none")
    print(f"done in {format_seconds(sum(watch.seconds().values()))}; see {path}", flush=True)


if __name__ == "__main__":
    flags.define(FitProgramConfig)
    entry.run(main)
