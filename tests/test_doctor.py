"""python -m helpers doctor: each fault is named, with its mend, and nothing broken breaks the doctor."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import books, doctor
from helpers.environments import python_in, read_requirements
from helpers.mends import PYTORCH_PAGE, ROOT


def whole(check) -> list[doctor.Line]:
    return list(check())


def levels(lines) -> dict[str, str]:
    return {line.what: line.level for line in lines}


def run_doctor(python, **variables) -> subprocess.CompletedProcess:
    dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "COURSE_TEXT", "COURSE_DEVICE")
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    command = [python, "-m", "helpers", "doctor"]
    return subprocess.run(
        command, cwd=ROOT, env={**env, **variables}, capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """The interpreter of an environment with nothing in it, not even pip."""
    folder = tmp_path_factory.mktemp("bare") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return python_in(folder)


def test_a_bare_python_gets_a_whole_check_up(bare):
    done = run_doctor(bare)
    assert done.returncode == 1 and done.stderr == ""
    for package in read_requirements("requirements.txt"):
        assert f"{package} " in done.stdout
    rows = {row.split()[1]: row.split()[0] for row in done.stdout.splitlines() if row[:1].isalpha()}
    assert rows["Python"] == "ok" and rows["torch"] == rows["jupyterlab"] == "problem"
    assert {"text", "model", "disk", "memory", "device"} <= rows.keys()
    assert f"{bare} -m helpers lab" in done.stdout  # the command for this Python, not for another


def test_the_environment_that_runs_the_tests_has_all_packages():
    done = run_doctor(sys.executable)
    assert done.stderr == ""
    rows = {row.split()[1]: row.split()[0] for row in done.stdout.splitlines() if row[:1].isalpha()}
    assert {package: rows[package] for package in read_requirements("requirements.txt")} == dict.fromkeys(
        read_requirements("requirements.txt"), "ok"
    )
    assert rows["device"] == rows["Python"] == rows["environment"] == "ok"
    assert done.returncode == int("problem" in rows.values())


def test_the_exit_code_is_1_for_a_problem_and_0_for_notes(monkeypatch, capsys):
    for level, code in (("ok", 0), ("note", 0), ("problem", 1)):
        monkeypatch.setattr(
            doctor, "CHECKS", (lambda level=level: [doctor.Line(level, "thing", "says", "mend it")],)
        )
        assert doctor.main([]) == code
        assert "to mend: mend it" in capsys.readouterr().out
    assert doctor.main(["--all"]) == 2


def test_a_check_that_fails_itself_is_a_problem_and_the_others_still_run(monkeypatch):
    def check_moon():
        raise RuntimeError("no moon")

    monkeypatch.setattr(doctor, "CHECKS", (check_moon, doctor.check_disk))
    lines = doctor.examine()
    assert lines[0].level == "problem" and lines[0].what == "moon" and "no moon" in lines[0].says
    assert lines[1].what == "disk"


def test_one_mend_for_a_group_of_lines_is_printed_once():
    lines = [doctor.Line("problem", name, "gone", "python -m helpers lab") for name in ("torch", "numpy")]
    text = doctor.report(lines)
    assert text.count("python -m helpers lab") == 1
    assert text.endswith("2 problems, 0 notes")


# --- packages ---


def test_a_package_that_is_too_old_is_a_problem(monkeypatch):
    real = doctor.installed_version
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.9.3" if name == "numpy" else real(name))
    line = next(line for line in doctor.check_packages() if line.what == "numpy")
    assert line.level == "problem" and "1.9.3" in line.says and line.mend == doctor.lab_command()


def test_an_old_torch_is_mended_by_its_own_page_since_lab_leaves_it_alone(monkeypatch):
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.13.1+cu117")
    line = next(line for line in doctor.check_packages() if line.what == "torch")
    assert line.level == "problem" and PYTORCH_PAGE in line.mend


@pytest.mark.parametrize(("where", "level"), [(ROOT, "ok"), (ROOT.parent / "another copy", "problem")])
def test_helpers_of_another_copy_of_the_course_are_noticed(monkeypatch, where, level):
    class Distribution:
        version = "99"

        def read_text(self, name):
            return json.dumps({"url": where.as_uri(), "dir_info": {"editable": True}})

    monkeypatch.setattr(doctor.importlib.metadata, "distribution", lambda name: Distribution())
    line = whole(doctor.check_packages)[-1]
    assert (line.what, line.level) == ("helpers", level)


# --- torch and the device ---


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ImportError('libcudart.so.13: cannot open shared object file')", "libcudart.so.13"),
        ("raise OSError('[WinError 126] The specified module could not be found')", "WinError 126"),
        (
            "import os; os._exit(132)",
            "exit code 132",
        ),  # a torch that ends the process, like a crash
    ],
)
def test_a_torch_that_does_not_import_is_reported_with_its_error(monkeypatch, tmp_path, source, words):
    (tmp_path / "torch.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "installed_version", lambda name: "2.13.0+cu130")
    (line,) = doctor.check_device()
    assert line.level == "problem" and words in line.says
    assert "--force-reinstall" in line.mend and "torch==2.13.0" in line.mend


def test_a_torch_that_never_ends_importing_is_given_up(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("import time; time.sleep(20)", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "over 0 s" in doctor.probe_torch(timeout=0.1)["broken"]


def facts(**changes):
    cpu = {"version": "2.13.0+cpu", "cuda": None, "hip": None, "cuda_works": False, "mps_built": False}
    return {**cpu, "device": "cpu", "says": "cpu (x86_64, 2 threads)", **changes}


def device_lines(monkeypatch, driver: bool, **changes) -> list[doctor.Line]:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "nvidia-smi" if driver else None)
    monkeypatch.setattr(doctor, "installed_version", lambda name: "2.13.0+cpu")
    monkeypatch.setattr(doctor, "probe_torch", lambda: facts(**changes))
    return whole(doctor.check_device)


def test_a_driver_with_a_cpu_torch_is_told_where_the_gpu_build_is(monkeypatch):
    device, gpu = device_lines(monkeypatch, driver=True)
    assert device.level == "ok" and "the CPU alone" in device.says
    assert gpu.level == "note" and PYTORCH_PAGE in gpu.mend and "pip uninstall -y torch" in gpu.mend


def test_a_driver_that_is_too_old_for_torch_is_named(monkeypatch):
    _, gpu = device_lines(monkeypatch, driver=True, cuda="13.0")
    assert gpu.level == "note" and "CUDA 13.0" in gpu.says and "driver" in gpu.mend


def test_a_machine_without_a_driver_and_one_whose_gpu_works_get_one_line(monkeypatch):
    assert levels(device_lines(monkeypatch, driver=False)) == {"device": "ok"}
    working = {"cuda": "13.0", "cuda_works": True, "device": "cuda", "says": "cuda (a GPU)"}
    lines = device_lines(monkeypatch, driver=True, **working)
    assert levels(lines) == {"device": "ok"} and "CUDA 13.0" in lines[0].says


def test_an_impossible_course_device_is_a_problem_with_its_way_out(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "tpu")
    (line,) = device_lines(monkeypatch, driver=False, fault="ValueError: 'tpu' is not a device")
    assert line.level == "problem" and "tpu" in line.says and "COURSE_DEVICE" in line.mend


# --- text, model, disk, environment ---


def test_the_text_is_the_book_or_the_tales_or_ones_own(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_TEXT", raising=False)
    monkeypatch.setattr(books, "BOOK_PATH", tmp_path / "book.txt")
    (line,) = doctor.check_text()
    assert line.level == "note" and "tales" in line.says and "download_wizard_of_oz.py" in line.mend
    (tmp_path / "book.txt").write_text("Toto barked.", encoding="utf-8")
    (line,) = doctor.check_text()
    assert line.level == "ok" and "12 characters" in line.says
    for asked in ("tales", '"tales"'):
        monkeypatch.setenv("COURSE_TEXT", asked)
        (line,) = doctor.check_text()
        assert line.level == "ok" and "tales" in line.says
    monkeypatch.setenv("COURSE_TEXT", str(tmp_path / "mine.txt"))
    (line,) = doctor.check_text()
    assert line.level == "problem" and "mine.txt" in line.says and "COURSE_TEXT" in line.mend


def test_a_missing_shipped_model_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tales_gpt.json").touch()
    (line,) = doctor.check_model()
    assert (
        line.level == "problem" and "tales_gpt.safetensors" in line.says and "tales_gpt.json" not in line.says
    )
    (tmp_path / "data" / "tales_gpt.safetensors").touch()
    assert levels(doctor.check_model()) == {"model": "ok"}


@pytest.mark.parametrize(
    ("gib", "missing", "level"),
    [
        (20, ["torch"], "ok"),
        (5, ["torch"], "note"),
        (1, ["torch"], "problem"),
        (5, [], "ok"),
        (0.1, [], "problem"),
    ],
)
def test_the_disk_must_hold_what_is_still_to_come(monkeypatch, gib, missing, level):
    usage = shutil.disk_usage(ROOT)._replace(free=int(gib * 2**30))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(doctor, "lacking", lambda: missing)
    (line,) = doctor.check_disk()
    assert line.level == level
    assert ("cache purge" in line.mend) == (level != "ok")


def test_memory_is_known_without_psutil(monkeypatch):
    with_psutil = doctor.memory()
    monkeypatch.setitem(sys.modules, "psutil", None)  # importing it fails now
    without = doctor.memory()
    assert with_psutil > 0.1
    if os.name != "nt":
        assert without == pytest.approx(with_psutil, rel=0.05)


def test_little_memory_is_a_note(monkeypatch):
    for total, level in ((2.0, "note"), (8.0, "ok"), (None, "note")):
        monkeypatch.setattr(doctor, "memory", lambda total=total: total)
        assert levels(doctor.check_memory()) == {"memory": level}


def test_a_broken_environment_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "in_environment", lambda: False)
    monkeypatch.setattr(doctor, "VENV", tmp_path)  # a folder without an interpreter
    (line,) = doctor.check_environment()
    assert line.level == "problem" and "does not start" in line.says and line.mend.endswith("-m helpers lab")


@pytest.mark.parametrize(("translated", "words"), [("1\n", "Apple silicon"), ("", "Intel Macs")])
def test_an_intel_python_on_a_mac_is_told_apart_from_an_intel_mac(monkeypatch, translated, words):
    monkeypatch.setattr(doctor.sys, "platform", "darwin")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    answer = subprocess.CompletedProcess([], 0, stdout=translated)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *args, **options: answer)
    (line,) = doctor.check_python()
    assert line.level == "problem" and words in line.says
