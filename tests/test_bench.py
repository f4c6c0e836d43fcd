"""python -m helpers.bench: what it prints and keeps. No time is judged here."""

import json

import pytest

from helpers import bench, ladder
from helpers.training import TrainingResult


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
        (["--out", "no_such_folder/x.json"], "there is no folder no_such_folder that can be written to"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_measured(words, said, capsys):
    assert bench.main(words) == 1
    assert said in capsys.readouterr().err


def test_the_race_ends_with_one_line_of_json_and_a_table(capsys):
    words = [
        "--text",
        "tales",
        "--only",
        "time_to_loss",
        "--seeds",
        "1",
        "--steps",
        "1",
        "--device",
        "cpu",
        "--json",
    ]
    assert bench.main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    found = json.loads(printed[-1])["time_to_loss"]
    assert {
        "peer_seconds",
        "peer_loss",
        "seconds",
        "loss",
        "parameters",
        "ratio",
        "loss_in_peer_time",
    } <= found.keys()
    assert "times as fast" in printed[-2]


@pytest.mark.parametrize("name", ["get_batch", "get_batch_ratio"])
def test_a_part_is_known_by_the_name_of_its_ratio_too(name, monkeypatch, capsys):
    monkeypatch.setattr(bench.speed, "batches", lambda ids, tell: {"ratio": 7.5})
    assert bench.main(["--text", "tales", "--only", name, "--json"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == {"get_batch": {"ratio": 7.5}, "get_batch_ratio": 7.5}
    assert "drawing a batch" in printed[-2] and "7.5 times as fast" in printed[-2]


def test_without_a_name_all_parts_run_but_the_two_long_ones(monkeypatch, capsys):
    ran = []

    def part(name):
        return lambda args: ran.append(name) or {"ratio": 2.0}

    monkeypatch.setattr(bench, "PARTS", {name: part(name) for name in bench.PARTS})
    monkeypatch.setattr(bench, "table_of", lambda results: [])
    assert bench.main(["--json"]) == 0
    assert ran == ["time_to_loss", "throughput", "generation", "get_batch", "encode", "extract", "growth"]
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["extract_ratio"] == found["encode_ratio"] == 2.0


def test_what_was_measured_before_a_stop_is_kept(monkeypatch, tmp_path):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        bench, "PARTS", {"encode": lambda args: {"ratio": 3.0}, "extract": stop, "growth": lambda args: {}}
    )
    out = tmp_path / "all.json"
    assert bench.main(["--out", str(out)]) == 130
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert kept["encode_ratio"] == 3.0 and kept["machine"] and "growth" not in kept


def test_a_stop_inside_a_training_ends_like_every_stop(monkeypatch, capsys):
    """`train` swallows the first Ctrl-C; the run that it cut short is no result, and the command ends with 130."""
    stopped = TrainingResult(seconds=1.0, stopped="stopped by you after step 1 of 2")
    monkeypatch.setattr(ladder, "train", lambda *args, **options: stopped)
    assert bench.main(["--text", "tales", "--only", "time_to_loss", "--device", "cpu"]) == 130
    assert "the parts before this one are kept" in capsys.readouterr().err


def test_a_race_that_did_not_reach_the_loss_says_so():
    (line,) = bench.table_of({"time_to_loss": {"ratio": 21.0, "reached": False}})
    assert "NOT reached" in line
    (line,) = bench.table_of({"time_to_loss": {"ratio": 21.0, "reached": True}})
    assert "21.0 times as fast" in line and "NOT" not in line


def test_each_part_hands_the_text_and_the_device_on(monkeypatch):
    """Every part but the race and the ladder, with what it calls replaced: nothing is measured."""
    calls = []
    for module, names in ((bench.speed, ("throughput", "generation", "batches", "encoding", "extraction", "memory",
                                         "growth", "corpus_growth", "processes")), (bench.scaling, ("study",))):  # fmt: skip
        for name in names:
            monkeypatch.setattr(
                module, name, lambda *a, name=name, **k: calls.append((name, a, k)) or {"ratio": 1.0}
            )
    for part in ("throughput", "generation", "get_batch", "encode", "extract", "growth", "scaling"):
        args = bench.make_parser().parse_args(["--text", "tales", "--only", part, "--device", "cpu"])
        assert bench.PARTS[part](args)
    made = {name: (a, k) for name, a, k in calls}
    assert len(made) == 10
    vocab_size = made["throughput"][0][0]
    assert 30 < vocab_size < 100 and made["growth"][0][0] == vocab_size
    assert str(made["generation"][1]["device"]) == "cpu"


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--steps", "abc"], ["--only", "nothing"]])
def test_option_values_out_of_range_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        bench.main(words)
    assert words[0] in capsys.readouterr().err
