"""What notebook 13 says about scripts: its own cells are run here on a short text, its scripts as processes of their own."""

import argparse
import ast
import contextlib
import inspect
import io
import math
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch

from helpers import train as train_command
from helpers import train_options
from helpers.arguments import whole
from helpers.books import Text, load_text
from helpers.lesson.bank.nb13 import COUNT_LINES, JOIN_GRADIENTS, WHOLE_NUMBER, WITH_PRESET
from helpers.lesson.exercises import answer_from
from helpers.training_log import read_log

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "13_scripts.ipynb"
PAGE = nbformat.read(NOTEBOOK, as_version=4)
CELLS = [c.source for c in PAGE.cells if c.cell_type == "code"]
TAUGHT = {"argparse": argparse, "math": math, "torch": torch, "Path": Path, "sys": sys}


def cell(words: str) -> str:
    """The only code cell with these words in it."""
    (found,) = (source for source in CELLS if words in source)
    return found


def run(words: str, names: dict) -> str:
    """Run that cell with these variables; returns what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(cell(words), names)
    return printed.getvalue()


def said(names: dict, *words: str, **options) -> str:
    """What the notebook's `python(...)` shows for a command."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        names["python"](*words, **options)
    return printed.getvalue()


class Lesson:
    """Stands where the lesson would be, with a short text; keeps what is recorded."""

    def __init__(self, text: Text) -> None:
        self.text, self.recorded = text, {}

    def record(self, name, value, unit, expect=None):
        self.recorded[name] = value


class Explored:
    """Stands where the slider would be: keeps what the notebook gives to it."""

    def __call__(self, draw, caption, *, start=None, **controls):
        self.draw, self.start, self.controls = draw, start, controls


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The processes get as many threads as this one has; one is enough for models of this size."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def base() -> dict:
    """The notebook's variables before its first section: imports, folder, `python` and `write`."""
    names: dict = {"__name__": "__main__", "torch": torch}
    exec(cell("device = pick_device()").split("device = pick_device()")[0], names)
    tales = load_text("tales")
    names["lesson"] = Lesson(Text(tales.text[:60_000], "short", "A short text"))
    names |= {"show": lambda fig, caption: plt.close(fig), "explore": Explored()}
    run("home = tempfile.TemporaryDirectory", names)
    return names


@pytest.fixture(scope="module")
def ported(base) -> dict:
    """The variables after the proof: trained in cells, by the script and by the command, each run a process of its own."""
    names = dict(base)
    for words in ("loaded = lesson.text", "settings = {", "from_cells = train(", "# my_train.py\n"):
        run(words, names)
    names["printed"] = run('python("my_train.py", "--text"', names)
    names["printed"] += run("FIFTY = [", names)
    run("def losses_in(history)", names)
    run("kept = checkpoints.load(", names)
    return names


# --- the proof ---


def test_the_cells_the_script_and_the_command_have_the_same_losses_bit_for_bit(ported):
    three = ported["three"]
    steps = [step for step, _, _ in three["cells"]]
    assert steps == [0, 10, 20, 30, 40, 50] and list(three) == ["cells", "script", "command"]
    assert three["cells"] == three["script"] == three["command"]
    assert three["cells"][-1][2] < three["cells"][0][2] - 1  # and they have learnt something
    assert ported["printed"].count("(exit code 0)") == 2
    assert ported["lesson"].recorded["cells and command differ by"] == 0


def test_their_weights_are_equal_too(ported):
    assert len(ported["equal"]) > 20 and all(ported["equal"])


def test_the_command_inside_the_notebook_repeats_its_own_process_and_another_seed_does_not(ported):
    printed = run("def losses_of(*words)", ported)
    assert "equal to the process of its own: True" in printed
    ends = re.findall(r"seed +\d+: validation loss after 50 steps (\S+)", printed)
    assert len(set(ends)) == 3


