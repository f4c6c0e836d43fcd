"""python -m helpers.openwebtext: archives to token files, in little memory, resumable, the same in any number of processes."""

import errno
import io
import json
import lzma
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_archives import packed, write, xz

from helpers import archives, owt_extract, owt_parts, owt_tokenizer, owt_workers, tales
from helpers.bpe import BPETokenizer, tokenizer_from_dict
from helpers.encoders import REMEMBERED, STAND_IN, CharEncoder, PairEncoder, encoder_for, learn
from helpers.openwebtext import documents, extract, main, write_sample
from helpers.owt_folder import Lock
from helpers.owt_jobs import Entry, Job
from helpers.owt_parts import Recipe, run_job
from helpers.owt_progress import seconds_in_words
from helpers.owt_workers import WorkerError, Workers
from helpers.texts import normalise
from helpers.token_files import END_OF_TEXT, read_about
from helpers.tokenizer import CharTokenizer

ROOT = Path(__file__).resolve().parent.parent
FILES = ("train.bin", "train.json", "val.bin", "val.json")


def command(*arguments, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        [sys.executable, "-m", "helpers.openwebtext", *map(str, arguments)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", **options,
    )  # fmt: skip


def outputs(folder: Path) -> dict[str, bytes]:
    """The token files of a folder; nothing else may stand in it."""
    assert sorted(path.name for path in folder.iterdir()) == [".lock", *FILES]
    return {name: (folder / name).read_bytes() for name in FILES}


def read_back(folder: Path) -> dict[str, list[str]]:
    """The documents of both parts, decoded."""
    found = {}
    for part in ("train", "val"):
        about = read_about(folder / f"{part}.bin")
        ids = np.fromfile(folder / f"{part}.bin", np.dtype(about["dtype"]).newbyteorder("<"))
        tokenizer = tokenizer_from_dict(about["tokenizer"])
        assert len(ids) == about["tokens"]
        text = tokenizer.decode(ids)
        assert text.endswith(END_OF_TEXT) and text.count(END_OF_TEXT) == about["documents"]
        found[part] = text.split(END_OF_TEXT)[:-1]
    return found


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    """An archive in the real layout with about 1.2 MB of text in four inner archives."""
    return write_sample(tmp_path_factory.mktemp("sample"), megabytes=1.2, seed=3)


@pytest.fixture(scope="module")
def reference(sample, tmp_path_factory) -> tuple[Path, dict]:
    """The sample, extracted by one process in many small parts."""
    out = tmp_path_factory.mktemp("reference")
    return out, extract(sample, out, validation=0.1, part_megabytes=0.02, progress=False)


# --- the sample ---


def test_the_sample_has_the_layout_of_the_real_corpus(sample):
    with tarfile.open(sample, "r:xz") as outer:
        inner = [(entry, outer.extractfile(entry).read()) for entry in outer]
    assert len(inner) >= 4
    sizes = []
    for entry, data in inner:
        assert re.fullmatch(r"openwebtext/urlsf_subset\d\d-\d{3}_data\.xz", entry.name) and entry.mtime == 0
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as tar:
            for document in tar:
                assert re.fullmatch(r"\d{7}-[0-9a-f]{32}\.txt", document.name)
                text = tar.extractfile(document).read().decode("utf-8")
                assert all(tales.derivations(tale) == 1 for tale in text.strip().split(tales.SEPARATOR)[:1])
                sizes.append(len(text))
    assert 3500 < np.mean(sizes) < 6500 and np.std(sizes) > 2000  # 5 kB on average, and varied
    assert 1_200_000 <= sum(sizes) < 1_300_000


def test_the_same_seed_gives_the_same_archive(tmp_path):
    paths = [write_sample(tmp_path / str(i), megabytes=0.1, seed=seed) for i, seed in enumerate([5, 5, 6])]
    one, same, other = (path.read_bytes() for path in paths)
    assert one == same != other
    assert [path.name for path in tmp_path.glob("*/*")] == ["openwebtext.tar.xz"] * 3
    with pytest.raises(ValueError, match="megabytes=0"):
        write_sample(tmp_path, megabytes=0)


# --- what comes out ---


def test_every_document_stands_in_one_part_in_order_and_ends_with_its_id(sample, reference):
    out, facts = reference
    texts, found = [text for _, text in documents(sample)], read_back(out)
    assert facts["documents"] == len(texts) == facts["train_documents"] + facts["val_documents"]
    assert facts["characters"] == sum(map(len, texts)) and facts["unknown"] == 0 and facts["skipped"] == {}
    places = {text: number for number, text in enumerate(texts)}
    for part, of_part in found.items():
        assert [places[text] for text in of_part] == sorted(places[text] for text in of_part)
        assert len(of_part) == facts[f"{part}_documents"] > 5
    assert Counter(found["train"] + found["val"]) == Counter(texts)
    assert set(found["train"]).isdisjoint(found["val"])
    outputs(out)


def test_the_facts_stand_beside_the_ids(reference):
    about = read_about(reference[0] / "val.bin")
    assert about["split"] == "val" and about["dtype"] == "uint16" and about["corpus"]["documents"] > 100
    assert about["settings"]["val"] == 0.1 and about["settings"]["sources"]["first"] == "openwebtext.tar.xz"
    characters = about["tokenizer"]["characters"]
    assert characters == sorted({*tales.ALPHABET, END_OF_TEXT, "\n"})  # no stand-in: all of it was looked at


def test_a_document_gives_the_ids_of_the_text_path(tmp_path):
    """Case 11: \\r, a byte-order mark and a line end over the edge of a block give equal ids on both paths."""
    raw = [
        "\ufeffone\r\ntwo\rthree\n",
        "x" * (1 << 18) + "\r\nlong “ß” 🦊" + "\r\n" * 450_000,
        *(f"\ufeffcafé {number}\r\n" for number in range(20)),
    ]
    folder = write(tmp_path / "texts", {f"{i}.txt": text.encode("utf-8") for i, text in enumerate(raw)})
    extract(folder, tmp_path / "out", validation=0.4, progress=False)
    train = read_about(tmp_path / "out" / "train.bin")
    tokenizer = tokenizer_from_dict(train["tokenizer"])
    found = read_back(tmp_path / "out")
    assert sorted(found["train"] + found["val"]) == sorted(map(normalise, raw))
    ids = np.fromfile(tmp_path / "out" / "train.bin", "<u2")
    assert (ids == tokenizer.encode("".join(text + END_OF_TEXT for text in found["train"]))).all()


def test_the_end_of_text_inside_of_a_document_is_removed_and_counted(tmp_path):
    texts = {f"{i}.txt": f"do{END_OF_TEXT}cument {i}{END_OF_TEXT}" for i in range(40)}
    texts |= {"only.txt": END_OF_TEXT * 3, "only.long": END_OF_TEXT * (archives.SHORT + 9)}
    facts = extract(write(tmp_path / "t", texts), tmp_path / "out", validation=0.3, progress=False)
    found = read_back(tmp_path / "out")
    assert sorted(found["train"] + found["val"]) == sorted(f"document {i}" for i in range(40))
    assert facts["ends_removed"] == 80 and facts["skipped"] == {"empty": 2}
    assert sorted(text for _, text in documents(tmp_path / "t")) == sorted(f"document {i}" for i in range(40))


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_long_documents_go_another_way_to_the_same_files(tmp_path, sample, monkeypatch, tokens):
    """A long document is decoded, hashed and encoded piece by piece, and waits in a file: nothing else changes."""
    options = {"validation": 0.2, "tokens": tokens, "vocab_size": 300, "progress": False}
    extract(sample, tmp_path / "short", **options)
    monkeypatch.setattr(archives, "SHORT", 700)
    monkeypatch.setattr("helpers.streams.BLOCK", 300)
    monkeypatch.setattr("helpers.tar_reader.BLOCK", 300)
    long = []
    monkeypatch.setattr(
        owt_parts, "_long", lambda *a, original=owt_parts._long: long.append(1) or original(*a)
    )
    extract(sample, tmp_path / "long", **options)
    assert len(long) > 100
    assert outputs(tmp_path / "short") == outputs(tmp_path / "long")


def test_every_nesting_gives_the_same_token_files(tmp_path, sample):
    texts = {f"{number:05d}.txt": text for number, (_, text) in enumerate(documents(sample))}
    made = []
    for name, content in {"folder": texts, "tar": packed(texts), "tar.xz": xz(packed(texts))}.items():
        source = write(tmp_path / name / "corpus", content)
        extract(source, tmp_path / f"out {name}", validation=0.1, part_megabytes=0.01, progress=False)
        made.append(
            {name: data for name, data in outputs(tmp_path / f"out {name}").items() if name.endswith("bin")}
        )
    assert made[0] == made[1] == made[2]


# --- the split (case 29) and the fraction ---


def marked(tmp_path: Path, count: int = 400) -> Path:
    return write(tmp_path / "marked.tar", packed({f"{i}.txt": f"<{i:05d}> text\n" for i in range(count)}))


def markers(folder: Path) -> dict[str, set[str]]:
    return {part: {text[:7] for text in texts} for part, texts in read_back(folder).items()}


def test_each_marker_stands_in_one_split_alone_whatever_the_order(tmp_path):
    one = marked(tmp_path)
    names = [f"{i}.txt" for i in range(400)]
    random.Random(2).shuffle(names)
    other = write(tmp_path / "other.tar.xz", xz(packed({n: f"<{int(n[:-4]):05d}> text\n" for n in names})))
    for source, out in ((one, "one"), (other, "other")):
        extract(source, tmp_path / out, validation=0.25, progress=False)
    found = markers(tmp_path / "one")
    assert found["train"].isdisjoint(found["val"]) and len(found["train"] | found["val"]) == 400
    assert 60 < len(found["val"]) < 140
    assert markers(tmp_path / "other") == found


def test_equal_documents_stand_on_the_same_side(tmp_path):
    files = {
        f"{copy}/{i}.txt": ("\ufeff" * (copy == 1)) + f"document {i}\r\n"
        for copy in range(3)
        for i in range(60)
    }
    extract(write(tmp_path / "t.tar", packed(files)), tmp_path / "out", validation=0.3, progress=False)
    found = {part: Counter(texts) for part, texts in read_back(tmp_path / "out").items()}
    assert set(found["train"]).isdisjoint(found["val"]) and found["train"] and found["val"]
    assert set((found["train"] + found["val"]).values()) == {3}


def test_a_fraction_is_drawn_by_seed_and_does_not_move_documents_between_the_splits(tmp_path):
    source = marked(tmp_path)
    runs = {
        "all": {},
        "some": {"fraction": 0.4},
        "more": {"fraction": 0.7},
        "others": {"fraction": 0.4, "seed": 2},
    }
    found = {}
    for name, options in runs.items():
        facts = extract(source, tmp_path / name, validation=0.25, progress=False, **options)
        found[name] = markers(tmp_path / name)
        assert facts["documents"] == 400
        assert facts["left_out"] == 400 - len(found[name]["train"] | found[name]["val"])
    for part in ("train", "val"):
        assert found["some"][part] < found["more"][part] < found["all"][part]
        assert found["others"][part] < found["all"][part] and found["others"][part] != found["some"][part]
    assert 110 < len(found["some"]["train"] | found["some"]["val"]) < 210


def test_a_part_that_stays_empty_is_an_error_with_the_counts(tmp_path, capsys):
    source = marked(tmp_path, 20)
    assert main(["extract", str(source), "--out", str(tmp_path / "a"), "--val", "0.000001"]) == 1
    said = capsys.readouterr().err
    assert (
        "of 20 documents 20 are for training and 0 for validation" in said
        and "larger --val than 1e-06" in said
    )
    assert main(["extract", str(source), "--out", str(tmp_path / "a"), "--val", "0.999999"]) == 1
    assert "smaller --val" in capsys.readouterr().err
    assert main(["extract", str(source), "--out", str(tmp_path / "a"), "--fraction", "1e-9"]) == 1
    assert "none of the 20 documents is in the fraction 1e-09" in capsys.readouterr().err
    assert (
        main(["extract", str(source), "--out", str(tmp_path / "a"), "--val", "0.3"]) == 0
    )  # nothing stands in its way


# --- tokens ---


def test_rare_characters_get_a_stand_in_and_are_counted(tmp_path):
    texts = {f"{i}.txt": "common text " * 20 + chr(0x4E00 + i) for i in range(100)}
    source = write(tmp_path / "t.tar", packed(texts))
    facts = extract(source, tmp_path / "out", validation=0.2, vocab_size=14, progress=False)
    characters = read_about(tmp_path / "out" / "train.bin")["tokenizer"]["characters"]
    assert {END_OF_TEXT, "\n", STAND_IN, *"comn text"} <= set(characters) and len(characters) == 14 == facts[
        "vocab_size"
    ]
    assert facts["unknown"] == 100 - (14 - 3 - len(set("common text ")))
    assert (
        sum(text.count(STAND_IN) for texts in read_back(tmp_path / "out").values() for text in texts)
        == facts["unknown"]
    )


def test_a_vocabulary_from_a_part_of_the_corpus_has_a_stand_in(tmp_path):
    source = write(
        tmp_path / "t.tar",
        packed({"a.txt": "ab" * 1000, "b.txt": "abc" * 1000, "c.txt": "b" * 99, "d.txt": "a"}),
    )
    facts = extract(source, tmp_path / "out", validation=0.5, sample_megabytes=0.001, progress=False)
    assert read_about(tmp_path / "out" / "train.bin")["tokenizer"]["characters"] == [
        END_OF_TEXT,
        "\n",
        "a",
        "b",
        STAND_IN,
    ]
    assert facts["unknown"] == 1000


def test_a_vocabulary_that_has_no_room_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a vocabulary of 2 characters is too small"):
        learn(["abc"], "characters", 2, lambda: True)
    assert learn(["ab"], "characters", 4, lambda: True).characters == [END_OF_TEXT, "\n", "a", "b"]
    assert learn(["aab"], "characters", 4, lambda: False).characters == [END_OF_TEXT, "\n", "a", STAND_IN]


TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(list("ab 1_.\n\t\xa0é½Ⅷ²ñ̃🦊ा字")))
).map(lambda t: t * 3)


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    text = (
        tales.write_tales(30_000, seed=9)
        + "naïve café ½ ½½ ñ̃ñ̃ हिन्दी हिन्दी 字字字 🦊🦊🦊🦊 \u2003\u2003 __a__ 12 12345 १२३ १२३ aaaaaaaa\n\n\n"
        * 30
    )
    return BPETokenizer.train_with_library(text, 800)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_the_fast_encoder_gives_the_ids_of_the_readable_one(bpe, text):
    encoder = encoder_for(bpe)
    assert isinstance(encoder, PairEncoder)
    assert np.frombuffer(encoder.encode(text), encoder.dtype).tolist() == bpe.encode(text).tolist()


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 9))
def test_a_long_text_may_be_encoded_in_pieces(bpe, text, size):
    encoder = encoder_for(bpe)
    pieces = list(encoder.pieces(text[i : i + size] for i in range(0, len(text), size)))
    assert "".join(pieces) == text
    assert b"".join(map(encoder.encode, pieces)) == encoder.encode(text)


