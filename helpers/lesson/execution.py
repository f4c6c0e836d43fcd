"""Run one notebook from top to bottom, without a window and without touching its file.

    result = run_notebook("notebooks/05_bigram.ipynb", text="tales", device="cpu")
    print(result.ok, result.error, result.seconds, result.peak_mib)

The kernel is the Python that runs this, whatever kernels Jupyter knows; it works in the notebook's folder, as
in JupyterLab. Neither it nor any process that it started is there afterwards, however the run ends.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from helpers import books
from helpers.lesson.processes import Watch
from helpers.lesson.saving import cell_name, code_cells, plain

FLOOD = 20_000_000  # bytes that one cell may print before we stop listening
SHARE = 20  # a quick run trains so many times fewer steps
STEPS = re.compile(
    r"""((?<![\w.])(?:steps|STEPS)["']?\s*[=:]\s*|^STEPS, \w+ = )(\d[\d_]*)(?![\w.])""", re.MULTILINE
)
PATIENCE = 60  # seconds for a kernel to start, and for the outputs of a cell to arrive after its end

Replacement = Mapping[str, str] | Callable[[NotebookNode], object]


@dataclass
class Result:
    """How a run went."""

    notebook: str  # "05_bigram"
    seconds: float = 0.0  # from the start of the kernel to the end of the last cell
    peak_mib: float = 0.0  # memory of the kernel and its children, see helpers.lesson.processes.Watch
    ok: bool = False  # every cell ran without an error
    error: str | None = None  # the cell, and what happened there
    executed: NotebookNode | None = None  # the copy with its outputs, as far as it got
    seconds_by_cell: dict[str, float] = field(default_factory=dict)  # {cell id: seconds}
    notes: list[str] = field(default_factory=list)  # cells that wrote warnings or the like


class ThisPython(KernelSpecManager):
    """Knows one kernel: the running Python."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


class Flood(Exception):
    """A cell printed more than FLOOD bytes."""


class Client(NotebookClient):
    """nbclient that drops what a cell prints beyond FLOOD bytes, so that the memory here stays bounded."""

    printed = 0  # bytes, by the cell that runs

    def output(self, outs, msg, display_id, cell_index):
        content = msg["content"]
        values = [content.get("text", ""), *content.get("data", {}).values()]
        self.printed += sum(len(value) for value in values if isinstance(value, str))
        return None if self.printed > FLOOD else super().output(outs, msg, display_id, cell_index)


def run_notebook(
    path: str | Path,
    *,
    text: str | Path | None = None,
    device: str | None = None,
    timeout: float = 600,
    on_cell: Callable[[NotebookNode, int, int], object] | None = None,
    replace: Replacement | None = None,
    my_gpt: str | Path | None = None,
    state: str | Path | None = None,
    quick: bool | None = None,
) -> Result:
    """Run a copy of a notebook and return how it went; the file and what the learner has in data/ stay as they are.

    A value of `lesson.record` that leaves its range fails the run, like an error.

    text:    what load_text() gives in the notebook: a path or "tales"; without it, what COURSE_TEXT says here.
    device:  what pick_device() gives there: "cpu", "cuda" or "mps"; without it, what COURSE_DEVICE says here.
    timeout: seconds that a single cell may take.
    on_cell: called as on_cell(cell, number, total) before each code cell; number counts from 1.
    replace: {cell id: source} to run instead of what is there, or a function that changes the copy itself.
    my_gpt:  where notebook 10 keeps its model and later ones look for it; without it, a place that is gone afterwards.
    state:   the folder for progress and timings; without it, one that is gone afterwards.
    quick:   a twentieth of the steps in the long trainings (see `shorten`), and no value is judged by its range; without it,
             whether COURSE_QUICK is 1 here.
    A notebook that fails is no error here: see Result. Raises BookError for a text that cannot be read,
    ValueError for a cell id that is not there, and KeyboardInterrupt after Ctrl-C, when the kernel has ended.
    """
    path = Path(path).resolve()
    variables = {"COURSE_TEXT": course_text(text), "COURSE_DEVICE": device}
    result = Result(path.stem)
    try:
        notebook = read_notebook(path)
    except (OSError, ValueError) as error:
        result.error = str(error)
        return result
    quick = quick_wanted() if quick is None else quick
    if quick:
        shorten(notebook)
    if callable(replace):
        replace(notebook)
    elif replace:
        put_in(notebook, replace)
    for cell in notebook.cells:  # stored outputs are of another run
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    result.executed = notebook
    run = Run(result, path.parent, timeout, on_cell)
    with tempfile.TemporaryDirectory(prefix="course-run-", ignore_cleanup_errors=True) as folder:
        variables["COURSE_MY_GPT"] = str(Path(my_gpt or Path(folder) / "my_gpt.pt").resolve())
        variables["COURSE_STATE"] = str(Path(state or Path(folder) / "state").resolve())
        try:
            in_own_loop(run.execute(Path(folder), kernel_environment(folder, variables)))
        finally:  # after a second Ctrl-C too
            if run.watch:
                run.watch.stop()
                run.watch.end_all()
                result.peak_mib = round(run.watch.peak_mib, 1)
        wrong = records_out_of_range(Path(variables["COURSE_STATE"]), path.stem[:2])
        if result.ok and wrong and not quick:
            result.ok, result.error = False, f"recorded values outside of their range: {'; '.join(wrong)}"
    result.seconds = round(result.seconds, 3)
    result.notes = stderr_notes(notebook)
    return result


class Run:
    """One run of one notebook: starts the kernel, sends it the cells, ends it, and fills in the Result."""

    def __init__(self, result: Result, folder: Path, timeout: float, on_cell: Callable | None) -> None:
        self.result, self.folder, self.timeout = result, folder, timeout
        self.on_cell = on_cell or (lambda cell, number, total: None)
        self.watch: Watch | None = None
        self.manager: AsyncKernelManager | None = None

    async def execute(self, scratch: Path, environment: dict[str, str]) -> None:
        """Run all code cells, up to the first that fails. scratch: a folder for the kernel's own files."""
        self.manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=ThisPython(),
            connection_file=str(scratch / "kernel.json"),
            shutdown_wait_time=2.0,  # seconds; a kernel of less than a second of age may not hear the first call
        )
        client = Client(
            self.result.executed,
            km=self.manager,
            resources={"metadata": {"path": str(self.folder)}},
            timeout_func=lambda cell: self.timeout,
            startup_timeout=PATIENCE,
            iopub_timeout=PATIENCE,
            raise_on_iopub_timeout=True,  # otherwise late outputs would be lost without a word
            force_raise_errors=True,  # Run All must not meet an error, announced by a tag or not
            skip_cells_with_tag="",  # JupyterLab skips none either
            record_timing=False,
            extra_arguments=["--HistoryManager.enabled=False"],  # the learner's own history stays theirs
        )
        with (scratch / "kernel.log").open("w+b") as log:
            try:
                await self._send_cells(client, environment, log)
            finally:
                await self._end(client)

    async def _send_cells(self, client: Client, environment: dict[str, str], log) -> None:
        result, cells = self.result, code_cells(self.result.executed)
        start, cell, number = time.perf_counter(), None, 0
        try:
            await client.async_start_new_kernel(env=environment, stdout=log, stderr=log)
            self.watch = Watch(self.manager.provisioner.pid)
            self.watch.start()
            await client.async_start_new_kernel_client()
            for number, (index, cell) in enumerate(cells, 1):
                self.on_cell(cell, number, len(cells))
                client.printed, cell_start = 0, time.perf_counter()
                try:
                    await client.async_execute_cell(cell, index, execution_count=number)
                finally:
                    result.seconds_by_cell[cell.get("id", str(index))] = time.perf_counter() - cell_start
                if client.printed > FLOOD:
                    raise Flood
            if await self.manager.provisioner.poll() is not None:
                raise DeadKernelError
            result.ok = True
        except Exception as error:
            if asyncio.current_task().cancelling():  # Ctrl-C: nbclient takes it for the kernel's death
                raise asyncio.CancelledError from error
            code = await self.manager.provisioner.poll() if self.manager.has_kernel else None
            where = f"cell {number} ({cell_name(cell)})" if cell else "before the first cell"
            result.error = f"{where}: {self._explain(error, code)}"
            if not isinstance(error, (CellExecutionError, CellTimeoutError, Flood)):
                result.error += last_words(log)
        finally:
            result.seconds = time.perf_counter() - start

    def _explain(self, error: Exception, code: int | None) -> str:
        """Return what happened. code: the kernel's exit code if it has ended."""
        if isinstance(error, CellExecutionError):
            return f"{error.ename}: {plain(error.evalue)}".removesuffix(": ")
        if isinstance(error, Flood):
            return f"it printed more than {FLOOD / 1e6:.0f} MB: print less, JupyterLab would stop listening"
        if isinstance(error, CellTimeoutError):
            if "IOPub" in str(error):
                return f"its outputs did not arrive within {PATIENCE} s"
            return f"it did not finish within {self.timeout:g} s (CellTimeoutError); --timeout allows more"
        if code is not None:
            how = f"exit code {code}" if code >= 0 else f"signal {-code}"
            memory = "; the system does this when memory runs out" if code == -9 else ""
            return f"the kernel died (DeadKernelError, {how}{memory})"
        return f"{type(error).__name__}: {error}".removesuffix(": ")

    async def _end(self, client: Client) -> None:
        """Shut the kernel down: politely after a clean run, at once otherwise."""
        if self.watch:
            self.watch.stop()  # while there is something to see
        with suppress(Exception):  # end_all() is thorough where this is not
            if self.manager.provisioner is not None:
                await self.manager.shutdown_kernel(now=not self.result.ok)
        if client.kc is not None:
            client.kc.stop_channels()