def test_a_killed_run_goes_on_to_the_losses_and_weights_of_the_undisturbed_one(ported):
    printed = run("def start_and_kill(sign", ported)
    assert "(killed)" in printed and "step    50" not in printed
    assert "files: ['torn.csv', 'torn.last.pt']" in printed
    printed = run('python(*TORN, "--resume")', ported)
    assert "step     0" not in printed  # it did not begin again
    assert "equal to the undisturbed run: True" in printed and "equal weights: True" in printed
    assert ported["torn_run"] == ported["three"]["cells"]
    refusal = run('"torn.pt", "--resume", "--batch-size", "6"', ported)
    assert "batch_size: kept 12, asked 6" in refusal and "exit code 1" in refusal


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt" or not torch.distributed.is_available(), reason="no torchrun here")
def test_two_processes_have_the_losses_of_one_within_a_ten_thousandth(ported):
    run("def losses_of(*words)", ported)
    printed = run("TWENTY = [", ported)
    assert "2 processes" in printed and "(exit code 0)" in printed
    assert len(re.findall("^step +20 ", printed, re.M)) == 1  # rank 0 alone prints
    run('two = losses_in("pair.csv")', ported)
    assert [step for step, _, _ in ported["two"]] == [0, 5, 10, 15, 20]
    assert ported["lesson"].recorded["two processes differ from one by"] < 1e-4


def test_the_words_that_make_torchrun_stumble_are_kept_from_it():
    """`--log` would be taken for the beginning of its own --log-dir."""
    assert '"--log-file", "pair.csv"]' in cell("TWENTY = [")


# --- options ---


def test_a_script_knows_nothing_of_the_notebooks_variables(base):
    printed = run("# lantern.py", base)
    assert "NameError" in printed and "(exit code 1)" in printed and "lantern" in base


def test_of_four_mistakes_parsing_by_hand_notices_two(base):
    printed = run("# by_hand.py", base)
    assert printed.count("(exit code 1)") == 2 and printed.count("(exit code 0)") == 3


def test_an_option_without_a_type_gives_a_text_that_multiplies_like_one(base):
    run("# options.py", base)
    assert "323232 in all" in said(base, "options.py", "--steps", "3", "--batch-size", "32")


def test_a_switch_of_type_bool_cannot_be_switched_off(base):
    printed = run("# switches.py", base)
    assert "{'trap': False, 'compile': False, 'bar': True}" in printed
    assert "{'trap': True, 'compile': True, 'bar': False}" in printed


@pytest.fixture(scope="module")
def parsing(base) -> dict:
    names = dict(base)
    names["printed"] = run("def outcome(parse, words)", names)
    run("def settings_of(words)", names)
    return names


@pytest.mark.parametrize("word", ["0", "-1", "abc"])
def test_a_number_of_steps_that_cannot_be_is_refused_in_a_sentence(parsing, word):
    expected = f"argument --steps: '{word}' is not a whole number of at least 1 (exit code 2)"
    assert expected in parsing["printed"]


def test_the_words_of_a_kernel_are_refused_and_an_empty_list_is_not(parsing):
    printed = run('["ipykernel_launcher.py", "-f"', parsing)
    refused, taken = printed.splitlines()
    assert "unrecognized arguments: -f kernel-1234.json (exit code 2)" in refused
    assert taken.startswith("{'preset': None, 'steps': 100")


def test_the_attempt_at_a_preset_loses_what_was_typed_and_the_solution_keeps_it(parsing):
    words = ["--preset", "fast", "--steps", "7"]
    assert parsing["settings_of"](words).steps == 20
    solution = answer_from(WITH_PRESET.solution, WITH_PRESET.name)
    assert solution(parsing["make_parser"], parsing["PRESETS"], words).steps == 7


@pytest.mark.parametrize(
    "words", [[], ["--preset", "lecture"], ["--n-layer=3", "--preset", "lecture", "--seed", "9"]]
)
def test_the_solution_parses_as_the_training_command_does(words):
    solution = answer_from(WITH_PRESET.solution, WITH_PRESET.name)
    ours = solution(train_options.make_parser, train_options.PRESETS, words)
    assert vars(ours) == vars(train_command.parse_options(words))


