"""Behavioural cloning as a stage of an experiment: the policy that BC-SAC starts from.

Singh et al. 2021 compare PARROT with soft actor-critic that starts from a policy cloned from the
same demonstrations, by entropy-regularised maximum likelihood, and goes on in the environment's own
actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from behavior_priors.config import flags
from behavior_priors.config.ranges import InnerShare, ShareBelowOne
from behavior_priors.data.dataset import split_by_episode
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.evaluation.evaluate import make_evaluate
from behavior_priors.keys import named_key
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.priors.gaussian import GaussianConfig, make_gaussian
from behavior_priors.runs.run import RunConfig, run_fit
from behavior_priors.training.fit import Data, FitConfig, make_fit
from behavior_priors.types import Env, Params, Prior
from experiments.stages import evaluation_key, load_for_fit, print_scores


@dataclass(frozen=True)
class CloningConfig:
    """How demonstrations are cloned; the network is the policy of soft actor-critic.

    Attributes:
      entropy_weight: of the entropy bonus, from 0 to below 1; 0.1 widens a Gaussian by 5 %.
      squash_limit: demonstrated actions beyond this share of their bound count as being at it.
      fit: the training.
    """

    entropy_weight: ShareBelowOne = 0.1
    squash_limit: InnerShare = 0.999
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(
            steps=5_000, steps_per_epoch=250, learning_rate=3e-4, keep="best"
        )
    )


class Experiment(Protocol):
    """What is asked of the config of an experiment that has this stage."""

    @property
    def bc(self) -> CloningConfig: ...
    @property
    def sac(self) -> SACConfig: ...
    @property
    def run(self) -> RunConfig: ...
    @property
    def methods(self) -> tuple[str, ...]: ...
    @property
    def data(self) -> str | None: ...
    @property
    def data_episodes(self) -> int: ...
    @property
    def eval_episodes(self) -> int: ...
    @property
    def seed(self) -> int: ...


def is_needed(methods: Sequence[str]) -> bool:
    """Whether any of the methods starts from a cloned policy."""
    return "bc_sac" in methods


def unused_flags(config: Experiment) -> list[str]:
    """Flags of this stage that the methods make no use of: a run is the same with others."""
    if is_needed(config.methods):
        return []
    return [line[2:].partition("=")[0] for line in flags.to_text(config.bc, "bc").splitlines()]


def make_clone(config: Experiment, env: Env) -> Prior:
    """The policy of soft actor-critic as something that can be fitted, untrained."""
    sac = config.sac
    gaussian = GaussianConfig(
        observation=sac.policy_observation,
        widths=sac.policy_widths,
        min_log_std=sac.min_log_std,
        max_log_std=sac.max_log_std,
        std_limit=sac.std_limit,
        mean_bound=sac.mean_bound,
        entropy_weight=config.bc.entropy_weight,
        squash_limit=config.bc.squash_limit,
    )
    return make_gaussian(gaussian, env.observation_spec, env.action_spec)


def load_data(config: Experiment, env: Env, reader: EpisodeReader) -> tuple[Data, Data]:
    """The clone's training and validation data."""
    specs, fraction = (env.observation_spec, env.action_spec), config.bc.fit.validation_fraction
    return load_for_fit(
        *specs, reader, config.sac.policy_observation, fraction, config.seed, env.info
    )


def check_config(config: Experiment, env: Env) -> None:
    """Refuses now what the stage would refuse later, given data included.

    Raises:
      UserError: there is such a thing.
    """
    with flags.naming("bc", config.bc):
        clone = make_clone(config, env)
    with flags.naming("bc.fit", config.bc.fit):
        make_fit(clone, config.bc.fit)
    if config.data is not None:
        load_data(config, env, EpisodeReader(config.data))
    else:
        split_by_episode(config.data_episodes, config.bc.fit.validation_fraction, config.seed)


def clone(
    config: Experiment,
    env: Env,
    reader: EpisodeReader,
    folder: Path,
    all_flags: Mapping[str, Any],
) -> tuple[Params, dict[str, float]]:
    """Fits a policy to demonstrations in a folder, and evaluates it on the task.

    Args:
      config: of the experiment.
      env: the new task.
      reader: the demonstrations, of other tasks.
      folder: of this stage, which goes on from what it finds there.
      all_flags: for wandb.

    Returns:
      The policy's parameters, and its scores as `bc/...`.
    """
    state = run_fit(
        folder,
        make_clone(config, env),
        config.bc.fit,
        *load_data(config, env, reader),
        named_key(config.seed, "fit", "bc"),
        run=config.run,
        flags=all_flags,
    )
    learner = make_sac(config.sac, env.observation_spec, env.action_spec)
    evaluate = make_evaluate(env, learner, config.eval_episodes, stochastic=True)
    metrics = evaluate(state.best_params, evaluation_key(config.seed))
    scores = {n: float(x) for n, x in metrics.items()}
    print_scores("bc", scores, config.eval_episodes)
    scores |= {"validation_loss": float(state.best_loss), "kept_step": int(state.best_step)}
    return state.best_params, {f"bc/{name}": x for name, x in scores.items()}
