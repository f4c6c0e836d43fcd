"""Trainings that are killed (SIGKILL) at moments drawn at random, then resumed: run by test_exact_resume.py.

    python tests/kill_runs.py FOLDER SEED KILLS [OPTION...]

Importing torch takes longer than such a training, so one Python imports it and forks a child for each run. It prints one
line of JSON: the folder of the run that was left alone, and what happened in each of the others. Not on Windows.
"""

import io
import json
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # which the first optimizer would import, in each child anew

from helpers import checkpoints, train, training
from helpers.tales import write_tales

torch.set_num_threads(1)
COMMAND = [
    "--n-layer", "1", "--n-head", "2", "--n-embd", "16",
    "--block-size", "16", "--dropout", "0.1", "--steps", "40", "--eval-interval", "4", "--batch-size", "4",
    "--device", "cpu", "--resume", "--learning-rate", "0.2", "--final-fraction", "1",
]  # fmt: skip
# The learning rate is so high that the best evaluation is not the last.
PIECES, PAUSE = 8, 0.01  # of a slow writing: pieces, and seconds between them


def command(folder: Path) -> list[str]:
    """The arguments of a run that keeps all its files in `folder`."""
    files = ["--text", folder.parent / "text.txt", "--out", folder / "m.pt", "--log", folder / "log.csv"]
    return [*COMMAND, *OPTIONS, *map(str, files)]


def write_slowly(content, to, announce: int, save=torch.save) -> None:
    """torch.save in pieces with pauses; one byte through the pipe says that it begins."""
    whole = io.BytesIO()
    save(content, whole)
    data = whole.getvalue()
    os.write(announce, b".")
    for i in range(PIECES):
        to.write(data[len(data) * i // PIECES : len(data) * (i + 1) // PIECES])
        to.flush()
        time.sleep(PAUSE)


def start(folder: Path, announce: int | None = None) -> int:
    """Begin a run in a child; returns its process id."""
    folder.mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        out = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        train.train = partial(training.train, eval_batches=5)
        if announce is not None:
            torch.save = partial(write_slowly, announce=announce)
        code = train.main(command(folder))
    finally:
        sys.stdout.flush()
        os._exit(code)


def finish(pid: int) -> int:
    """Wait for a child; returns its exit code, -9 for one that was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at(folder: Path, moment: float) -> int:
    """Kill a run so many seconds after its start."""
    pid = start(folder)
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    return finish(pid)


def kill_in_writing(folder: Path, number: int, moment: float) -> int:
    """Kill a run `moment` seconds into its writing number `number` (the first is 1)."""
    listen, announce = os.pipe()
    pid = start(folder, announce)
    os.close(announce)
    for _ in range(number):
        if not os.read(listen, 1):
            break  # it has ended
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    os.close(listen)
    return finish(pid)


def step_kept(folder: Path) -> int:
    """The step of the state on the disk; -1 where there is none. Fails for a file that is not whole."""
    path = folder / "m.last.pt"
    return checkpoints.load(path).training["step"] if path.exists() else -1


def main(folder: Path, seed: int, kills: int) -> None:
    """Let one run alone, kill the others, resume them to their ends, and tell."""
    draw, alone, told = random.Random(seed), folder / "alone", []
    (folder / "text.txt").write_text(write_tales(3000), encoding="utf-8", newline="\n")
    finish(start(folder / "first"))  # so that the next is measured with everything in memory
    began = time.perf_counter()
    assert finish(start(alone)) == 0, (alone / "output.txt").read_text(encoding="utf-8")
    duration = time.perf_counter() - began
    writings = 12  # 11 states and the model
    for number in range(kills):
        run, code = folder / f"run{number}", 0
        in_writing = number % 3 == 2
        while code != -9:  # a run that ended before its moment is no hit: begin again
            for path in run.glob("*") if run.is_dir() else ():
                path.unlink()
            if in_writing:
                code = kill_in_writing(run, draw.randint(1, writings), draw.uniform(0, PIECES * PAUSE))
            else:
                code = kill_at(run, draw.uniform(0, duration))
        left = [path.name for path in run.glob(".*")]
        row = {"folder": run.name, "in_writing": in_writing, "left": left, "kept": step_kept(run)}
        row["code"] = finish(start(run))
        told.append(row)
    print(json.dumps({"duration": duration, "runs": told}))


if __name__ == "__main__":
    OPTIONS = sys.argv[4:]
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
