"""Watch a kernel and the processes that it starts: how much memory they take, and that none outlives the run."""

import os
import threading
from pathlib import Path

import psutil

MIB = 2**20


class Watch(threading.Thread):
    """A thread that samples the memory of a process and of all its descendants.

    peak_mib is the largest sum of their resident sets at one moment, in MiB, or the operating system's own
    record for the process itself (Linux and Windows keep one) where that is larger. Pages that processes share
    count once for each of them.
    """

    def __init__(self, pid: int, interval: float = 0.05) -> None:
        """pid: of the process to watch; interval: seconds between two samples."""
        super().__init__(name=f"memory of process {pid}", daemon=True)
        self.peak = 0  # bytes
        self.interval = interval
        self.root = psutil.Process(pid)
        self.seen = {
            self.root
        }  # all that was ever there: psutil tells a process from a later one of its number
        self.current = [self.root]
        self.finished = threading.Event()

    @property
    def peak_mib(self) -> float:
        return self.peak / MIB

    def run(self) -> None:
        for count in range(2**62):
            self.sample(look_for_new=count % 4 == 0)  # asking for all processes is slower than for one
            if self.finished.wait(self.interval):
                return

    def sample(self, look_for_new: bool = True) -> None:
        """Add up the memory of the processes at this moment."""
        total = 0
        for process in self.current:
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue  # it has just ended
        self.peak = max(self.peak, total, system_peak(self.root))
        # A process just born may still be its parent's double, before it becomes another program: it counts from
        # the next sample on.
        if look_for_new:
            self.look_for_new()

    def look_for_new(self) -> None:
        """Find the processes that the kernel started, and those that they started."""
        try:
            self.current = [self.root, *self.root.children(recursive=True)]
        except psutil.Error:
            self.current = [process for process in self.current if process.is_running()]
        self.seen.update(self.current)

    def stop(self) -> None:
        """Take a last sample and end the thread."""
        self.finished.set()
        if self.is_alive():
            self.join()
        self.sample()
        if hasattr(os, "getsid"):  # a kernel starts a session of its own: orphans of a dead one are in it too
            self.seen.update(p for p in psutil.process_iter() if session_of(p.pid) == self.root.pid)

    def end_all(self, patience: float = 3.0) -> None:
        """Kill each process that is still there; wait up to `patience` seconds until they are gone."""
        left = []
        for process in self.seen:
            try:
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    left.append(process)
            except psutil.Error:
                continue
        psutil.wait_procs(left, timeout=patience)


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def system_peak(process: psutil.Process) -> int:
    """Return the largest resident set that the system recorded for a process, in bytes; 0 if it does not."""
    try:
        if psutil.WINDOWS:
            return process.memory_info().peak_wset
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace")
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line[:6] == "VmHWM:"), 0)
    except (OSError, psutil.Error):
        return 0
