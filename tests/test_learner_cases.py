"""Cases that stop learners, tried out: each test fails if the course has the fault (numbers as in cases.py).

Rules that can be read off the source are in test_source_rules.py.
"""

import ast
import inspect
import json
import math
import random
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
import torch
from torch.overrides import TorchFunctionMode
from walls import ROOT, copy_of_the_course, with_site, without_packages

import download_wizard_of_oz
from helpers import __main__ as overview
from helpers import checkpoints, device, doctor, generate, train
from helpers.batches import split
from helpers.bigram import BigramLanguageModel
from helpers.books import load_text
from helpers.gpt import GPTConfig, GPTLanguageModel
from helpers.lesson import reset, runner
from helpers.lesson.execution import run_notebook
from helpers.lesson.finding import course_notebooks
from helpers.sampling import generate as sample
from helpers.tokenizer import CharTokenizer
from helpers.training import compile_or_note, estimate_loss, validation_loss
from helpers.training import train as run_training

NOTEBOOKS = [ROOT / "notebooks" / name for name in course_notebooks(ROOT / "notebooks")]
TINY = [
    "--tales-characters",
    "5000",
    "--n-embd",
    "16",
    "--n-head",
    "2",
    "--n-layer",
    "1",
    "--block-size",
    "8",
]
TINY += ["--device", "cpu"]


def small(**changes) -> GPTLanguageModel:
    torch.manual_seed(0)
    shape = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 16}
    return GPTLanguageModel(GPTConfig(**shape | changes))


def ids(n: int = 400) -> torch.Tensor:
    return torch.randint(11, (n,), generator=torch.Generator().manual_seed(1))


def run(command: list, env: dict | None = None, cwd=ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, encoding="utf-8")


# --- case 4: what the notebooks import gives no warning ---


def test_the_imports_of_all_notebooks_work_when_warnings_are_errors():
    lines = {}
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and not cell.source.startswith(("%", "!")):
                nodes = ast.walk(ast.parse(cell.source))
                lines |= {ast.unparse(n): None for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)}
    assert "import torch" in lines
    done = run([sys.executable, "-W", "error", "-c", "\n".join(lines)])
    assert done.returncode == 0, done.stderr


# --- case 5: a kernel that lacks the packages ---


@pytest.mark.notebook
@pytest.mark.parametrize("missing", ["torch", "helpers"])
def test_a_kernel_without_the_packages_says_which_python_it_is_and_how_to_mend_it(
    tmp_path, monkeypatch, missing
):
    """Shown: the Python, and the command for exactly this one. Not shown: a traceback. Not run: the next cell."""
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    guard, following = [cell for cell in notebook.cells if cell.cell_type == "code"][:2]
    following.source = "print('went on')"
    notebook.cells = [guard, following]
    folder = tmp_path / "notebooks"  # without helpers/ beside it
    folder.mkdir()
    nbformat.write(notebook, folder / "00_toy.ipynb")
    monkeypatch.setenv("PYTHONPATH", without_packages(tmp_path / "site", missing)["PYTHONPATH"])
    result = run_notebook(folder / "00_toy.ipynb")
    assert not result.ok and "ModuleNotFoundError" in result.error
    said, stopped = result.executed.cells[0].outputs
    assert said.text.splitlines() == [
        f"This kernel runs {sys.executable}, and there is no module named '{missing}'.",
        "Run this once in a terminal, in the course's folder, then restart the kernel:",
        f'"{sys.executable}" -m pip install -r requirements.txt',
    ]
    assert stopped.output_type == "error" and stopped.traceback == ["The notebook stops here."]
    assert result.executed.cells[1].outputs == []


def test_on_windows_the_guards_command_is_one_that_powershell_runs(monkeypatch, capsys):
    guard = next(cell for cell in nbformat.read(NOTEBOOKS[0], as_version=4).cells if cell.cell_type == "code")
    assert guard.source.count('os.name == "nt"') == 1
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError):
        exec(guard.source.replace('os.name == "nt"', "True"), {})
    assert capsys.readouterr().out.splitlines()[-1].startswith(f'& "{sys.executable}" -m pip install')


# --- case 11: one normaliser on the way of a text ---