def test_the_encoder_forgets_words_and_stays_right(bpe, monkeypatch):
    monkeypatch.setattr("helpers.encoders.REMEMBERED", 5)
    encoder = encoder_for(bpe)
    for text in ("one two three four five", "five six seven one", "a b c d e f g h i", "one two"):
        assert np.frombuffer(encoder.encode(text), encoder.dtype).tolist() == bpe.encode(text).tolist()
    assert len(encoder._ids) < 10 < REMEMBERED


def vocabulary(size: int) -> CharTokenizer:
    """A vocabulary of about so many characters from all over Unicode."""
    codes = [code for code in range(0, 0x1FFFF, max(1, 0x1FFFF // size)) if not 0xD800 <= code < 0xE000]
    return CharTokenizer(sorted({END_OF_TEXT, STAND_IN, "?", *"ab é🦊", *map(chr, codes)}))


VOCABULARIES = {size: vocabulary(size) for size in (10, 300, 70_000)}
TYPES = {10: "u1", 300: "<u2", 70_000: "<u4"}


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(list(VOCABULARIES)))
def test_characters_by_table_are_those_of_the_tokenizer(text, size):
    tokenizer = VOCABULARIES[size]
    encoder = encoder_for(tokenizer)
    assert isinstance(encoder, CharEncoder) and encoder.dtype == TYPES[size]
    missing = tokenizer.unknown(text)
    known = "".join(STAND_IN if character in missing else character for character in text)
    assert np.frombuffer(encoder.encode(text), encoder.dtype).tolist() == tokenizer.encode(known).tolist()
    assert encoder.unknown == sum(character in missing for character in text)


def test_bpe_from_end_to_end(tmp_path, sample, capsys):
    facts = extract(sample, tmp_path / "out", validation=0.1, tokens="bpe", vocab_size=50_257)
    assert (
        256 < facts["vocab_size"] < 50_257
        and "A larger --sample-megabytes may give more" in capsys.readouterr().out
    )
    found = read_back(tmp_path / "out")
    assert sorted(found["train"] + found["val"]) == sorted(text for _, text in documents(sample))
    about = read_about(tmp_path / "out" / "train.bin")
    tokenizer = tokenizer_from_dict(about["tokenizer"])
    assert isinstance(tokenizer, BPETokenizer) and not any(
        END_OF_TEXT.encode() in t for t in tokenizer.tokens[256:]
    )
    assert about["tokens"] < about["characters"] / 3


def test_a_tokenizer_can_be_given(tmp_path, capsys, bpe):
    source = marked(tmp_path, 30)
    extract(source, tmp_path / "a", validation=0.3, progress=False)
    mine = CharTokenizer([END_OF_TEXT, *"<>0123456789", "?"])
    mine.save(tmp_path / "mine.json")
    bpe.save(tmp_path / "bpe.json")
    for name, expected in (("a/train.json", None), ("mine.json", mine), ("bpe.json", bpe)):
        arguments = [
            "extract",
            source,
            "--out",
            tmp_path / f"with {name[:3]}",
            "--val",
            "0.3",
            "--tokenizer",
            tmp_path / name,
        ]
        assert main(list(map(str, arguments))) == 0
        about = read_about(tmp_path / f"with {name[:3]}" / "val.bin")
        assert about["tokenizer"] == (
            expected.to_dict() if expected else read_about(tmp_path / "a" / "val.bin")["tokenizer"]
        )
    assert "replaced by a stand-in: 180 (" in capsys.readouterr().out  # " text\n" thirty times
    CharTokenizer("abc").save(tmp_path / "no end.json")
    write(tmp_path / "none.json", b"[1, 2]")
    for name, said in (
        ("no end.json", "has no '\\\\x03'"),
        ("none.json", "holds no tokenizer"),
        ("absent.json", "cannot be read"),
    ):
        with pytest.raises(ValueError, match=said):
            extract(source, tmp_path / "x", tokenizer=tmp_path / name)
    assert not (tmp_path / "x").exists()


# --- several processes (case 28) ---


def test_two_processes_give_the_same_bytes(tmp_path, sample, reference, monkeypatch):
    def not_here(job, *rest):
        assert job.is_stream, (
            "this was for the other processes, which start anew and do not see what was put here"
        )
        run_job(job, *rest)

    monkeypatch.setattr(owt_workers, "run_job", not_here)  # a forked process would see it
    monkeypatch.setattr(owt_extract, "run_job", not_here)
    facts = extract(sample, tmp_path / "out", validation=0.1, part_megabytes=0.02, workers=2, progress=False)
    assert outputs(tmp_path / "out") == outputs(reference[0]) and facts == reference[1]


def test_a_long_text_is_read_here_while_the_others_work(tmp_path):
    files = {
        "a.txt": "small " * 300,
        "big.txt": "large " * 40_000,
        "c.txt": "small again " * 200,
        "d.txt": "last " * 90,
    }
    source = write(tmp_path / "t.tar", packed(files))
    for workers in (1, 2):
        extract(
            source,
            tmp_path / str(workers),
            validation=0.5,
            part_megabytes=0.01,
            workers=workers,
            progress=False,
        )
    assert outputs(tmp_path / "1") == outputs(tmp_path / "2")


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_process_that_dies_is_an_error_that_says_so(tmp_path):
    tokenizer = CharTokenizer([END_OF_TEXT, "a"])
    job = Job(0, [Entry("a.txt", b"a" * 100)])
    with Workers(1, tokenizer, Recipe(0.5, 1.0, 1), tmp_path) as workers:
        workers.give(job)
        workers.wait()
        assert (tmp_path / "0000000.json").is_file()
        os.kill(next(iter(workers._processes.values())).pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"ended \(killed by signal 9\).*fewer workers"):
            workers.give(job)
            workers.wait()


def test_an_error_of_a_process_arrives_here(tmp_path):
    tokenizer, missing = CharTokenizer([END_OF_TEXT, "a"]), tmp_path / "no such folder"
    with (
        pytest.raises(OSError, match="no such folder"),
        Workers(1, tokenizer, Recipe(0.5, 1.0, 1), missing) as workers,
    ):
        workers.give(Job(0, [Entry("a.txt", b"a" * 100)]))
        workers.wait()
    with (
        pytest.raises(WorkerError, match="Traceback"),
        Workers(1, tokenizer, Recipe(0.5, 1.0, 1), tmp_path) as workers,
    ):
        workers.give(Job(0, ["no entry"]))
        workers.wait()


# --- shards ---


def test_the_union_of_the_shards_is_one_run(tmp_path, sample, reference):
    whole, parts, tokenizers = read_back(reference[0]), [], set()
    for i in (1, 2, 3):
        extract(sample, tmp_path / str(i), validation=0.1, part_megabytes=0.02, shard=(i, 3), progress=False)
        parts.append(read_back(tmp_path / str(i)))
        tokenizers.add(json.dumps(read_about(tmp_path / str(i) / "train.bin")["tokenizer"]))
    for part in ("train", "val"):
        assert all(shard[part] for shard in parts)
        assert sum((Counter(shard[part]) for shard in parts), Counter()) == Counter(whole[part])
    assert len(tokenizers) == 1
    with pytest.raises(ValueError, match="too small for shard 99/99"):
        extract(sample, tmp_path / "99", shard=(99, 99), progress=False)

    assert main(["join", *(str(tmp_path / i) for i in "312"), "--out", str(tmp_path / "all")]) == 0
    joined = read_back(tmp_path / "all")
    assert outputs(tmp_path / "all")
    for part in ("train", "val"):
        assert joined[part] == [document for i in (2, 0, 1) for document in parts[i][part]]
        one, all_of_it = (read_about(folder / f"{part}.bin") for folder in (reference[0], tmp_path / "all"))
        assert all(
            one[name] == all_of_it[name] for name in ("documents", "characters", "tokens", "tokenizer")
        )


def test_shards_that_are_not_one_corpus_are_not_joined(tmp_path, sample, reference, capsys):
    for i in (1, 2):
        extract(sample, tmp_path / f"a{i}", validation=0.1, part_megabytes=0.02, shard=(i, 2), progress=False)
    extract(sample, tmp_path / "b2", validation=0.2, part_megabytes=0.02, shard=(2, 2), progress=False)

    def refused(*folders: Path | str, out: str = "out") -> str:
        assert main(["join", *map(str, folders), "--out", str(tmp_path / out)]) == 1
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    a1, a2, b2 = (tmp_path / name for name in ("a1", "a2", "b2"))
    assert "number 2 is missing" in refused(a1)
    assert "both shard 1/2" in refused(a1, a1)
    assert "not shards of one corpus (val differ)" in refused(a1, b2)
    assert "was not made with --shard" in refused(a1, reference[0])
    assert "no token file" in refused(a1, tmp_path / "nowhere")
    assert "holds a corpus already" in refused(a1, a2, out="b2")
    assert main(["join", str(a1), str(a2), "--out", str(tmp_path / "out")]) == 0


# --- stopped, and gone on with ---

RUN = ("--val", 0.1, "--part-megabytes", 0.02, "--sample-megabytes", 0.3)


def kill_at_random(sample: Path, folder: Path, expected: dict, workers: int, moments: int) -> None:
    """Kill an extraction at random moments over its whole run, go on, and compare with an undisturbed one."""
    seed = int(os.environ.get("COURSE_SEED") or random.SystemRandom().randrange(10**6))
    print(f"COURSE_SEED={seed}")
    rng = random.Random(seed)
    arguments = ("extract", sample, *RUN, "--workers", workers)
    start = time.perf_counter()
    first = command(*arguments, "--out", folder / "whole")
    first.communicate()
    duration = time.perf_counter() - start
    assert first.returncode == 0 and outputs(folder / "whole") == expected

    killed, stages = 0, Counter()
    for moment in range(moments):
        out = folder / str(moment)
        process = command(*arguments, "--out", out)
        if moment % 4 == 0:  # while the token files are written, or just before
            while process.poll() is None and not any(out.glob(".parts/*/whole.json")):
                time.sleep(0.0005)
            time.sleep(rng.uniform(0, 0.03))
        else:
            time.sleep(rng.uniform(0, duration))
        process.kill()
        process.communicate()
        killed += process.returncode != 0
        done = sorted(out.glob(".parts/*/0*.json"))
        stages[
            "writing" if any(out.glob(".parts/*/whole.json")) else "parts" if done else "start or end"
        ] += 1
        for name in ("train.bin", "val.bin"):  # what has its final name is whole
            if (out / name).exists():
                assert (out / name).read_bytes() == expected[name], (seed, moment)
        times = {path: path.stat().st_mtime_ns for path in done[:3]}

        again = command(*arguments, "--out", out)
        if times:  # what was done is not done again
            while again.poll() is None and not any(out.glob(".parts/*/0*.json")):
                time.sleep(0.0005)
            for path, old in times.items():
                try:
                    assert path.stat().st_mtime_ns == old, (seed, moment, path)
                except FileNotFoundError:  # finished in the meantime
                    break
        output = again.communicate()
        assert again.returncode == 0, (seed, moment, output)
        assert outputs(out) == expected, (seed, moment)
    print(killed, stages)
    assert killed >= moments // 2 and stages["parts"] >= 2 and stages["writing"] >= 1, (seed, stages)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.slow
@pytest.mark.parametrize(("workers", "moments"), [(1, 20), (2, 8)])
def test_an_extraction_killed_at_any_moment_goes_on_without_loss_or_repetition(tmp_path, workers, moments):
    sample = write_sample(tmp_path / "sample", megabytes=4, seed=8)
    extract(
        sample,
        tmp_path / "reference",
        validation=0.1,
        part_megabytes=0.02,
        sample_megabytes=0.3,
        progress=False,
    )
    kill_at_random(sample, tmp_path, outputs(tmp_path / "reference"), workers, moments)


def stopped_after(monkeypatch, jobs: int) -> list[int]:
    """Have the extraction stopped before it runs job number `jobs` of those it has to run; the numbers that it ran."""
    ran, original = [], owt_extract.run_job

    def run(job, *rest):
        if len(ran) == jobs:
            raise KeyboardInterrupt
        ran.append(job.number)
        original(job, *rest)

    monkeypatch.setattr(owt_extract, "run_job", run)
    return ran


def arguments_for(sample: Path, out: Path, *more) -> list[str]:
    return list(map(str, ["extract", sample, "--out", out, "--val", 0.1, "--part-megabytes", 0.02, *more]))


def test_ctrl_c_says_how_to_go_on_and_the_rest_alone_is_done_then(
    tmp_path, sample, reference, capsys, monkeypatch
):
    ran = stopped_after(monkeypatch, 5)
    assert main(arguments_for(sample, tmp_path / "out")) == 130
    said = capsys.readouterr()
    assert "Stopped by you. What was done is kept in" in said.err and "the same command goes on" in said.err
    assert ran == [0, 1, 2, 3, 4] and not (tmp_path / "out" / "train.bin").exists()
    ran.clear()
    monkeypatch.undo()
    ran = stopped_after(monkeypatch, -1)
    assert main(arguments_for(sample, tmp_path / "out")) == 0
    assert "Going on: 5 parts of the work are done already" in capsys.readouterr().out
    assert ran[0] == 5 and ran == sorted(ran)
    assert outputs(tmp_path / "out") == outputs(reference[0])


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_signal_of_ctrl_c_ends_all_processes_with_130(tmp_path, workers):
    source = write(tmp_path / "s", {f"{i}.txt": random.Random(i).randbytes(200_000).hex() for i in range(60)})
    process = command(*arguments_for(source, tmp_path / "out", "--workers", workers), start_new_session=True)
    while process.poll() is None and not any((tmp_path / "out").glob(".parts/*/0*.json")):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process in front
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, (output, errors)
    assert "Stopped by you" in errors and "Traceback" not in errors
    deadline = time.monotonic() + 20
    while alive_in(process.pid):
        assert time.monotonic() < deadline, alive_in(process.pid)
        time.sleep(0.02)


def alive_in(group: int) -> list[str]:
    """The processes of a group that still run."""
    found = []
    for process in psutil.process_iter(["pid", "status", "cmdline"]):
        with suppress(ProcessLookupError):
            if os.getpgid(process.info["pid"]) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.info["cmdline"])
    return found


def test_other_settings_are_refused_as_long_as_something_is_kept(
    tmp_path, sample, reference, capsys, monkeypatch
):
    stopped_after(monkeypatch, 3)
    out = tmp_path / "out"
    assert main(arguments_for(sample, out)) == 130
    monkeypatch.undo()
    capsys.readouterr()
    assert main(arguments_for(sample, out, "--seed", 5, "--fraction", 0.5)) == 1
    said = capsys.readouterr().err
    assert (
        "fraction: 1.0 there, 0.5 asked, seed: 1 there, 5 asked" in said
        and "--restart" in said
        and "another --out" in said
    )
    assert main(arguments_for(sample, out)) == 0  # nothing was lost
    assert outputs(out) == outputs(reference[0])


def test_a_finished_corpus_is_not_made_again_and_not_replaced_unasked(tmp_path, sample, capsys, monkeypatch):
    out = tmp_path / "out"
    assert main(arguments_for(sample, out)) == 0
    made, capsys_before = outputs(out), capsys.readouterr().out
    stopped_after(monkeypatch, 0)  # nothing may be read
    assert main(arguments_for(sample, out)) == 0
    assert "holds this corpus already" in capsys.readouterr().out and capsys_before
    assert main(arguments_for(sample, out, "--fraction", 0.5)) == 1
    assert "other settings (fraction: 1.0 there, 0.5 asked)" in capsys.readouterr().err
    assert outputs(out) == made
    monkeypatch.undo()
    assert main(arguments_for(sample, out, "--fraction", 0.5, "--restart")) == 0
    assert outputs(out) != made
    write(out / "val.bin", b"")  # no longer whole: it is made again
    assert main(arguments_for(sample, out, "--restart")) == 0
    assert outputs(out) == made


def test_sources_that_changed_are_not_mixed_with_what_was_kept(tmp_path, capsys, monkeypatch):
    source = write(tmp_path / "s", {f"{i}.txt": f"text {i} " * 2000 for i in range(9)})
    stopped_after(monkeypatch, 1)
    assert main(arguments_for(source, tmp_path / "out")) == 130
    monkeypatch.undo()
    write(source / "9.txt", b"one more")
    assert main(arguments_for(source, tmp_path / "out")) == 1
    assert "other settings (the sources)" in capsys.readouterr().err


def test_two_extractions_into_one_folder_do_not_meet(tmp_path, sample, capsys):
    (tmp_path / "out").mkdir()
    with Lock(tmp_path / "out"):
        assert main(arguments_for(sample, tmp_path / "out")) == 1
        assert "another extraction works in" in capsys.readouterr().err
    assert main(arguments_for(sample, tmp_path / "out")) == 0  # the file of the lock alone locks nothing


def test_a_full_disk_is_said_and_what_is_done_stays(tmp_path, sample, reference, capsys, monkeypatch):
    def full(self, original=owt_parts.PartFile.give_name):
        if self.path.name.startswith("0000004"):
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self)

    monkeypatch.setattr(owt_parts.PartFile, "give_name", full)
    assert main(arguments_for(sample, tmp_path / "out")) == 1
    said = capsys.readouterr().err
    assert "the disk is full" in said and "the same command goes on" in said
    assert len(list(tmp_path.glob("out/.parts/*/0*.json"))) == 4
    assert list(tmp_path.glob("out/.parts/*/.*.part")) == []
    monkeypatch.undo()
    assert main(arguments_for(sample, tmp_path / "out")) == 0
    assert outputs(tmp_path / "out") == outputs(reference[0])


