"""The set-up behind `python -m helpers`: install into the environment, then start things in it.

Standard library only. A command called with another Python is handed on to the environment's own Python. A
stamp file in the environment says what has been installed, so that a second call goes straight on.
"""

import hashlib
import importlib
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.environments import (
    FILES,
    STAMP,
    VENV,
    active_python,
    in_environment,
    installed_version,
    lacking,
    make_venv,
    public,
    put_pip_in,
    python_in,
    read_requirements,
    say,
    usable,
    version_key,
)
from helpers.mends import (
    PYTORCH_PAGE,
    ROOT,
    SetupError,
    cause_of,
    explain,
    explain_os_error,
    no_pip,
    typed_python,
)


def again_in(python: Path, command: str, arguments: list[str]) -> int:
    """Run one of our commands with another interpreter and return its exit code."""
    env = dict(os.environ)
    if Path.cwd().resolve() != ROOT:  # `-m helpers` finds us in the working directory or here
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    return start([python, "-m", "helpers", command, *arguments], env=env)


def start(command: list, **options) -> int:
    """Run a program to its end and return its exit code, 128 + n if signal n ended it.

    Ctrl-C in a terminal reaches the program by itself; here we only wait for what it makes of it. Without a
    terminal the signal came to us alone, so it is handed on; SIGTERM always is.
    """
    terminal = sys.stdin is not None and sys.stdin.isatty()
    process = subprocess.Popen(command, **options)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                code = process.wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:
                if not terminal and os.name != "nt":
                    process.send_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


