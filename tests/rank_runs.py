"""Trainings by several processes without torchrun, so that many fit into a test: run by test_torchrun.py.

    python tests/rank_runs.py PLAN.json

The plan is a list of runs, each {"processes": 2, "options": [...], "folder": ...}. One Python imports torch and forks the
processes, each with the variables that torchrun would set. Beside each run's log it writes codes.json, the exit codes in
the order of the ranks, and rowsN.json, how many rows the batches of rank N had. "interrupt" is the rank that gets Ctrl-C
once the run has begun. Not on Windows.
"""

import json
import os
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # which the first optimizer would import, in each process anew

from helpers import train, training

torch.set_num_threads(1)
PATIENCE = 60  # seconds for a run


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def watched(model, *arguments, rows: set, **options):
    """`train`, which notes how many rows a batch of the training has in this process."""
    model.register_forward_pre_hook(lambda m, batch: rows.add(len(batch[0])) if m.training else None)
    return training.train(model, *arguments, **options)


def start(rank: int, processes: int, port: int, options: list[str], folder: Path, eval_batches: int) -> int:
    """Begin one process of a run; returns its id. Each rank writes what it says into a file of its own."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        out = os.open(folder / f"rank{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        if processes > 1:
            numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes,
                       "MASTER_PORT": port}  # fmt: skip
            os.environ.update({name: str(value) for name, value in numbers.items()}, MASTER_ADDR="127.0.0.1")
        rows: set[int] = set()
        train.train = partial(watched, rows=rows, eval_batches=eval_batches)
        code = train.main(options)
        (folder / f"rows{rank}.json").write_text(json.dumps(sorted(rows)), encoding="utf-8")
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        os._exit(code)


def run(
    processes: int, options: list[str], folder: str, interrupt: int | None = None, eval_batches: int = 3
) -> None:
    """One training by so many processes."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    port = free_port()
    pids = [start(rank, processes, port, options, place, eval_batches) for rank in range(processes)]
    codes: dict[int, int] = {}
    began = time.monotonic()
    while len(codes) < processes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            codes[pids.index(pid)] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() - began > PATIENCE:
            for rank in set(range(processes)) - codes.keys():
                os.kill(pids[rank], signal.SIGKILL)
        else:
            time.sleep(0.01)
        log = place / "log.csv"
        if interrupt is not None and log.exists() and len(log.read_text(encoding="utf-8").splitlines()) > 2:
            os.kill(pids[interrupt], signal.SIGINT)
            interrupt = None
    (place / "codes.json").write_text(
        json.dumps([codes[rank] for rank in range(processes)]), encoding="utf-8"
    )


if __name__ == "__main__":
    for each in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        run(**each)