@pytest.mark.parametrize("harm", ["shorter", "other bytes", "no json", "half a json"])
def test_a_kept_part_that_was_damaged_is_made_anew(tmp_path, sample, reference, monkeypatch, harm):
    stopped_after(monkeypatch, 6)
    out = tmp_path / "out"
    assert main(arguments_for(sample, out)) == 130
    monkeypatch.undo()
    ids, page = next(out.glob(".parts/*/0000003.train")), next(out.glob(".parts/*/0000003.json"))
    if harm == "shorter":
        ids.write_bytes(ids.read_bytes()[:-100])
    elif harm == "other bytes":
        ids.write_bytes(bytes(100) + ids.read_bytes()[100:])
    elif harm == "no json":
        page.unlink()
    else:
        page.write_text(page.read_text(encoding="utf-8")[:50], encoding="utf-8")
    code = main(arguments_for(sample, out))
    if harm == "other bytes":  # seen when the parts are put together
        assert code == 1
        code = main(arguments_for(sample, out))
    assert code == 0 and outputs(out) == outputs(reference[0])


# --- the command ---


def test_some_unreadable_files_give_exit_code_3_and_all_their_names(tmp_path, capsys, sample):
    data = sample.read_bytes()
    folder = write(tmp_path / "s", {
        "cut.tar.xz": data[: len(data) * 2 // 3], "good.tar.xz": data, "page.html": b"<html><body>no</body></html>",
        "nothing.txt": b"", "latin.txt": "caf\xe9".encode("latin-1"),
    })  # fmt: skip
    command = [
        "extract",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--val",
        "0.1",
        "--part-megabytes",
        "0.05",
    ]
    assert main(command) == 3
    said = capsys.readouterr().out
    assert "Not read, or not to the end: 4 (1 cut off, 1 empty, 1 not UTF-8, 1 web page)." in said
    for name, what in (
        ("cut.tar.xz", "cut off"),
        ("page.html", "not a text: a web page"),
        ("nothing.txt", "empty"),
        ("latin.txt", "not UTF-8"),
    ):
        assert re.search(rf"s/{name} is {what}", said), said
    whole = [text for _, text in documents(sample)]
    found = read_back(tmp_path / "out")
    assert Counter(whole) < Counter(found["train"] + found["val"]) < Counter(whole * 2)
    assert main(command) == 3
    assert "holds this corpus already" in capsys.readouterr().out


def test_the_report_is_the_same_in_two_processes(tmp_path, sample):
    data = sample.read_bytes()
    folder = write(
        tmp_path / "s",
        {"a.tar.xz": data[: len(data) // 2], "b.txt": b"\0", "c.tar.xz": data, "d.txt": b"<html>"},
    )
    facts = [
        extract(folder, tmp_path / str(n), validation=0.1, part_megabytes=0.02, workers=n, progress=False)
        for n in (1, 2)
    ]
    assert facts[0] == facts[1] and facts[0]["skipped"] == {"cut off": 1, "not a text": 1, "web page": 1}
    assert outputs(tmp_path / "1") == outputs(tmp_path / "2")


def test_no_usable_source_is_an_error(tmp_path, capsys):
    folder = write(tmp_path / "s", {"page.html": b"<html></html>", "empty.txt": b""})
    assert main(["extract", str(folder), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert (
        "no document could be read" in said
        and "s/page.html is not a text" in said
        and "s/empty.txt is empty" in said
    )
    assert not (tmp_path / "out" / "train.bin").exists()
    assert main(["extract", str(tmp_path / "absent"), "--out", str(tmp_path / "out2")]) == 1
    assert "there is no file or folder" in capsys.readouterr().err and not (tmp_path / "out2").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("--val", value) for value in ("0", "1", "-1", "abc", "1.5", "nan")],
        *[("--fraction", value) for value in ("0", "1.5", "-1", "abc")],
        *[("--workers", value) for value in ("0", "-1", "abc", "1.5")],
        *[("--shard", value) for value in ("2/1", "0/4", "1", "1/0", "-1/4", "a/b", "1.5/2", "1/2/3")],
        *[("--vocab-size", value) for value in ("0", "3", "abc", "1.5")],
        *[("--seed", value) for value in ("-1", "abc", "1.5")],
        *[("--sample-megabytes", value) for value in ("0", "-1", "abc")],
        ("--tokens", "words"),
    ],
)  # fmt: skip
def test_option_values_out_of_range_are_named_and_end_with_1(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as end:
        main(["extract", str(tmp_path), "--out", str(tmp_path / "out"), f"{option}={value}"])
    assert end.value.code == 1
    assert option in (said := capsys.readouterr().err) and value in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        *({"validation": value} for value in (0, 1.0)),
        *({"fraction": value} for value in (0, 1.1)),
        *({"shard": value} for value in ((0, 4), (3, 2))),
        {"workers": 0},
        {"tokens": "words"},
        {"vocab_size": 3},
        {"vocab_size": 255, "tokens": "bpe"},
        {"sample_megabytes": 0},
        {"part_megabytes": -1},
    ],
)
def test_the_function_refuses_them_too(tmp_path, sample, options):
    with pytest.raises(ValueError, match=str(next(iter(options)))):
        extract(sample, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_results_beside_the_sources_are_not_taken_for_sources(tmp_path):
    folder = write(tmp_path / "s", {f"{i}.txt": f"text {i}" for i in range(50)})
    first = extract(folder, folder, validation=0.3, progress=False)
    again = extract(folder, folder, validation=0.3, restart=True, progress=False)
    inside = extract(folder, folder / "out", validation=0.3, progress=False)
    assert first["documents"] == again["documents"] == 50 and first["skipped"] == again["skipped"] == {}
    assert inside["documents"] == 54 - 2 and inside["skipped"] == {
        "not a text": 2
    }  # it does not know whose they are
    assert extract(folder, folder / "out", validation=0.3, restart=True, progress=False) == inside


def test_the_command_works_in_a_process_of_its_own_without_torch(tmp_path):
    for arguments in (
        ["sample", "--out", tmp_path, "--megabytes", "0.2", "--seed", "4"],
        [
            "extract",
            tmp_path / "openwebtext.tar.xz",
            "--out",
            tmp_path / "out",
            "--val",
            "0.2",
            "--workers",
            "2",
        ],
        ["speed", tmp_path / "openwebtext.tar.xz", "--repeats", "1"],
    ):
        process = command(*arguments)
        output, errors = process.communicate()
        assert (process.returncode, errors) == (0, ""), errors
        assert output
    assert "ratio" in output and "peak memory" in output
    code = "import sys, helpers.openwebtext; sys.exit('torch' in sys.modules or 'tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "less than a second"),
        (40, "about 40 s"),
        (720, "about 12 min"),
        (12_600, "about 3.5 h"),
    ],
)
def test_a_time_is_told_roughly_and_less_than_a_second_is_not_about(seconds, words):
    assert seconds_in_words(seconds) == words


