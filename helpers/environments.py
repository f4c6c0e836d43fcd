"""Which environment the course runs in, and what is installed there. Standard library only.

The environment is the active one (venv or conda), else `.venv` in the course's folder.
"""

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

from helpers.mends import ROOT, SetupError, cause_of, explain, no_venv

VENV = ROOT / ".venv"
STAMP = "course-setup.json"  # in an environment: what has been installed there
FILES = {"lab": ("requirements.txt",), "test": ("requirements-dev.txt", "requirements.txt")}


def say(text: str) -> None:
    """Print at once, so that our lines stand before those of the programs that we start."""
    print(text, flush=True)


def read_requirements(*names: str) -> dict[str, str]:
    """Return {package: version} of the lines `package>=version` or `package==version` in our files."""
    found = {}
    for name in names:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            match = re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:[>=]=\s*([\w.+!]+))?", line)
            if match:
                found[match[1].lower()] = match[2] or "0"
    return found


def installed_version(package: str) -> str | None:
    """Return the version of a package in the running environment, or None; imports nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def public(version: str) -> str:
    """Return a version without its local label: 2.13.0+cpu is 2.13.0."""
    return version.split("+")[0]


def version_key(version: str) -> tuple[int, ...]:
    """Return a version as numbers, for comparing: 2.13.0+cpu is (2, 13) (closing zeros do not count)."""
    numbers = [int(part) for part in re.match(r"[\d.]*", public(version))[0].split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def lacking(kind: str = "lab") -> list[str]:
    """Return the required packages that are not in the running environment, or too old there."""
    bounds = read_requirements(*FILES[kind])
    versions = {package: installed_version(package) for package in bounds}
    return [p for p, v in versions.items() if v is None or version_key(v) < version_key(bounds[p])]


def python_in(folder: Path) -> Path:
    """Return where the interpreter of an environment folder lies (it may not be there)."""
    if os.name != "nt":
        return folder / "bin" / "python"
    conda = folder / "python.exe"
    return conda if conda.is_file() else folder / "Scripts" / "python.exe"


def is_environment(folder: Path) -> bool:
    """Return whether a folder is a venv or a conda environment other than base, which we leave alone."""
    conda = (folder / "conda-meta").is_dir() and not (folder / "condabin").is_dir()
    return conda or (folder / "pyvenv.cfg").is_file()


def in_environment() -> bool:
    """Return whether the running Python belongs to an environment."""
    return sys.prefix != sys.base_prefix or is_environment(Path(sys.prefix))


def active_python() -> Path | None:
    """Return the interpreter of the active environment (the running one, or what a variable names)."""
    if in_environment():
        return Path(sys.executable)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        folder = Path(os.environ.get(variable) or os.devnull)
        if is_environment(folder) and python_in(folder).is_file():
            return python_in(folder)
    return None


def quietly(command: list) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed (a command that cannot start gives 127)."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout + done.stderr


def usable(python: Path) -> bool:
    """Return whether an interpreter starts, is new enough and belongs to an environment."""
    test = "import os, sys; conda = os.path.isdir(os.path.join(sys.prefix, 'conda-meta')); "
    test += "sys.exit(sys.version_info < (3, 11) or (sys.prefix == sys.base_prefix and not conda))"
    return quietly([python, "-c", test])[0] == 0


def has_pip(python: Path) -> bool:
    """Return whether an interpreter has a pip that starts."""
    return quietly([python, "-m", "pip", "--version"])[0] == 0


def put_pip_in(python: Path) -> str:
    """Give an environment without pip (uv makes such ones) a pip; return what went wrong, or ""."""
    code, output = quietly([python, "-m", "ensurepip", "--upgrade", "--default-pip"])
    if code == 0:
        code, output = quietly([python, "-m", "pip", "--version"])
    return (output.strip() or f"ensurepip gave exit code {code}") if code else ""


def make_venv() -> Path:
    """Return the interpreter of .venv, which is made, or made again where it is not whole."""
    python = python_in(VENV)
    if usable(python) and ((VENV / STAMP).is_file() or has_pip(python) or not put_pip_in(python)):
        return python
    if VENV.exists() or VENV.is_symlink():
        ours = {"bin", "include", "lib", "lib64", "share", "scripts", "pyvenv.cfg", ".gitignore", STAMP}
        if not VENV.is_dir() or not (
            is_environment(VENV) or {p.name.lower() for p in VENV.iterdir()} <= ours
        ):
            raise SetupError(f"{VENV} is there, but is no Python environment. Move it away, then call again.")
        say("The environment in .venv is not whole; making it again.")
    try:
        importlib.import_module("ensurepip")
        importlib.import_module("venv")
    except ImportError as error:
        raise SetupError(no_venv()) from error
    say(f"Making an environment in {VENV}")
    # pip comes in a step of its own: venv would swallow what ensurepip says when it fails.
    code, output = quietly([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV])
    fault = output.strip() if code else put_pip_in(python)
    if code or fault:
        seen = "" if cause_of(fault) else f"{fault}\n"
        raise SetupError(seen + explain(fault, "Making the environment"))
    return python
