"""The evaluations of a training as a table that any program can read, and as curves of TensorBoard.

    log = CsvLog("data/run.csv", history=[])        # a new run; or the history so far, to go on
    log.add({"step": 0, "train": 4.31, "validation": 4.32, "seconds": 0.0, "learning_rate": 6e-5, "tokens": 0})

One row for each evaluation, on the disk as soon as it is there. Introduced by notebook 13 (section 67 of the lecture).
"""

import csv
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from helpers.files import write_whole

COLUMNS = ("step", "train", "validation", "seconds", "learning_rate", "tokens")
HEADER = ",".join(COLUMNS)


class CsvLog:
    """A CSV file that grows by a row for each evaluation.

    history: the entries of `TrainingResult.history` so far. The file then holds exactly these: rows that a run wrote
    before it was killed, and that come again when it is resumed, are cut. Without a history an older log is kept as
    NAME.csv.old, which `notice` says.
    Raises ValueError for a file that is no log of a training, or that of another run, and OSError.
    """

    def __init__(self, path: str | Path, history: list[dict], notice: Callable[[str], object] = print):
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(f"--log {self.path}: there is no folder {self.path.parent}: make it first")
        if self.path.is_dir():
            raise ValueError(
                f"--log {self.path}: this is a folder: name a file in it, such as {self.path / 'run.csv'}"
            )
        rows = self._rows()
        if history:
            self._check_that_it_is_ours(rows, history)
        elif len(rows) > 1:
            old = self.path.with_name(f"{self.path.name}.old")
            os.replace(self.path, old)
            notice(f"The log {self.path} of an earlier run is kept as {old.name}.")
        write_whole(self.path, HEADER + "\n" + "".join(map(_line, history)))

    def add(self, entry: dict) -> None:
        """Append the row of an evaluation, and see that it leaves this process."""
        with open(self.path, "a", encoding="utf-8", newline="\n") as file:
            file.write(_line(entry))

    def _rows(self) -> list[list[str]]:
        """The rows that are there, header included; a last one that was cut short is left out."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except UnicodeDecodeError:
            text = "no text\n"
        if not text:
            return []
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.reader(StringIO(whole)))
        if tuple(rows[0] if rows else ()) != COLUMNS:
            raise ValueError(
                f"--log {self.path}: there is a file of that name that is no log of a training (its first line would be "
                f"{HEADER}): it is left as it is, so give another name"
            )
        return rows

    def _check_that_it_is_ours(self, rows: list[list[str]], history: list[dict]) -> None:
        ours = {row[0]: row for row in csv.reader(map(_line, history))}
        for row in rows[1:]:
            mine = ours.get(row[0])
            if mine is not None and mine != row:
                raise ValueError(
                    f"--log {self.path} is the log of another run (at step {row[0]} it has {','.join(row[1:3])}, this run "
                    f"had {','.join(mine[1:3])}): give another name"
                )


def read_log(path: str | Path) -> list[dict]:
    """The rows of a log as the entries of a history: step and tokens are whole numbers, the rest decimal ones."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: int(v) if k in ("step", "tokens") else float(v) for k, v in row.items()} for row in rows]


class TensorBoardLog:
    """The same as curves in a folder for TensorBoard, where that is installed; `notice` says if it is not."""

    def __init__(self, folder: str | Path, first_step: int, notice: Callable[[str], object] = print):
        self.writer = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except Exception as error:  # not installed, or it does not go together with what is
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            notice(f"TensorBoard cannot be used here ({reason[:120]}): going on without it.")
        else:
            self.writer = SummaryWriter(str(folder), purge_step=first_step)

    def add(self, entry: dict) -> None:
        """Add a point to each curve."""
        if self.writer is None:
            return
        for name in ("train", "validation"):
            self.writer.add_scalar(f"loss/{name}", entry[name], entry["step"])
        self.writer.add_scalar("learning_rate", entry["learning_rate"], entry["step"])
        self.writer.flush()


def _line(entry: dict) -> str:
    """A row as text. repr gives all digits, so that a log says exactly what was computed."""
    return ",".join(repr(entry[name]) if name in entry else "" for name in COLUMNS) + "\n"
