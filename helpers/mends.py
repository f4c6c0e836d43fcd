"""What a set-up step said when it failed, turned into one message with the mend. Standard library only."""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTORCH_PAGE = "https://pytorch.org/get-started/locally/"

# The first pattern that is found wins: a certificate fault also reads like a lost connection, and pip reports
# "no matching distribution" after a lost connection as well.
CAUSES = (
    (
        "full",
        r"No space left on device|Errno 28\b|WinError 112\b|not enough space on the disk|Disk quota exceeded",
    ),
    ("long path", r"Long Path support"),
    ("read-only", r"Read-only file system|Permission denied|Access is denied|Errno (?:13|30)\b|WinError 5\b"),
    ("certificate", r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError|certificate verify failed"),
    ("proxy", r"ProxyError|Cannot connect to proxy|Tunnel connection failed"),
    (
        "network",
        r"NewConnectionError|NameResolutionError|Connection(?:Reset|Refused|Aborted|Timeout)?Error|"
        r"ConnectTimeout|ReadTimeout|[Rr]ead timed out|IncompleteRead|Connection (?:refused|reset)|"
        r"Failed to (?:establish a new connection|resolve)|name resolution|getaddrinfo failed|"
        r"nodename nor servname|Network is unreachable|No route to host",
    ),
    ("no pip", r"No module named '?pip\b"),
    ("no venv", r"ensurepip is not available|No module named '?(?:ensurepip|venv)\b"),
    ("no build", r"No matching distribution found"),
    ("conflict", r"ResolutionImpossible|conflicting dependencies"),
)


class SetupError(Exception):
    """A set-up step that cannot go on; its text is what the learner reads: the cause and the mend."""


def typed_python() -> str:
    """Return what to type for Python in this terminal.

    That is `python` in an active environment and on Windows, the whole path where an environment was called
    by its path, else `python3`, which hands on to .venv.
    """
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    if not active and sys.prefix != sys.base_prefix and Path(sys.prefix).resolve() != ROOT / ".venv":
        return program(sys.executable)
    return "python" if active or os.name == "nt" else "python3"


def command_again() -> str:
    """Return the command that was called, lab or test, as it can be typed again."""
    return f"{typed_python()} -m helpers {'test' if sys.argv[1:2] == ['test'] else 'lab'}"


def quoted(path: Path | str) -> str:
    """Return a path as it can be typed: in double quotes where it has a space."""
    return f'"{path}"' if " " in str(path) else str(path)


def program(path: Path | str) -> str:
    """Return a program's path as the start of a command: PowerShell runs a quoted path only after `&`."""
    return f"& {quoted(path)}" if os.name == "nt" and " " in str(path) else quoted(path)


def cause_of(text: str) -> str:
    """Return the name of the cause that the text shows (a name in CAUSES), or an empty string."""
    return next((name for name, pattern in CAUSES if re.search(pattern, text)), "")


def _free(folder: Path | str) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB free"
    except OSError:
        return "free space unknown"


def no_venv() -> str:
    """Return the message for a Python without venv or ensurepip."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"This Python ({sys.executable}) cannot make environments: its venv or ensurepip module is missing.\n"
        f"  On Debian and Ubuntu:   sudo apt install python{version}-venv\n"
        "  Elsewhere: install Python from https://www.python.org/downloads/\n"
        f"Then call again:          {command_again()}"
    )


def no_pip(python: Path | str) -> str:
    """Return the message for an environment without pip that ensurepip could not mend."""
    return (
        f"The environment of {python} has no pip, and it could not be put in.\n"
        f"  Try:                    {program(python)} -m ensurepip --upgrade --default-pip\n"
        f"  On Debian and Ubuntu, if that fails: sudo apt install python3-venv python3-pip\n"
        "  Or leave the environment (deactivate) and call again: the course then makes its own, in .venv."
    )


def explain(text: str, step: str, python: Path | str | None = None) -> str:
    """Return the message for a failed step.

    text: what the step printed; step: what was being done; python: the interpreter of the environment.
    The message names the cause, if the text shows one, and always says what to do.
    """
    python = python or sys.executable
    again = f"then call again; what has arrived is kept:\n  {command_again()}"
    cause = cause_of(text)
    if cause == "full":
        return (
            f"{step} stopped: the disk is full. {_free(ROOT)} at {ROOT}, {_free(tempfile.gettempdir())} at "
            f"{tempfile.gettempdir()}, where pip unpacks.\n"
            "The packages take about 2 GB, with a CUDA build of torch (the default on Linux) about 8 GB.\n"
            "Make room; pip's own cache can always go:\n"
            f"  {program(python)} -m pip cache purge\n"
            f"If only the second place is full, set TMPDIR to a folder with room; {again}"
        )
    if cause == "read-only":
        return (
            f"{step} stopped: a file or folder cannot be written.\n"
            f"The course is at {ROOT}, the environment belongs to {python}.\n"
            "Copy the course's folder to a place of your own, leave any active environment (deactivate), "
            f"{again}\nDo not use sudo for it."
        )
    if cause == "certificate":
        return (
            f"{step} stopped: the certificate of the package server was not accepted.\n"
            "In a company or school network, ask for its certificate file and name it:\n"
            f"  {program(python)} -m pip config set global.cert FILE\n"
            "A wrong date on this machine gives the same fault. Verification stays on; never switch it off.\n"
            f"Mend that, {again}"
        )
    if cause == "proxy":
        return (
            f"{step} stopped: the proxy refused. Set HTTPS_PROXY to your network's proxy "
            f"(http://user:password@host:port), or remove it if you use none, {again}"
        )
    if cause == "network":
        return (
            f"{step} stopped: no connection to the package server. Connect to the internet, {again}\n"
            "Behind a proxy, set HTTPS_PROXY=http://host:port first. Once set up, it needs no network."
        )
    if cause == "long path":
        return (
            f"{step} stopped: a path became too long for Windows. Move the course to a short folder such as\n"
            f"C:\\course, or switch on long paths (Settings, For developers, Enable long paths), {again}"
        )
    if cause == "no pip":
        return no_pip(python)
    if cause == "no venv":
        return no_venv()
    if cause == "no build":
        found = re.search(r"No matching distribution found for (\S+)", text)
        return (
            f"{step} stopped: there is no {found[1] if found else 'package'} for this Python and machine "
            f"({sys.version.split()[0]}, {64 if sys.maxsize > 2**32 else 32}-bit, {sys.platform}).\n"
            "Use a 64-bit Python from 3.11 to 3.14. Intel Macs have no current torch.\n"
            f"If it is torch, its installation page says what there is: {PYTORCH_PAGE}"
        )
    if cause == "conflict":
        return (
            f"{step} stopped: packages that are in this environment ask for other versions.\n"
            "Leave it (deactivate) and call again: the course then makes its own, in .venv."
        )
    return (
        f"{step} stopped; the lines above say why. Mend that, {again}\n"
        f"To see the whole of it, in {ROOT}:\n"
        f"  {program(python)} -m pip install -r requirements.txt -c constraints.txt"
    )


def explain_os_error(error: OSError) -> str:
    """Return the message for an OSError of our own file work, in the same words as `explain`."""
    text = str(error)  # starts with [Errno 28], which `cause_of` reads in any language
    where = f" ({error.filename})" if error.filename else ""
    message = explain(text, f"The set-up{where}")
    return message if cause_of(text) else f"The set-up{where} stopped: {error}.\n{message}"
