"""Rules that hold for all code and prose of the course, the notebooks included: read, not run.

Each rule is one kind of fault of the list in cases.py. A notebook that is added later is held to them too.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from helpers.lesson.finding import course_notebooks
from helpers.lesson.saving import CELL_LIMIT, code_cells
from helpers.mends import PYTORCH_PAGE

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = [ROOT / "notebooks" / name for name in course_notebooks(ROOT / "notebooks")]
MODULES = [*ROOT.glob("helpers/*.py"), *ROOT.glob("helpers/lesson/*.py"), *ROOT.glob("*.py")]
PAGES = [ROOT / name for name in ("README.md", "notebooks/README.md", "data/README.md")]


def cells(path: Path, kind: str = "code") -> list[str]:
    return [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def pieces() -> Iterator[tuple[str, ast.Module]]:
    """(place, syntax tree) of each module and of each code cell, without lines that only IPython understands."""
    for path in MODULES:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
    for path in NOTEBOOKS:
        for source in cells(path):
            lines = ["" if line.startswith(("%", "!")) else line for line in source.splitlines()]
            yield f"{path.name}, {source[:50]!r}", ast.parse("\n".join(lines))


PIECES = list(pieces())


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """(call, last name of what is called, the whole of it): (..., "run", "subprocess.run")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, getattr(node.func, "attr", getattr(node.func, "id", "")), ast.unparse(node.func)


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {k.arg: k.value for k in call.keywords if k.arg}


def is_text(node: ast.expr | None, pattern: str) -> bool:
    """Whether a piece of syntax is a string that begins like this."""
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(re.match(pattern, node.value))
    )


def broken(rule) -> list[str]:
    """The places whose calls break a rule: a function of (call, last name, whole name, keywords)."""
    return [
        f"{place}: {ast.unparse(call)[:100]}"
        for place, tree in PIECES
        for call, name, whole in calls(tree)
        if rule(call, name, whole, keywords(call))
    ]


# --- case 9: the locale decides nothing ---


def depends_on_the_locale(call, name, whole, given) -> bool:
    if "encoding" in given:
        return False
    if name == "open" and whole.split(".")[0] not in ("lzma", "zipfile", "tarfile", "webbrowser", "Image"):
        at = 1 if whole == "open" else 0
        mode = given.get("mode", call.args[at] if len(call.args) > at else ast.Constant("r"))
        return is_text(mode, r"[rwax+t]+$")
    if name == "read_text":
        return not call.args  # books.read_text(path) is ours, and always UTF-8
    if name == "write_text":
        return len(call.args) < 2
    if whole in ("subprocess.run", "subprocess.Popen", "subprocess.check_output"):
        return bool({"text", "universal_newlines"} & given.keys())
    return False


def test_every_text_is_read_and_written_with_a_named_encoding():
    assert broken(depends_on_the_locale) == []


# --- cases 30 and 34: no device is taken for granted ---

MOVES = {"to", "device", "set_default_device"}


def names_cuda(call, name, whole, given) -> bool:
    values = [given.get("device"), given.get("map_location"), *(call.args if name in MOVES else [])]
    return (name == "cuda" and not whole.startswith("torch.version")) or any(
        is_text(v, "cuda") for v in values
    )


def test_no_code_assumes_cuda():
    assert [place for place in broken(names_cuda) if not place.startswith("helpers/device.py")] == []


def test_calls_that_need_cuda_stand_where_it_was_asked_for():
    """torch.cuda.anything() raises on a machine without a GPU, so is_available() is asked in the same function."""
    asking, wrong = ("torch.cuda.is_available", "torch.cuda.device_count"), []
    for place, tree in PIECES:
        if place.startswith("helpers/device.py"):  # its functions are called with the device that is there
            continue
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        for part in [*functions, ast.Module([n for n in tree.body if n not in functions], [])]:
            used = {whole for _, _, whole in calls(part) if whole.startswith("torch.cuda.")}
            if used - set(asking) and not used & set(asking):
                wrong.append(f"{place}: {sorted(used)}")
    assert wrong == []


def test_every_checkpoint_is_read_onto_a_known_device_and_without_running_code():
    """A file saved on a GPU opens everywhere, and a malicious one does nothing (deliberate ones are in a try)."""
    loads = [
        (place, keywords(call))
        for place, tree in PIECES
        for call, _, whole in calls(tree)
        if whole == "torch.load"
    ]
    assert (
        loads
        and [place for place, given in loads if not {"map_location", "weights_only"} <= given.keys()] == []
    )
    assert [
        p for p, given in loads if ast.unparse(given["weights_only"]) != "True" and p.startswith("helpers")
    ] == []


