"""Training by several processes at once, each on its share of every batch.

    torchrun --standalone --nproc-per-node 2 -m helpers.train --steps 500

torchrun starts the command as often as it is asked to and gives each process a number, its rank, in environment
variables. `start` makes the processes a group; then they can add up tensors and tell each other things. Each holds the
whole model and sees its own rows of the batch; DistributedDataParallel averages the gradients, so that all take the same
step. Rank 0 alone speaks and writes files. In a process of its own, rank is 0, world_size is 1, and every function here
returns what it was given.

torchrun gives each process one thread, with a warning; together they use the processor. Where it hangs before anything is
printed, this machine does not know its own name: add --local-addr 127.0.0.1. Introduced by notebook 13 (section 67 of the
lecture).
"""

import contextlib
import datetime
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from helpers.device import pick_device

# A process that dies is noticed at once. This is for one that hangs: it must outlast an evaluation, which is rank 0's.
PATIENCE = datetime.timedelta(minutes=30)


class Told(RuntimeError):
    """An error about which rank 0 has the word: the other processes end without one."""


def started_by_torchrun() -> bool:
    """Whether this process is one of several."""
    given = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    return given and int(os.environ["WORLD_SIZE"]) > 1


def start() -> None:
    """Join the processes that torchrun started beside this one, if it did. Raises RuntimeError when they do not meet."""
    if not started_by_torchrun() or dist.is_initialized():
        return
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        # All on this machine: they meet on its inner network, so that nobody has to know the machine's name.
        names = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
        os.environ["MASTER_ADDR"] = "127.0.0.1"
        if names:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)


def stop() -> None:
    """Leave the group."""
    if dist.is_available() and dist.is_initialized():
        with contextlib.suppress(
            RuntimeError
        ):  # where another process has ended, there is nothing to say goodbye to
            dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End this process with an exit code; one of several without Python's tidying up at the end.

    DistributedDataParallel keeps the threads that exchange tensors alive beyond `stop` (seen with PyTorch 2.13 and gloo).
    One that lets go of a tensor while Python tidies up aborts the process, "terminate called without an active exception":
    2 of 20 finished trainings on a busy machine ended like that.
    """
    if started_by_torchrun():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def explain(error: Exception) -> str:
    """The message of an error; that of a connection which broke says what it means."""
    text = str(error)
    if world_size() == 1:
        return text
    if any(
        sign in text
        for sign in ("Connection closed", "Connection reset", "Broken pipe", "Timed out", "recvBytes")
    ):
        return (
            f"process {rank()} has lost the others: one of them ended or hangs. The training ends here; with --out, the "
            "same command with --resume goes on from the last state that was kept."
        )
    return text if is_first() else f"process {rank()}: {text}"


def rank() -> int:
    """The number of this process: 0 .. world_size - 1."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0


def own_device(wanted: str | None = None) -> torch.device:
    """The device of this process: with several, each has its own GPU or shares the CPU.

    Raises ValueError and RuntimeError as `pick_device` does, and where there are fewer GPUs than processes.
    """
    device = pick_device(wanted)
    if world_size() == 1:
        return device
    if device.type == "mps":
        if wanted:
            raise ValueError("several processes cannot share --device mps: use --device cpu, or one process")
        return torch.device("cpu")
    if device.type == "cuda":
        here, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if device.index is not None:
            raise ValueError(
                f"--device {device} is one GPU for {world_size()} processes: with --device cuda each takes its own"
            )
        if here >= count:
            raise RuntimeError(
                f"process {rank()} has no GPU left: {count} here. Start at most {count} processes on this machine "
                "(--nproc-per-node), or use --device cpu"
            )
        device = torch.device(device.type, here)
        torch.cuda.set_device(device)
    return device


def rows_of(batch: torch.Tensor) -> torch.Tensor:
    """This process's rows of a batch that is the same in all: (B, ...) gives (B / world_size, ...)."""
    share = len(batch) // world_size()
    return batch[rank() * share : (rank() + 1) * share]


def averaging(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with gradients that are the mean over all processes. All begin with the weights of rank 0."""
    if world_size() == 1:
        return model
    own = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=own)


def not_yet(model: nn.Module) -> contextlib.AbstractContextManager:
    """While it is open, gradients are only added up in each process; the next backward pass exchanges them."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext()


def mean(value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor over all processes, on its device."""
    if world_size() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world_size()


def any_of(flag: bool) -> bool:
    """Whether it is True in any process: so all stop at the same step."""
    if world_size() == 1:
        return flag
    found = torch.tensor(float(flag), device="cpu")
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def gather(value: Any) -> list:
    """What each process has, in the order of the ranks; each process gets the whole list."""
    if world_size() == 1:
        return [value]
    found = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def from_first(function: Callable[[], Any]) -> Any:
    """Call a function in rank 0 alone; every process gets its value. Raises Told in the others where it fails."""
    if world_size() == 1:
        return function()
    message, error = [None, None], None
    if is_first():
        try:
            message[1] = function()
        except Exception as raised:
            error, message[0] = raised, str(raised) or type(raised).__name__
    dist.broadcast_object_list(message, src=0)
    if error is not None:
        raise error
    if message[0] is not None:
        raise Told(message[0])
    return message[1]


@contextlib.contextmanager
def together():
    """A part that all get through, or none: an error in one process ends all, and rank 0 tells it.

    Inside it, processes must not wait for each other. Raises Told in all but rank 0.
    """
    error = None
    try:
        yield
    except (ValueError, OSError, RuntimeError) as raised:
        if world_size() == 1:
            raise
        error = raised
    errors = gather(error and (str(error) or type(error).__name__))
    if not any(errors):
        return
    if not is_first():
        raise Told(next(filter(None, errors)))
    if error is not None:
        raise error
    number = next(n for n, text in enumerate(errors) if text)
    raise RuntimeError(f"process {number}: {errors[number]}")