# --- memory (case 27) ---


def test_training_on_byte_pairs_looks_at_fewer_texts_where_their_words_differ_much(tmp_path, monkeypatch):
    monkeypatch.setattr(owt_tokenizer, "WORD_BYTES", 3000)
    rng = random.Random(4)
    same = write(
        tmp_path / "same.tar",
        packed({f"{i:02d}.txt": f"{i:02d}" + "one two three " * 50 for i in range(100)}),
    )
    differ = write(
        tmp_path / "differ.tar", packed({f"{i}.txt": rng.randbytes(300).hex(" ", 4) for i in range(100)})
    )
    seen = {}
    monkeypatch.setattr(
        owt_tokenizer,
        "learn",
        lambda texts, *rest: seen.update({rest[0]: sum(map(len, texts))}) or BPETokenizer([]),
    )
    for source, options, expected in (
        (same, {}, 70_200),
        (differ, {}, range(3000, 8000)),
        (differ, {"sample_megabytes": 1.0}, 100 * 674),
    ):
        facts = extract(
            source, tmp_path / "out", validation=0.3, tokens="bpe", restart=True, progress=False, **options
        )
        assert facts["documents"] == 100
        assert seen["bpe"] == expected or (isinstance(expected, range) and seen["bpe"] in expected), seen


ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)  # each has a stack
MEASURE = """
import sys
from helpers import openwebtext
from helpers.owt_speed import peak_memory
if __name__ == "__main__":
    if sys.platform == "linux":  # more memory is not to be had
        import resource
        resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))
    code = openwebtext.main(sys.argv[1:])
    assert "torch" not in sys.modules
    print("PEAK", peak_memory())
    sys.exit(code)
"""