# --- case 32: tensors are made on the device of their input ---

FACTORIES = ("arange", "zeros", "ones", "empty", "full", "rand", "randn", "randint", "tensor", "eye", "linspace",
             "tril_indices")  # fmt: skip
ON_THE_CPU = {  # where a tensor belongs on the CPU, or is moved at once; each with its reason
    ("helpers/batches.py", "get_batch"): "window starts are drawn by a CPU generator",
    ("helpers/device.py", "_one_step"): "made on the CPU, then moved, so that both devices start alike",
    ("helpers/gpt.py", "__init__"): "the mask is a buffer: it moves with the model",
    ("helpers/modern.py", "__init__"): "a parameter: it moves with the model",
    ("helpers/lecture_forms.py", "get_batch_by_list"): "as get_batch",
    ("helpers/speed.py", "training_step"): "a text stays on the CPU; get_batch moves the batch",
}


def test_tensors_are_made_on_the_device_of_their_input():
    """A factory call without device= makes a CPU tensor, which does not meet a model on a GPU.

    In helpers every function is held to it, in notebooks the `forward` of a model: their other cells may stay on the CPU.
    """
    seen, found = 0, set()
    for place, tree in PIECES:
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
            if place.startswith("helpers/") or function.name == "forward":
                made = [
                    c for c, name, whole in calls(function) if whole == f"torch.{name}" and name in FACTORIES
                ]
                seen += len(made)
                found |= {(place, function.name) for call in made if "device" not in keywords(call)}
    assert seen > 5 and found == ON_THE_CPU.keys()  # no other place, and each exception is still needed


# --- cases 51 and 52: commands ---


def test_every_command_takes_its_arguments_from_its_caller():
    """parse_args() without arguments reads sys.argv, which in a notebook holds Jupyter's own `-f kernel.json`."""
    assert broken(lambda call, name, *_: name in ("parse_args", "parse_known_args") and not call.args) == []
    modules = [(p, t) for p, t in PIECES if ".ipynb" not in p]  # a cell may parse words that it has in a list
    parsing = [(p, t) for p, t in modules if any(name == "parse_args" for _, name, _ in calls(t))]
    assert len(parsing) >= 4
    for place, tree in parsing:
        (main,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
        assert main.args.args[0].arg == "argv" and ast.unparse(main.args.defaults[0]) == "None", place


def test_a_notebook_that_calls_a_command_gives_it_arguments():
    def without(call, name, whole, given):
        return name == "main" and not call.args and not given

    assert [place for place in broken(without) if ".ipynb" in place] == []


def test_no_option_is_a_bool_or_a_number_of_any_size():
    """type=bool makes True of "False"; type=int lets 0 and -1 through. Ours are range-checked."""

    def loose(call, name, whole, given):
        return (
            name == "add_argument"
            and "type" in given
            and ast.unparse(given["type"]) in ("bool", "int", "float")
        )

    assert broken(loose) == []


# --- case 62: evaluating is not most of the work ---


def test_no_training_loop_of_a_notebook_evaluates_on_every_step():
    wrong = []
    for place, tree in PIECES:
        for loop in (n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While)):
            if not any(name == "backward" for _, name, _ in calls(loop)):
                continue
            always = [n for n in loop.body if not isinstance(n, ast.If)]
            names = {name for node in always for _, name, _ in calls(node)}
            wrong += [place] if names & {"estimate_loss", "validation_loss"} else []
    assert wrong == []


# --- case 61: no flood in what is stored ---


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_stored_cell_prints_a_flood(path):
    for _, cell in code_cells(nbformat.read(path, as_version=4)):
        text = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
        assert len("".join(text).encode()) <= CELL_LIMIT, cell.source[:60]


# --- case 63: what is promised about repeating ---

SAME = r"\b(identical|bit for bit|bit-for-bit|to the last digit|same (?:numbers?|values?|results?|loss(?:es)?|samples?|weights?))\b"
EVERYWHERE = (
    r"\b(every|any|all|each|other|another|both) (machines?|computers?|devices?|platforms?|systems?)\b"
)
NOT_SO = r"\b(not|never|no|only|nearly|almost|about|slightly|ranges?|differ\w*)\b"


def promises(text: str) -> list[str]:
    """The sentences that promise the same numbers on other machines."""
    sentences = re.split(r"(?<=[.!?:;])\s+|\n\s*\n", text)
    return [
        s
        for s in sentences
        if re.search(SAME, s, re.I) and re.search(EVERYWHERE, s, re.I) and not re.search(NOT_SO, s, re.I)
    ]


