"""The command `behavior-priors`: every program of this package, from any folder.

    behavior-priors parrot --flagfile=parrot/quick
    behavior-priors sweep --flagfiles=parrot/quick --seeds=0,1,2
    behavior-priors --version

It is `python -m experiments.NAME` (or `launch.NAME`), but for where these are looked for: beside
this package, so that a folder of the user's that is called `experiments` is left alone.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import platform
import runpy
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from behavior_priors.version import __version__

ROOT = Path(__file__).parents[2]
"""What this package has been installed into, or cloned as."""

PACKAGES = ("experiments", "launch")

INNER = "launch.child"
"""What only another program starts."""

COMMAND = "behavior-priors"


def programs() -> dict[str, str]:
    """Modules of programs by the names that the command has for them."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).glob("[a-z]*.py")):
            module = f"{package}.{path.stem}"
            is_program = 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
            if is_program and module != INNER:
                found[path.stem] = module
    return found


def main() -> None:
    """Runs the program that the command line names."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("--help", "-h", "help"):
        print(_help())
        return
    if name == "--version":
        print(_version())
        return
    known = programs()
    # a module with a dot in its name may be anybody's: that is how a sweep starts its runs
    if name not in known and ("." not in name or name.startswith("-")):
        _refuse(name, list(known))
    _take_over()
    # where modules of the user's are found, after everything that is installed
    if not sys.flags.safe_path and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    sys.argv[:] = [name, *arguments]
    runpy.run_module(known.get(name, name), run_name="__main__", alter_sys=True)


def _take_over() -> None:
    """Makes the packages of programs be those beside this one, whatever else is called so."""
    for package in PACKAGES:
        folder = ROOT / package
        spec = importlib.util.spec_from_file_location(
            package, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[package] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def _help() -> str:
    lines = [f"usage: {COMMAND} PROGRAM [--flag=value ...]", ""]
    width = max(map(len, programs()))
    for name, module in programs().items():
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        words = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        lines.append(f"  {name:{width}}  {words}")
    return "\n".join([*lines, "", f"{COMMAND} PROGRAM --help lists a program's flags"])


def _version() -> str:
    installed = (f"{x} {metadata.version(x)}" for x in ("jax", "mujoco"))
    return f"{COMMAND} {__version__} ({', '.join(installed)}, python {platform.python_version()})"


def _refuse(name: str, known: list[str]) -> NoReturn:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
    print(f"error: {COMMAND} has no program {name!r}; {hint}", file=sys.stderr)
    sys.exit(2)
