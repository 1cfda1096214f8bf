"""Trains any prior by its own loss, and keeps parameters that did well on held-out data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from behavior_priors.config.checks import check_precision, check_ranges, check_rules
from behavior_priors.config.ranges import Count, InnerShare, LearningRate, Limit, SideBySide, Weight
from behavior_priors.data.dataset import Windows
from behavior_priors.errors import UserError
from behavior_priors.keys import named_key
from behavior_priors.types import (
    STATISTICS,
    Array,
    InitFn,
    Metrics,
    Params,
    PriorLossFn,
    PRNGKey,
    StatisticsFn,
)

VALIDATION_CHUNK = 4096
"""Validation examples evaluated at once."""

Data = Mapping[str, Any] | Windows
"""`{"observation": {name: [examples, ...]}, "action": [examples, size]}`, or pieces of episodes for
what learns from sequences; on the device."""


class Trainable(Protocol):
    """What can be fitted: a prior, or a skill model."""

    @property
    def name(self) -> str: ...
    @property
    def action_size(self) -> int: ...
    @property
    def init(self) -> InitFn: ...
    @property
    def loss(self) -> PriorLossFn: ...
    @property
    def statistics(self) -> StatisticsFn | None: ...


@dataclass(frozen=True)
class FitConfig:
    """How a prior is trained.

    Attributes:
      steps: gradient steps in all, a multiple of steps_per_epoch.
      steps_per_epoch: gradient steps between two looks at the validation data.
      batch_size: examples per gradient step, drawn with replacement.
      learning_rate: of Adam (the PARROT paper trains with 1e-4).
      learning_rate_schedule: constant, or cosine for a decay to zero over all steps.
      weight_decay: decoupled from the gradient, as in AdamW.
      gradient_clip: largest global norm of a gradient; None for no limit.
      validation_fraction: share of the episodes that is held out when the data is split.
      keep: late for the parameters with the lowest validation loss among the epochs that end in the
        second half: a flow knows few demonstrations by heart after some hundred steps, and its
        actions go on getting better; best for the lowest loss of all epochs, where likelihoods are
        what counts; last for the latest, where the loss of different epochs does not compare, as
        that of a skill model: its prior's part grows while skills become more precise.
    """

    steps: Count = 10_000
    steps_per_epoch: Count = 500
    batch_size: SideBySide = 256
    learning_rate: LearningRate = 1e-3
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: Weight = 0.0
    gradient_clip: Limit | None = None
    validation_fraction: InnerShare = 0.1
    keep: Literal["late", "best", "last"] = "late"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FitState:
    """Everything that training goes on from.

    Attributes:
      params: of the prior, after the latest step.
      opt_state: of the optimiser.
      best_params: the parameters with the lowest validation loss so far, at the end of one of the
        epochs that `FitConfig.keep` chooses from; or the latest.
      best_loss: `[]`, their validation loss; infinite before the first epoch.
      best_step: `[]` int32, the step after which they were seen.
      step: `[]` int32, gradient steps taken.
      key: source of the batches and of the loss's noise.
    """

    params: Params
    opt_state: optax.OptState
    best_params: Params
    best_loss: Array
    best_step: Array
    step: Array
    key: PRNGKey


class Fit(NamedTuple):
    """A training run in two jitted functions.

    `init` makes a state from a key, which is consumed. `run_epoch(state, train, validation)` is one
    program without callbacks and a pure function of its arguments, so a run that goes on from a
    saved state ends like one that was never interrupted, bit for bit. Its metrics are those of the
    prior's loss, and `loss` itself, as `train/...` (means over the epoch's batches) and
    `validation/...` (means over all validation data).
    """

    init: Callable[[PRNGKey], FitState]
    run_epoch: Callable[[FitState, Data, Data], tuple[FitState, Metrics]]


def make_fit(prior: Trainable, config: FitConfig) -> Fit:
    """Returns the functions that train `prior`.

    Raises:
      UserError: the config does not fit itself, or JAX's 64-bit mode is on.
    """
    check_precision()
    _check_config(config)
    learning_rate: optax.ScalarOrSchedule = config.learning_rate
    if config.learning_rate_schedule == "cosine":
        learning_rate = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    optimizer = optax.adamw(learning_rate, weight_decay=config.weight_decay)
    if config.gradient_clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(config.gradient_clip), optimizer)

    @jax.jit
    def init(key: PRNGKey) -> FitState:
        params_key, key = jax.random.split(key)
        params = prior.init(params_key)
        return FitState(
            params=params,
            opt_state=optimizer.init(params),
            best_params=params,
            best_loss=jnp.float32(jnp.inf),
            best_step=jnp.int32(0),
            step=jnp.int32(0),
            key=key,
        )

    def update(state: FitState, train_data: Data) -> tuple[FitState, Metrics]:
        key, batch_key, loss_key = jax.random.split(state.key, 3)
        rows = jax.random.randint(batch_key, (config.batch_size,), 0, _examples(train_data))
        batch = _take(train_data, rows)
        (loss, metrics), gradient = jax.value_and_grad(prior.loss, has_aux=True)(
            state.params, batch, loss_key, state.step
        )
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if prior.statistics is not None:
            params = {**params, STATISTICS: prior.statistics(state.params, batch, loss_key)}
        state = replace(
            state,
            params=params,
            opt_state=opt_state,
            step=state.step + 1,
            key=key,
        )
        return state, {"loss": loss, **metrics}

    @jax.jit
    def run_epoch(
        state: FitState, train_data: Data, validation_data: Data
    ) -> tuple[FitState, Metrics]:
        state, train_metrics = jax.lax.scan(
            lambda s, _: update(s, train_data), state, length=config.steps_per_epoch
        )
        train_metrics = jax.tree.map(jnp.mean, train_metrics)
        validation_metrics = _evaluate(prior, state.params, validation_data)
        state = _keep(config, state, validation_metrics["loss"])
        return state, {
            **{f"train/{name}": x for name, x in train_metrics.items()},
            **{f"validation/{name}": x for name, x in validation_metrics.items()},
        }

    return Fit(init, run_epoch)


def _evaluate(prior: Trainable, params: Params, data: Data) -> Metrics:
    """Means over all of `data`, with the same noise at every call so that epochs compare."""
    examples = _examples(data)
    chunk = min(examples, VALIDATION_CHUNK)
    chunks, rest = divmod(examples, chunk)
    keys = jax.random.split(named_key(0, "validation", prior.name), chunks + 1)

    def evaluate(rows_and_key: tuple[Array, PRNGKey]) -> Metrics:
        rows, key = rows_and_key
        loss, metrics = prior.loss(params, _take(data, rows), key, None)
        return {"loss": loss, **metrics}

    rows = jnp.arange(examples)
    whole = rows[: chunks * chunk].reshape(chunks, chunk)
    means = jax.tree.map(jnp.mean, jax.lax.map(evaluate, (whole, keys[:-1])))
    if not rest:
        return means
    rest_means = evaluate((rows[-rest:], keys[-1]))
    share = rest / examples
    return jax.tree.map(lambda mean, other: (1 - share) * mean + share * other, means, rest_means)


def _keep(config: FitConfig, state: FitState, loss: Array) -> FitState:
    """Takes the current parameters as the best if `loss` is finite and the config says so."""
    # the first epoch that ends in the second half is taken whatever was before
    late = config.steps // 2 + config.steps_per_epoch - 1
    steps_without_choice = {"best": 0, "late": late, "last": config.steps}[config.keep]
    is_lowest = loss < state.best_loss
    is_best = jnp.isfinite(loss) & (is_lowest | (state.step <= steps_without_choice))
    best_params, best_loss, best_step = jax.tree.map(
        lambda new, old: jnp.where(is_best, new, old),
        (state.params, loss, state.step),
        (state.best_params, state.best_loss, state.best_step),
    )
    return replace(state, best_params=best_params, best_loss=best_loss, best_step=best_step)


def fit(
    prior: Trainable,
    config: FitConfig,
    train_data: Data,
    validation_data: Data,
    key: PRNGKey,
    *,
    initial_state: FitState | None = None,
    on_epoch: Callable[[FitState, dict[str, float]], None] | None = None,
) -> FitState:
    """Trains a prior for `config.steps` steps.

    Args:
      prior: what to train.
      config: how.
      train_data: examples to learn from.
      validation_data: examples to choose the best parameters by; from other episodes than
        `train_data`, since neighbouring steps of one episode are almost copies.
      key: consumed; unused with `initial_state`.
      initial_state: a state to go on from.
      on_epoch: called on the host after every epoch with the state and the metrics, all finite.

    Returns:
      The final state; `best_params` are the ones to use.

    Raises:
      UserError: the data does not fit, or a metric is no longer finite; `on_epoch` has then not
        seen the state that is.
    """
    _check_data(prior, train_data, "training")
    _check_data(prior, validation_data, "validation")
    init, run_epoch = make_fit(prior, config)
    state = init(key) if initial_state is None else initial_state
    while (step := int(state.step)) < config.steps:
        state, device_metrics = run_epoch(state, train_data, validation_data)
        metrics = {name: float(x) for name, x in jax.device_get(device_metrics).items()}
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise UserError(
                    f"training of the {prior.name} prior: {name} became {value} between steps "
                    f"{step} and {int(state.step)}; a lower learning_rate or a gradient_clip helps"
                )
        if on_epoch is not None:
            on_epoch(state, metrics)
    return state


def _examples(data: Data) -> int:
    return data.start.shape[0] if isinstance(data, Windows) else data["action"].shape[0]


def _take(data: Data, rows: Array) -> Mapping[str, Any]:
    """The examples of these numbers `[n]`."""
    if isinstance(data, Windows):
        return data.take(rows)
    return jax.tree.map(lambda x: x[rows], data)


def _check_config(config: FitConfig) -> None:
    check_ranges(config)
    is_kept = config.steps % config.steps_per_epoch == 0
    multiple = f"a multiple of steps_per_epoch={config.steps_per_epoch}"
    check_rules(config, {"steps": (is_kept, multiple)})


def _check_data(prior: Trainable, data: Data, name: str) -> None:
    if not _examples(data):
        raise UserError(f"there is no {name} data; at least one example is needed")
    action, observation = (
        (data.action, data.observation)
        if isinstance(data, Windows)
        else (data["action"], data["observation"])
    )
    if action.shape[1:] != (prior.action_size,):
        raise UserError(
            f"actions in the {name} data have shape {action.shape[1:]}, but the {prior.name} prior "
            f"wants ({prior.action_size},)"
        )
    for observation_name, x in observation.items():
        if x.shape[0] != action.shape[0]:
            raise UserError(
                f"{name} data: {x.shape[0]} observations of {observation_name}, but "
                f"{action.shape[0]} actions; there should be one for each"
            )
