"""The set-up behind `python -m helpers`, run as a learner runs it, with a pip that only pretends.

A copy of the course stands in a folder with a space in its name. Fake modules (pip, ensurepip, jupyterlab,
pytest) come first on the path; they write down how they were called.
"""

import ast
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import __main__ as commands
from helpers import bootstrap, environments, mends

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = ("__init__.py", "__main__.py", "bootstrap.py", "doctor.py", "environments.py", "mends.py")
LISTS = ("requirements.txt", "requirements-dev.txt", "constraints.txt")
BASE = getattr(sys, "_base_executable", None) or sys.executable

RECORD = """
import json, os, sys
with open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as log:
    call = {"name": NAME, "argv": sys.argv[1:], "prefix": sys.prefix, "cwd": os.getcwd()}
    log.write(json.dumps(call) + "\\n")
"""
PIP = """
import os, pathlib, re, sys
if sys.argv[1:] == ["--version"]:
    sys.exit(0)
NAME = "pip"
exec(os.environ["FAKE_RECORD"])
text = os.environ.get("FAKE_PIP_ERROR", "")
if text:
    print(text, file=sys.stderr)
    sys.exit(1)
site = pathlib.Path(__file__).parent.parent
pins = pathlib.Path(sys.argv[sys.argv.index("-c") + 1]).read_text(encoding="utf-8")
(site / "constraints_seen.txt").write_text(pins, encoding="utf-8")
for name, version in re.findall(r"^([\\w-]+)==(\\S+)", pins, re.MULTILINE):
    folder = name.replace("-", "_")  # as pip names it
    if not list(site.glob(folder + "-*.dist-info")):
        (site / f"{folder}-{version}.dist-info").mkdir()
        (site / f"{folder}-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n", encoding="utf-8")
"""
PROGRAM = """
import os, sys
NAME = __package__
exec(os.environ["FAKE_RECORD"])
sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
"""
ENSUREPIP = """
import os, sys
if os.environ.get("FAKE_ENSUREPIP") == "missing":
    raise ModuleNotFoundError("No module named 'ensurepip'", name="ensurepip")
if __name__ == "__main__" and os.environ.get("FAKE_ENSUREPIP"):
    sys.exit(os.environ["FAKE_ENSUREPIP"])
"""