def test_a_promise_of_identical_results_everywhere_is_recognised():
    assert len(promises("Seeds are set. You get identical results on every machine. Good.")) == 1
    assert promises("The same numbers come again on your machine; on another machine they differ.") == []


def test_nothing_promises_identical_results_across_machines():
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
    texts |= {path.name: "\n\n".join(cells(path, "markdown")) for path in NOTEBOOKS}
    kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
    for place, tree in PIECES:
        if place.startswith("helpers"):
            documented = (n for n in ast.walk(tree) if isinstance(n, kinds))
            texts[place] = "\n\n".join(filter(None, map(ast.get_docstring, documented)))
    assert {name: promises(text) for name, text in texts.items() if promises(text)} == {}


def test_the_readme_promises_repeatable_runs_on_one_machine_only():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert re.search(r"same machine[^.]*same numbers", readme) and re.search(
        r"another machine[^.]*differ", readme
    )


# --- the README: case 2, and that what it shows is there ---

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_points_to_pytorchs_page_for_other_builds():
    assert PYTORCH_PAGE in README


def test_the_links_of_the_pages_are_alive():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_and_the_contents_name_every_notebook_there_is_and_no_other():
    names = {path.name for path in NOTEBOOKS}
    for page in PAGES[:2]:
        assert set(re.findall(r"\d\d_\w+\.ipynb", page.read_text(encoding="utf-8"))) == names, page


def test_every_command_of_the_readme_exists():
    from helpers.__main__ import COMMANDS

    shown = set(re.findall(r"python -m helpers ([a-z]+)", README))
    assert shown == set(COMMANDS)
    modules = set(re.findall(r"python -m (helpers\.\w+)(?!\.)\b", README)) - {"helpers.lesson"}
    assert modules == {
        "helpers.train",
        "helpers.openwebtext",
        "helpers.generate",
        "helpers.finetuning",
        "helpers.chat",
        "helpers.bench",
    }
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in modules)


def test_every_training_that_the_readme_shows_has_options_that_exist():
    from helpers import train, train_options

    commands = re.findall(r"-m helpers\.train([^`\n]*)`", README)
    assert len(commands) >= 5 and any("--nproc-per-node" in line for line in README.splitlines())
    for options in commands:
        args = train.parse_options(options.replace('"', "").split())
        assert args.n_embd % args.n_head == 0 and (args.batch_size % 8 == 0 or args.batch_size == 12)
    assert set(re.findall(r"--preset (\w+)", README)) <= set(train_options.PRESETS)


def test_the_readme_has_at_most_150_lines_and_the_minutes_of_the_course():
    from helpers.lesson import course

    assert len(README.splitlines()) <= 150
    minutes = dict(re.findall(r"(?m)^\| (\d\d) \| .* \| (\d+) \|$", README))
    assert minutes == {each.number: str(each.minutes) for each in course.COURSE}
    parts = [course.COURSE, course.COURSE[:5], course.COURSE[5:11], course.COURSE[11:]]
    hours = [f"{sum(each.minutes for each in part) / 60:.0f}" for part in parts]
    said = re.search(
        r"Seventeen notebooks, (\d+) hours: .*?\((\d+) h\).*?\((\d+) h\).*?\((\d+) h\)", README, re.DOTALL
    )
    assert said and list(said.groups()) == hours


def test_the_picture_of_the_readme_shows_the_losses_that_the_notebooks_stored():
    from helpers.lesson import picture

    rungs = picture.ladder()
    assert len(rungs) >= 9 and "![Left" in README and "(notebooks/ladder.png)" in README
    assert picture.described(rungs) in picture.PLACE.read_bytes(), (
        "draw it anew: python -m helpers.lesson.picture"
    )


def test_the_cell_for_other_servers_finds_the_course_from_anywhere(tmp_path):
    """That of notebooks/README.md, run in a folder elsewhere, then the first cell of a notebook."""
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    (cell,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert '"/content/course"' in cell
    alone = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in getattr(f, '__name__', '')]\n"
    program = (
        alone
        + cell.replace('"/content/course"', repr(str(ROOT)))
        + cells(NOTEBOOKS[0])[0]
        + "\nprint(helpers.__file__, os.getcwd(), sep='\\n')"
    )
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    found, folder = done.stdout.split("\n")[:2]
    assert Path(found).parent == ROOT / "helpers" and Path(folder) == ROOT / "notebooks"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_asks_for_the_python3_kernel_and_starts_with_the_same_guard(path):
    """Cases 5 and 6. What the guard does is held by test_learner_cases.py."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert raw["metadata"]["kernelspec"]["name"] == "python3"
    assert cells(path)[0] == cells(NOTEBOOKS[0])[0] and "error._render_traceback_" in cells(path)[0]
