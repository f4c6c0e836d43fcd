"""The files around the course: what is declared is used and installed, and nothing belongs to one machine."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from helpers.environments import installed_version, public, read_requirements, version_key

ROOT = Path(__file__).resolve().parent.parent
LISTS = ("requirements.txt", "requirements-dev.txt")
DECLARED = read_requirements(*LISTS)
PINNED = read_requirements("constraints.txt")

MODULES = {
    "ipython": "IPython",
    "jupyter-client": "jupyter_client",
    "pytest-xdist": "xdist",
}  # where the module's name is not the package's

# Declared, and imported nowhere in the course.
NOT_IMPORTED = {
    "pytest-xdist": "an option of pytest: -n 2 in .ci/run runs two tests at a time",
    "jupyterlab": "it is started, not imported",
    "ipywidgets": "tqdm's bars in notebooks use it",
    "ruff": "a command",
    "jupytext": "a command",
}


def tracked() -> list[Path]:
    """The course's own files: what git tracks or would track; without git, all but what .gitignore names."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True
        )
        return sorted(p for p in (ROOT / name for name in names.stdout.split("\0") if name) if p.is_file())
    hidden = {
        ".venv",
        "__pycache__",
        ".git",
        ".ipynb_checkpoints",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
    }
    found = (p for p in ROOT.rglob("*") if p.is_file() and not hidden & set(p.relative_to(ROOT).parts))
    return sorted(p for p in found if p.parent.name != "data" and ".egg-info" not in str(p))


FILES = tracked()
SHIPPED = {"README.md", "tales_gpt.safetensors", "tales_gpt.json"}


def text_of(path: Path) -> str:
    """The text of a file, or "" for one that is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def code_of(path: Path) -> str:
    """The Python of a script or of a notebook's code cells, without lines that only IPython understands."""
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code").splitlines()
    return "\n".join("" if line.startswith(("%", "!")) else line for line in lines)