class Course:
    """A copy of the course's set-up in a folder of its own, with fake programs beside it."""

    def __init__(self, folder: Path):
        self.root, self.fakes, self.log = folder / "a course", folder / "fakes", folder / "log.txt"
        (self.root / "helpers" / "lesson").mkdir(parents=True)
        for name in (*BOOTSTRAP, "lesson/__init__.py", "lesson/finding.py", "lesson/reset.py"):
            shutil.copy(ROOT / "helpers" / name, self.root / "helpers" / name)
        for name in LISTS:
            shutil.copy(ROOT / name, self.root / name)
        self.fake("pip/__main__.py", PIP)
        self.fake("ensurepip.py", ENSUREPIP)
        for program in ("jupyterlab", "pytest"):
            self.fake(f"{program}/__main__.py", PROGRAM)
        self.python = environments.python_in(self.root / ".venv")

    def fake(self, name: str, text: str) -> None:
        """Put a module on the path before all others."""
        path = self.fakes / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "__main__.py":
            (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8", newline="\n")

    def installed(self, name: str, version: str) -> None:
        """Pretend that a package is installed."""
        self.fake(
            f"{name.replace('-', '_')}-{version}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        )

    def environment(self, **variables) -> dict[str, str]:
        dropped = ("VIRTUAL_ENV", "CONDA_PREFIX")
        kept = {
            k: v for k, v in os.environ.items() if k not in dropped and not k.startswith(("PIP_", "COURSE_"))
        }
        mine = {"PYTHONPATH": str(self.fakes), "FAKE_LOG": str(self.log), "FAKE_RECORD": RECORD}
        return {**kept, **mine, **variables}

    def call(self, *arguments: str, python: Path | str = BASE, **variables) -> subprocess.CompletedProcess:
        """Run python -m helpers in the copy, as a learner does; a traceback is never right."""
        done = subprocess.run(
            [python, "-m", "helpers", *arguments],
            cwd=self.root,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def calls(self, name: str) -> list[dict]:
        """Return how a fake program was called, in order."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [call for call in map(json.loads, lines) if call["name"] == name]

    def venv(self, folder: Path | None = None) -> Path:
        """Make an environment without pip quickly; return its interpreter."""
        folder = folder or self.root / ".venv"
        subprocess.run([BASE, "-m", "venv", "--without-pip", folder], check=True)
        return environments.python_in(folder)


@pytest.fixture
def course(tmp_path):
    if environments.is_environment(Path(sys.base_prefix)):
        pytest.skip(
            "the Python under this environment is a conda environment itself, so there is no bare one"
        )
    return Course(tmp_path)


# --- the files themselves ---


def test_the_package_itself_imports_nothing():
    tree = ast.parse((ROOT / "helpers" / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("name", BOOTSTRAP)
def test_the_bootstrap_is_plain_standard_library(name):
    known = sys.stdlib_module_names | {"helpers"}
    for node in ast.walk(ast.parse((ROOT / "helpers" / name).read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert {n.split(".")[0] for n in names} <= known


def test_an_old_python_can_parse_the_command_and_gets_one_sentence():
    source = (ROOT / "helpers" / "__main__.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    assert [node.names[0].name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)] == [
        "sys"
    ]
    sentence = commands.too_old((3, 8, 18), "old/python")
    assert "3.11" in sentence and "3.8.18" in sentence and "old/python" in sentence and "\n" not in sentence
    assert commands.too_old((3, 11, 0), "python") == commands.too_old((4, 0, 0), "python") == ""


def test_an_old_python_stops_before_anything_else(monkeypatch, capsys):
    monkeypatch.setattr(commands.sys, "version_info", (3, 9, 1))
    monkeypatch.setitem(sys.modules, "helpers.bootstrap", None)  # importing it would fail
    assert commands.main(["lab"]) == 1
    assert "3.9.1" in capsys.readouterr().err


# --- help ---


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_without_a_command_a_bare_python_lists_them(course, arguments):
    done = course.call(*arguments)
    assert done.returncode == 0
    for command in ("lab", "test", "doctor", "run", "reset"):
        assert re.search(rf"-m helpers {command}\b", done.stdout)


def test_an_unknown_command_lists_the_known_ones_and_gives_2(course):
    done = course.call("labb")
    assert done.returncode == 2
    assert "unknown command: labb" in done.stderr and "-m helpers doctor" in done.stderr


@pytest.mark.parametrize("command", ["lab", "test", "doctor"])
def test_help_of_a_command_sets_nothing_up(course, command):
    done = course.call(command, "--help")
    assert done.returncode == 0 and command in done.stdout
    assert not (course.root / ".venv").exists()


# --- lab and test ---


def test_lab_makes_an_environment_installs_and_opens_the_notebooks(course):
    done = course.call("lab", "--no-browser", "--port=8890")
    assert done.returncode == 0, done.stderr
    (pip,) = course.calls("pip")
    assert pip["argv"][0] == "install" and "--upgrade" not in pip["argv"]
    assert pip["argv"][pip["argv"].index("-r") + 1] == "requirements.txt"
    assert Path(pip["cwd"]) == course.root and Path(pip["prefix"]) == course.root / ".venv"
    assert (course.fakes / "constraints_seen.txt").read_text(encoding="utf-8") == (
        course.root / "constraints.txt"
    ).read_text(encoding="utf-8")
    (lab,) = course.calls("jupyterlab")
    assert Path(lab["prefix"]) == course.root / ".venv"
    assert lab["argv"][-2:] == ["--no-browser", "--port=8890"]
    assert f"--ServerApp.root_dir={course.root}" in lab["argv"]
    assert "--LabApp.default_url=/lab/tree/notebooks" in lab["argv"]


def test_a_second_call_goes_straight_on(course):
    course.call("lab")
    again = course.call("lab")
    assert again.returncode == 0
    assert len(course.calls("pip")) == 1 and len(course.calls("jupyterlab")) == 2
    assert "Installing" not in again.stdout and "Making" not in again.stdout


def test_the_first_call_of_lab_keeps_the_originals_for_a_reset_without_git(course):
    notebook = course.root / "notebooks" / "05_toy.ipynb"
    notebook.parent.mkdir()
    notebook.write_text("original", encoding="utf-8")
    course.call("lab")
    notebook.write_text("the learner's", encoding="utf-8")
    course.call("lab")
    kept = course.root / "data" / "originals" / notebook.name
    assert kept.read_text(encoding="utf-8") == "original"


def test_test_installs_the_development_list_and_forwards_arguments_and_exit_code(course):
    done = course.call("test", "-k", "gpt or bigram", FAKE_EXIT="3")
    assert done.returncode == 3
    assert "requirements-dev.txt" in course.calls("pip")[0]["argv"]
    assert course.calls("pytest")[0]["argv"] == ["-k", "gpt or bigram"]
    assert Path(course.calls("pytest")[0]["cwd"]) == course.root
    course.call("lab")  # what the tests need contains what the lab needs
    assert len(course.calls("pip")) == 1


def test_lab_first_does_not_count_as_the_set_up_of_the_tests(course):
    course.call("lab")
    course.call("test")
    assert len(course.calls("pip")) == 2


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt"])
def test_a_changed_list_is_installed_again(course, name):
    course.call("lab")
    with (course.root / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    course.call("lab")
    assert len(course.calls("pip")) == 2


def test_a_package_that_was_removed_is_installed_again(course):
    course.call("lab")
    shutil.rmtree(next(course.fakes.glob("tqdm-*.dist-info")))
    course.call("lab")
    assert len(course.calls("pip")) == 2
    assert list(course.fakes.glob("tqdm-*.dist-info"))


def test_a_moved_course_is_installed_again(course):
    course.call("lab")
    course.root = course.root.rename(course.root.with_name("moved course"))
    course.call("lab")
    assert len(course.calls("pip")) == 2  # `-e .` pointed to the old place


def test_the_active_environment_is_used_and_no_other_is_made(course, tmp_path):
    python = course.venv(tmp_path / "mine")
    assert course.call("lab", VIRTUAL_ENV=str(tmp_path / "mine")).returncode == 0  # named
    assert course.call("lab", python=python).returncode == 0  # called by its path
    assert {call["prefix"] for call in course.calls("jupyterlab")} == {str(tmp_path / "mine")}
    assert len(course.calls("pip")) == 1
    assert not (course.root / ".venv").exists()


def test_a_named_environment_that_is_gone_is_passed_over(course, tmp_path):
    assert course.call("lab", VIRTUAL_ENV=str(tmp_path / "gone")).returncode == 0
    assert Path(course.calls("jupyterlab")[0]["prefix"]) == course.root / ".venv"


def test_conda_environments_count_except_base(tmp_path):
    for name in ("mine", "base"):
        (tmp_path / name / "conda-meta").mkdir(parents=True)
    assert environments.is_environment(tmp_path / "mine")
    (tmp_path / "base" / "condabin").mkdir()
    assert not environments.is_environment(tmp_path / "base")
    assert not environments.is_environment(tmp_path)


@pytest.mark.parametrize(("user", "typed", "passed"), [(0, [], 1), (0, ["--allow-root"], 1), (1000, [], 0)])
def test_jupyterlab_gets_allow_root_from_root_alone(monkeypatch, user, typed, passed):
    started = []
    monkeypatch.setattr(bootstrap, "in_environment", lambda: True)
    monkeypatch.setattr(bootstrap, "install", lambda kind: None)
    monkeypatch.setattr(bootstrap, "start", lambda command, **options: started.append(command) or 0)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: user, raising=False)
    assert bootstrap.lab(typed) == 0
    assert started[0].count("--allow-root") == passed


# --- the learner's own torch ---


def test_a_torch_of_another_version_stays(course):
    course.installed("torch", "2.99.1+cu130")
    done = course.call("lab")
    assert done.returncode == 0, done.stderr
    assert "Keeping your torch 2.99.1+cu130" in done.stdout
    seen = (course.fakes / "constraints_seen.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in seen if line.startswith("torch==")] == ["torch==2.99.1+cu130"]
    tested = (course.root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [x for x in seen if not x.startswith("torch==")] == [
        x for x in tested if not x.startswith("torch==")
    ]


def test_another_build_of_the_tested_torch_needs_no_word(course):
    course.installed("torch", environments.read_requirements("constraints.txt")["torch"] + "+cu130")
    assert "Keeping" not in course.call("lab").stdout
    assert len(course.calls("pip")) == 1


def test_a_torch_that_is_too_old_is_left_alone_and_named(course):
    course.installed("torch", "1.13.1+cu117")
    done = course.call("lab")
    assert done.returncode == 1
    assert "1.13.1+cu117" in done.stderr and "pytorch.org" in done.stderr and "deactivate" in done.stderr
    assert not course.calls("pip") and not course.calls("jupyterlab")


# --- what can go wrong ---

PIP_SAYS = {
    "no network": (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("
        "'<HTTPSConnection>: Failed to establish a new connection: [Errno -2] Name or service not known')'\n"
        "ERROR: Could not find a version that satisfies the requirement torch>=2.6 (from versions: none)\n"
        "ERROR: No matching distribution found for torch>=2.6",
        ["no connection", "Connect to the internet", "-m helpers lab"],
    ),
    "no network, new pip": (
        "WARNING: Retrying after connection broken by 'NameResolutionError(\"Failed to resolve 'index' "
        "([Errno 8] nodename nor servname provided, or not known)\")'",
        ["no connection", "Connect to the internet"],
    ),
    "time-out": (
        "ERROR: Exception:\nTraceback (most recent call last):\n  File\nReadTimeoutError: Read timed out.",
        ["no connection"],  # and no traceback: `call` looks for one
    ),
    "certificate": (
        "Could not fetch URL: SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))",
        ["certificate", "config set global.cert"],
    ),
    "proxy": ("connection broken by 'ProxyError('Cannot connect to proxy.', ...)'", ["HTTPS_PROXY"]),
    "full disk": (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        ["disk is full", "pip cache purge", "TMPDIR", "-m helpers lab"],
    ),
    "full disk, Windows": ("OSError: [WinError 112] Es steht nicht genug Speicherplatz", ["disk is full"]),
    "read-only": (
        "ERROR: Could not install packages due to an OSError: [Errno 30] Read-only file system: 'x'",
        ["cannot be written", "Copy the course", "Do not use sudo"],
    ),
    "long path": (
        "ERROR: Could not install packages due to an OSError: [Errno 2] No such file or directory\n"
        "HINT: This error might have occurred since this system has no Windows Long Path support enabled.",
        ["too long for Windows", "Enable long paths"],
    ),
    "no build": (
        "ERROR: Could not find a version that satisfies the requirement torch>=2.6 (from versions: 2.2.0)\n"
        "ERROR: No matching distribution found for torch>=2.6",
        ["no torch>=2.6 for this Python", "64-bit", "Intel Macs", mends.PYTORCH_PAGE],
    ),
    "conflict": ("ERROR: ResolutionImpossible: for help visit ...", ["deactivate", ".venv"]),
    "anything else": ("ERROR: the moon is full", ["lines above", "pip install -r requirements.txt"]),
}


@pytest.mark.parametrize("case", PIP_SAYS)
def test_a_failed_installation_gets_one_message_with_its_mend(course, case):
    error, expected = PIP_SAYS[case]
    course.venv()
    done = course.call("lab", FAKE_PIP_ERROR=error)
    assert done.returncode == 1
    message = done.stderr.replace(error, "")
    for words in expected:
        assert words in message
    assert message.count(" stopped") == 1  # one message
    assert not course.calls("jupyterlab")


def test_a_failed_installation_does_not_count_as_done(course):
    assert course.call("lab", FAKE_PIP_ERROR="Read timed out.").returncode == 1
    assert course.call("lab").returncode == 0
    assert len(course.calls("pip")) == 2 and len(course.calls("jupyterlab")) == 1


def test_a_missing_ensurepip_names_the_package_of_debian(course):
    done = course.call("lab", FAKE_ENSUREPIP="missing")
    assert done.returncode == 1
    assert f"sudo apt install python3.{sys.version_info.minor}-venv" in done.stderr
    assert not (course.root / ".venv").exists()


def test_a_disk_that_fills_while_the_environment_is_made(course):
    error = "Traceback (most recent call last):\nOSError: [Errno 28] No space left on device"
    done = course.call("lab", FAKE_ENSUREPIP=error)
    assert done.returncode == 1
    assert "disk is full" in done.stderr and "Making the environment stopped" in done.stderr
    assert not course.calls("jupyterlab")
    assert course.call("lab").returncode == 0


def test_a_folder_that_cannot_be_written(course):
    course.fake("venv/__main__.py", "import sys; sys.exit(\"Error: [Errno 13] Permission denied: '.venv'\")")
    done = course.call("lab")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr and "Copy the course" in done.stderr


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written"), (errno.EIO, "EIO")],
)
def test_a_fault_of_our_own_file_work_gets_the_same_message(monkeypatch, capsys, number, words):
    def fail(arguments):
        raise OSError(number, "EIO" if number == errno.EIO else os.strerror(number), "stamp.json")

    monkeypatch.setattr(bootstrap, "lab", fail)
    assert bootstrap.guarded("lab", []) == 1
    message = capsys.readouterr().err
    assert words in message and "stamp.json" in message and message.count("stopped") <= 2


def test_an_environment_without_pip_gets_one(course):
    python = course.venv(course.root / "mine")
    shutil.rmtree(course.fakes / "pip")
    done = course.call("lab", python=python, FAKE_ENSUREPIP="ensurepip: broken")
    assert done.returncode == 1
    assert "has no pip" in done.stderr and "-m ensurepip" in done.stderr and "deactivate" in done.stderr


@pytest.mark.parametrize("state", ["empty", "folders only", "interpreter gone", "no pip", "broken pip"])
def test_a_half_made_environment_is_made_whole(course, state):
    folder = course.root / ".venv"
    if state in ("empty", "folders only"):
        folder.mkdir()
    if state == "folders only":
        (folder / "bin").mkdir()
    if state in ("interpreter gone", "no pip", "broken pip"):
        course.venv()
    if state == "interpreter gone":
        course.python.unlink()
    if state in ("no pip", "broken pip"):  # until ensurepip has put one in
        (course.fakes / "pip").rename(course.fakes / "real_pip")
        text = "import os; os.rename(os.path.join(os.path.dirname(__file__), 'real_pip'), "
        text += "os.path.join(os.path.dirname(__file__), 'pip'))"
        course.fake("ensurepip.py", f"if __name__ == '__main__':\n    {text}\n")
    if state == "broken pip":
        (course.fakes / "pip.py").write_text("raise SystemExit('half a pip')", encoding="utf-8")
    done = course.call("lab")
    assert done.returncode == 0, done.stderr
    assert Path(course.calls("jupyterlab")[0]["prefix"]) == folder


def test_a_folder_that_is_no_environment_is_never_cleared(course):
    (course.root / ".venv").mkdir()
    (course.root / ".venv" / "thesis.txt").write_text("mine", encoding="utf-8")
    done = course.call("lab")
    assert done.returncode == 1 and "Move it away" in done.stderr
    assert (course.root / ".venv" / "thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_a_real_environment_has_a_real_pip(course):
    shutil.rmtree(course.fakes / "pip")
    (course.fakes / "ensurepip.py").unlink()
    (course.root / "requirements.txt").write_text("", encoding="utf-8")
    (course.root / "constraints.txt").write_text("", encoding="utf-8")
    done = course.call("lab", PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert Path(course.calls("jupyterlab")[0]["prefix"]) == course.root / ".venv"
    assert (course.root / ".venv" / environments.STAMP).is_file()
    scripts = {path.stem for path in course.python.parent.iterdir()}
    assert (
        "pip" in scripts
    )  # `pip install ...` in the active environment must not be another environment's pip


# --- run and reset ---


def lesson_module(course: Course, name: str) -> None:
    path = course.root / "helpers" / "lesson" / f"{name}.py"
    text = "import sys\ndef main(argv):\n    print(__name__, sys.prefix, argv)\n    return 4\n"
    text += "def keep_originals(root):\n    return 0\n"
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("command", "module"), [("run", "runner"), ("reset", "reset")])
def test_run_and_reset_without_packages_name_lab(course, command, module):
    lesson_module(course, module)
    done = course.call(command, "05")
    assert done.returncode == 1
    assert "torch" in done.stderr and "-m helpers lab" in done.stderr
    assert done.stdout == "" and not (course.root / ".venv").exists()


@pytest.mark.parametrize(("command", "module"), [("run", "runner"), ("reset", "reset")])
def test_run_and_reset_reach_their_module_with_arguments_and_exit_code(course, command, module):
    lesson_module(course, module)
    course.call("lab")
    done = course.call(command, "05", "--text", "tales")
    assert done.returncode == 4
    assert f"helpers.lesson.{module}" in done.stdout and "['05', '--text', 'tales']" in done.stdout


def test_run_looks_for_its_packages_in_the_made_environment(course):
    lesson_module(course, "runner")
    course.call("lab")
    packages = course.fakes.glob("*.dist-info")
    site = next((course.root / ".venv").rglob("site-packages"))
    for package in list(packages):
        shutil.move(package, site / package.name)  # now only .venv has them
    done = course.call("run")
    assert done.returncode == 4 and str(course.root / ".venv") in done.stdout


# --- starting programs ---


def test_the_exit_code_of_a_program_is_ours():
    assert bootstrap.start([sys.executable, "-c", "raise SystemExit(5)"]) == 5


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between processes")
def test_a_program_that_a_signal_ended_gives_128_and_its_number():
    assert bootstrap.start([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between processes")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_termination_reach_the_program_and_its_exit_code_comes_back(course, sent):
    course.venv()
    course.fake(
        "jupyterlab/__main__.py",
        "import os, pathlib, signal, sys, time\n"
        "def end(*_): sys.exit(7)\n"
        "signal.signal(signal.SIGINT, end); signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path(os.environ['FAKE_LOG']).touch()\n"
        "time.sleep(30); sys.exit(8)\n",
    )
    for version in environments.read_requirements("constraints.txt").items():
        course.installed(*version)
    command = [BASE, "-m", "helpers", "lab"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert course.call("lab", FAKE_PIP_ERROR="x").returncode == 1  # pip is called, so the log is there
    course.log.unlink()
    course.fake("pip/__main__.py", "")
    with subprocess.Popen(command, cwd=course.root, env=course.environment(), **pipes) as process:
        deadline = time.monotonic() + 20
        while not course.log.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert course.log.exists(), "JupyterLab's stand-in never started"
        process.send_signal(sent)
        assert process.wait(timeout=20) == 7


def test_a_program_in_a_folder_with_a_space_can_be_typed_in_powershell_too(monkeypatch):
    path = "/my course/python"
    assert mends.program(path) == '"/my course/python"'
    monkeypatch.setattr(mends, "os", SimpleNamespace(name="nt"))
    assert mends.program(path) == '& "/my course/python"'
    assert mends.program("/course/python") == "/course/python"
