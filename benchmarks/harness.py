"""How two programs are raced: warm-up, rounds that alternate between them, medians."""

from __future__ import annotations

import csv
import io
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.runs.workdir import versions
from behavior_priors.system.files import write_atomically


class BenchmarkError(ValueError):
    """There is no row to give: programs do not compute the same, or one of them fails."""


Contestant = Callable[[], None]
"""Does a fixed amount of work and returns when all of it is done."""


@dataclass(frozen=True)
class Plan:
    """How long contestants are watched.

    Attributes:
      rounds: how often each contestant has its turn.
      seconds: about how long a turn lasts; at least one call.
      clock: tells the time, in seconds.
    """

    rounds: int = 6
    seconds: float = 0.5
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      name: what was measured, and against whom.
      unit: of `ours` and `peer`.
      ours: median over the rounds.
      peer: median over the rounds.
      ratio: median over the rounds of how much better ours is; above 1 ours is better.
      ratio_range: the lowest and the highest round.
      rounds: how many.
      equal: what was found equal beforehand, and the largest difference.
      versions: of everything that took part.
    """

    name: str
    unit: str
    ours: float
    peer: float
    ratio: float
    ratio_range: tuple[float, float]
    rounds: int
    equal: str
    versions: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The row as an object of plain values."""
        return {**asdict(self), "machine": machine()}


Seconds = Mapping[str, Sequence[float]]
"""By contestant: the seconds of one call, round by round."""


def race(contestants: Mapping[str, Contestant], plan: Plan) -> Seconds:
    """Times contestants in turns, so that whatever slows the machine down slows all of them.

    The order of turns is reversed from round to round. Compilation and the estimate of how many
    calls make a turn are not counted.
    """
    calls = {name: _calls_in_a_turn(run, plan) for name, run in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for _ in range(plan.rounds):
        for name in order:
            begin = plan.clock()
            for _ in range(calls[name]):
                contestants[name]()
            seconds[name].append((plan.clock() - begin) / calls[name])
        order.reverse()
    return seconds


def _calls_in_a_turn(run: Contestant, plan: Plan) -> int:
    run()  # compiles
    calls, begin, elapsed = 0, plan.clock(), 0.0
    while elapsed < 0.2 * plan.seconds or calls == 0:
        run()
        calls += 1
        elapsed = plan.clock() - begin
    return max(1, round(plan.seconds * calls / elapsed))


def rate_row(
    name: str,
    unit: str,
    ours: tuple[float, Sequence[float]],
    peer: tuple[float, Sequence[float]],
    *,
    equal: str,
    packages: Sequence[str] = (),
) -> Row:
    """A row of work per second.

    Args:
      name: of the row.
      unit: of the work, per second.
      ours: the work in one call, and the seconds of one call, round by round.
      peer: likewise.
      equal: what was found equal, and the largest difference.
      packages: distributions whose versions belong in the row.
    """
    our_rates, peer_rates = ([work / s for s in seconds] for work, seconds in (ours, peer))
    ratios = [a / b for a, b in zip(our_rates, peer_rates, strict=True)]
    return _row(name, unit, our_rates, peer_rates, ratios, equal, packages)


def seconds_row(
    name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    equal: str,
    packages: Sequence[str] = (),
) -> Row:
    """A row of seconds, of which fewer are better; arguments as for `rate_row`."""
    ratios = [b / a for a, b in zip(ours, peer, strict=True)]
    return _row(name, "s", ours, peer, ratios, equal, packages)


def _row(
    name: str,
    unit: str,
    ours: Sequence[float],
    peer: Sequence[float],
    ratios: Sequence[float],
    equal: str,
    packages: Sequence[str],
) -> Row:
    return Row(
        name=name,
        unit=unit,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        ratio=statistics.median(ratios),
        ratio_range=(min(ratios), max(ratios)),
        rounds=len(ratios),
        equal=equal,
        versions={**versions(), **{package: metadata.version(package) for package in packages}},
    )


def largest_difference(what: str, ours: Any, peer: Any, tolerance: float) -> str:
    """Compares two arrays, or sequences of arrays, and says how far they are apart.

    Args:
      what: the arrays' name in the answer.
      ours: arrays.
      peer: arrays of the same shapes.
      tolerance: the largest difference that counts as equal, as a share of the largest value, or
        absolute where that is below 1.

    Returns:
      `what` and the largest difference, relative in the sense of `tolerance`.

    Raises:
      BenchmarkError: the arrays differ or are not finite, so that a race between the programs
        would mean nothing.
    """
    pairs = zip(ours, peer, strict=True) if isinstance(ours, list | tuple) else [(ours, peer)]
    worst = 0.0
    for a, b in pairs:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.shape != b.shape:
            raise BenchmarkError(f"{what}: shapes {a.shape} and {b.shape} differ")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise BenchmarkError(f"{what}: not all values are finite")
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        worst = max(worst, float(np.abs(a - b).max(initial=0.0)) / scale)
    if worst > tolerance:
        raise BenchmarkError(
            f"{what}: ours and the peer's differ by {worst:.3g}; at most {tolerance:.3g} is equal"
        )
    return f"{what} within {worst:.1e}" if worst else f"{what} exactly"


def check_peers(peers: Mapping[str, Sequence[str]]) -> None:
    """Finds out whether all peers are installed.

    Args:
      peers: by benchmark, the modules that it imports.

    Raises:
      UserError: some are not.
    """
    missing = {
        benchmark: absent
        for benchmark, modules in peers.items()
        if (absent := [module for module in modules if util.find_spec(module) is None])
    }
    if missing:
        needs = "; ".join(f"{name} needs {', '.join(absent)}" for name, absent in missing.items())
        raise UserError(
            f"peers are missing: {needs}. Run `make benchmarks`, "
            "or pip install 'behavior-priors[benchmarks]'"
        )


def machine() -> dict[str, Any]:
    """What the figures hold for: the processor, its cores, and how busy they have been."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.platform(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def table(rows: Sequence[Row]) -> str:
    """The rows as text, columns aligned."""
    cells = [("name", "ours", "peer", "unit", "ratio", "range", "rounds", "equal")]
    for row in rows:
        low, high = row.ratio_range
        cells.append(
            (
                row.name,
                f"{row.ours:.4g}",
                f"{row.peer:.4g}",
                row.unit,
                f"{row.ratio:.2f}",
                f"{low:.2f}-{high:.2f}",
                str(row.rounds),
                row.equal,
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def write_table(path: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV file, a row for each line, its folder made where there is none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    output = Path(path)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, text.getvalue())