def test_windows_line_ends_and_a_byte_order_mark_change_no_id(tmp_path):
    story = "The owl sat.\n\n\u201cHush,\u201d said Ivy.\n" * 9
    found = []
    for name, start, end in (("unix", "", "\n"), ("windows", "\ufeff", "\r\n"), ("old_mac", "", "\r")):
        path = tmp_path / f"{name}.txt"
        path.write_bytes((start + story).replace("\n", end).encode())
        tokenizer, by_command, _ = train.load_ids(train.make_parser().parse_args(["--text", str(path)]))
        assert load_text(path).text == story and tokenizer.characters == sorted(set(story))
        found.append(by_command)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


# --- case 13: a vocabulary belongs to its model ---


def test_a_model_is_not_saved_with_another_models_vocabulary(tmp_path):
    with pytest.raises(ValueError, match="11 tokens, but the tokenizer 3"):
        checkpoints.save(tmp_path / "m.pt", small(), CharTokenizer("abc"))
    assert list(tmp_path.iterdir()) == []


# --- case 16: a text that is too short, at the command ---


@pytest.mark.parametrize("text", ["", "a", "ab" * 20])
def test_the_training_command_refuses_a_short_text_with_a_sentence(tmp_path, capsys, text):
    path = tmp_path / "short.txt"
    path.write_text(text, encoding="utf-8")
    assert train.main(["--text", str(path), "--steps", "1", "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "random_" not in error
    if len(text) == 40:  # long enough to be split: both lengths are named
        assert "36 tokens" in error and "at least 65" in error


# --- case 19: a batch of one ---


def test_training_and_evaluating_work_with_a_batch_of_one():
    model = small()
    result = run_training(model, ids(), ids(), steps=3, batch_size=1, eval_batches=2, progress=False)
    assert result.tokens == 3 * 8 and all(math.isfinite(entry["validation"]) for entry in result.history)
    assert math.isfinite(validation_loss(model, ids(), batch_size=1))


# --- cases 32 and 34: other devices ---


@pytest.mark.parametrize("looped", [False, True])
def test_a_model_on_another_device_makes_nothing_on_the_cpu(looped):
    """`meta` is a device without values: a tensor made on the CPU on the way would not go together with it."""
    on_cpu = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.device.type != "meta":
                on_cpu.append(function)
            return out

    model, x = small(looped_heads=looped).to("meta"), torch.zeros(2, 8, dtype=torch.long, device="meta")
    table = BigramLanguageModel(11).to("meta")
    with Watch():
        logits, loss = model(x, x)
        other, _ = table(x, x)
    assert logits.device.type == loss.device.type == other.device.type == "meta" and on_cpu == []


class NoFloat64(TorchFunctionMode):
    """A device like Apple's, which has no float64: only a tensor that was brought to the CPU may become one."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function is torch.Tensor.cpu:
            out = out.view_as(out)
            out.was_brought_here = True
        elif isinstance(out, torch.Tensor) and out.dtype == torch.float64:
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            if not any(t.dtype == torch.float64 or hasattr(t, "was_brought_here") for t in tensors):
                raise TypeError(f"{function.__name__}: the MPS framework doesn't support float64")
        return out


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_makes_no_float64_on_the_device(optimizer):
    with NoFloat64():
        run_training(
            small(dropout=0.1), ids(), ids(), steps=2, optimizer=optimizer, eval_batches=2, progress=False
        )


def test_generating_and_comparing_devices_make_no_float64_on_the_device():
    with NoFloat64():
        sample(small(), torch.zeros(1, 3, dtype=torch.long), 3, temperature=0.7, top_k=5, top_p=0.9)
        device._one_step(torch.device("cpu"))


def test_the_validation_loss_makes_no_float64_on_the_device():
    with NoFloat64():
        validation_loss(small(), ids())


def test_a_float64_on_the_device_would_be_noticed():
    with NoFloat64():
        assert torch.ones(2).cpu().double().sum().dtype == torch.float64
        for make in (lambda: torch.ones(2).double(), lambda: torch.zeros(2, dtype=torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                make()


# --- case 36: torch.compile ---


def test_compiling_is_off_unless_it_is_asked_for():
    assert inspect.signature(run_training).parameters["compile"].default is False
    assert train.make_parser().parse_args([]).compile is False


def test_a_compiler_that_fails_at_the_first_call_leaves_training_as_it_would_have_been(monkeypatch, capsys):
    """torch.compile() itself returns at once: a missing C++ compiler shows when the model is first called."""

    def compiled_later(model):
        def call(*arguments):
            raise RuntimeError("Compiler: cl is not found.\nSet TORCHDYNAMO_VERBOSE=1")

        return call

    monkeypatch.setattr(torch, "compile", compiled_later)
    plain, asked, options = small(), small(), {"steps": 3, "batch_size": 2, "eval_batches": 1}
    run_training(plain, ids(), ids(), progress=False, **options)
    run_training(asked, ids(), ids(), progress=False, compile=True, **options)
    said = capsys.readouterr().out
    assert said.count("cl is not found") == 1 and "TORCHDYNAMO" not in said
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), asked.parameters(), strict=True))
    assert compile_or_note(plain, lambda note: None) is plain


# --- case 42: where a fresh bigram starts ---


def test_a_fresh_bigram_starts_at_4_9_and_not_at_2_9():
    """A table of standard normal logits costs ln V + 1/2: 4.88 for the 80 characters of the lecture's book."""
    x, y = torch.randint(80, (2, 64, 64))
    assert abs(BigramLanguageModel(80)(x, y)[1].item() - (math.log(80) + 0.5)) < 0.1


# --- case 43: what is only looked at is not trained ---


@pytest.mark.parametrize("training", [True, False])
def test_generating_and_evaluating_run_in_eval_mode_without_gradients_and_restore_the_mode(training):
    model, seen = small(dropout=0.5).train(training), set()
    model.register_forward_pre_hook(lambda m, _: seen.add((m.training, torch.is_grad_enabled())))
    for look in (
        lambda: sample(model, torch.zeros(1, 3, dtype=torch.long), 2),
        lambda: estimate_loss(model, {"validation": ids()}, batches=2),
        lambda: validation_loss(model, ids()),
    ):
        seen.clear()
        look()
        assert seen == {(False, False)} and model.training is training
    with pytest.raises(IndexError):
        sample(model, torch.full((1, 3), 99), 2)  # a failure on the way restores the mode too
    assert model.training is training


# --- case 45: accumulation, and the first step ---


def test_training_with_four_batches_of_two_is_training_with_one_of_eight():
    models = small(), small()
    for model, size, accumulation in zip(models, (8, 2), (1, 4), strict=True):
        run_training(model, ids(), ids(), steps=3, batch_size=size, accumulation=accumulation, eval_batches=1,
                     progress=False)  # fmt: skip
    for one, other in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_the_first_step_changes_the_weights():
    model = small()
    before = [p.clone() for p in model.parameters()]
    run_training(model, ids(), ids(), steps=1, warmup=100, eval_batches=1, progress=False)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


# --- case 46: temperature 0 and a large k ---


def test_temperature_0_writes_the_likeliest_and_a_k_above_the_vocabulary_means_all():
    model, start = small().eval(), torch.tensor([[3, 1, 4]])
    greedy = start
    for _ in range(6):
        greedy = torch.cat([greedy, model(greedy[:, -8:])[0][:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(sample(model, start, 6, temperature=0), greedy)
    assert torch.equal(sample(model, start, 6, seed=1, top_k=10_000), sample(model, start, 6, seed=1))


# --- case 47: the best weights are those that are kept ---


def test_the_training_command_keeps_the_best_weights_of_a_run_that_overfits(tmp_path, capsys):
    # The last tenth has the same letters as the rest, equally often, but not in its order.
    shuffled = random.Random(1).sample("aaaaaaabcaaad" * 7, 91)
    text, out = "aaaaaaabcaaad" * 60 + "".join(shuffled), tmp_path / "m.pt"
    (tmp_path / "few.txt").write_text(text, encoding="utf-8")
    options = [
        "--text",
        str(tmp_path / "few.txt"),
        "--out",
        str(out),
        *TINY,
        "--n-embd",
        "32",
        "--steps",
        "200",
    ]
    assert train.main([*options, "--eval-interval", "20", "--learning-rate", "0.02"]) == 0
    kept = checkpoints.load(out)
    losses = {entry["step"]: entry["validation"] for entry in kept.info["history"]}
    assert min(losses, key=losses.get) == kept.info["best_step"] < 200
    assert min(losses.values()) < losses[200] - 0.3
    _, val_ids = split(torch.from_numpy(kept.tokenizer.encode(text)))
    assert validation_loss(kept.model, val_ids) == pytest.approx(kept.info["validation_loss"], abs=1e-4)
    last = checkpoints.load(train.last_name(out))
    assert validation_loss(last.model, val_ids) > kept.info["validation_loss"] + 0.3
    assert f"at step {kept.info['best_step']}: those weights are used" in capsys.readouterr().out


# --- cases 51, 52 and 53: commands ---


def test_commands_can_be_called_in_a_notebook(tmp_path, monkeypatch, capsys):
    """There sys.argv holds Jupyter's own arguments, which argparse would not recognise."""
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel-1.json"])
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_memory,))
    (tmp_path / "a.txt").write_text("A text of my own. " * 40, encoding="utf-8")
    text, out = str(tmp_path / "a.txt"), str(tmp_path / "m.pt")
    assert download_wizard_of_oz.main(["--source", text, "--out", str(tmp_path / "b.txt")]) == 0
    assert train.main(["--text", text, *TINY, "--steps", "1", "--out", out]) == 0
    assert generate.main(["--checkpoint", out, "--max-new", "3", "--device", "cpu"]) == 0
    assert runner.main(["--notebooks", str(tmp_path)]) == 2  # there are none
    assert reset.main(["05"], root=tmp_path) == 2  # nor here
    assert doctor.main([]) == 0 and overview.main(["--help"]) == 0
    assert "unrecognized" not in capsys.readouterr().err


PARSERS = {"train": train.make_parser(), "generate": generate.make_parser(), "run": runner.parser()}
NUMBERS = [
    (name, action.option_strings[0])
    for name, parser in PARSERS.items()
    for action in parser._actions
    if action.option_strings and action.type not in (None, str) and "pathlib" not in str(action.type)
]


def test_the_number_options_are_those_of_the_issue():
    named = {option for name, option in NUMBERS if name == "train"}
    assert {"--n-layer", "--n-head", "--n-embd", "--block-size", "--batch-size", "--steps", "--learning-rate",
            "--dropout", "--seed"} <= named  # fmt: skip
    assert {"--max-new", "--temperature", "--top-k", "--top-p", "--seed"} <= {
        o for n, o in NUMBERS if n == "generate"
    }


ZERO_MEANS_SOMETHING = {
    "--dropout",
    "--momentum",
    "--temperature",
    "--seed",
    "--short-first",
    "--from-starts",
    "--final-fraction",
}


@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_no_number_option_takes_what_cannot_work(name, option, capsys):
    values = ["-1", "abc", "nan", "", "1e999", "True", *(["0"] if option not in ZERO_MEANS_SOMETHING else [])]
    for value in values:
        with pytest.raises(SystemExit) as stopped:
            PARSERS[name].parse_args([option, value])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and option in error and repr(value) in error, value


SCRIPTS = {  # each is run as a learner types it, in the test named here
    "download_wizard_of_oz.py": "test_download.py::test_the_command_works_from_any_folder_and_on_any_locale",
    "helpers/__main__.py": "test_doctor.py::test_the_environment_that_runs_the_tests_has_all_packages",
    "helpers/bench.py": "test_bench.py::test_the_ladder_is_kept_with_machine_date_and_command",
    "helpers/chat.py": "test_chat.py::test_input_that_is_no_utf8_and_an_ascii_terminal_are_no_obstacle",
    "helpers/finetuning.py": "test_finetuning.py::test_the_command_keeps_a_model_that_can_be_asked",
    "helpers/generate.py": "test_learner_cases.py::test_the_training_and_writing_commands_work_on_any_locale",
    "helpers/openwebtext.py": "test_openwebtext.py::test_the_command_works_in_a_process_of_its_own_without_torch",
    "helpers/train.py": "test_learner_cases.py::test_the_training_and_writing_commands_work_on_any_locale",
    "helpers/lesson/course.py": "test_lessons.py::test_the_tables_of_the_notebooks_readme_are_made_by_a_command",
    "helpers/lesson/picture.py": "test_lessons.py::test_the_picture_of_the_readme_is_drawn_by_a_command",
    "helpers/lesson/progress.py": "test_lessons.py::test_the_progress_command_works_on_any_locale",
    "helpers/lesson/reset.py": "test_learner_cases.py::test_the_reset_command_works_on_any_locale",
    "helpers/lesson/runner.py": "test_notebooks_run.py::test_the_notebook_runs_to_its_end",
}


def test_every_script_is_run_by_a_test():
    files = (path for part in ("*.py", "helpers/*.py", "helpers/lesson/*.py") for path in ROOT.glob(part))
    scripts = {
        p.relative_to(ROOT).as_posix() for p in files if '\nif __name__ == "__main__"' in p.read_text("utf-8")
    }
    assert scripts == SCRIPTS.keys()
    for place in SCRIPTS.values():
        file, name = place.split("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), place


STRICT = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The training command, twice, as a learner types it: two processes, and the order of sets differs in them."""
    runs = []
    for seed in ("1", "2"):
        folder = tmp_path_factory.mktemp("run")
        env = with_site(folder / "site", "", PYTHONHASHSEED=seed)
        command = [
            *STRICT,
            "-m",
            "helpers.train",
            "--text",
            "tales",
            *TINY,
            "--steps",
            "2",
            "--dropout",
            "0.1",
        ]
        done = run([*command, "--out", folder / "m.pt", "--json"], env)
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout.splitlines()[-1])
        runs.append(SimpleNamespace(facts=facts, path=folder / "m.pt", env=env, stderr=done.stderr))
    return runs


def test_the_training_and_writing_commands_work_on_any_locale(trained):
    """Cases 9 and 53: an encoding left to the locale would be an error here."""
    assert trained[0].facts["training_characters"] == 2 * 12 * 8 and trained[0].stderr == ""
    command = [
        *STRICT,
        "-m",
        "helpers.generate",
        "--checkpoint",
        trained[0].path,
        "--prompt",
        "On",
        "--max-new",
        "5",
    ]
    done = run([*command, "--device", "cpu"], trained[0].env)
    assert done.returncode == 0 and done.stdout.startswith("On") and done.stderr == ""


def test_the_reset_command_works_on_any_locale(tmp_path):
    course = copy_of_the_course(tmp_path / "caf\u00e9", NOTEBOOKS[0])
    (course / "data" / "originals").mkdir()
    path = course / "notebooks" / NOTEBOOKS[0].name
    (course / "data" / "originals" / path.name).write_bytes(path.read_bytes())
    path.write_text("mine", encoding="utf-8")
    done = run([*STRICT, "-m", "helpers", "reset", "00"], with_site(tmp_path / "site", ""), cwd=course)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == NOTEBOOKS[0].read_bytes()
    (aside,) = path.parent.glob("*.mine-*.ipynb")
    assert aside.read_text(encoding="utf-8") == "mine"


# --- case 62: evaluation has its interval, and the time is estimated ---


def test_evaluation_takes_place_at_its_interval_only_and_says_how_long_is_left(capsys):
    model, evaluated = small(), []
    model.register_forward_pre_hook(lambda m, _: evaluated.append(1) if not m.training else None)
    result = run_training(model, ids(), ids(), steps=25, batch_size=2, eval_interval=10, eval_batches=3)
    assert [entry["step"] for entry in result.history] == [0, 10, 20, 25]
    assert len(evaluated) == 4 * 2 * 3  # evaluations, splits, batches
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert ["s left" in line for line in lines] == [False, True, True, False]


def test_by_default_most_of_the_work_is_training():
    default = {name: p.default for name, p in inspect.signature(run_training).parameters.items()}
    assert 2 * default["eval_batches"] / default["eval_interval"] <= 0.5  # evaluated batches per trained one


# --- case 63: the same machine, the same numbers ---


def test_the_same_command_gives_the_same_weights_in_another_process(trained):
    first, second = (checkpoints.load(each.path) for each in trained)
    assert trained[0].facts["validation_loss"] == trained[1].facts["validation_loss"]
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
