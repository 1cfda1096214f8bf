"""From a recording to a dataset in the one episode format: streamed, and all of it or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from behavior_priors.data.bounds import BY_HAND, KEY
from behavior_priors.data.episodes import EpisodeReader, EpisodeWriter
from behavior_priors.data.layout import EpisodeBatch
from behavior_priors.data.metadata import EpisodeMetadata
from behavior_priors.data.readers.action_map import ActionMap, action_map
from behavior_priors.data.readers.base import Batches, Recording, Tally, join
from behavior_priors.data.readers.unfinished import whole_or_nothing
from behavior_priors.data.report import Report
from behavior_priors.errors import UserError

SHARD_BYTES = 32 * 2**20

ProgressFn = Callable[[int, int], None]
"""`(episodes so far, steps so far)`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """How a recording becomes a dataset.

    Attributes:
      policy: who acted.
      environment: where; None for what the file says.
      action_limit: magnitude in the file's units at which an action is saturated; None for 1, or
        for the largest magnitude of each dimension if actions are divided by that.
      action_scale: "auto" divides each action dimension by its largest magnitude.
      action_low: of each dimension, what becomes -1; one value for all; empty for what the file
        says, or else to leave them.
      action_high: likewise, what becomes 1.
      bounds_source: who says so.
      shard_bytes: about how large a shard gets.
    """

    policy: str = "unknown"
    environment: str | None = None
    action_limit: float | None = None
    action_scale: Literal["none", "auto"] = "none"
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    bounds_source: str = BY_HAND
    shard_bytes: int = SHARD_BYTES


def convert(
    recording: Recording,
    output: str | Path,
    options: ConvertOptions | None = None,
    on_shard: ProgressFn | None = None,
) -> EpisodeReader:
    """Writes a recording as a dataset, with a report in its metadata.

    `extra["statistics"]` has shape, dtype, min, max, mean and std of every array by its name in a
    shard, `extra["report"]` the rest, `extra["action_offset"]` what was subtracted from actions and
    `extra["action_scale"]` what they were then divided by, None for nothing, and
    `extra["action_bounds"]` what became -1 and 1 and who said so, None if nobody did.

    Args:
      recording: what a reader found.
      output: folder of the dataset; must not be there, or be empty.
      options: how.
      on_shard: called after every shard.

    Returns:
      A reader of the dataset.

    Raises:
      UserError: the place is taken or cannot be written, or the recording is damaged, has numbers
        that are not finite, or has no episode. Nothing is left behind then.
    """
    options = options or ConvertOptions()
    if options.action_limit is not None and not 0 < options.action_limit < float("inf"):
        raise UserError(f"action_limit={options.action_limit} should be a positive number")
    with whole_or_nothing(Path(output)) as folder:
        offset, scale, bounds = action_map(recording, options)
        limit = 1.0 if options.action_limit is None else options.action_limit / scale
        report, tally = Report(limit), Tally()
        writer = EpisodeWriter.create(
            folder,
            EpisodeMetadata(
                observation=recording.observation,
                action_size=recording.action_size,
                environment=options.environment or recording.environment or "unknown",
                policy=options.policy,
            ),
        )
        with contextlib.closing(_shards(recording, tally, options.shard_bytes)) as shards:
            for shard in shards:
                scaled = dataclasses.replace(shard, action=(shard.action - offset) / scale)
                report.add(scaled)
                writer.write(scaled)
                if on_shard is not None:
                    on_shard(writer.totals.num_episodes, writer.totals.num_steps)
        if not report.num_episodes:
            raise UserError(
                f"{recording.path}: has no complete episode that could be used; "
                f"{tally.bad_episodes} have NaN or infinity, {tally.empty_episodes} no action with "
                "a known outcome"
            )
        extra = _extra(recording, report, tally, ActionMap(offset, scale, bounds))
        writer.metadata = dataclasses.replace(writer.metadata, extra=extra)
        writer.finish()
    return EpisodeReader(output)


def _shards(recording: Recording, tally: Tally, shard_bytes: int) -> Batches:
    waiting: list[EpisodeBatch] = []
    size = 0
    with contextlib.closing(recording.batches(tally)) as batches:
        for batch in batches:
            waiting.append(batch)
            size += sum(array.nbytes for array in batch.to_arrays().values())
            if size >= shard_bytes:
                yield join(waiting)
                waiting, size = [], 0
    if waiting:
        yield join(waiting)


def _extra(
    recording: Recording, report: Report, tally: Tally, actions: ActionMap
) -> dict[str, Any]:
    notes, (offset, scale, bounds) = list(recording.notes), actions
    if bounds is not None and bounds is recording.action_bounds:
        notes.append(f"actions are in {bounds} by {bounds.source}, which becomes [-1, 1]")
    if tally.lost_actions:
        notes.append(
            f"{tally.lost_actions} last actions are left out, because the file does not have what "
            f"they led to; {tally.lost_terminations} of them ended the task"
        )
    if tally.gaps:
        notes.append(f"{tally.gaps} unmarked ends, where observations do not follow each other")
    if tally.empty_episodes:
        notes.append(f"{tally.empty_episodes} episodes have no action with a known outcome")
    if tally.bad_episodes:
        notes.append(f"{tally.bad_episodes} episodes with NaN or infinity are left out")
    return {
        "source": {
            "file": recording.path.name,
            "bytes": _bytes(recording.path),
            "format": recording.format,
            "observation": dict(recording.keys),
        },
        "action_offset": offset.tolist() if offset.any() else None,
        "action_scale": scale.tolist() if (scale != 1).any() else None,
        KEY: None if bounds is None else bounds.as_json(),
        "statistics": report.statistics(),
        "report": {**report.as_json(), "left_out": dataclasses.asdict(tally), "notes": notes},
    }


def _bytes(path: Path) -> int:
    """Those of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