def in_own_loop(coroutine) -> None:
    """Run a coroutine to its end, in a thread of its own where this one has an event loop already."""

    def run() -> None:
        # Windows' default loop cannot wait for ZeroMQ's sockets.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(coroutine)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run()
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(run).result()


def course_text(text: str | Path | None) -> str | None:
    """Return the value of COURSE_TEXT for a text: an absolute path, "tales", or None for no text.

    Raises BookError if the file is not there or cannot be read.
    """
    if text is None or str(text) == "tales":
        return None if text is None else "tales"
    books.load_text(text)
    path = Path(text).expanduser()
    return str((path if path.exists() else books.DATA.parent / path).resolve())


def kernel_environment(folder: str, variables: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment variables of a kernel. folder: where IPython may keep its own files."""
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= {
        "IPYTHONDIR": folder,  # no start-up files or settings of the learner's, and none written
        "JUPYTER_PLATFORM_DIRS": "1",  # no notice that folders will move
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # no notice about frozen modules
    }
    return environment | {name: value for name, value in variables.items() if value is not None}


def records_out_of_range(state: Path, number: str) -> list[str]:
    """Return a line for each value that `lesson.record` found outside of its range in this notebook."""
    try:
        kept = json.loads((state / "progress.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    records = kept["notebooks"].get(number, {}).get("records", {})
    return [
        f"{name} = {facts['value']} {facts['unit']}, expected {facts['low']:g} to {facts['high']:g}"
        for name, facts in records.items()
        if facts["ok"] is False
    ]


def read_notebook(path: Path) -> NotebookNode:
    """Return a notebook from its file. Raises ValueError that says what is wrong with it."""
    try:
        notebook = nbformat.reads(path.read_bytes().decode("utf-8-sig"), as_version=4)
        nbformat.validate(notebook)
    except (ValueError, KeyError, AttributeError, TypeError, nbformat.ValidationError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path.name} cannot be read as a notebook: {type(error).__name__}: {reason}"
        ) from error
    return notebook


def put_in(notebook: NotebookNode, sources: Mapping[str, str]) -> None:
    """Change the sources of cells. sources: {cell id: new source}. Raises ValueError for an unknown id."""
    cells = {cell.get("id"): cell for cell in notebook.cells}
    unknown = sorted(set(sources) - set(cells))
    if unknown:
        raise ValueError(f"no cell has the id {', '.join(unknown)}; there are: {', '.join(map(str, cells))}")
    for name, source in sources.items():
        cells[name].source = source


def quick_wanted() -> bool:
    """Whether COURSE_QUICK asks for short runs."""
    return os.environ.get("COURSE_QUICK", "") not in ("", "0")


def shorten(notebook: NotebookNode) -> None:
    """Divide the numbers of training steps that the cells name by SHARE: `steps=400`, `"steps": 1200`, `STEPS, BATCH = 600, 12`.

    Up to 100 steps stay as they are, but for those of a notebook's main training, which is called STEPS. Loops over a
    range stay, too.
    """

    def fewer(match: re.Match) -> str:
        few = int(match[2]) <= 100 and not match[1].startswith("STEPS")
        return match[0] if few else match[1] + str(max(int(match[2]) // SHARE, 3))

    for _, cell in code_cells(notebook):
        cell.source = STEPS.sub(fewer, cell.source)


def stderr_notes(notebook: NotebookNode) -> list[str]:
    """Return a line for each cell that wrote to stderr, where warnings go."""
    notes = []
    for number, (_, cell) in enumerate(code_cells(notebook), 1):
        written = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr")
        lines = [line for line in plain(written).splitlines() if line.strip()]
        if lines:
            telling = next((line for line in lines if re.search(r"\w*Warning\b", line)), lines[-1])
            notes.append(f"cell {number} ({cell_name(cell)}) wrote to stderr: {telling.strip()[:150]}")
    return notes


def last_words(log) -> str:
    """Return the last lines that the kernel wrote outside of cells, indented, for an error message."""
    log.seek(0)
    lines = plain(log.read().decode("utf-8", errors="replace")).splitlines()
    lines = [line for line in lines if line.strip() and not re.match(r"\[\w*App\] (WARNING|INFO)", line)]
    return "".join(f"\n    {line}" for line in lines[-8:])