def fingerprint(kind: str) -> str:
    """Return a hash of what an installation depends on: requirement files, Python version, our folder."""
    parts = [platform.python_version(), str(ROOT)]
    parts += [(ROOT / name).read_text(encoding="utf-8") for name in (*FILES[kind], "constraints.txt")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_stamp() -> dict[str, str]:
    """Return {kind: fingerprint} of the installations that were finished in the running environment."""
    try:
        stamp = json.loads((Path(sys.prefix) / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def constraint_lines() -> tuple[list[str], str]:
    """Return the constraints to install with, and a sentence if the learner's own torch changes them.

    A torch that is already there stays: its own version takes the place of the tested one, so that pip cannot
    swap a GPU build for another. One that is too old for the course raises SetupError.
    """
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested, own = read_requirements("constraints.txt").get("torch", "0"), installed_version("torch")
    if own is None or public(own) == tested:
        return lines, ""
    oldest = read_requirements("requirements.txt")["torch"]
    if version_key(own) < version_key(oldest):
        raise SetupError(
            f"This environment has torch {own}, which is left as it is; the course needs {oldest} or newer.\n"
            f"Update it as PyTorch's installation page says ({PYTORCH_PAGE}), or leave\n"
            f"the environment (deactivate), then call again: the course then makes its own, in .venv."
        )
    kept = [f"torch=={own}" if re.match(r"torch\s*==", line) else line for line in lines]
    return kept, f"Keeping your torch {own}: the constraint on torch (tested with {tested}) is left out."


def run_pip(arguments: list[str]) -> tuple[int, str]:
    """Run pip in the running environment; return its exit code and what it said on stderr.

    Progress goes straight to the terminal. Errors are shown as they come, a traceback only if nothing in it
    tells the cause.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "pip", *arguments],
        cwd=ROOT,  # `-e .` in requirements.txt means the working directory
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    shown, held = "", ""
    with process:
        for line in process.stderr:
            if held or line.startswith(("ERROR: Exception:", "Traceback (most recent call last)")):
                held += line
            else:
                shown += line
                sys.stderr.write(line)
    if not cause_of(shown + held):
        sys.stderr.write(held)
    return process.returncode, shown + held


def install(kind: str) -> None:
    """Install what `kind` ("lab" or "test") needs into the running environment, unless that is done."""
    stamp, wanted = read_stamp(), fingerprint(kind)
    if stamp.get(kind) == wanted and not lacking(kind):
        return
    python = Path(sys.executable)
    if importlib.util.find_spec("pip") is None and (fault := put_pip_in(python)):
        raise SetupError(f"{fault}\n{no_pip(python)}")
    lines, note = constraint_lines()
    say(f"Installing the course's packages into {sys.prefix} (the first time takes some minutes)")
    if note:
        say(note)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        code, errors = run_pip(
            ["install", "--disable-pip-version-check", "-r", FILES[kind][0], "-c", str(constraints)]
        )
    if code:
        raise SetupError(f"\n{explain(errors, 'Installing the packages')}")
    done = {"lab": fingerprint("lab"), kind: wanted}  # the test requirements contain those of the lab
    (Path(sys.prefix) / STAMP).write_text(json.dumps({**stamp, **done}), encoding="utf-8", newline="\n")


def lab(arguments: list[str]) -> int:
    """Set up, then start JupyterLab on the notebooks."""
    if not in_environment():
        return again_in(active_python() or make_venv(), "lab", arguments)
    install("lab")
    from helpers.lesson.reset import keep_originals  # plain standard library too

    keep_originals(ROOT)  # for `reset` in a course that was downloaded without git
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    allow_root = ["--allow-root"] if root and "--allow-root" not in arguments else []
    # The file browser starts in notebooks/, with helpers/ and data/ one step up.
    where = [f"--ServerApp.root_dir={ROOT}", "--LabApp.default_url=/lab/tree/notebooks"]
    say("Starting JupyterLab. To stop it, press Ctrl-C here.")
    return start([sys.executable, "-m", "jupyterlab", *where, *allow_root, *arguments], cwd=ROOT)


def test(arguments: list[str]) -> int:
    """Set up with the development requirements, then run pytest in the course's folder."""
    if not in_environment():
        return again_in(active_python() or make_venv(), "test", arguments)
    install("test")
    return start([sys.executable, "-m", "pytest", *arguments], cwd=ROOT)


def elsewhere() -> Path | None:
    """Return the interpreter of another environment to try (the active one, or .venv), or None."""
    choices = [] if in_environment() else [active_python()]
    choices += [python_in(VENV)] if Path(sys.prefix).resolve() != VENV.resolve() else []
    return next((python for python in choices if python and usable(python)), None)


def doctor(arguments: list[str]) -> int:
    """Print the check-up, seen from the environment that the course would use."""
    if not in_environment() and lacking() and (python := elsewhere()):
        return again_in(python, "doctor", arguments)
    return importlib.import_module("helpers.doctor").main(arguments)


def lesson(command: str, arguments: list[str]) -> int:
    """Hand `run`, `reset` or `progress` to the module that does it, in an environment that has the packages."""
    missing = lacking()
    if missing and (python := elsewhere()):
        return again_in(python, command, arguments)
    if missing:
        raise SetupError(
            f"{command} needs packages that are missing here ({sys.executable}): {', '.join(missing)}.\n"
            f"Run this first:   {typed_python()} -m helpers lab"
        )
    name = "runner" if command == "run" else command
    return importlib.import_module(f"helpers.lesson.{name}").main(arguments) or 0


def guarded(command: str, arguments: list[str]) -> int:
    """Run a command; a set-up fault becomes one message and exit code 1, Ctrl-C exit code 130."""
    actions = {"lab": lab, "test": test, "doctor": doctor}
    try:
        if command not in actions:
            return lesson(command, arguments)
        return actions[command](arguments)
    except SetupError as error:
        message = str(error)
    except OSError as error:
        if command not in ("lab", "test"):  # not the set-up's
            raise
        message = explain_os_error(error)
    except KeyboardInterrupt:
        print(f"\nStopped. To go on: {typed_python()} -m helpers {command}", file=sys.stderr)
        return 130
    print(message, file=sys.stderr)
    return 1
