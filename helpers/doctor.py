"""python -m helpers doctor: what is here, what is missing, and the command that mends it.

Works on a bare Python. Packages are read from their metadata; torch alone is imported, and in a process of
its own, so that a broken one is reported like anything else.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.environments import (
    STAMP,
    VENV,
    in_environment,
    installed_version,
    lacking,
    public,
    python_in,
    read_requirements,
    usable,
    version_key,
)
from helpers.mends import PYTORCH_PAGE, ROOT, program, quoted, typed_python

GIB = 2**30
OURS = "gpt-course"  # the name of our own package in pyproject.toml

# Run in a process of its own; its last line of output is JSON.
PROBE = """
import json, sys, torch
facts = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None),
         "cuda_works": torch.cuda.is_available(), "mps_built": torch.backends.mps.is_built()}
try:
    from helpers.device import describe, pick_device
    device = pick_device()
    facts.update(device=device.type, says=describe(device))
except Exception as error:
    facts["fault"] = f"{type(error).__name__}: {error}"
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Line:
    """One line of the check-up: level is "ok", "note" or "problem"; mend is a command or a short sentence."""

    level: str
    what: str
    says: str
    mend: str = ""


def lab_command() -> str:
    """Return the command that installs what is missing."""
    return f"{typed_python()} -m helpers lab"


def check_python() -> Iterator[Line]:
    """The interpreter: version, 32 or 64 bit, the right kind for the machine."""
    bits = 64 if sys.maxsize > 2**32 else 32
    says = f"{platform.python_version()}, {bits}-bit, {sys.executable}"
    machine = platform.machine()
    if bits == 32:
        yield Line(
            "problem", "Python", f"{says}; torch needs a 64-bit one", "https://www.python.org/downloads/"
        )
    elif sys.platform == "darwin" and machine == "x86_64":
        chip = subprocess.run(
            ["sysctl", "-n", "sysctl.proc_translated"], capture_output=True, text=True, encoding="utf-8"
        ).stdout
        if chip.strip() == "1":
            mend = "install Python from https://www.python.org/downloads/, delete .venv, and start again"
            yield Line("problem", "Python", f"{says}; made for Intel, and this Mac has Apple silicon", mend)
        else:
            mend = "use another machine for the course"
            yield Line("problem", "Python", f"{says}; there is no current torch for Intel Macs", mend)
    else:
        yield Line("ok", "Python", says)


def check_environment() -> Iterator[Line]:
    """Where packages go, and whether the set-up was finished there."""
    if in_environment():
        yield Line("ok", "environment", sys.prefix)
    elif VENV.exists() and not usable(python_in(VENV)):
        yield Line("problem", "environment", ".venv is there, but its Python does not start", lab_command())
    elif lacking():
        yield Line("problem", "environment", "none yet: the course is not set up", lab_command())
    else:
        yield Line("note", "environment", f"none, but {sys.prefix} has all packages")
    if in_environment() and not (Path(sys.prefix) / STAMP).is_file():
        yield Line("note", "set-up", f"not made by `{lab_command()}`, or not finished", lab_command())


def check_packages() -> Iterator[Line]:
    """Each package: its version beside the lower bound and the tested one; and our own package."""
    bounds, tested = read_requirements("requirements.txt"), read_requirements("constraints.txt")
    for package, oldest in bounds.items():
        version = installed_version(package)
        known = f"needed {oldest} or newer, tested {tested.get(package, 'with none')}"
        if version is None:
            yield Line("problem", package, f"not installed ({known})", lab_command())
        elif version_key(version) < version_key(oldest):
            mend = lab_command() if package != "torch" else f"update it as {PYTORCH_PAGE} says"
            yield Line("problem", package, f"{version} is too old ({known})", mend)
        else:
            yield Line("ok", package, f"{version} ({known})")
    try:
        origin = importlib.metadata.distribution(OURS).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        yield Line("problem", "helpers", "not installed, so notebooks cannot import it", lab_command())
        return
    address = json.loads(origin or "{}").get("url", ROOT.as_uri())
    if address.rstrip("/") != ROOT.as_uri():
        says = f"installed from another copy of the course: {address}"
        mend = f"{program(sys.executable)} -m pip install -e {quoted(ROOT)}"
        yield Line("problem", "helpers", says, mend)
    else:
        yield Line("ok", "helpers", "installed from this folder")


