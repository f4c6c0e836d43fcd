"""What tests put around a Python that they start: a wall that no connection leaves, and packages that are missing.

    wall = Wall(tmp_path)
    subprocess.run([sys.executable, ...], env=wall.environment())
    wall.processes(), wall.refused()

A `sitecustomize` on PYTHONPATH does it, so it holds for every Python that the first one starts, kernels included.
"""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

WALL = """
import errno, ipaddress, os, sys

LOG = {log!r}


def note(kind, what):
    with open(LOG, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{{kind}}\\t{{what}}\\n")


def is_here(host, lookup):
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False  # a name, which a server elsewhere would have to explain
    return lookup or address.is_loopback


def refuse(event, arguments):
    # An audit hook sees what Python's sockets do, whatever a program has imported or put in their place.
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) and address else None  # else a socket that is a file
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not is_here(host, lookup=not event.startswith(("socket.connect", "socket.send"))):
        note("refused", f"{{event}} {{host!r}}")
        raise OSError(errno.ENETUNREACH, "Network is unreachable (the test's wall)")


sys.addaudithook(refuse)
note("walled", " ".join(sys.orig_argv[1:4]))
"""

MISSING = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Missing())
"""


def with_site(folder: Path, source: str, **variables: str) -> dict[str, str]:
    """The environment of a Python that runs `source` before anything else; COURSE_ variables are dropped.

    COURSE_DEVICE stays: who runs the tests may have a reason for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(source, encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COURSE_") or k == "COURSE_DEVICE"}
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **variables}


def without_packages(folder: Path, *names: str) -> dict[str, str]:
    """The environment of a Python in which these packages are not installed."""
    return with_site(folder, MISSING.format(names=set(names)))


class Wall:
    """No address but this machine's own can be reached from behind it. folder: where it keeps its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "wall"
        self.log = self.folder / "log.txt"

    def environment(self, **variables: str) -> dict[str, str]:
        return with_site(self.folder, WALL.format(log=str(self.log)), **variables)

    def lines(self, kind: str) -> list[str]:
        rows = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [row.partition("\t")[2] for row in rows if row.startswith(f"{kind}\t")]

    def processes(self) -> list[str]:
        """How each Python behind the wall was started."""
        return self.lines("walled")

    def refused(self) -> list[str]:
        """Each try to reach another machine."""
        return self.lines("refused")


def copy_of_the_course(to: Path, *notebooks: Path) -> Path:
    """A course as a fresh clone has it, with only these notebooks: no book, no model of the learner's."""
    shutil.copytree(ROOT / "helpers", to / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("data", "notebooks"):
        (to / folder).mkdir()
    for path in (*ROOT.glob("*.txt"), *ROOT.glob("*.py"), *ROOT.glob("*.toml")):
        shutil.copy(path, to)
    for path in ROOT.glob("data/tales_gpt.*"):
        shutil.copy(path, to / "data")
    shutil.copytree(ROOT / "tests" / "data", to / "tests" / "data")
    for path in notebooks:
        shutil.copy(path, to / "notebooks")
    return to
