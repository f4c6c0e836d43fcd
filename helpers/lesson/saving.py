"""Turn an executed notebook into what is committed, and refuse outputs that must not be.

    write(path, prepare(result.executed))

What is committed is the same wherever it was made, as far as the outputs are: no timing, no widget that needs a
kernel, no path of this machine, no address of an object, no words of the book.
"""

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.lesson.finding import ROOT

CELL_LIMIT = 100_000  # bytes of text in the outputs of one cell
NOTEBOOK_LIMIT = 1_000_000  # bytes of a whole notebook
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
QUOTES_BOOK = "quotes-book"  # the tag of cells whose outputs quote the book
TIMING = ("execution", "ExecuteTime")  # metadata of cells

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
BAR = re.compile(r"\d+%\||\d+(\.\d+)?\w*it \[|\[\d+:\d\d[<,]")  # what tqdm draws


class SavingError(ValueError):
    """A notebook cannot be committed as it is; the message names the cells and what to do."""


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Return (index, cell) of the cells that run: those of code that are not empty."""
    return [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == "code" and c.source.strip()]


def cell_name(cell: NotebookNode) -> str:
    """Return the first line of a cell, by which a learner finds it."""
    line = cell.source.strip().splitlines()[0]
    return f"`{line if len(line) <= 60 else line[:57] + '...'}`"


def source_hash(notebook: NotebookNode) -> str:
    """Return the SHA-256 of the sources of all code cells, in order; the kind of line end does not count."""
    sources = [with_lf(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode("ascii")).hexdigest()  # JSON keeps the cells apart


def with_lf(text: str) -> str:
    """Return text with \\n for every line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def plain(text: str) -> str:
    """Return text without colours and with each line as a terminal would show it in the end.

    A carriage return goes back to the start of the line, and what follows overwrites: a progress bar that was
    drawn a hundred times becomes its last state.
    """
    return last_states(ANSI.sub("", text))


def last_states(text: str) -> str:
    """The same as plain(), with the colours kept."""
    return "\n".join(map(_last_state, text.replace("\r\n", "\n").split("\n")))


def _last_state(line: str) -> str:
    if "\r" not in line:
        return line
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown.rstrip()


