"""Runs that survive being killed: each stage saves itself and goes on from what it finds.

One that SIGTERM asks to end saves itself first, at the end of the epoch under way.

A stage lives in a folder of its own with `metrics.jsonl` and `checkpoints/`. What came after the
last checkpoint is computed again, identically.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
from absl import logging

from behavior_priors.config.checks import check_ranges
from behavior_priors.config.ranges import Count, CountOrZero, Episodes
from behavior_priors.errors import UserError
from behavior_priors.evaluation.evaluate import EvaluateFn
from behavior_priors.programs.heartbeat import heartbeat
from behavior_priors.programs.progress import Progress, Stopwatch
from behavior_priors.runs.metrics import (
    JsonlWriter,
    MetricWriter,
    MultiWriter,
    TensorBoardWriter,
    WandbWriter,
    read_jsonl,
)
from behavior_priors.runs.stage import Stage, open_stage
from behavior_priors.training.experience import (
    AnyRunState,
    RunState,
    drop_zeros,
    explain_diverged,
)
from behavior_priors.training.finite import find_culprit, non_finite
from behavior_priors.training.fit import Data, FitConfig, FitState, Trainable, fit, make_fit
from behavior_priors.training.loop import Loop
from behavior_priors.types import PRNGKey


@dataclass(frozen=True)
class RecordConfig:
    """What a run writes, and when.

    Attributes:
      checkpoint_every: epochs between two checkpoints of a learner.
      eval_every: epochs between two evaluations on the way; 0 for none.
      tensorboard: write TensorBoard files beside metrics.jsonl.
      wandb_project: also log to this Weights & Biases project; none for no.
    """

    checkpoint_every: Count = 4
    eval_every: CountOrZero = 2
    tensorboard: bool = False
    wandb_project: str | None = None


@dataclass(frozen=True)
class RunConfig(RecordConfig):
    """The same of a run that learns one task.

    Attributes:
      eval_episodes: episodes of an evaluation on the way.
    """

    eval_episodes: Episodes = 100


GROWING = "replay.data"
"""Part of a loop's state that is larger in a longer run; `Loop.resume` makes it so."""


class Schedule(Protocol):
    """What is asked of the config of a training loop."""

    @property
    def steps(self) -> int: ...
    @property
    def epoch_steps(self) -> int: ...
    @property
    def warmup_steps(self) -> int: ...


def check_run_config(config: RecordConfig) -> None:
    """Refuses values outside their range.

    Raises:
      UserError: there is one.
    """
    check_ranges(config)


def open_writers(
    folder: Path, config: RecordConfig, last_step: int | None, flags: Mapping[str, Any]
) -> MetricWriter:
    """The writers that a config asks for; rows after `last_step` are dropped.

    TensorBoard is shown the rows from before it was asked for.
    """
    writers: list[MetricWriter] = [JsonlWriter(folder / "metrics.jsonl", last_step=last_step)]
    if config.tensorboard:
        events = folder / "tensorboard"
        before = [] if events.exists() else read_jsonl(folder / "metrics.jsonl")
        writers.append(TensorBoardWriter(events, last_step=last_step))
        for row in before:
            writers[-1].write(row.pop("step"), {n: x for n, x in row.items() if x is not None})
    if config.wandb_project is not None:
        writers.append(WandbWriter(folder, project=config.wandb_project, config=flags))
    return MultiWriter(writers)


def run_fit(
    folder: Path,
    prior: Trainable,
    config: FitConfig,
    load: Callable[[], tuple[Data, Data]],
    key: PRNGKey,
    *,
    run: RecordConfig,
    flags: Mapping[str, Any],
) -> FitState:
    """Trains a prior in a folder, from where an earlier process left it.

    Args:
      folder: of this stage.
      prior: what learns.
      config: of its training.
      load: gives what it learns from and what it is judged by; not called where all is learned.
      key: consumed.
      run: what to write.
      flags: for wandb.

    Raises:
      UserError: training became non-finite, or the folder holds something else.
    """
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(open_stage(folder))
        target = jax.eval_shape(make_fit(prior, config).init, key)
        restored = stage.checkpoints.restore_latest(target)
        step = restored.step if restored else 0
        if restored is not None and step == config.steps:
            return restored.state
        train, validation = load()
        writer = open_writers(folder, run, step if restored else None, flags)
        stack.enter_context(contextlib.closing(writer))
        progress = Progress(folder.name, config.steps, start=step, unit="updates")
        stack.enter_context(contextlib.closing(progress))

        def on_epoch(state: FitState, metrics: dict[str, float]) -> None:
            at = int(state.step)
            if broken := non_finite(state):
                raise UserError(
                    f"training of the {prior.name} prior: {next(iter(broken))} is not finite after "
                    f"{at} steps; a lower learning_rate or a gradient_clip helps ({stage.kept()})"
                )
            writer.write(at, metrics)
            headline = {"validation loss": metrics["validation/loss"]}
            if config.keep != "last":
                headline["best"] = float(state.best_loss)
            progress.update(at, headline)
            stage.save(at, state)

        return fit(
            prior,
            config,
            train,
            validation,
            key,
            initial_state=restored.state if restored else None,
            on_epoch=on_epoch,
        )


