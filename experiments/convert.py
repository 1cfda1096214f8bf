"""Converts a file of episodes that another program wrote into a dataset, or one into LeRobot's.

    python -m experiments.convert --input=cube.npz --output=data/cube
    python -m experiments.convert --input=demo.hdf5 --output=data/lift \
        --observation=hand=robot0_eef_pos,object=object[0:7] --policy=human
    python -m experiments.convert --input=mixed.hdf5 --output=data/kitchen --arrays=kitchen
    python -m experiments.convert --input=data/grasp --output=grasp_lerobot --to=lerobot --fps=24

See docs/your_data.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count, Positive, Real
from behavior_priors.data.bounds import bounds_of, doubts
from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.data.readers import ReadConfig, Selection, open_recording
from behavior_priors.data.readers.convert import ConvertOptions, convert
from behavior_priors.data.readers.kitchen import kitchen_arrays
from behavior_priors.data.report import lines
from behavior_priors.data.writers import lerobot
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.programs import entry
from behavior_priors.programs.progress import format_seconds
from behavior_priors.system.texts import printable


@dataclass(frozen=True)
class ConvertConfig:
    """The program's flags.

    Attributes:
      input: file to read; for Minari and LeRobot the dataset's folder.
      output: folder of the dataset; must not be there, or be empty.
      format: layout of the file; auto looks at what is inside.
      observation: arrays to keep, as NAME=KEY or NAME=KEY[START:STOP]; empty for every one.
      filter: of a robomimic file, the filter key whose demonstrations are taken, such as train; of
        a LeRobot dataset the words of the task; none for all.
      image_axes: the axes of images, such as chw or fhwc (f: frames), or numbers for what looks
        like an image and is none; none to see from their shapes.
      episode_length: of npz and d4rl, the rows after which a time limit ends an episode, which is
        then truncated; none where marks say so.
      arrays: kitchen takes an observation of D4RL's or Minari's kitchen apart, into the arrays of
        the environments kitchen/...; none for what observation says.
      policy: who acted, such as human or scripted.
      environment: name of the environment or robot; none for what the file says.
      rewards: keep rewards where the file has them.
      action_limit: magnitude in the file's units at which an action is saturated; none for 1.
      action_scale: auto divides each action dimension by its largest magnitude.
      action_low: what becomes -1, one value for all action dimensions or one for each; such as the
        lower bounds of the environment's actions.
      action_high: likewise, what becomes 1.
      bounds_of: name of an environment, as for --env elsewhere, whose bounds of actions become -1
        and 1; instead of action_low and action_high.
      drop_bad_episodes: leave out episodes with NaN or infinity instead of stopping there.
      to: dataset for one of this library; lerobot for one of LeRobot's, version 3, of a dataset of
        this library.
      fps: to LeRobot, the steps a second.
      task: to LeRobot, what was to be done, in words.
      robot: to LeRobot, which robot it was; none where that is not known.
    """

    input: str
    output: str
    format: Literal["auto", "npz", "d4rl", "robomimic", "minari", "maniskill", "lerobot"] = "auto"
    observation: tuple[str, ...] = ()
    filter: str | None = None
    image_axes: str | None = None
    episode_length: Count | None = None
    arrays: Literal["none", "kitchen"] = "none"
    policy: str = "unknown"
    environment: str | None = None
    rewards: bool = True
    action_limit: Positive | None = None
    action_scale: Literal["none", "auto"] = "none"
    action_low: tuple[Real, ...] = ()
    action_high: tuple[Real, ...] = ()
    bounds_of: str | None = None
    drop_bad_episodes: bool = False
    to: Literal["dataset", "lerobot"] = "dataset"
    fps: Count | None = None
    task: str | None = None
    robot: str | None = None


LEROBOT = ("fps", "task", "robot")
"""Flags of the way to LeRobot."""


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(ConvertConfig)
    usual = ConvertConfig(config.input, config.output)
    chosen = [x.name for x in fields(config) if getattr(config, x.name) != getattr(usual, x.name)]
    own = {"to", *LEROBOT}
    if wrong := [x for x in chosen if (x in own) != (config.to == "lerobot") and x != "to"]:
        raise UserError(f"--{wrong[0]} has nothing to do with --to={config.to}; leave it out")
    if config.to == "lerobot":
        to_lerobot(config)
    else:
        to_dataset(config)


def to_lerobot(config: ConvertConfig) -> None:
    """Writes a dataset of this library as one of LeRobot's."""
    if config.fps is None:
        raise UserError("--to=lerobot needs --fps, the steps a second, such as --fps=24")
    reader = EpisodeReader(config.input)
    words = config.task or reader.metadata.environment
    task = lerobot.Task(config.fps, words, config.robot)
    began = time.perf_counter()

    def say(episodes: int, steps: int) -> None:
        seconds = format_seconds(time.perf_counter() - began)
        of = reader.num_episodes
        print(f"wrote {episodes} of {of} episodes, {steps} steps  {seconds}", flush=True)

    lerobot.write(reader, Path(config.output), task, say)
    lost = sorted({x.partition("/")[0] for x in reader.layout} & {"initial_state", "info", "scene"})
    if lost:
        print(f"note: LeRobot's format has no place for {', '.join(lost)}, which are left out")