def xz_of_repeated(path: Path, times: int, make) -> None:
    with lzma.open(path, "wb", preset=0) as file:
        for number in range(times):
            file.write(make(number))


def header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf()


LINE = ("The quick “brown” fox jumps over the lazy dog. " * 20 + "\n").encode()


def make_one_document(path: Path, lines: int) -> None:
    xz_of_repeated(path, lines, lambda number: LINE)


def make_many_documents(path: Path, lines: int) -> None:
    def document(number: int) -> bytes:
        data = f"{number} ".encode() + LINE * 5
        return header(f"{number}.txt", len(data)) + data + bytes(-len(data) % 512)

    count = lines // 5
    xz_of_repeated(path, count + 1, lambda number: document(number) if number < count else bytes(1024))


def make_one_document_in_archives(path: Path, lines: int) -> None:
    """A tar of an xz of a tar of one text; the inner tar has no end, which is reported."""
    xz_of_repeated(path, lines + 1, lambda number: LINE if number else header("big.txt", lines * len(LINE)))
    path.write_bytes(packed({"inner": path.read_bytes()}))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no resource module")
@pytest.mark.parametrize(
    ("make", "megabytes", "tokens"),
    [
        (make_one_document, 300, "characters"),
        (make_many_documents, 300, "characters"),
        (make_one_document_in_archives, 300, "characters"),
        (make_one_document, 30, "bpe"),
    ],
)
def test_an_archive_that_compresses_to_little_stays_under_300_mib(tmp_path, make, megabytes, tokens):
    source, lines = tmp_path / "source", megabytes * 1_000_000 // len(LINE)
    make(source, lines)
    assert source.stat().st_size < 1_000_000
    write(tmp_path / "more", {f"{i}.txt": f"small {i}" for i in range(40)})
    arguments = [
        "extract",
        source,
        tmp_path / "more",
        "--out",
        tmp_path / "out",
        "--val",
        "0.2",
        "--tokens",
        tokens,
    ]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, arguments), "--sample-megabytes", "4"],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", env={**os.environ, **ONE_THREAD},
    )  # fmt: skip
    assert done.returncode == (3 if "archives" in make.__name__ else 0), done.stderr
    peak = float(re.search(r"PEAK (\S+)", done.stdout)[1])
    print(make.__name__, tokens, f"{peak:.0f} MiB")
    assert 20 < peak < 200
    about = [read_about(tmp_path / "out" / f"{part}.bin", verify=False) for part in ("train", "val")]
    assert sum(a["characters"] for a in about) >= lines * len(LINE.decode())