def probe_torch(timeout: float = 180.0) -> dict:
    """Return what torch says about itself, or {"broken": why it does not import}. Takes some seconds."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-c", PROBE]
    try:
        done = subprocess.run(
            command,
            env=env,
            timeout=timeout,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return {"broken": f"importing it took over {timeout:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"broken": f"{last} (exit code {done.returncode})"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def check_device() -> Iterator[Line]:
    """The device that the lessons will use, and a GPU that torch cannot use."""
    nvidia = shutil.which("nvidia-smi") is not None
    if installed_version("torch") is None:
        says = "known when torch is installed" + (" (an NVIDIA driver is here)" if nvidia else "")
        yield Line("note", "device", says, lab_command())
        return
    facts = probe_torch()
    if "broken" in facts:
        pip = f"{program(sys.executable)} -m pip"
        version = public(installed_version("torch"))
        mend = f"{pip} install --force-reinstall --no-deps torch=={version}"
        if os.name == "nt":
            mend += "   (and Microsoft's Visual C++ Redistributable, if that does not help)"
        yield Line("problem", "device", f"torch does not import: {facts['broken']}", mend)
        return
    wanted = os.environ.get("COURSE_DEVICE")
    if "fault" in facts:
        mend = "unset the variable COURSE_DEVICE" if wanted else PYTORCH_PAGE
        yield Line("problem", "device", facts["fault"], mend)
        return
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else f"ROCm {facts['hip']}" if facts["hip"] else ""
    built = built or ("Apple's MPS" if facts["mps_built"] else "the CPU alone")
    asked = f" (COURSE_DEVICE={wanted})" if wanted else ""
    yield Line("ok", "device", f"{facts['says']}{asked}; torch is built for {built}")
    if nvidia and not facts["cuda"]:
        says = "an NVIDIA driver is here, but this torch is built without CUDA: the GPU stays unused"
        mend = (
            f"{program(sys.executable)} -m pip uninstall -y torch\n"
            f"then, with the same Python, the CUDA command that {PYTORCH_PAGE} gives, then {lab_command()}"
        )
        yield Line("note", "GPU", says, mend)
    elif nvidia and not facts["cuda_works"]:
        says = f"an NVIDIA driver is here, but CUDA {facts['cuda']} does not start: the driver may be too old"
        yield Line("note", "GPU", says, f"a newer driver, or a build for an older CUDA: {PYTORCH_PAGE}")


def check_text() -> Iterator[Line]:
    """The text that the lessons will read."""
    books = importlib.import_module("helpers.books")
    own = os.environ.get("COURSE_TEXT", "").strip().strip("\"'")
    if own == "tales":
        yield Line("ok", "text", "the built-in tales (COURSE_TEXT)")
    elif own or books.BOOK_PATH.is_file():
        mend = (
            "unset the variable COURSE_TEXT, or correct it"
            if own
            else "python download_wizard_of_oz.py --force"
        )
        mend = re.sub("^python ", f"{typed_python()} ", mend)
        try:
            text = books.read_text(own or books.BOOK_PATH)
        except (OSError, ValueError) as error:
            yield Line("problem", "text", str(error), mend)
            return
        name = own or "The Wonderful Wizard of Oz, data/" + books.BOOK_PATH.name
        yield Line("ok", "text", f"{name}, {len(text):,} characters")
    else:
        says = "the built-in tales; the Oz book is not in data/"
        yield Line("note", "text", says, f"{typed_python()} download_wizard_of_oz.py")


def check_model() -> Iterator[Line]:
    """The shipped model, which later notebooks use when you have none of your own."""
    files = [ROOT / "data" / f"tales_gpt.{ending}" for ending in ("safetensors", "json")]
    gone = [f"data/{file.name}" for file in files if not file.is_file()]
    if gone:
        yield Line(
            "problem",
            "model",
            f"missing: {', '.join(gone)}",
            f"git checkout -- {' '.join(gone)}   (or get the course again)",
        )
    else:
        yield Line("ok", "model", f"data/tales_gpt.safetensors, {files[0].stat().st_size / 2**20:.1f} MiB")


def check_disk() -> Iterator[Line]:
    """Free space; what is needed depends on whether the packages are installed already."""
    free = shutil.disk_usage(ROOT).free / GIB
    needed, what = (
        (8.0, "installing with a CUDA torch takes 8 GiB, else 2") if lacking() else (1.0, "1 is good to have")
    )
    too_little = 2.0 if lacking() else 0.2
    level = "problem" if free < too_little else "note" if free < needed else "ok"
    mend = f"{program(sys.executable)} -m pip cache purge" if level != "ok" else ""
    yield Line(level, "disk", f"{free:.1f} GiB free ({what})", mend)


def memory() -> float | None:
    """Return this machine's memory in GiB, or None where it cannot be asked."""
    try:
        return importlib.import_module("psutil").virtual_memory().total / GIB
    except ImportError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    except (AttributeError, ValueError, OSError):
        return None


def check_memory() -> Iterator[Line]:
    """The machine's memory; no lesson takes more than 2 GiB of it."""
    total = memory()
    if total is None:
        yield Line("note", "memory", "not known without psutil", lab_command())
    elif total < 3.5:
        yield Line(
            "note", "memory", f"{total:.1f} GiB: tight", "close other programs, one notebook at a time"
        )
    else:
        yield Line("ok", "memory", f"{total:.1f} GiB")


CHECKS = (
    check_python,
    check_environment,
    check_packages,
    check_device,
    check_text,
    check_model,
    check_disk,
    check_memory,
)


def examine() -> list[Line]:
    """Return the lines of all checks; a check that fails itself becomes a problem line."""
    lines = []
    for check in CHECKS:
        try:
            lines.extend(check())
        except Exception as error:
            what = check.__name__.removeprefix("check_")
            lines.append(Line("problem", what, f"the check itself failed: {type(error).__name__}: {error}"))
    return lines


def report(lines: list[Line]) -> str:
    """Return the check-up as text: level, what, says, and the mend on a line of its own."""
    rows = []
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        rows.append(f"{line.level:<8} {line.what:<12} {line.says}")
        if line.mend and (following is None or line.mend != following.mend):  # once for a group of lines
            rows.append(f"{'':<21} to mend: " + line.mend.replace("\n", f"\n{'':<31}"))
    counts = [(sum(line.level == level for line in lines), level) for level in ("problem", "note")]
    summary = ", ".join(f"{count} {level}{'s' * (count != 1)}" for count, level in counts)
    return "\n".join([*rows, "", summary])


def main(argv: list[str] | None = None) -> int:
    """Print the check-up; return 1 if there is a problem, 2 for arguments (it takes none), else 0."""
    if argv:
        print(f"doctor takes no arguments, but got: {' '.join(argv)}", file=sys.stderr)
        return 2
    lines = examine()
    print(report(lines))
    return int(any(line.level == "problem" for line in lines))