def imports_of(path: Path) -> set[str]:
    """The top-level names that a file imports, from itself (relative imports) apart."""
    names = set()
    for node in ast.walk(ast.parse(code_of(path), filename=str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


def third_party() -> dict[str, set[str]]:
    """{imported name: files} of all that is neither the standard library's nor ours."""
    sources = [p for p in FILES if p.suffix in (".py", ".ipynb")]
    ours = {"helpers"} | {p.stem for p in sources if p.parent in (ROOT, ROOT / "tests")}
    found = {}
    for path in sources:
        for name in imports_of(path) - ours - sys.stdlib_module_names:
            found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return found


def package_of(name: str) -> set[str]:
    """The packages that hold a module of this name, in the running environment."""
    found = importlib.metadata.packages_distributions().get(name, [name])
    return {re.sub(r"[-_.]+", "-", package).lower() for package in found}


# --- case 1: declared, used, and no compiler ---


def test_every_import_of_another_package_is_declared():
    found = third_party()
    assert {"torch", "numpy", "pytest"} <= found.keys()  # the search sees something
    assert {name: files for name, files in found.items() if not package_of(name) & DECLARED.keys()} == {}


def test_every_declared_package_is_imported_or_has_a_reason():
    imported = set().union(*map(package_of, third_party()))
    assert DECLARED.keys() - imported - NOT_IMPORTED.keys() == set()
    assert NOT_IMPORTED.keys() <= DECLARED.keys()


def test_nothing_asks_for_pylzma():
    assert "pylzma" not in DECLARED | PINNED | third_party()
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["project"]["dependencies"] == []  # requirements.txt is the one list
    with_install = [p for p in FILES if re.search(r"pip3? install[^\n]*pylzma", text_of(p))]
    assert [p for p in with_install if p != Path(__file__)] == []


# --- case 2: no index of our own ---


def test_no_file_names_a_package_index():
    option = re.compile("--(?:extra-)?index-" + "url|--find-" + "links|download" + r"\.pytorch\.org")
    assert [p.relative_to(ROOT).as_posix() for p in FILES if option.search(text_of(p))] == []


# --- case 3: lower bounds, tested versions, both hold here ---


def test_every_requirement_has_a_lower_bound_and_nothing_else():
    for name in LISTS:
        lines = [
            line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        ]
        allowed = r"[a-z][a-z0-9-]*>=\d+(?:\.\d+)+|-e \.|-r requirements\.txt"
        assert [line for line in lines if line and not re.fullmatch(allowed, line)] == []
    assert "-e ." in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def test_every_requirement_has_a_tested_version_that_its_bound_admits():
    assert PINNED.keys() == DECLARED.keys()
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [
        line for line in pins if not re.fullmatch(r"[a-z][a-z0-9-]*==\d+(?:\.\d+)+", line)
    ] == []  # no +cpu
    assert [p for p in DECLARED if version_key(PINNED[p]) < version_key(DECLARED[p])] == []


@pytest.mark.parametrize("package", DECLARED)
def test_the_installed_version_is_the_tested_one(package):
    version = installed_version(package)
    assert version is not None, f"{package} is not installed: python -m helpers test"
    assert version_key(version) >= version_key(DECLARED[package])
    if public(version) != PINNED[package] and not os.environ.get("CI"):
        pytest.skip(f"{package} {version} is here by the learner's choice; tested is {PINNED[package]}")
    assert public(version) == PINNED[package]


def test_pip_finds_no_broken_requirement():
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this environment has no pip")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout


# --- case 4: everything imports without a warning ---


def test_every_declared_package_imports_when_warnings_are_errors():
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n        importlib.import_module(name)\n"
        "    except BaseException as error:\n        sys.exit(f'{name}: {type(error).__name__}: {error}')\n"
        "print(len(sys.argv) - 1)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, *(MODULES.get(name, name) for name in DECLARED)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(DECLARED))]


# --- the rest of the house ---


def test_no_file_names_a_place_on_one_machine():
    places = {ROOT, ROOT.parent / "shared", Path.home(), Path(sys.prefix), Path(sys.base_prefix)}
    names = [re.escape(str(p)) for p in places if len(p.parts) > 2 or p == Path.home()]
    pattern = re.compile(
        "|".join(rf"(?<![\w./-]){name}(?![\w-])" for name in names)
        + r"|(?<![\w./-])/(?:home|Users|root)/\w+|\b[A-Z]:\\+Users\\"
        + r"|/tmp/ipy"
        + r"kernel_\d+"
    )
    found = {p.relative_to(ROOT).as_posix(): pattern.search(text_of(p)) for p in FILES}
    assert {name: match[0] for name, match in found.items() if match} == {}


def test_data_holds_only_what_belongs_to_the_course():
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone")
    names = {p.name for p in FILES if p.parent == ROOT / "data"}
    assert "README.md" in names and names <= SHIPPED
    ask = [
        git,
        "check-ignore",
        "--no-index",
        "data/wizard_of_oz.txt",
        "data/my_gpt.pt",
        "data/tales_gpt.json",
    ]
    ignored = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, encoding="utf-8").stdout.split()
    assert ignored == ["data/wizard_of_oz.txt", "data/my_gpt.pt"]


def test_the_package_is_installed_with_its_lessons_and_an_open_python():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["project"]["requires-python"] == ">=3.11"
    packages = {
        p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in FILES if p.name == "__init__.py"
    }
    assert {p for p in packages if p.startswith("helpers")} == set(config["tool"]["setuptools"]["packages"])


def test_notebooks_are_checked_out_with_the_same_line_ends_everywhere():
    rules = (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    assert "*.ipynb text eol=lf" in rules and "*.safetensors binary" in rules
    assert [p.name for p in FILES if p.suffix == ".ipynb" and b"\r" in p.read_bytes()] == []


def test_ci_calls_the_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert (
        script.rstrip().splitlines()[-1].startswith("exec python3 -m helpers test")
    )  # pytest's summary is the end
    assert "set -euo pipefail" in script
    if os.name != "nt":
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    for word in (
        "ubuntu-latest",
        "macos-latest",
        "windows-latest",
        '"3.11"',
        '"3.14"',
        "python -m helpers test",
    ):
        assert word in workflow
    assert "Not verified" in workflow


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(command):
    sources = [p for p in FILES if p.suffix in (".py", ".ipynb")]
    arguments = [
        sys.executable,
        "-m",
        "ruff",
        *command,
        "--no-cache",
        "--output-format",
        "concise",
        *map(str, sources),
    ]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
