"""`python -m helpers reset`: a fresh notebook, and nothing of the learner's is lost."""

import subprocess
from datetime import datetime

import pytest

from helpers.lesson import reset as module
from helpers.lesson.reset import ResetError, keep_originals, reset

NAME = "05_toy.ipynb"
NOW = datetime(2026, 11, 25, 14, 12)


@pytest.fixture
def course(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / NAME).write_bytes(b"fresh\n")
    return tmp_path


@pytest.fixture
def in_git(course):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=course, check=True)
    return course


def aside(course):
    return {path.name: path.read_bytes() for path in (course / "notebooks").glob("*.mine-*")}


def test_each_version_of_the_learners_is_kept_under_a_name_of_its_own(in_git):
    path = in_git / "notebooks" / NAME
    for mine in (b"first", b"not even JSON \xff"):
        path.write_bytes(mine)
        assert "Yours is now 05_toy.mine-2026-11-25-1412" in reset(in_git, NAME, now=NOW)
        assert path.read_bytes() == b"fresh\n"
    assert aside(in_git) == {
        "05_toy.mine-2026-11-25-1412.ipynb": b"first",
        "05_toy.mine-2026-11-25-1412-2.ipynb": b"not even JSON \xff",
    }


@pytest.mark.parametrize("content", [b"fresh\n", b"fresh\r\n"])
def test_an_unchanged_notebook_is_left_alone(in_git, content):
    (in_git / "notebooks" / NAME).write_bytes(content)
    assert "nothing to do" in reset(in_git, NAME)
    assert (in_git / "notebooks" / NAME).read_bytes() == content and not aside(in_git)


def test_a_notebook_that_was_deleted_comes_back(in_git):
    (in_git / "notebooks" / NAME).unlink()
    assert "There was none before" in reset(in_git, NAME)
    assert (in_git / "notebooks" / NAME).read_bytes() == b"fresh\n"


def test_without_git_and_originals_nothing_is_touched(course):
    (course / "notebooks" / NAME).write_bytes(b"mine")
    with pytest.raises(ResetError, match="download the course again"):
        reset(course, NAME)
    assert (course / "notebooks" / NAME).read_bytes() == b"mine" and not aside(course)


def test_a_download_without_git_is_reset_from_the_originals_of_its_first_set_up(course):
    assert keep_originals(course) == 1
    (course / "notebooks" / NAME).write_bytes(b"mine")
    assert keep_originals(course) == 0  # a second set-up does not take the learner's for an original
    assert "fresh again, from data/originals/" in reset(course, NAME, now=NOW)
    assert list(aside(course).values()) == [b"mine"]


def test_a_clone_keeps_no_originals(in_git):
    assert keep_originals(in_git) == 0 and not (in_git / "data").exists()


def test_a_full_disk_leaves_the_learners_notebook(in_git, monkeypatch):
    path = in_git / "notebooks" / NAME
    path.write_bytes(b"mine")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        reset(in_git, NAME)
    assert path.read_bytes() == b"mine" and [p.name for p in path.parent.iterdir()] == [NAME]


def test_the_command_names_what_it_did_and_refuses_an_unknown_notebook(in_git, capsys):
    (in_git / "notebooks" / NAME).write_bytes(b"mine")
    assert module.main(["5"], root=in_git) == 0
    assert "fresh again" in capsys.readouterr().out
    assert module.main(["77"], root=in_git) == 2
    assert NAME[:-6] in "".join(capsys.readouterr())
