"""Training by several processes: the same losses as by one, one voice, and an end that is clear."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from walls import ROOT

from helpers import checkpoints, distributed
from helpers.bpe import BPETokenizer
from helpers.tales import write_tales
from helpers.token_files import write_tokens
from helpers.training_log import read_log

SHAPE = [
    "--n-embd",
    "16",
    "--n-head",
    "2",
    "--n-layer",
    "2",
    "--block-size",
    "16",
    "--batch-size",
    "8",
    "--device",
    "cpu",
]
RUN = [*SHAPE, "--steps", "20", "--eval-interval", "2", "--save-interval", "20"]
LONGER = ["--dropout", "0.2", "--steps", "60", "--eval-interval", "5"]
needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="needs gloo"
)
pytestmark = needs_gloo


def write_text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_text(write_tales(5000), encoding="utf-8", newline="\n")
    return path


def losses(folder: Path) -> list[tuple]:
    return [
        (row["step"], row["train"], row["validation"], row["tokens"]) for row in read_log(folder / "log.csv")
    ]


def environment() -> dict:
    dropped = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("processes, tidied", [("1", True), ("2", False)])
def test_one_of_several_processes_ends_without_tidying_up(processes, tidied):
    """Else the threads of gloo, alive as long as a DistributedDataParallel was made, may abort it at its end."""
    program = (
        "import atexit; from helpers import distributed\n"
        "atexit.register(print, 'tidied up'); print('said', end=''); distributed.leave(3)"
    )
    given = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": processes, "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment() | given, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 3 and done.stderr == ""
    assert done.stdout.strip() == "said" + "tidied up" * tidied


def test_the_command_ends_like_that():
    assert "\n    distributed.leave(main())\n" in (ROOT / "helpers" / "train.py").read_text(encoding="utf-8")


# --- the same training, whoever does it ---

KINDS = {
    "adamw": [],
    "accumulation": ["--accumulation", "2"],
    "muon": ["--optimizer", "muon", "--short-first", "0.4", "--from-starts", "0.5"],
    "bfloat16": ["--dtype", "bfloat16"],
    "dropout": ["--dropout", "0.2"],
}
ERRORS = {
    "seven": ["--batch-size", "7"],
    "zero": ["--steps", "0"],
    "no_text": ["--text", "no_such.txt"],
    "short": ["--block-size", "9999"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All runs by processes that are forked, with what came out of each."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    top = tmp_path_factory.mktemp("ranks")
    text, plan = write_text(top), []

    def add(name: str, processes: int, options: list[str], source=("--text", str(text)), **more) -> None:
        folder = top / name
        files = ["--out", str(folder / "m.pt"), "--log-file", str(folder / "log.csv")]
        plan.append({"processes": processes, "options": [*RUN, *source, *files, *options],
                     "folder": str(folder), **more})  # fmt: skip

    for kind, options in KINDS.items():
        for name, processes in ((f"{kind}1", 1), (f"{kind}2", 2), (f"{kind}2again", 2)):
            add(name, processes, options)
    add("adamw4", 4, [])
    tokenizer = BPETokenizer.train_with_library(text.read_text(encoding="utf-8"), 280)
    ids = tokenizer.encode(text.read_text(encoding="utf-8"))
    for name, part in (("train", ids[:2000]), ("val", ids[2000:])):
        write_tokens(top / "tokens" / f"{name}.bin", [part], tokenizer)
    for processes in (1, 2):
        add(f"tokens{processes}", processes, [], source=["--data", str(top / "tokens")])
    for name, options in ERRORS.items():
        add(name, 2, options)
    add("diverges", 2, ["--learning-rate", "1e12"])
    for rank in (0, 1):
        endless = ["--steps", "1000000", "--eval-interval", "5"]
        add(f"interrupted{rank}", 2, endless, interrupt=rank)
    add("longer", 2, LONGER, eval_batches=50)
    file = top / "plan.json"
    file.write_text(json.dumps(plan), encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests" / "rank_runs.py"), str(file)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr

    def found(name: str) -> SimpleNamespace:
        folder = top / name
        said = {int(p.stem[4:]): p.read_text(encoding="utf-8") for p in sorted(folder.glob("rank*.txt"))}
        codes = json.loads((folder / "codes.json").read_text(encoding="utf-8"))
        return SimpleNamespace(folder=folder, said=said, codes=codes)

    return found


def difference(one: Path, other: Path) -> float:
    pairs = list(zip(losses(one), losses(other), strict=True))
    assert len(pairs) == 11 and all(a[0] == b[0] and a[3] == b[3] for a, b in pairs)
    return max(abs(a[i] - b[i]) for a, b in pairs for i in (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "accumulation", "muon", "tokens"])
def test_two_processes_have_the_losses_of_one_to_a_hundred_thousandth(runs, kind):
    found = difference(runs(f"{kind}1").folder, runs(f"{kind}2").folder)
    print(f"{kind}: {found:.2g}")
    assert found <= 1e-5
    first = losses(runs(f"{kind}1").folder)
    assert first[0][1] - first[-1][1] > 0.3  # they learnt something


@pytest.mark.slow
def test_each_process_works_on_its_share_of_the_batch_only(runs):
    """Else they would agree as well, and nothing would be gained."""
    for name, shares in (
        ("adamw1", [[8]]),
        ("adamw2", [[4], [4]]),
        ("adamw4", [[2]] * 4),
        ("muon2", [[4, 8, 16]] * 2),
    ):
        folder = runs(name).folder
        found = [
            json.loads((folder / f"rows{rank}.json").read_text(encoding="utf-8"))
            for rank in range(len(shares))
        ]
        assert found == shares, name


def test_the_shares_of_all_processes_are_the_batch(monkeypatch):
    batch, shares = torch.arange(24).view(12, 2), []
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(distributed.rows_of(batch))
    assert all(len(share) == 4 for share in shares) and torch.equal(torch.cat(shares), batch)


@pytest.mark.slow
def test_so_have_four(runs):
    assert difference(runs("adamw1").folder, runs("adamw4").folder) <= 1e-5


@pytest.mark.slow
def test_bfloat16_agrees_as_far_as_its_digits_go(runs):
    assert 0 < difference(runs("bfloat161").folder, runs("bfloat162").folder) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_number_of_processes_gives_the_same_bits(runs, kind):
    one, other = runs(f"{kind}2").folder, runs(f"{kind}2again").folder
    assert losses(one) == losses(other)
    weights = [checkpoints.load(folder / "m.pt").model.state_dict() for folder in (one, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_each_process_drops_other_values(runs):
    """With the same random numbers in all of them, the rows of a batch would share one mask."""
    state = checkpoints.load(runs("dropout2").folder / "m.last.pt").training
    (other,) = state["other_processes"]
    assert not torch.equal(state["rng"], other["rng"])


@pytest.mark.slow
def test_the_first_process_alone_speaks_and_writes(runs):
    run = runs("adamw2")
    assert run.codes == [0, 0] and run.said[1] == ""
    assert "2 processes on cpu" in run.said[0] and run.said[0].count("step    20") == 1
    written = sorted(p.name for p in run.folder.iterdir() if not p.name.startswith(("rank", "rows")))
    assert written == ["codes.json", "log.csv", "m.last.pt", "m.pt"]


# --- ends ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("seven", 1, "batch_size=7 cannot be shared equally by 2 processes: use a multiple of 2"),
        ("zero", 2, "'0' is not a whole number of at least 1"),
        ("no_text", 1, "no_such.txt"),
        ("short", 1, "block_size=9999 needs at least 10000"),
    ],
)
def test_an_error_is_told_once(runs, name, code, message):
    run = runs(name)
    assert run.codes == [code, 0] and message in run.said[0] and run.said[1] == ""
    assert not (run.folder / "m.last.pt").exists()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_all_at_the_same_step(runs):
    run = runs("diverges")
    assert run.codes == [1, 0] and "The loss is not finite" in run.said[0] and run.said[1] == ""
    kept = checkpoints.load(run.folder / "m.last.pt")
    assert all(torch.isfinite(tensor).all() for tensor in kept.model.state_dict().values())


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_ctrl_c_in_one_process_stops_all_at_the_same_step(runs, rank):
    run = runs(f"interrupted{rank}")
    assert run.codes == [130, 0] and run.said[1] == ""
    step = int(re.search(r"stopped by you after step (\d+) of", run.said[0])[1])
    assert checkpoints.load(run.folder / "m.last.pt").training["step"] == step
    assert f"goes on from step {step}." in run.said[0]


# --- what the functions do in a process of its own ---


def test_one_process_is_a_group_of_its_own():
    model, x = nn.Linear(2, 2), torch.arange(6).view(3, 2)
    assert distributed.world_size() == 1 and distributed.rank() == 0 and distributed.is_first()
    assert distributed.rows_of(x) is not None and torch.equal(distributed.rows_of(x), x)
    assert distributed.averaging(model, torch.device("cpu")) is model
    assert distributed.mean(x) is x and distributed.gather(3) == [3]
    assert distributed.any_of(True) is True and distributed.any_of(False) is False
    assert distributed.from_first(lambda: 5) == 5
    with pytest.raises(ValueError, match="mine"), distributed.together():
        raise ValueError("mine")
    distributed.start()  # torchrun did not start this one
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("device", "local", "count", "message"),
    [
        ("mps", "0", 0, "cannot share --device mps"),
        ("cuda:1", "0", 2, "cuda:1 is one GPU for 2 processes"),
        ("cuda", "1", 1, "process 0 has no GPU left: 1 here"),
    ],
)
def test_a_device_that_the_processes_cannot_share_is_refused(monkeypatch, device, local, count, message):
    monkeypatch.setattr(distributed, "pick_device", lambda wanted: torch.device(wanted))
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setenv("LOCAL_RANK", local)
    with pytest.raises((ValueError, RuntimeError), match=message):
        distributed.own_device(device)


def test_each_process_takes_its_own_gpu_and_shares_the_cpu_of_a_mac(monkeypatch):
    taken = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(distributed, "pick_device", lambda wanted: torch.device("cuda"))
    second = torch.device("cuda", 1)
    assert distributed.own_device() == second and taken == [second]
    monkeypatch.setattr(distributed, "pick_device", lambda wanted: torch.device("mps"))
    assert distributed.own_device().type == "cpu"


# --- torchrun itself ---


def torchrun(*options: str) -> list[str]:
    """torchrun as a module, so that it is that of this Python. The lone -- keeps it from taking --log for its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [*command, "-m", "helpers.train", *options]