def to_dataset(config: ConvertConfig) -> None:
    """Writes what another program has recorded as a dataset of this library."""
    with flags.naming("observation", config.observation):
        selections = tuple(Selection.parse(text) for text in config.observation)
    if config.arrays == "kitchen":
        if selections:
            raise UserError("--arrays and --observation contradict each other; give one of them")
        selections = kitchen_arrays(config.input, config.format)
    began = time.perf_counter()
    recording = open_recording(
        config.input,
        ReadConfig(
            observation=selections,
            rewards=config.rewards,
            filter=config.filter,
            image_axes=config.image_axes,
            episode_length=config.episode_length,
            drop_bad_episodes=config.drop_bad_episodes,
        ),
        config.format,
    )

    bounds = read_bounds(config, recording.action_size)

    def say(episodes: int, steps: int) -> None:
        seconds = format_seconds(time.perf_counter() - began)
        of = recording.num_episodes
        print(f"wrote {episodes} of {of} episodes, {steps} steps  {seconds}", flush=True)

    reader = convert(
        recording,
        Path(config.output),
        ConvertOptions(
            policy=config.policy,
            environment=config.environment,
            action_limit=config.action_limit,
            action_scale=config.action_scale,
            **bounds,
        ),
        on_shard=say,
    )
    _print_report(reader, config.output)


def read_bounds(config: ConvertConfig, size: int) -> dict[str, Any]:
    """Options that say what the file's actions are between."""
    if config.bounds_of is None:
        return {"action_low": config.action_low, "action_high": config.action_high}
    if config.action_low or config.action_high or config.action_scale != "none":
        raise UserError(
            "--bounds_of contradicts --action_low, --action_high and --action_scale; give one"
        )
    env = make_env(config.bounds_of, flag="bounds_of")
    if env.action_spec.size != size:
        raise UserError(
            f"--bounds_of={config.bounds_of} has actions of {env.action_spec.size} dimensions, "
            f"{config.input} of {size}; give the environment that it was recorded in"
        )
    own = bounds_of(env.info, size)
    low, high = (own.low, own.high) if own else (-np.ones(size), np.ones(size))
    return {
        "action_low": tuple(low.tolist()),
        "action_high": tuple(high.tolist()),
        "bounds_source": f"--bounds_of={config.bounds_of}",
    }


def _print_report(reader: EpisodeReader, output: str) -> None:
    extra: Any = reader.metadata.extra
    report = extra["report"]
    print(f"\n{output}, from {extra['source']['file']} ({extra['source']['format']}):")
    for name, key in extra["source"]["observation"].items():
        print(f"{name} is {printable(key)}")
    print("\n".join(lines(report, extra["statistics"])))
    if offset := extra["action_offset"]:
        print(f"from actions {', '.join(f'{x:.4g}' for x in offset)} are subtracted")
    if scale := extra["action_scale"]:
        print(f"actions are divided by {', '.join(f'{x:.4g}' for x in scale)}")
    for note in report["notes"]:
        print(f"note: {printable(note)}")
    for doubt in doubts(reader):
        print(f"warning: {doubt}")


if __name__ == "__main__":
    flags.define(ConvertConfig)
    entry.run(main)
