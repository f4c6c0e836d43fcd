"""Several processes for the jobs of an extraction, started as on every system: anew, not as copies of this one.

    with Workers(4, tokenizer, recipe, folder) as workers:
        for job in jobs(...):
            workers.give(job)        # waits until a process is free
        workers.wait()

No more jobs are in memory than there are processes. A process ends by itself when this one is gone. Introduced by
notebook 11 (sections 57 to 61 of the lecture). Imports no torch.
"""

import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from helpers.bpe import tokenizer_from_dict
from helpers.encoders import encoder_for
from helpers.owt_jobs import Job
from helpers.owt_parts import Recipe, run_job
from helpers.tokenizer import Tokenizer


class WorkerError(RuntimeError):
    """A process that worked on the extraction failed. The message says how, and that the work can go on."""


class Workers:
    """Processes that run jobs. Raises WorkerError where one dies or fails, and OSError as the job did."""

    def __init__(self, count: int, tokenizer: Tokenizer, recipe: Recipe, folder: Path):
        self._count, self._settings = count, (tokenizer.to_dict(), recipe, folder)
        self._processes: dict[connection.Connection, BaseProcess] = {}
        self._busy: set[connection.Connection] = set()

    def _start(self) -> connection.Connection:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, *self._settings), daemon=True)
        with _without_ctrl_c():
            process.start()
        self._processes[ours] = process
        theirs.close()  # so that reading from a process that died is an error, not an endless wait
        return ours

    def give(self, job: Job) -> None:
        """Have a job run by a free process; wait for one where all are started and busy."""
        idle = next((pipe for pipe in self._processes if pipe not in self._busy), None)
        if idle is None:
            idle = self._start() if len(self._processes) < self._count else self._next_free()
        try:
            idle.send(job)
        except OSError as error:
            raise self._death(idle) from error
        self._busy.add(idle)

    def wait(self) -> None:
        """Until every job is done."""
        while self._busy:
            self._next_free()

    def _next_free(self) -> connection.Connection:
        pipe = connection.wait(list(self._busy))[0]
        try:
            failure = pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death(pipe) from error
        if isinstance(failure, OSError):
            raise failure
        if failure:
            raise WorkerError(f"a worker process failed:\n{failure}")
        self._busy.discard(pipe)
        return pipe

    def _death(self, pipe: connection.Connection) -> WorkerError:
        process = self._processes[pipe]
        process.join(5)
        code = process.exitcode
        how = f"killed by signal {-code}" if code and code < 0 else f"exit code {code}"
        return WorkerError(
            f"a worker process ended ({how}): it was stopped from outside, or the system had no memory left; fewer "
            'workers need less of it. A script of your own calls extract under `if __name__ == "__main__":`, because '
            "each worker imports the script"
        )

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_) -> None:
        for pipe in self._processes:
            pipe.close()
        for process in self._processes.values():
            process.join(1 if process.exitcode is None and not self._busy else 0)
            if process.exitcode is None:
                process.terminate()
            process.join()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Ctrl-C is for the process that gives the jobs: one that is started meanwhile never hears it (but on Windows)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: connection.Connection, tokenizer: dict, recipe: Recipe, folder: Path) -> None:
    """What a process does: run the jobs that come, until no more can come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there are several of us
    encoder = encoder_for(tokenizer_from_dict(tokenizer))
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        failure = None
        try:
            run_job(job, encoder, recipe, folder)
        except OSError as error:
            failure = error
        except Exception:
            failure = traceback.format_exc()
        try:
            pipe.send(failure)
        except OSError:
            return
