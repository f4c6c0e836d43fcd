"""Archives in any nesting, told apart by content: every text comes out whole, or is reported, and nothing is written."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import streams
from helpers.archives import NAMED, Report, walk
from helpers.documents import documents, pieces_of, text_of
from helpers.streams import BytesStream, FileStream, Stream, Unreadable
from helpers.tar_reader import Tar
from helpers.texts import normalise

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
TEXTS = {
    f"{number:04d}.txt": f"Document {number}: “the naïve fox” 🦊\n" * (1 + number * 7 % 40)
    for number in range(30)
}


def packed(files: dict[str, bytes | str], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, data in files.items():
            data = data.encode("utf-8") if isinstance(data, str) else data
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def xz(data: bytes | str) -> bytes:
    return lzma.compress(data.encode("utf-8") if isinstance(data, str) else data, preset=0)


def in_order(*names: str) -> dict[str, str]:
    return {name: TEXTS[name] for name in names or TEXTS}


def inner_archives() -> dict[str, bytes]:
    """The texts in three compressed tars, as the real corpus has them."""
    names = list(TEXTS)
    return {f"subset{i}.xz": xz(packed(in_order(*names[i * 10 : i * 10 + 10]))) for i in range(3)}


def write(path: Path, data: bytes | dict) -> Path:
    """A file, or a folder of files."""
    if isinstance(data, dict):
        for name, content in data.items():
            write(path / name, content)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return path


def texts_in(*sources: Path, report: Report | None = None) -> list[str]:
    return [text for _, text in documents(sources, report)]


NESTINGS = {
    "a folder of texts": lambda: TEXTS,
    "a tar": lambda: packed(TEXTS),
    "a tar.xz": lambda: xz(packed(TEXTS)),
    "an xz of an xz of a tar": lambda: xz(xz(packed(TEXTS))),
    "a tar.gz": lambda: gzip.compress(packed(TEXTS)),
    "a tar.bz2": lambda: bz2.compress(packed(TEXTS)),
    "OpenWebText: a tar.xz of tar.xz": lambda: xz(packed(inner_archives())),
    "Hugging Face: a tar of tar.xz": lambda: packed(inner_archives()),
    "a folder of tar.xz": inner_archives,
    "a tar of texts, each in an xz": lambda: packed({name: xz(text) for name, text in TEXTS.items()}),
    "a folder of texts, each in an xz": lambda: {name: xz(text) for name, text in TEXTS.items()},
    "a tar of a tar.xz of a tar": lambda: packed({"a": xz(packed({"b": packed(TEXTS)}))}),
    "several xz in a row": lambda: xz(packed(TEXTS)[:5000]) + xz(packed(TEXTS)[5000:]),
    "several xz in a row, with padding": lambda: xz(packed(TEXTS)[:5000]) + bytes(8) + xz(packed(TEXTS)[5000:]) + bytes(4),
    "several gzip in a row": lambda: gzip.compress(packed(TEXTS)[:5000]) + gzip.compress(packed(TEXTS)[5000:]),
    "two tars in a row": lambda: packed(in_order("0000.txt")) + packed({n: t for n, t in TEXTS.items() if n != "0000.txt"}),
}  # fmt: skip


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("name", ["right", "misleading.txt"])
def test_every_nesting_gives_the_same_texts_whatever_the_name(tmp_path, nesting, name):
    source, report = write(tmp_path / name, NESTINGS[nesting]()), Report()
    assert texts_in(source, report=report) == list(TEXTS.values())
    assert report.lines() == [] and report.documents == len(TEXTS)


def test_a_tar_in_an_xz_is_not_read_as_text(tmp_path):
    """Case 24: the headers of the tar and their NUL bytes became "text" and stood in the vocabulary."""
    source = write(tmp_path / "part.xz", xz(packed(TEXTS)))
    plain = lzma.decompress(source.read_bytes()).decode("utf-8")  # what a plain reader sees
    assert "\0" in plain and "0000.txt" in plain
    joined = "".join(texts_in(source))
    assert joined == "".join(TEXTS.values()) and "\0" not in joined and ".txt" not in joined


def test_sources_come_in_the_order_given_and_folders_sorted(tmp_path):
    one = write(tmp_path / "one", {"b.txt": "b", "a.txt": "a", "c/d.txt": "d", ".hidden": "h", ".git/x": "x"})
    two = write(tmp_path / "two.tar", packed({"z": "z", "y": "y"}))
    assert texts_in(two, one) == ["z", "y", "a", "b", "d"]
    assert [name for name, _ in documents([one, two])][:3] == ["one/a.txt", "one/b.txt", "one/c/d.txt"]


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no file or folder .*absent"):
        texts_in(tmp_path / "absent")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="there is no file in .*bare"):
        texts_in(tmp_path / "bare")
    with pytest.raises(ValueError, match="no source was named"):
        list(documents([]))


# --- the tar ---

ODD_NAMES = ["plain.txt", "with space.txt", "naïve/𝄞.txt", "../../escape.txt", "/etc/passwd", "new\nline",
             "x" * 90 + "/" + "y" * 60, "deep/" * 60 + "z" * 200, "trailing.", "q" * 100, "a\\b:c*?.txt"]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_files_with_odd_names_come_out_of_every_kind_of_tar_and_nothing_is_written(
    tmp_path, monkeypatch, format
):
    monkeypatch.chdir(tmp_path)
    names = [n for n in ODD_NAMES if format != "ustar" or len(n) < 200]
    data = packed({name: f"text of {number}" for number, name in enumerate(names)}, FORMATS[format])
    before = sorted(tmp_path.rglob("*"))
    found = [(name, text_of(text)) for name, text, _ in walk("source", BytesStream("source", data), Report())]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(f"source/{entry.name}", tar.extractfile(entry).read().decode("utf-8")) for entry in tar]
    assert found == expected and len(found) == len(names)
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_links_and_the_notes_of_macos_are_passed_over():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind in [
            ("d", tarfile.DIRTYPE),
            ("s" * 200, tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("f", tarfile.FIFOTYPE),
        ]:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "l" * 150
            tar.addfile(entry)
        for name, data in [("._a.txt", b"\0\5\x16\7"), ("a.txt", b"text")]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    report = Report()
    assert [(n, d) for n, d, _ in walk("t", BytesStream("t", out.getvalue()), report)] == [
        ("t/a.txt", b"text")
    ]
    assert not report.counts


@pytest.mark.parametrize("seed", range(20))
def test_our_tar_reader_agrees_with_tarfile(seed):
    rng = random.Random(seed)
    files = {
        f"{number}{'n' * rng.choice([0, 5, 120])}": rng.randbytes(rng.choice([1, 511, 512, 513, 9000]))
        for number in range(12)
    }
    data = packed(files, rng.choice(list(FORMATS.values())[1:]))
    tar, found = Tar(Chunks(data, rng.choice([1, 100, 512, 4096]))), {}
    while (entry := tar.next_file()) is not None:
        way = rng.choice(["whole", "stream", "skip", "some"])
        if way == "whole":
            found[entry[0]] = tar.whole()
        elif way == "stream":
            stream = tar.stream("s")
            found[entry[0]] = b"".join(iter(lambda stream=stream: stream.read(777), b""))
        else:
            found[entry[0]] = files[entry[0]]
            if way == "some":
                assert files[entry[0]].startswith(tar.stream("s").read(100))
    assert found == files


class Chunks(Stream):
    """Bytes that come a few at a time."""

    def __init__(self, data: bytes, size: int):
        super().__init__("chunks")
        self.pieces = iter([data[i : i + size] for i in range(0, len(data), size)])

    def _more(self) -> bytes:
        return next(self.pieces, b"")


# --- case 26: what is cut off, damaged or foreign is reported by name, and the rest goes on ---


def is_beginning(found: list[str], whole: list[str]) -> bool:
    return found == whole[: len(found)]


@pytest.mark.parametrize(
    "nesting",
    ["a tar", "a tar.xz", "OpenWebText: a tar.xz of tar.xz", "Hugging Face: a tar of tar.xz", "a tar.gz"],
)
def test_of_an_archive_that_is_cut_off_the_whole_documents_before_the_break_are_kept(tmp_path, nesting):
    data, whole, counts = NESTINGS[nesting](), list(TEXTS.values()), set()
    for size in random.Random(7).sample(range(1, len(data)), 60):
        report = Report()
        found = texts_in(write(tmp_path / "cut", data[:size]), report=report)
        assert is_beginning(found, whole), size
        if size < 2 * len(data.rstrip(b"\0")) // 3:  # the last bytes may be no more than padding
            assert len(found) < len(whole)
            assert sum(report.counts.values()) == 1 and len(report.lines()) == 2, (size, report)
            assert report.lines()[1].startswith("  cut is "), report.lines()
        counts.add(len(found))
    assert len(counts) > 3


def test_a_text_that_is_cut_off_is_left_out(tmp_path):
    text = "".join(random.Random(1).choices("abcdefgh \n", k=50_000))
    report = Report()
    assert texts_in(write(tmp_path / "cut.xz", xz(text)[:9000]), report=report) == []
    assert report.counts == {"cut off": 1}


def test_a_damaged_inner_archive_is_named_and_the_others_are_whole(tmp_path):
    inner = inner_archives()
    data = bytearray(inner["subset1.xz"])
    data[len(data) // 2] ^= 0xFF
    report = Report()
    found = texts_in(write(tmp_path / "all.tar", packed({**inner, "subset1.xz": bytes(data)})), report=report)
    texts = list(TEXTS.values())
    assert found[:10] == texts[:10] and found[-10:] == texts[-10:]
    assert report.counts == {"damaged": 1} and report.named[0][0] == "all.tar/subset1.xz"


def test_a_damaged_header_is_not_the_end_of_the_tar(tmp_path):
    data = bytearray(packed({"a": "first", "b": "second", "c": "third"}))
    assert data[1024:1025] == b"b"
    data[1024] ^= 1
    report = Report()
    assert texts_in(write(tmp_path / "t.tar", bytes(data)), report=report) == ["first"]
    assert report.counts == {"damaged": 1} and "t.tar is damaged" in report.lines()[1]


WRONG = {
    "empty": (b"", "empty"),
    "blank": (b" \r\n\t\n", "empty"),
    "only a mark": (b"\xef\xbb\xbf", "empty"),
    "web page": (b"\n<!DOCTYPE html><html><head><title>Access denied</title></head></html>", "web page"),
    "NUL": (b"some text\0more", "not a text"),
    "Latin-1": ("café".encode("latin-1"), "not UTF-8"),
    "UTF-16": ("text".encode("utf-16"), "not supported"),
    "half a character": ("café".encode()[:-1], "not UTF-8"),
    "zip": (b"PK\x03\x04" + bytes(40), "not supported"),
    "PDF": (b"%PDF-1.4 ...", "not supported"),
    "empty tar": (packed({}), "not a text"),
    "the beginning of an xz": (xz("text")[:20], "cut off"),
    "magic of xz, then no xz": (b"\xfd7zXZ\0" + b"no xz at all", "damaged"),
    "xz, then something else": (xz("text") + b"something else", "damaged"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("where", ["a folder", "a tar", "a tar.xz"])
def test_what_is_no_text_is_reported_by_name_and_the_others_go_on(tmp_path, kind, where):
    data, reason = WRONG[kind]
    files = {"a.txt": b"before", "b.dat": data, "c.txt": b"after"}
    content = {"a folder": files, "a tar": packed(files), "a tar.xz": xz(packed(files))}[where]
    report = Report()
    found = texts_in(write(tmp_path / "source", content), report=report)
    assert [text for text in found if text != "text"] == ["before", "after"]
    assert report.counts == {reason: 1}
    assert report.named[0][0] == "source/b.dat" and report.documents == len(found)


def test_a_web_page_is_named_by_its_title():
    with pytest.raises(Unreadable, match="web page.*Access denied"):
        text_of(WRONG["web page"][0])
    with pytest.raises(Unreadable, match="web page.*Access denied"):
        list(pieces_of(Chunks(WRONG["web page"][0], 5)))


def test_a_name_is_shown_so_that_it_can_be_printed():
    report = Report()
    report.add("a\nb\x1b[31m" + "x" * 1000, Unreadable("empty", "empty"))
    assert report.lines()[1].startswith("  a?b?[31mxxx") and len(report.lines()[1]) < 250


def test_a_report_counts_all_and_names_some():
    report, other = Report(), Report()
    for number in range(NAMED + 5):
        report.add(f"file {number}", Unreadable("empty", "empty"))
    other.add("another", Unreadable("damaged", "damaged: here"))
    report.merge(other)
    assert report.counts == {"empty": NAMED + 5, "damaged": 1} and len(report.named) == NAMED
    assert report.lines()[0] == f"Not read, or not to the end: {NAMED + 6} (1 damaged, {NAMED + 5} empty)."
    assert report.lines()[-1] == "  and 6 more"
    assert Report.from_dict(report.to_dict()) == report


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root reads everything"
)
def test_a_file_that_may_not_be_read_is_reported(tmp_path):
    source = write(tmp_path / "s", {"a.txt": "a", "b.txt": "b"})
    (source / "a.txt").chmod(0)
    report = Report()
    assert texts_in(source, report=report) == ["b"] and report.counts == {"not readable": 1}


# --- bombs ---


def test_compression_in_compression_has_an_end(tmp_path):
    data = b"text"
    for _ in range(streams.LAYERS):
        data = xz(data)
    assert texts_in(write(tmp_path / "a", data)) == ["text"]
    report = Report()
    assert texts_in(write(tmp_path / "b", xz(data)), report=report) == [] and report.counts == {"too deep": 1}


def test_archives_in_archives_have_an_end(tmp_path):
    data = packed({"t": "text"})
    for _ in range(40):
        data = packed({"t": data})
    report = Report()
    assert texts_in(write(tmp_path / "a", data), report=report) == [] and report.counts == {"too deep": 1}


def test_an_xz_that_needs_much_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "DECODER_MEMORY", 1 << 20)
    report = Report()
    data = lzma.compress(b"text", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4 << 20}])
    assert texts_in(write(tmp_path / "a.xz", data), report=report) == []
    assert "needs over 1 MiB" in report.lines()[1]


def test_a_name_without_end_is_damage_not_memory():
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    report = Report()
    assert list(walk("t", BytesStream("t", entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024)), report)) == []
    assert report.counts == {"damaged": 1}


# --- case 21: no character is cut at the edge of a block ---

EDGES = "\ufeff\ufeffaé€😀\r\n\r\r\nß🦊\r" + "naïve “fox” 𝄞 " * 3 + "\r\n"


@pytest.mark.parametrize("size", range(1, len(EDGES.encode("utf-8")) + 1))
def test_no_character_and_no_line_end_is_cut_at_any_offset(size):
    data = EDGES.encode("utf-8")
    assert "".join(pieces_of(Chunks(data, size))) == normalise(EDGES) == text_of(data)


def test_the_offsets_hold_behind_the_first_block_too(monkeypatch):
    monkeypatch.setattr("helpers.documents.FIRST_PART", 0)  # the beginning is not held back
    data = EDGES.encode("utf-8")
    for size in range(1, len(data)):
        pieces = list(pieces_of(Chunks(data, size)))
        assert "".join(pieces) == normalise(EDGES)
        assert len(pieces) > 1 or size > len(data) // 2


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(1, 20))
def test_pieces_join_to_the_normalised_text(text, size):
    data = text.encode("utf-8")
    try:
        expected = text_of(data)
    except Unreadable as error:
        with pytest.raises(Unreadable) as caught:
            list(pieces_of(Chunks(data, size)))
        assert caught.value.kind == error.kind
    else:
        assert "".join(pieces_of(Chunks(data, size))) == expected == normalise(text)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_bad_byte_is_named_with_its_offset(size):
    data = "aé€😀".encode() * 20 + b"\xff" + b"more" * 10
    with pytest.raises(Unreadable, match=f"byte 0xFF at offset {10 * 20}"):
        list(pieces_of(Chunks(data, size)))
    with pytest.raises(Unreadable, match=f"NUL byte at offset {10 * 20}"):
        list(pieces_of(Chunks(data.replace(b"\xff", b"\0"), size)))


def test_a_stream_counts_what_was_read_and_breaks_once(tmp_path):
    path, counted = write(tmp_path / "f", xz("text" * 1000)[:-10]), []
    with open(path, "rb") as file:
        kind, stream = streams.opened(FileStream("f", file, counted.append))
        assert kind == "text"
        errors = []
        for _ in range(3):
            with pytest.raises(Unreadable) as caught:
                while stream.read():
                    pass
            errors.append(caught.value)
    assert errors[0] is errors[1] is errors[2] and errors[0].name == "f"
    assert sum(counted) == path.stat().st_size


# --- parquet ---

PARQUET = b"PAR1" + bytes(50) + b"PAR1"


def test_without_pyarrow_a_parquet_file_is_reported_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it fails now
    folder, report = write(tmp_path / "s", {"a.parquet": PARQUET, "b.txt": "text"}), Report()
    assert texts_in(folder, report=report) == ["text"]
    assert report.counts == {"not supported": 1}
    assert re.search(
        r"s/a.parquet is a parquet file.*pip install pyarrow.*archives of the same corpus", report.lines()[1]
    )


def test_with_pyarrow_each_row_of_a_parquet_file_is_a_document(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for column in ("text", "content"):
        table = arrow.table({column: [*TEXTS.values(), "", None], "n": list(range(len(TEXTS) + 2))})
        parquet.write_table(table, tmp_path / "t.parquet", row_group_size=7)
        report = Report()
        assert texts_in(tmp_path / "t.parquet", report=report) == list(TEXTS.values())
        assert report.counts == {"empty": 2} and "t.parquet/row 31 is empty" in report.lines()[1]
        inside = write(tmp_path / "t.tar.xz", xz(packed({"t": (tmp_path / "t.parquet").read_bytes()})))
        assert texts_in(inside) == list(TEXTS.values())
    parquet.write_table(arrow.table({"a": ["x"], "b": ["y"]}), tmp_path / "two")
    report = Report()
    assert texts_in(write(tmp_path / "damaged", PARQUET), tmp_path / "two", report=report) == []
    assert report.counts == {"damaged": 1, "not supported": 1}