def run_loop(
    folder: Path,
    label: str,
    loop: Loop[AnyRunState],
    config: Schedule,
    evaluate: EvaluateFn,
    key: PRNGKey,
    *,
    run: RecordConfig,
    stopwatch: Stopwatch,
    flags: Mapping[str, Any],
) -> AnyRunState:
    """Trains a learner in a folder, from where an earlier process left it.

    Args:
      folder: of this stage.
      label: names it in the progress.
      loop: what to run.
      config: that it was made with.
      evaluate: of a policy, on the way.
      key: consumed by a fresh start.
      run: what to write, and when.
      stopwatch: counts `train` and `evaluate`.
      flags: for wandb.

    Returns:
      The final state.

    Raises:
      UserError: training became non-finite (the last good checkpoint is kept), or the folder holds
        something else.
    """
    check_run_config(run)
    init_key, eval_key = jax.random.split(key)
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(open_stage(folder, run.checkpoint_every))
        target = jax.eval_shape(loop.init, init_key)
        restored = stage.checkpoints.restore_latest(target, growing=GROWING)
        if restored is not None:
            state = loop.resume(restored.state)
            stopwatch.restore(restored.metadata.get("seconds", {}))
        else:
            state = jax.jit(loop.init)(init_key)
        step, is_told = int(state.steps), False
        writer = open_writers(folder, run, step if restored else None, flags)
        stack.enter_context(contextlib.closing(writer))
        progress = Progress(label, config.steps, start=step)
        stack.enter_context(contextlib.closing(progress))
        while step < config.steps:
            before = step
            # an epoch may take minutes, the first one compiles
            with stopwatch.span("train"), heartbeat(label, f"after step {before}"):
                state, device_metrics = loop.run_epoch(state)
                metrics = drop_zeros(_to_host(device_metrics))
            if (line := explain_diverged(loop.environment, metrics)) is not None:
                if "diverged/all" in metrics:
                    raise UserError(f"{label}: {line}; nothing is left to learn from")
                if not is_told:
                    logging.warning("%s: %s (episode/diverged counts them)", label, line)
                    is_told = True
            step = int(state.steps)
            epoch = step // config.epoch_steps
            is_learning, is_last = step > config.warmup_steps, step == config.steps
            when = f"between steps {before} and {step}"
            if is_learning:
                _check_learner(label, metrics, state, when, loop.environment, stage)
            if run.eval_every and (epoch % run.eval_every == 0 or is_last):
                with stopwatch.span("evaluate"), heartbeat(label, f"evaluating at step {step}"):
                    result = evaluate(state.learner.policy, jax.random.fold_in(eval_key, step))
                    metrics |= {f"eval/{name}": x for name, x in _to_host(result).items()}
            is_due = stage.is_due(epoch) or is_last
            if is_due:
                _check_whole(label, state, when, loop.environment, stage)
            writer.write(step, metrics)
            headline = _headline(metrics)
            updates = loop.updates_per_epoch if is_learning else 0
            progress.update(step, headline, updates=updates)
            if is_due:
                stage.save(step, state, {"seconds": stopwatch.seconds()})
    loop.release(state)
    return state


def _headline(metrics: Mapping[str, float]) -> dict[str, float]:
    """Success where it is measured, else the return."""
    exploring = "success" if "episode/success" in metrics else "return"
    evaluated = "success_rate" if "eval/success_rate" in metrics else "return_mean"
    named = {"exploring": f"episode/{exploring}", "evaluated": f"eval/{evaluated}"}
    return {
        label: metrics[name]
        for label, name in named.items()
        if math.isfinite(metrics.get(name, math.nan))
    }


def _to_host(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(x) for name, x in jax.device_get(dict(metrics)).items()}


def _check_learner(
    label: str,
    metrics: Mapping[str, float],
    state: RunState,
    when: str,
    environment: str,
    stage: Stage,
) -> None:
    """The learner's metrics are numbers, and so is its state.

    The metrics are those of the losses before each update, so the last update of an epoch could
    otherwise break a state that is then saved.
    """
    for name, value in metrics.items():
        if name.startswith("train/") and not math.isfinite(value):
            _check_whole(label, state, when, environment, stage, found=f"{name} became {value}")
    if non_finite(state.learner):
        _check_whole(label, state, when, environment, stage)


def _check_whole(
    label: str, state: RunState, when: str, environment: str, stage: Stage, found: str | None = None
) -> None:
    """All of the state is numbers, so that what is saved can be gone on from.

    A learner that is `found` to be non-finite may have learned from what was none.
    """
    broken = non_finite(state)
    if culprit := find_culprit(broken, environment):
        raise UserError(f"{label}: {culprit}, {when} ({stage.kept()})")
    if broken and found is None:
        name, leaf = next(iter(broken.items()))
        found = f"{name} became {float(leaf) if leaf.ndim == 0 else 'non-finite'}"
    if found is not None:
        raise UserError(f"{label}: {found} {when}; lower the learning rates ({stage.kept()})")
