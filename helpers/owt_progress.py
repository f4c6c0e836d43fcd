"""What an extraction shows while it runs: an estimate, then a bar in a terminal or a line now and then."""

import time

from helpers.progress_lines import progress_bar

FIRST, BETWEEN = 3, 30  # seconds until the first line where there is no bar, and between lines
TIMES_LONGER = 1.4  # an extraction beside reading alone, roughly


def bytes_in_words(size: float) -> str:
    """A number of bytes to read: "12.9 GB" """
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000


def seconds_in_words(seconds: float) -> str:
    """A span of time, roughly: "about 40 s", "about 12 min", "less than a second" """
    if seconds < 1:
        return "less than a second"
    if seconds < 100:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"


class Progress:
    """total: bytes of the sources. show: whether anything is shown."""

    def __init__(self, total: int, show: bool):
        self.total, self.show, self.bar, self.at = total, show, None, 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def say(self, text: str) -> None:
        """A line for the person who waits."""
        if self.show:
            if self.bar is not None:
                self.bar.clear()
            print(text, flush=True)

    def estimate(self, first, quick: bool) -> None:
        """How much text there is, from the first texts. quick: its ids cost little beside the reading."""
        characters, size = first.share
        if first.is_whole and characters:
            self.say(f"{bytes_in_words(self.total)} to read, {characters:,} characters in them")
        elif size:
            times = self.total / size
            seconds = TIMES_LONGER * first.seconds * times
            time_for_it = f"; on one core that takes {seconds_in_words(seconds)}" if quick else ""
            self.say(
                f"{bytes_in_words(self.total)} to read, with about {characters * times / 1e6:,.0f} million characters in "
                f"them{time_for_it}"
            )

    def begin(self, done: int) -> None:
        """The one pass over all of the sources begins; `done` jobs were done by an earlier run."""
        if done:
            self.say(f"Going on: {done:,} part{'s' * (done != 1)} of the work are done already")
        self.started = self.said = time.perf_counter()
        self.wait = FIRST
        if self.show:
            self.bar = progress_bar(self.total, unit="B", unit_scale=True)

    def count(self, size: int) -> None:
        """So many more bytes of the sources were read."""
        self.at += size
        if not self.show:
            return
        if not self.bar.disable:
            self.bar.update(size)
            return
        now = time.perf_counter()
        if now - self.said >= self.wait:
            self.said, self.wait = now, BETWEEN
            left = (now - self.started) * (self.total - self.at) / self.at
            self.say(
                f"{bytes_in_words(self.at)} of {bytes_in_words(self.total)} read, {seconds_in_words(left)} left"
            )
