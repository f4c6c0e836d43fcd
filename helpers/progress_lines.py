"""What a training shows while it runs: a bar, and a line for each evaluation."""

import sys
import time


class Printer:
    """The progress bar and the lines of a training run."""

    def __init__(self, steps: int, show: bool):
        self.steps, self.show, self.bar, self.started = steps, show, None, None

    def line(self, text: str) -> None:
        if self.show or self.bar is None:
            print(text, flush=True)

    def step(self, step: int) -> None:
        if self.show and self.bar is None:
            self.bar = progress_bar(self.steps, initial=step - 1, unit="step")
            self.started = (step - 1, time.perf_counter())
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def evaluation(self, entry: dict) -> None:
        if not self.show:
            return
        left = ""
        if self.started and entry["step"] > self.started[0]:
            pace = (time.perf_counter() - self.started[1]) / (entry["step"] - self.started[0])
            left = (
                f"  {pace * (self.steps - entry['step']):5.0f} s left" if entry["step"] < self.steps else ""
            )
        print(f"step {entry['step']:5d}   train {entry['train']:.3f}   validation {entry['validation']:.3f}"
              f"   {entry['seconds']:5.1f} s{left}", flush=True)  # fmt: skip

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def progress_bar(total: int, **options):
    """A tqdm bar: a widget in a notebook that has ipywidgets, text in a terminal, nothing elsewhere."""
    from tqdm.std import tqdm

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        try:
            import ipywidgets  # noqa: F401  (without it tqdm's notebook bar warns)
            from tqdm.notebook import tqdm
        except ImportError:
            options["disable"] = True
    elif not sys.stderr.isatty():
        options["disable"] = True
    return tqdm(total=total, leave=False, **options)
