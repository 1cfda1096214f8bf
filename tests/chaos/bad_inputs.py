"""Bad flags of all programs: each must cost one line that names the flag, and leave no file.

    python -m tests.chaos.bad_inputs              all of them, and how many there were
    python -m tests.chaos.bad_inputs --every=10   each tenth

Programs are forks of one process that has imported them all, see `tests.experiments.forks`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import sys
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from behavior_priors.config import ranges
from behavior_priors.methods.command_line import Preset, renamed
from behavior_priors.methods.method import METHODS
from behavior_priors.methods.settings import ExperimentConfig
from tests.chaos.bad_flags import MEANINGLESS, NO_FLAGS
from tests.experiments.forks import Forks
from tests.experiments.runs import Result
from tests.experiments.settings import config_of

CONFIGS = {
    "experiments.run": "ExperimentConfig",
    "experiments.parrot": "PARROT",
    "experiments.spirl": "SPIRL",
    "experiments.pearl": "PEARL",
    "experiments.collect": "CollectConfig",
    "experiments.compare_engines": "CompareConfig",
    "experiments.convert": "ConvertConfig",
    "experiments.demonstrator": "DemonstratorConfig",
    "experiments.evaluate": "EvaluateConfig",
    "experiments.export": "ExportConfig",
    "experiments.fit": "FitProgramConfig",
    "experiments.report": "ReportConfig",
    "launch.sweep": "SweepConfig",
}
"""By program, the class of its flags."""

SINGLE = tuple(name for name, x in METHODS.items() if name != "own" and x.infer is None)
ALL_METHODS = f"--methods={','.join(SINGLE)}"
"""All parts have flags then, but those of methods that infer tasks, which have a program."""

EVERYTHING = ExperimentConfig(methods=SINGLE)

REQUIRED = {
    "experiments.run": (ALL_METHODS,),
    "experiments.parrot": (ALL_METHODS,),
    # whose environment has episodes that are too long to be one skill
    "experiments.spirl": (ALL_METHODS.replace("traj_rl,", ""),),
    "experiments.collect": ("--output=data",),
    "experiments.convert": ("--input=demo.hdf5", "--output=data"),
    "experiments.evaluate": ("--checkpoint=run",),
    "experiments.export": ("--checkpoint=run", "--output=out"),
    "experiments.fit": ("--data=data",),
    "experiments.report": ("--workdirs=run",),
    "launch.sweep": ("--root=sweep",),
}
"""Flags that go with all others; what they name is not there."""

WITHOUT_DEFAULT = {
    program for program, given in REQUIRED.items() if not given[0].startswith("--methods=")
}

NOT_NUMBERS = ("nan", "inf", "-inf", "1e39", "-1e39", "", "x", "9" * 400)
NOT_INTEGERS = ("1.5", "4294967296", "99999999999999999999")


class Flag(NamedTuple):
    """A flag of a program: its name and the type of its field."""

    name: str
    hint: Any

    def is_choice(self) -> bool:
        """Whether it takes words that are known beforehand."""
        hints = (self.hint, *typing.get_args(self.hint))
        return any(x is bool or typing.get_origin(x) is Literal for x in hints)

    def bad_texts(self) -> list[str]:
        """Texts that the flag cannot take."""
        if self.is_choice():
            return ["nope", "", "1.5", "NaN"]
        found = ranges.number_type(self.hint)
        if found is None:
            return []
        scalar, _ = found
        texts = NOT_NUMBERS if scalar is float else (*NOT_NUMBERS, *NOT_INTEGERS)
        hints = (self.hint, *typing.get_args(self.hint))
        if any(typing.get_origin(hint) is tuple for hint in hints):
            texts = tuple(text for text in texts if text)  # an empty list is one
        around = [str(x) for x in (0, -1) if ranges.complaint(self.hint, x)]
        return [*texts, *around]


class Bad(NamedTuple):
    """A command line that must be refused, and what the error names, one word or another."""

    program: str
    arguments: tuple[str, ...]
    names: tuple[str, ...]


def flags_of(config: type, prefix: str = "") -> Iterator[Flag]:
    """All flags of a config, those of configs in it with their prefix."""
    hints = typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        hint, name = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(hint):
            yield from flags_of(typing.cast(type, hint), f"{name}.")
        else:
            yield Flag(name, hint)


def class_of(program: str) -> type:
    """The class of a program's flags."""
    module = importlib.import_module(program)
    found: Any = getattr(module, CONFIGS[program])
    if isinstance(found, Preset):
        return type(config_of(found, *REQUIRED.get(program, ())))
    # a program whose flags depend on what it is asked for says so itself
    if hasattr(module, "config_class"):
        return module.config_class(found(data="") if program == "experiments.fit" else EVERYTHING)
    return found


