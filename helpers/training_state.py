"""What a training must keep besides its weights, so that it can be stopped and goes on as if it had not been.

    state = state_of(step, result, optimizers, generator, device)
    first = restore(state, result, optimizers, generator, device, steps)

The optimizers with their running means; where the draws of batches and of dropout have got to; the history and the
best weights so far. Introduced by notebook 12 (section 63 of the lecture).
"""

import copy

import torch

from helpers import distributed


def state_of(step: int, result, optimizers: list, generator: torch.Generator, device: torch.device) -> dict:
    """All that a resume needs besides the weights, as tensors and plain values (safe for weights_only=True).

    result: a TrainingResult. generator: the one that draws batches. With several processes all must call this.
    """
    draws = distributed.gather(random_state(device))
    return {
        "step": step, "seconds": result.seconds, "tokens": result.tokens, "history": list(result.history),
        "best_loss": result.best_loss, "best_step": result.best_step, "best_state": result.best_state,
        "optimizers": copy.deepcopy([optimizer.state_dict() for optimizer in optimizers]),
        "generator": generator.get_state(), **draws[0], "other_processes": draws[1:],
    }  # fmt: skip


def restore(
    state: dict, result, optimizers: list, generator: torch.Generator, device: torch.device, steps: int
) -> int:
    """Put back what `state_of` kept; returns the number of steps done.

    Raises ValueError for a state that has had all its steps, and for one of another optimizer.
    """
    done = state["step"]
    evaluated = bool(state["history"]) and state["history"][-1]["step"] == done
    if done > steps or (done == steps and evaluated):
        raise ValueError(f"this run has had {done} steps already; ask for more than steps={steps} to go on")
    if len(state["optimizers"]) != len(optimizers):
        raise ValueError("the state to resume from was made with another optimizer: use the same settings")
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(copy.deepcopy(kept))
    generator.set_state(state["generator"].cpu())
    draws = [state, *state.get("other_processes", [])]
    if distributed.rank() < len(draws):
        set_random_state(draws[distributed.rank()], device)
    for name in ("seconds", "tokens", "best_loss", "best_step", "best_state"):
        setattr(result, name, state[name])
    result.history = list(state["history"])
    result.state = state
    return done


def random_state(device: torch.device) -> dict:
    """Where the random numbers of the CPU and of `device` have got to: dropout draws from them."""
    state = {"rng": torch.get_rng_state()}
    if device.type == "cuda" and torch.cuda.is_available():
        state["device_rng"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["device_rng"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict, device: torch.device) -> None:
    """Put back what `random_state` gave; a state of another kind of device leaves the device as it is."""
    torch.set_rng_state(state["rng"].cpu())
    if "device_rng" not in state:
        return
    kept = state["device_rng"].cpu()
    if device.type == "cuda" and torch.cuda.is_available():
        if kept.numel() == torch.cuda.get_rng_state(device).numel():
            torch.cuda.set_rng_state(kept, device)
    elif device.type == "mps" and kept.numel() == torch.mps.get_rng_state().numel():
        torch.mps.set_rng_state(kept)