def prepare(executed: NotebookNode) -> NotebookNode:
    """Return a copy of an executed notebook as it is committed.

    Raises SavingError, one line for each problem: an error or a warning, text of more than CELL_LIMIT bytes in
    one cell, a path of this machine, the address of an object, a notebook that is too large or not valid.
    """
    notebook = deepcopy(executed)
    problems = [] if notebook.nbformat == 4 and notebook.nbformat_minor >= 5 else [
        f"the notebook has format {notebook.nbformat}.{notebook.nbformat_minor}, whose cells have no ids: "
        "save it as 4.5 or newer"
    ]  # fmt: skip
    for number, (_, cell) in enumerate(code_cells(notebook), 1):
        cell.execution_count = number
        cell.outputs = list(_merged(_without_widgets(cell.outputs)))
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
        found = list(_faults(cell))
        if QUOTES_BOOK in cell.metadata.get("tags", []):
            cell.outputs = []
        found += _unfit(cell)
        problems += [f"cell {number} ({cell_name(cell)}): {problem}" for problem in found]
    for cell in notebook.cells:
        cell.source = with_lf(cell.source)
        for name in TIMING:
            cell.metadata.pop(name, None)
        if cell.cell_type == "code" and not cell.source.strip():
            cell.update(outputs=[], execution_count=None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(
        nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    )
    notebook.metadata.setdefault("course", NotebookNode())["source_hash"] = source_hash(notebook)
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        problems.append(f"the notebook is not valid: {str(error).splitlines()[0]}")
    size = len(to_bytes(notebook))
    if size > NOTEBOOK_LIMIT:
        problems.append(
            f"the notebook would have {size:,} bytes, allowed are {NOTEBOOK_LIMIT:,}: make figures smaller (dpi)"
        )
    if problems:
        raise SavingError("\n".join(problems))
    return notebook


def _without_widgets(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """The outputs without widgets; what stands in for one where there is no kernel stays: a picture, or a text as HTML.

    A widget that comes with plain text alone (its repr, as of a progress bar) has nothing to show.
    """
    for output in outputs:
        if WIDGET in output.get("data", {}):
            del output.data[WIDGET]
            output.metadata.pop(WIDGET, None)
            if not any(kind.startswith("image/") or kind == "text/html" for kind in output.data):
                continue
        yield output


def _merged(outputs: Iterator[NotebookNode]) -> Iterator[NotebookNode]:
    """The outputs with what was printed between two displays as one stream, stdout before stderr.

    How a kernel cuts its prints into messages, and which of the two streams arrives first, is chance.
    """
    streams: dict[str, NotebookNode] = {}
    for output in [*outputs, None]:
        if output is not None and output.output_type == "stream":
            first = streams.setdefault(output.name, output)
            if first is not output:
                first.text += output.text
            continue
        for name in sorted(streams, reverse=True):  # stdout, stderr
            streams[name].text = last_states(streams[name].text)
            if streams[name].text:
                yield streams[name]
        streams = {}
        if output is not None:
            yield output


def _faults(cell: NotebookNode) -> Iterator[str]:
    """What shows that a cell did not run cleanly."""
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"it stopped with {output.ename}: {output.evalue}"
        elif output.output_type == "stream" and output.name == "stderr":
            lines = [line.strip() for line in plain(output.text).splitlines() if line.strip()]
            wrong = [line for line in lines if not BAR.search(line)]
            if wrong:
                yield f"it wrote a warning or an error to stderr: {wrong[0][:150]}"


def _unfit(cell: NotebookNode) -> Iterator[str]:
    """What must not be stored of a cell's outputs."""
    texts = list(_texts(cell.outputs))
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if size > CELL_LIMIT:
        yield f"it shows {size:,} bytes of text, allowed are {CELL_LIMIT:,}: print less"
    for pattern, what in ((machine_paths(), "a path of this machine"), (ADDRESS, "the address of an object")):
        found = next(filter(None, map(pattern.search, texts)), None)
        if found:
            start = max(0, found.start() - 30)
            line = found.string[start : found.end() + 30].replace("\n", " ").strip()
            yield f"its output has {what}, which differs elsewhere: ... {line} ..."


def _texts(outputs: list[NotebookNode]) -> Iterator[str]:
    """All text in outputs; pictures (base64) are none."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.text
        for kind, value in output.get("data", {}).items():
            if not kind.startswith("image/") or kind == "image/svg+xml":
                yield value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def machine_paths() -> re.Pattern:
    """Return a pattern for places that are on this machine, or on some one's, and not on another."""
    places = {ROOT, Path.home(), Path(sys.prefix), Path(sys.base_prefix), Path(tempfile.gettempdir())}
    names = {str(path) for path in places if len(path.parts) > 2 or path == Path.home() != Path(path.anchor)}
    names |= {name.replace("\\", "/") for name in names} | {name.replace("\\", "\\\\") for name in names}
    known = "|".join(rf"(?<![\w./-]){re.escape(name)}(?![\w-])" for name in sorted(names))
    return re.compile(
        rf"{known}|(?<![\w./-])/(?:home|Users)/\w+|\b[A-Za-z]:[\\/]+Users[\\/]+\w+|\bipykernel_\d+"
    )


def to_bytes(notebook: NotebookNode) -> bytes:
    """Return a notebook as it lies on the disk: UTF-8, LF, keys in order, a line end at the end."""
    return (nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n").encode("utf-8")


def write(path: Path, notebook: NotebookNode, *, over: bytes | None = None) -> None:
    """Write a notebook under its name only when it is whole: a failure leaves the old file as it was.

    over: what the file must hold now. Raises SavingError, and writes nothing, if it holds anything else: someone
    has edited it meanwhile.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(to_bytes(notebook))
        if over is not None and path.read_bytes() != over:
            raise SavingError(
                f"{path.name} was changed while it ran; your version stays. Run it again to save."
            )
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
