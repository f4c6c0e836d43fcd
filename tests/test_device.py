"""Device selection, with mocks for the devices that this machine lacks."""

import ast
import warnings
from pathlib import Path

import pytest
import torch

from helpers import device as module
from helpers.device import describe, difference_from_cpu, pick_device, synchronize

HELPERS = Path(module.__file__).parent


@pytest.fixture(autouse=True)
def _no_override(monkeypatch):
    monkeypatch.delenv("COURSE_DEVICE", raising=False)


def has(monkeypatch, *, cuda=0, mps=False, difference=0.0):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(module, "difference_from_cpu", lambda device: difference)


def test_cuda_comes_before_mps_and_mps_before_the_cpu(monkeypatch):
    has(monkeypatch, cuda=1, mps=True)
    assert pick_device() == torch.device("cuda")
    has(monkeypatch, mps=True)
    assert pick_device() == torch.device("mps")
    has(monkeypatch)
    assert pick_device() == torch.device("cpu")


def test_a_variable_or_an_argument_overrides_the_choice(monkeypatch):
    has(monkeypatch, cuda=2, mps=True)
    monkeypatch.setenv("COURSE_DEVICE", " CPU ")
    assert pick_device() == torch.device("cpu")
    assert pick_device("cuda:1") == torch.device("cuda:1")


def test_an_mps_that_computes_something_else_is_left_with_a_warning(monkeypatch):
    has(monkeypatch, mps=True, difference=0.7)
    with pytest.warns(UserWarning, match=r"differ by 0\.7"):
        assert pick_device() == torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pick_device("mps") == torch.device("mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "tpu", "cuda:-1"])
def test_a_name_that_is_no_device_is_refused(monkeypatch, name):
    monkeypatch.setenv("COURSE_DEVICE", name)
    with pytest.raises(ValueError, match=f"'{name}' is not a device"):
        pick_device()


def test_a_device_that_is_not_there_is_refused_with_the_way_out(monkeypatch):
    has(monkeypatch, cuda=1)
    with pytest.raises(RuntimeError, match="sees 1 CUDA devices"):
        pick_device("cuda:1")
    with pytest.raises(RuntimeError, match="Apple silicon"):
        pick_device("mps")
    has(monkeypatch)
    with pytest.raises(RuntimeError, match="sees 0 CUDA devices"):
        pick_device("cuda")


def test_the_cpu_agrees_with_itself():
    assert difference_from_cpu(torch.device("cpu")) == 0.0


def test_a_device_that_gives_nan_or_other_values_or_fails_is_seen(monkeypatch):
    real = module._one_step

    def faulty(change):
        def one_step(device):
            result = real(torch.device("cpu"))
            return change(result) if device.type == "mps" else result

        return one_step

    def fails(result):
        raise RuntimeError("not implemented for MPS")

    for change, bad in (
        (lambda r: r * float("nan"), True),
        (lambda r: r + 0.5, True),
        (fails, True),
        (lambda r: r, False),
    ):
        monkeypatch.setattr(module, "_one_step", faulty(change))
        assert (difference_from_cpu(torch.device("mps")) > 0.01) == bad


def test_the_comparison_covers_a_training_step():
    before, after = module._one_step(torch.device("cpu"))
    assert (before - after).abs().max() > 1e-3


def test_synchronize_waits_for_the_device_that_is_used(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("cuda"))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: calls.append("mps"))
    for name in ("cuda:0", "mps", "cpu"):
        synchronize(name)
    assert calls == ["cuda", "mps"]


def test_describe_says_something_for_people():
    assert describe("cpu").startswith("cpu (") and " thread" in describe("cpu")


def test_no_helper_uses_a_global_device_or_float64_on_a_device():
    """Cases 30, 32 and 34."""
    for path in sorted(HELPERS.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        assert ".cuda()" not in source, path.name
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign):
                assert not any(isinstance(t, ast.Name) and t.id == "device" for t in node.targets), path.name
        if "float64" in source or ".double()" in source:
            assert path.name in {"losses.py", "tokenizer.py"}, path.name