def workers_of(pid: int) -> list[int]:
    psutil = pytest.importorskip("psutil")
    children = psutil.Process(pid).children(recursive=True)
    return sorted(child.pid for child in children if "helpers.train" in child.cmdline())


@pytest.mark.slow
def test_a_run_of_torchrun_whose_worker_was_killed_ends_clearly_and_is_resumed_to_the_same_bits(
    tmp_path, runs
):
    """Dropout is on, so that the random states of both processes must come back."""
    text, folder = write_text(tmp_path), tmp_path / "killed"
    folder.mkdir()

    files = ["--out", str(folder / "m.pt"), "--log-file", str(folder / "log.csv")]
    command = torchrun(*SHAPE, "--text", str(text), *LONGER, *files, "--resume")

    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        running = subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=output, stderr=output)
        log, killed = folder / "log.csv", False
        began = time.monotonic()
        while running.poll() is None and time.monotonic() - began < 120:
            if not killed and log.exists() and len(log.read_text(encoding="utf-8").splitlines()) > 3:
                os.kill(workers_of(running.pid)[-1], signal.SIGKILL)
                killed = True
            time.sleep(0.01)
        code = running.wait(timeout=60)
    said = (folder / "output.txt").read_text(encoding="utf-8")
    assert killed and code == 1 and "SIGKILL" in said, said
    kept = checkpoints.load(folder / "m.last.pt").training["step"]
    assert 0 < kept < 60 and not (folder / "m.pt").exists()
    done = subprocess.run(
        command, env=environment(), cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    alone = runs("longer").folder
    assert losses(folder) == losses(alone) and len(losses(alone)) == 13
    one, other = (checkpoints.load(place / "m.pt").model.state_dict() for place in (folder, alone))
    assert all(torch.equal(one[name], other[name]) for name in one)