def test_the_solution_of_the_whole_number_refuses_as_the_courses_own_does():
    ours, theirs = answer_from(WHOLE_NUMBER.solution, WHOLE_NUMBER.name, TAUGHT)(3), whole(3)
    for text in ("3", "12"):
        assert ours(text) == theirs(text) == int(text)
    for text in ("2", "-1", "abc", "3.5", ""):
        messages = []
        for parse in (ours, theirs):
            with pytest.raises(argparse.ArgumentTypeError) as error:
                parse(text)
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_the_solution_of_the_main_function_works_as_a_script(base, tmp_path):
    start = "import argparse\nimport sys\nfrom pathlib import Path\n\n\n"
    end = '\n\nif __name__ == "__main__":\n    sys.exit(count_lines())\n'
    base["write"](f"# count_lines.py\n{start}{COUNT_LINES.solution}{end}")
    (base["folder"] / "three.txt").write_text("a\nb\nc\n", encoding="utf-8", newline="\n")
    assert "\n3\n(exit code 0)" in said(base, "count_lines.py", "--text", "three.txt")
    assert "no file none.txt\n(exit code 1)" in said(base, "count_lines.py", "--text", "none.txt")
    assert "(exit code 2)" in said(base, "count_lines.py")


def test_every_command_that_the_reader_can_build_gets_an_answer(parsing):
    run("def try_command(preset", parsing)
    explored = parsing["explore"]
    for preset in explored.controls["preset"]:
        for steps in explored.controls["steps"]:
            shown = explored.draw(preset=preset, steps=steps, learning_rate="0.003", compile_it=True)
            assert shown.startswith("$ python train.py ") and "--compile" in shown
            assert ("(exit code 2)" in shown) == (steps != "7")


# --- the script ---


def test_the_script_is_short_and_has_no_global_but_its_functions():
    source = cell("# my_train.py\n").split("write('''\n")[1].split("'''")[0]
    lines = [line for line in source.splitlines() if line.strip()]
    assert 40 <= len(lines) <= 60
    tree = ast.parse(source)
    kinds = {type(node).__name__ for node in tree.body}
    assert kinds == {"Expr", "Import", "ImportFrom", "FunctionDef", "If"}


def test_importing_the_script_trains_nothing_and_its_main_returns_its_code(ported):
    printed = run("runpy.run_path(", ported)
    assert "step" not in printed and "error: there is no file no_such_text.txt" in printed
    assert printed.rstrip().endswith("exit code 1")


def test_a_started_file_has_another_name_than_an_imported_one(base):
    printed = run("# lamp.py", base)
    assert "my name is __main__" in printed and "my name is lamp" in printed


def test_a_file_of_a_package_needs_m(base):
    printed = run("# tool/fill.py", base)
    path, module = printed.split("$ ")[1:]
    assert "No module named 'tool'" in path and "(exit code 1)" in path
    assert "filled with 3 spoons" in module and "(exit code 0)" in module


def test_the_excerpts_of_the_command_show_what_the_page_says_of_them():
    names = {"inspect": inspect, "re": re, "train_command": train_command}
    parsing = run("excerpt(train_command.parse_options, r", names)
    assert parsing.index("parse_known_args") < parsing.index("set_defaults") < parsing.index(".parse_args(")
    main = run("train_command.main, r", names)
    assert main.startswith("def main(argv") and "run(" in main and main.rstrip().endswith("return 1")
    work = run("train_command.run, r", names)
    stations = ("load_corpus(", "manual_seed(", "make_model(", "= train(", "return finish(")
    places = [work.index(station) for station in stations]
    assert places == sorted(places)


# --- faster, and shared ---


def test_a_machine_without_a_compiler_gets_a_note_and_the_same_model(ported):
    printed = run("TRY_COMPILE = False", ported)
    assert "no C++ compiler was found" in printed and "the same model comes back: True" in printed


def test_bfloat16_has_the_range_of_float32_and_two_digits(base):
    printed = run("dtype=torch.bfloat16", base)
    assert re.search("257.0 .* bfloat16 256$", printed, re.M) and "bfloat16 3.140625" in printed


def test_most_of_the_time_goes_into_looking_when_one_looks_at_every_step(base):
    printed = run("one_step, one_evaluation =", base)
    shares = [int(share) for share in re.findall(r"(\d+)% of the time", printed)]
    assert shares == sorted(shares) and shares[0] < 5 and shares[-1] > 80


@pytest.fixture
def halved(ported) -> dict:
    run("halves = (first + second) / 2", ported)
    return ported


def test_the_gradient_of_a_batch_is_the_mean_of_those_of_its_halves(halved):
    assert torch.allclose(halved["together"], halved["halves"], atol=1e-6)
    assert not torch.allclose(halved["first"], halved["second"], atol=1e-2)


