"""Facts about texts: what normalise, clean, read_text, find_book, check and load_text do. No network here."""

import os
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import books, texts
from helpers.books import BookError, clean, find_book, load_text, normalise, read_text
from helpers.catalogue import BOOKS, WIZARD, addresses, check, file_name

ROOT = Path(books.__file__).resolve().parent.parent


def real(name):
    folder = os.environ.get("COURSE_TEST_DATA")
    if not folder:
        pytest.skip("COURSE_TEST_DATA does not name the folder with the real texts")
    return Path(folder) / name


@pytest.fixture(autouse=True)
def course(tmp_path, monkeypatch):
    """A course folder of its own, no COURSE_ variables, and sockets that refuse to open."""
    monkeypatch.setattr(books, "DATA", tmp_path / "data")
    monkeypatch.setattr(books, "BOOK_PATH", tmp_path / "data" / "wizard_of_oz.txt")
    (tmp_path / "data").mkdir()
    for name in ("COURSE_TEXT", "COURSE_MIRRORS"):
        monkeypatch.delenv(name, raising=False)

    def refuse(*args, **kwargs):
        raise AssertionError("a text was looked for on the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tmp_path


def story(title=WIZARD, characters=207_000):
    lines = [title, "", "by L. Frank Baum", ""]
    return "\n".join(lines) + "A lamp stood on the hill, and the road went by it.\n" * (characters // 51)


# ---------------------------------------------------------------- normalise and clean


def test_a_byte_order_mark_and_every_kind_of_line_end_are_normalised():
    assert normalise("\ufeffone\r\ntwo\rthree\n") == "one\ntwo\nthree\n"


def test_normalise_and_clean_twice_are_the_same_as_once():
    rng = random.Random(3)
    pieces = ["\r\n", "\r", "\n", " ", "\ufeff", "a", "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n", "b"]
    for _ in range(500):
        text = "".join(rng.choices(pieces, k=12))
        assert normalise(normalise(text)) == normalise(text)
        assert clean(clean(text)) == clean(text), repr(text)


@pytest.mark.parametrize(
    "file, characters, distinct",
    [("oz_55_utf8_markers_only.txt", 207_817, 74), ("oz_22566_as_the_lecture_ships_it.txt", 232_308, 80)],
)
def test_the_right_values_of_the_real_books(file, characters, distinct):
    text = clean(read_text(real(file)))
    assert (len(text), len(set(text))) == (characters, distinct)


def test_a_kept_byte_order_mark_would_be_an_81st_character():
    raw = real("oz_22566_as_the_lecture_ships_it.txt").read_bytes().decode("utf-8").replace("\r\n", "\n")
    assert len(set(raw)) == 81


def test_the_layout_with_a_licence_gives_the_same_story_without_a_word_of_it():
    new = clean(read_text(real("oz_55_utf8_markers_only.txt")))
    old = clean(read_text(real("oz_55_ascii_crlf_full_licence.txt")))
    for word in ("gutenberg", "license", "licence", "produced by", "ebook", "trademark", "***", "\r"):
        assert word not in old.lower()
    assert old.startswith("The Wonderful Wizard of Oz") and old.endswith('to be at home again!"')
    assert new.startswith("[Illustration]")
    words = lambda text: set(re.findall(r"[a-z]+", text.lower()))  # noqa: E731
    assert len(words(old) & words(new)) / len(words(old) | words(new)) > 0.97
    assert abs(len(old) - len(new)) < 2_000


@pytest.mark.parametrize("the", ["THE", "THIS"])
@pytest.mark.parametrize("name", ["55", "THE WONDERFUL WIZARD OF OZ", "DOROTHY AND THE WIZARD\nIN OZ"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_form_of_the_markers_is_removed(the, name, end):
    before = "Licence words.\n\n"
    inside = (
        "\n\n\nProduced by Some One\nand Others\n\n\n  A first line.\n\nThe last line.\n\n\nEnd of Project "
    )
    inside += "Gutenberg's Book, by\nL. Frank Baum\n\n"
    text = f"{before}*** START OF {the} PROJECT GUTENBERG EBOOK {name} ***{inside}*** END OF {the} PROJECT "
    text += f"GUTENBERG EBOOK {name} ***\n\nMore licence.\n"
    assert clean(text.replace("\n", end)) == "  A first line.\n\nThe last line."


def test_the_oldest_layout_with_the_small_print_is_cleaned():
    text = "Legal.\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\nBook.\n\n"
    assert clean(text + "End of The Project Gutenberg Etext of Book\n") == "Book."


def test_a_text_without_markers_loses_only_its_outer_blank_lines():
    text = "\n \n  Produced by nobody.\n\nIt says *** START OF A ROAD ***.\nEnd of Project Gutenberg?\n \n"
    assert clean(text) == text.strip("\n ").join(["  ", ""])


def test_a_file_of_several_books_keeps_them_all():
    marker = "*** {0} OF THE PROJECT GUTENBERG EBOOK 1 ***\n"
    one = marker.format("START") + "Book {0}.\n" + marker.format("END") + "licence\n"
    assert clean(one.format(1) + one.format(2)) == "Book 1.\n\n\nBook 2."


# ---------------------------------------------------------------- decoding


def test_a_text_in_utf8_with_and_without_mark_is_read(tmp_path):
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a.txt").write_bytes("caf\u00e9 \u201cyes\u201d\r\n".encode(encoding))
        assert read_text(tmp_path / "a.txt") == "caf\u00e9 \u201cyes\u201d\n"


@pytest.mark.parametrize(
    "data, words",
    [
        ("line\ncaf\u00e9 ol\u00e9".encode("cp1252"), ["0xE9", "offset 8", "line 2", "--encoding cp1252"]),
        ("A plain text.".encode("utf-16"), ["UTF-16", "--encoding utf-16"]),
        ("A plain text. ".encode("utf-16-le") * 9, ["UTF-16", "--encoding utf-16-le"]),
        ("A plain text. ".encode("utf-16-be") * 9, ["UTF-16", "--encoding utf-16-be"]),
        (bytes(range(256)) * 9, ["not a text", "NUL", "offset 0"]),
        (b"%PDF-1.7 something", ["PDF"]),
        (b"", ["empty", "0 bytes"]),
        (b" \n \n", ["empty"]),
    ],
)
def test_what_is_no_utf8_text_is_refused_with_the_place_and_the_way_out(tmp_path, data, words):
    path = tmp_path / "mine.txt"
    path.write_bytes(data)
    with pytest.raises(BookError) as caught:
        read_text(path)
    for word in ["mine.txt", *words]:
        assert word in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(BookError, match="there is no file .*nowhere.txt"):
        read_text(tmp_path / "nowhere.txt")
    with pytest.raises(BookError, match="is a folder"):
        read_text(tmp_path)


@pytest.mark.parametrize(
    "header", [b"Character set encoding: ISO-8859-1", b"Character set encoding: ISO Latin-1"]
)
def test_an_old_file_that_says_it_is_latin_1_is_believed_if_it_is_not_utf8(header):
    assert texts.decode(header + b"\ncaf\xe9 \x93yes\x94", "x").endswith("caf\u00e9 \u201cyes\u201d")
    assert texts.decode(header + "\ncaf\u00e9".encode(), "x").endswith("caf\u00e9")
    assert texts.decode(b"caf\xe9", "x", declared="iso-8859-1") == "caf\u00e9"


def test_a_web_page_is_refused_and_its_title_named():
    with pytest.raises(BookError, match="'Access denied'"):
        texts.refuse_web_page("\n<!DOCTYPE html><html><head><title>Access\n denied</title></head></html>")
    texts.refuse_web_page("A story about <html> pages.")


# ---------------------------------------------------------------- which book


@pytest.mark.parametrize(
    "name, number",
    [
        ("ozma", 486), ("Ozma of Oz", 486), ("wonderful wizard", 55), ("wizard of oz", 55), ("wizard", 55),
        ("THE EMERALD CITY", 517), ("tiktok", 956), ("the tik-tok", 956), ("marvellous land", 54),
        ("tin", 960), ("dorothy", 22566), ("Wizard in Oz", 22566), ("420", 420), (420, 420), ("#55", 55),
        ("pg485", 485), ("glenda", 961),
    ],
)  # fmt: skip
def test_names_of_books_are_forgiving(name, number):
    assert find_book(name)[1] == number


@pytest.mark.parametrize("name", ["hobbit", "oz", "", "of the", "56", "oz 55x"])
def test_an_unknown_or_ambiguous_name_lists_the_choices(name):
    with pytest.raises(BookError) as caught:
        find_book(name)
    assert "55 " in str(caught.value) and "The Lost Princess of Oz" in str(caught.value)


def test_every_title_and_every_number_finds_its_own_book_and_file_names_differ():
    pairs = [(title, number) for title, numbers in BOOKS.items() for number in numbers]
    assert len(BOOKS) == 14 and len(pairs) == 16
    assert all(find_book(number) == (title, number) for title, number in pairs)
    assert all(find_book(title)[0] == title for title in BOOKS)
    names = [file_name(*pair) for pair in pairs]
    assert len(set(names)) == 16 and names[0] == "wizard_of_oz.txt" and "ozma_of_oz.txt" in names


def test_mirrors_come_before_the_main_site_and_a_variable_replaces_them(monkeypatch):
    hosts = [address.split("/")[2] for address in addresses(55)]
    assert hosts.index("www.gutenberg.org") > 0 and all(a.startswith("https://") for a in addresses(55))
    monkeypatch.setenv("COURSE_MIRRORS", "http://one.example/, http://two.example/{number}.txt")
    assert addresses(7) == ["http://one.example/cache/epub/7/pg7.txt", "http://two.example/7.txt"]


def test_check_takes_a_whole_book_and_refuses_another_a_short_one_and_one_cut_off():
    check(story(), WIZARD)
    other = story("Ozma of Oz\n\nby the author of The Wonderful Wizard of Oz")
    check(other, "Ozma of Oz")
    with pytest.raises(BookError, match="this is Ozma of Oz, not The Wonderful"):
        check(other, WIZARD)
    with pytest.raises(BookError, match="not named in the first"):
        check(story("A Lamp"), WIZARD)
    with pytest.raises(BookError, match="not a whole Oz book"):
        check(story(characters=9_000), WIZARD)
    with pytest.raises(BookError, match="breaks off"):
        check("*** START OF THE PROJECT GUTENBERG EBOOK 55 ***\n" + story(), WIZARD)


def test_check_takes_the_real_books():
    for file, title in (
        ("oz_55_utf8_markers_only.txt", WIZARD),
        ("oz_55_ascii_crlf_full_licence.txt", WIZARD),
        ("oz_22566_as_the_lecture_ships_it.txt", "Dorothy and the Wizard in Oz"),
    ):
        check(read_text(real(file)), title)


# ---------------------------------------------------------------- load_text


@pytest.fixture
def tales(monkeypatch):
    stub = type(sys)("helpers.tales")
    stub.write_tales = lambda: "One tale.\n\nTwo tales."
    monkeypatch.setitem(sys.modules, "helpers.tales", stub)
    monkeypatch.setattr("helpers.tales", stub, raising=False)


def test_without_a_book_the_tales_are_loaded_and_nothing_is_printed(tales, capsys):
    text = load_text()
    assert (text.name, text.text) == ("tales", "One tale.\n\nTwo tales.")
    assert capsys.readouterr() == ("", "")


def test_the_book_in_data_comes_before_the_tales_and_is_normalised(tales):
    books.BOOK_PATH.write_bytes(("\ufeff" + story()).replace("\n", "\r\n").encode())
    text = load_text()
    assert text.name == "oz" and text.text == story()
    assert text.source == "The Wonderful Wizard of Oz (data/wizard_of_oz.txt)"
    assert str(text) == f"{text.source}: {len(story()):,} characters, {len(set(story())):,} distinct"
    assert len(repr(text)) < 200


def test_an_edited_book_is_used_as_it_is_but_not_called_oz():
    books.BOOK_PATH.write_text("My own words.", encoding="utf-8")
    text = load_text()
    assert (text.text, text.name) == ("My own words.", "wizard_of_oz")


def test_course_text_names_a_file_the_tales_or_nothing(tales, course, monkeypatch):
    books.BOOK_PATH.write_text(story(), encoding="utf-8")
    (course / "poem.txt").write_text("A poem.\r\n", encoding="utf-8")
    poem = str(course / "poem.txt")
    expected = {poem: "poem", f'"{poem}"': "poem", "poem.txt": "poem", "tales": "tales", " ": "oz"}
    for value, name in (expected | {str(books.BOOK_PATH): "oz"}).items():
        monkeypatch.setenv("COURSE_TEXT", value)
        assert load_text().name == name, value
    assert load_text(course / "poem.txt").text == "A poem.\n"
    assert load_text("tales").name == "tales"


def test_a_learners_own_oz_txt_does_not_pass_for_the_courses_book(course):
    for stem in ("oz", "tales"):
        (course / f"{stem}.txt").write_text("Mine.", encoding="utf-8")
        assert load_text(course / f"{stem}.txt").name == f"{stem}_file"


@pytest.mark.parametrize(
    "content", [None, "folder", b"", b"\0\1\2", "é".encode("cp1252"), "é".encode("utf-16")]
)
def test_a_course_text_that_cannot_be_used_is_an_error_that_names_the_variable(course, monkeypatch, content):
    path = course / "mine.txt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("COURSE_TEXT", str(path))
    books.BOOK_PATH.write_text(story(), encoding="utf-8")
    with pytest.raises(BookError) as caught:
        load_text()
    assert "COURSE_TEXT" in str(caught.value) and "mine.txt" in str(caught.value)
    assert "tales" in str(caught.value)


def test_an_empty_book_in_data_is_an_error_with_the_way_out():
    books.BOOK_PATH.touch()
    with pytest.raises(BookError, match="wizard_of_oz.txt is empty(.|\n)*--force"):
        load_text()


def test_load_text_needs_no_package():
    code = (
        "import sys; from helpers.books import load_text; load_text('tales'); "
        "print(sorted({'torch', 'numpy', 'tqdm'} & set(sys.modules)))"
    )
    python = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    run = subprocess.run([*python, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
