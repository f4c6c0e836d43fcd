"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
if "OMP_NUM_THREADS" not in os.environ:  # which says how many, where several tests run at once
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(1337)


@pytest.fixture
def real_text():
    """A function that gives the path of a real text of the test data; skips where they are not."""

    def path(name: str) -> Path:
        folder = os.environ.get("COURSE_TEST_DATA", "")
        if not folder:
            pytest.skip("COURSE_TEST_DATA does not name the folder of real texts")
        found = Path(folder) / name
        if not found.is_file():
            pytest.skip(f"the real text {name} is not in COURSE_TEST_DATA")
        return found

    return path


@pytest.fixture
def oz(real_text) -> str:
    """The Wonderful Wizard of Oz, cleaned."""
    from helpers.books import clean

    return clean(real_text("oz_55_utf8_markers_only.txt").read_text(encoding="utf-8"))


@pytest.fixture
def own_look():
    """The course's look for figures; no figure stays open."""
    import matplotlib.pyplot as plt

    from helpers.lesson import figures

    with plt.rc_context():
        figures.use_style()
        yield
    assert plt.get_fignums() == []
