"""python -m helpers.bench: what it prints and keeps. No time is judged here."""

import json

import pytest

from helpers import bench, ladder


@pytest.fixture
def quick(monkeypatch):
    """A ladder of two rungs and a tiny model."""

    def climb(*ids, **options):
        sizes = {"block_size": 16, "n_layer": 1, "n_head": 2, "n_embd": 16}
        return real(*ids, **options, sizes=sizes, batch_size=2, rungs=(0, 10))

    real = ladder.climb
    monkeypatch.setattr(ladder, "climb", climb)


def test_the_ladder_is_kept_with_machine_date_and_command(quick, tmp_path, capsys):
    out = tmp_path / "ladder.json"
    words = ["--text", "tales", "--only", "ladder", "--seeds", "2", "--steps", "2", "--device", "cpu"]
    assert bench.main([*words, "--out", str(out), "--json"]) == 0
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert [rung["name"] for rung in kept["ladder"]] == [ladder.RUNGS[0].name, ladder.RUNGS[10].name]
    assert kept["command"].startswith("python -m helpers.bench --text tales") and "cpu" in kept["machine"]
    assert len(kept["date"]) == 10 and kept["torch"]
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1])["ladder"] == kept["ladder"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", "no_such_file.txt"], "there is no file"),
        (["--out", "."], "is a folder"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_measured(words, said, capsys):
    assert bench.main(words) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--steps", "abc"], ["--only", "nothing"]])
def test_option_values_out_of_range_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        bench.main(words)
    assert words[0] in capsys.readouterr().err