def bad_inputs() -> list[Bad]:
    """Every flag of every program with what it cannot take, and what no flag is."""
    found = []
    for program in CONFIGS:
        given = REQUIRED.get(program, ())
        wrong = [
            (f"--{flag.name}={text}", (f"--{flag.name}=",))
            for flag in flags_of(class_of(program))
            for text in flag.bad_texts()
        ]
        wrong += [(argument, (name,)) for argument, name in NO_FLAGS.items()]
        found += [Bad(program, (*given, argument), names) for argument, names in wrong]
        if program in WITHOUT_DEFAULT:
            found.append(Bad(program, (), (_name(given[0]),)))
        for text in MEANINGLESS[program]:
            arguments = tuple(text.split())
            others = tuple(x for x in given if _name(x) not in map(_name, arguments))
            # a path or an option may be named without its flag
            _, _, value = arguments[-1].partition("=")
            said = (_name(arguments[-1]), *_names_now(program, arguments[-1]))
            names = tuple(x for x in (*said, value.rpartition("?")[2]) if x)
            found.append(Bad(program, (*others, *arguments), names))
    return found


def _names_now(program: str, argument: str) -> list[str]:
    """What an argument's flag is called now, where it was called otherwise before."""
    preset = getattr(importlib.import_module(program), CONFIGS[program])
    if not isinstance(preset, Preset):
        return []
    return [_name(line) for line in renamed(argument, preset.former)]


def _name(argument: str) -> str:
    return argument.partition("=")[0]


def complaint(bad: Bad, result: Result, folder: Path) -> str | None:
    """The words for how a program took it, if not with one line and without a file."""
    lines = result.stderr.splitlines()
    if result.status != 2:
        return f"status {result.status}: {result.stderr[-300:]}"
    if len(lines) != 1 or not lines[0].startswith("error: "):
        return f"{len(lines)} lines: {result.stderr[-300:]}"
    if not any(name in lines[0] for name in bad.names):
        return f"does not name {' or '.join(bad.names)}: {lines[0][:300]}"
    if left := [str(path) for path in folder.rglob("*")]:
        return f"left {', '.join(left)}"
    return None


def run(forks: Forks, bad: Bad, folder: Path) -> str | None:
    """Runs one in an empty folder; returns the complaint, if there is one."""
    folder.mkdir()
    result = forks.run(bad.program, *bad.arguments, folder=folder, seconds=60)
    found = complaint(bad, result, folder)
    if found is None:
        folder.rmdir()
    return found


def main() -> None:
    """Runs them, says what was taken badly, and how many there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="run only each so-manieth")
    chosen = bad_inputs()[:: parser.parse_args().every]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Forks(Path(folder))) as forks:
        for number, bad in enumerate(chosen):
            if number % 250 == 0:
                print(f"{number} of {len(chosen)}", flush=True)
            if words := run(forks, bad, Path(folder) / str(number)):
                failed += 1
                arguments = " ".join(bad.arguments)[:200]
                print(f"{bad.program} {arguments}: {words}", flush=True)
    programs = len({bad.program for bad in chosen})
    print(
        f"{len(chosen)} bad inputs of {programs} programs, {failed} not refused as they should be"
    )
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
