"""The axes of the matrix, which are those of the registries, and the command of each cell."""

from __future__ import annotations

import re
from typing import NamedTuple

from absl import flags as absl_flags

from behavior_priors.config import flags
from behavior_priors.errors import UserError
from behavior_priors.learners.registry import LEARNERS, META_LEARNERS
from behavior_priors.methods.method import NONE
from behavior_priors.methods.settings import ExperimentConfig, config_class
from behavior_priors.priors.registry import ENCODERS, MODELS


class Place(NamedTuple):
    """An environment of the matrix.

    Attributes:
      name: its family, by which cells are called.
      env: what `--env` is given.
      length: steps of an episode.
      data_env: where demonstrations are collected; None where nothing demonstrates, and a policy
        that was trained there does.
      on_host: its episodes live outside of its states, and a run that goes on begins new ones.
    """

    name: str
    env: str
    length: int
    data_env: str | None = None
    on_host: bool = False

    @property
    def title(self) -> str:
        """What `--env` is given, without options that only make it short."""
        return self.env.partition("?")[0]


PLACES = (
    Place("grasp", "grasp/mug", 25, "grasp/train"),
    Place("maze", "maze/test?distance=3&episode_length=40", 40, "maze/train?episode_length=120"),
    Place("point", "point/dense?episode_length=20", 20, "point/dense?episode_length=20"),
    # few first states, made once, spare each program a reset, which takes long to compile
    Place("brax", "brax/reacher?episode_length=20&engine=spring&resets=4", 20),
    Place("gym", "gym/Reacher-v5?episode_length=20", 20, on_host=True),
)
"""An environment of MuJoCo here, one in pure JAX, one of many tasks, and others' on either side."""


class Column(NamedTuple):
    """What learns.

    Attributes:
      learner: its name.
      infer: the encoder that tells it the task; None where nothing does.
    """

    learner: str
    infer: str | None = None

    @property
    def name(self) -> str:
        return self.learner if self.infer is None else f"{self.learner}+{self.infer}"

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that choose it."""
        infer = () if self.infer is None else (f"--infer={self.infer}",)
        return (f"--learner={self.learner}", *infer)


class Cell(NamedTuple):
    """One combination.

    Attributes:
      place: the environment.
      model: what is acted through; `none` for nothing.
      column: what learns.
    """

    place: Place
    model: str
    column: Column

    @property
    def name(self) -> str:
        return f"{self.place.name}/{self.model}/{self.column.name}"

    def choice(self, through: str | None = None) -> tuple[str, ...]:
        """The flags that say what the combination is; `through` stands for the model's name."""
        given = (f"--through={through or self.model}",)
        way = () if self.model == NONE else given
        return ("--methods=own", *way, *self.column.flags, f"--env={self.place.env}")


def rows() -> tuple[str, ...]:
    """The models, and none."""
    return (NONE, *MODELS)


def columns() -> tuple[Column, ...]:
    """The learners, and those of many tasks with each encoder."""
    one = (Column(learner) for learner in LEARNERS)
    many = (Column(learner, encoder) for learner in META_LEARNERS for encoder in ENCODERS)
    return (*one, *many)


def cells() -> list[Cell]:
    """All of them, a row's after each other, as they share its model."""
    return [Cell(p, model, column) for p in PLACES for model in rows() for column in columns()]


EPOCH, EPOCHS = 40, 4
"""Environment steps of an epoch: two environments side by side, five skills of four steps."""

FIT_EPOCH = 5

SIZES = {
    r".*widths|.*_width": 8,
    r"skill_vae\.horizon": 4,
    r".*couplings|.*components": 2,
    r"flow_matching\.steps": 2,
    r".*_fit\.steps": EPOCHS * FIT_EPOCH,
    r".*_fit\.steps_per_epoch": FIT_EPOCH,
    r".*_fit\.batch_size": 16,
    r"(loop|on_policy)\.num_envs": 2,
    r"(loop|on_policy)\.steps": EPOCHS * EPOCH,
    r"(loop|on_policy)\.epoch_steps": EPOCH,
    r"loop\.warmup_steps": EPOCH,
    r"loop\.updates_per_step": 0.5,
    r"on_policy\.unroll_length": 5,
    r"ppo\.(epochs|minibatches)": 2,
    r"(loop|meta_loop)\.batch_size": 8,
    r"meta_loop\.iterations": EPOCHS,
    r"meta_loop\.epoch_iterations": 1,
    # an episode's
    r"meta_loop\.(initial|prior|extra)_steps": 20,
    r"meta_loop\.(tasks_per_iteration|updates_per_iteration|meta_batch)": 2,
    r"meta_loop\.context_size": 8,
    # as many, so that adapting to these and those is compiled once
    r"tasks\.train": 2,
    r"tasks\.test": 2,
    r"tasks\.oracle_episodes": 1,
    r"adapt\.repeats": 1,
    r"run\.checkpoint_every": 2,
    r"run\.eval_every": 0,
    r"report_episodes|video_episodes": 0,
}
"""Values of all flags that are called so, whole names, in any part: small ones, which compile fast.

They speak of parts that are still to come, too.
"""

WHOLE = "trajectory_vae"
"""A model whose actions stand for whole episodes."""

EPISODES = 2
"""Episodes of an evaluation."""


def _sizes_of(cell: Cell) -> dict[str, float]:
    """`SIZES`, or those with which an epoch is one action of each environment."""
    if cell.model != WHOLE:
        return SIZES
    epoch = 2 * cell.place.length
    longer = {
        r"(loop|on_policy)\.steps": EPOCHS * epoch,
        r"(loop|on_policy)\.epoch_steps": epoch,
        r"loop\.warmup_steps": epoch,
        r"on_policy\.unroll_length": 1,
    }
    return {**SIZES, **longer}


def sizes(cell: Cell, through: str | None = None) -> tuple[str, ...]:
    """The flags that make a cell's command tiny: those that its parts have."""
    values = absl_flags.FlagValues()
    column = cell.column
    config = ExperimentConfig(
        methods=("own",),
        through=through or cell.model,
        learner=column.learner,
        infer=NONE if column.infer is None else column.infer,
    )
    try:
        flags.define(config_class(config), flag_values=values)
    except UserError:  # the command is refused for the same reason
        return ()
    found = [
        f"--{name}={size}"
        for name in values
        for pattern, size in _sizes_of(cell).items()
        if re.fullmatch(pattern, name)
    ]
    # where tasks are inferred, these are refused
    return (*found, *((f"--eval_episodes={EPISODES}",) if column.infer is None else ()))
