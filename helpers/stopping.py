"""How a training ends early: by Ctrl-C or the stop button, or because its loss is no number any more."""

import signal
import threading


def not_finite(step: int, loss: float, learning_rate: float) -> str:
    """What happened at this step, and what usually helps."""
    return (
        f"The loss is not finite ({loss}) at step {step}: training stopped, and the model has the weights of the last "
        f"evaluation again. What usually helps: a smaller learning_rate (it was {learning_rate:g}; try "
        f"{min(learning_rate / 10, 3e-3):g}), a longer warmup, clip=1.0, and a look for zeros under a logarithm or a division."
    )


class StopAfterStep:
    """While it is open, the first Ctrl-C (or stop button) asks for a stop after the step at hand."""

    def __enter__(self):
        self.requested, self.before = False, None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *error):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