def test_the_gradients_of_unequal_parts_are_joined_by_their_rows(halved):
    join = answer_from(JOIN_GRADIENTS.solution, JOIN_GRADIENTS.name)
    x, y, rows = halved["x"], halved["y"], [3, 8, 1]
    parts = [halved["gradient"](a, b) for a, b in zip(x.split(rows), y.split(rows), strict=True)]
    assert torch.allclose(join(parts, rows), halved["together"], atol=1e-6)
    assert not torch.allclose(sum(parts) / 3, halved["together"], atol=1e-3)


# --- the faults ---


@pytest.fixture(scope="module")
def zoo(base) -> dict:
    names = dict(base)
    run("# d.py", names)
    return names


def test_without_a_seed_no_run_repeats(zoo):
    assert said(zoo, "a.py") != said(zoo, "a.py")


def test_a_global_list_carries_the_first_run_into_the_second(zoo):
    printed = said(zoo, "b.py")
    assert "rate 0.4: 3 losses" in printed and "rate 0.01: 6 losses" in printed
    assert len(set(re.findall(r"best (\S+)", printed))) == 1


def test_one_name_for_all_keeps_the_last_model_and_not_the_best(zoo):
    printed = run('python("c.py", "--rate"', zoo)
    losses = [float(loss) for loss in re.findall(r"loss (\S+), kept", printed)]
    kept = float(re.search(r"'loss': (\S+?)}", printed)[1])
    assert losses[0] < losses[1] == pytest.approx(kept, abs=1e-4)


def test_without_the_guard_a_spawned_worker_ends_before_it_works(zoo):
    printed = said(zoo, "d.py")
    assert "bootstrapping" in printed and "ended with exit code 1" in printed and "at work" not in printed
    faulty = (zoo["folder"] / "d.py").read_text(encoding="utf-8")
    head, work = faulty.split("workers = ")
    mended = "workers = " + work
    guarded = 'if __name__ == "__main__":\n' + "".join(f"    {line}\n" for line in mended.splitlines())
    zoo["write"](head.replace("# d.py", "# mended.py") + guarded)
    printed = said(zoo, "mended.py")
    assert "worker 1 at work" in printed and "ended with exit code 0" in printed


# --- the page ---


def test_no_output_shows_a_folder_of_this_machine(ported, base):
    stored = "".join(str(c.get("outputs", "")) for c in PAGE.cells)
    for place in (tempfile.gettempdir(), str(Path.home()), str(base["course"])):
        assert len(place) < 5 or place not in stored
    assert str(ported["folder"]) not in ported["printed"] and "proof.pt" in ported["printed"]


def test_a_short_text_gives_way_to_the_tales_and_a_long_one_is_cut(base):
    for length, expected in ((100, 300_000), (2_000, 2_000), (400_000, 300_000)):
        text = Text((load_text("tales").text)[:length], "mine", "mine")
        names = base | {"lesson": Lesson(text)}
        run("loaded = lesson.text", names)
        assert len(names["text"]) == expected


def test_the_line_in_the_sweep_is_the_loss_of_the_frequencies_on_the_validation_text(ported):
    names = ported | {
        "losses_of": lambda *words: [(0, 4.0, 4.0), (10, 3.0, 3.1), (30, 2.5, 2.0 + len(words[-1]))]
    }
    printed = run("sweep = {}", names)
    counts = Counter(names["train_ids"].tolist())
    total = len(names["train_ids"]) + len(names["counts"])  # one more of each
    want = -sum(math.log((counts[i] + 1) / total) for i in names["val_ids"].tolist()) / len(names["val_ids"])
    assert names["frequencies_alone"] == pytest.approx(want, abs=1e-4)
    assert len(names["sweep"]) == 9 and "validation loss" in printed
    run("def draw_sweep(", names)
    slider = names["explore"]
    for rate in slider.controls["learning_rate"]:
        for every in (True, False):
            fig, words = slider.draw(learning_rate=rate, show_seeds=every)
            assert rate in fig.axes[0].get_title(loc="left") + fig.axes[0].get_title() and "lowest" in words
            plt.close(fig)


def test_the_log_of_the_command_holds_all_digits(ported):
    rows = read_log(ported["folder"] / "proof.csv")
    assert [(r["step"], r["train"], r["validation"]) for r in rows] == ported["three"]["cells"]
    assert len(repr(rows[1]["validation"])) > 10
