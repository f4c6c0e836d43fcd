"""Baum's Oz books at Project Gutenberg: their titles and numbers, where to get them, and how to know one."""

import difflib
import os
import re

from helpers.texts import FIRST_PART, BookError, breaks_off, clean

# Title -> numbers at Project Gutenberg, in the order of publication. A title stands for its first number
# (22566 is
# what the lecture uses).
BOOKS = {
    "The Wonderful Wizard of Oz": (55,),
    "The Marvelous Land of Oz": (54,),
    "Ozma of Oz": (486,),
    "Dorothy and the Wizard in Oz": (22566, 420),
    "The Road to Oz": (26624, 485),
    "The Emerald City of Oz": (517,),
    "The Patchwork Girl of Oz": (955,),
    "Tik-Tok of Oz": (956,),
    "The Scarecrow of Oz": (957,),
    "Rinkitink in Oz": (958,),
    "The Lost Princess of Oz": (959,),
    "The Tin Woodman of Oz": (960,),
    "The Magic of Oz": (419,),
    "Glinda of Oz": (961,),
}
WIZARD = "The Wonderful Wizard of Oz"
LENGTHS = range(150_000, 500_001)  # characters that a whole Oz book may have
WIZARD_LENGTHS = range(200_000, 216_001)  # the Wizard has 207,817, and about as many in other editions

# Mirrors first. On the main site first the folder that is open to robots, then the address made for people.
MIRRORS = (
    "https://gutenberg.pglaf.org/cache/epub/{number}/pg{number}.txt",
    "https://aleph.pglaf.org/cache/epub/{number}/pg{number}.txt",
    "https://www.gutenberg.org/files/{number}/{number}-0.txt",
    "https://www.gutenberg.org/ebooks/{number}.txt.utf-8",
)
FOR_BROWSERS = MIRRORS[-1]


def _fold(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())


def find_book(book: str | int) -> tuple[str, int]:
    """Return (title, number) of one of the Oz books: find_book("ozma") gives ("Ozma of Oz", 486).

    book: a number at Project Gutenberg, or enough words of the title; small words and small slips are
          forgiven.
    Raises BookError with the list of books.
    """
    words = _fold(str(book)).split()
    number = re.fullmatch(r"(?:pg)?(\d+)", "".join(words))
    if number:
        found = {title: int(number[1]) for title, numbers in BOOKS.items() if int(number[1]) in numbers}
    else:
        titles = [WIZARD] if words == ["wizard"] else _titles_with(words)
        found = {title: BOOKS[title][0] for title in titles}
    if len(found) == 1:
        return next(iter(found.items()))
    problem = (
        f"{str(book)!r} fits {len(found)} books" if found else f"{str(book)!r} is none of Baum's Oz books"
    )
    rows = [f"  {' or '.join(map(str, BOOKS[title])):<13} {title}" for title in found or BOOKS]
    raise BookError("\n".join([f"{problem}. Name one by its number or by words of its title:", *rows]))


def _titles_with(words: list[str]) -> list[str]:
    """Return the titles that have all these words, as they stand or else with small slips."""
    titles = {title: _fold(title).split() for title in BOOKS}
    found = [title for title, own in titles.items() if words and set(words) <= set(own)]
    words = [word for word in words if word not in ("a", "the", "of", "in", "to", "and", "oz")]
    if found or not words:
        return found

    def fits(word, own):
        return "".join(own).startswith(word) or difflib.get_close_matches(word, own, 1, 0.8)

    return [title for title, own in titles.items() if all(fits(word, own) for word in words)]


def file_name(title: str, number: int) -> str:
    """Return a book's name in data/: wizard_of_oz.txt, ozma_of_oz.txt,
    dorothy_and_the_wizard_in_oz_420.txt."""
    if title == WIZARD:
        return "wizard_of_oz.txt"
    edition = "" if number == BOOKS[title][0] else f"_{number}"
    return _fold(title).removeprefix("the ").replace(" ", "_") + edition + ".txt"


def addresses(number: int) -> list[str]:
    """Return where to ask for a book, in this order.

    The environment variable COURSE_MIRRORS replaces the list: addresses with {number} in them, or the first
                                                               parts
    of mirrors' addresses, separated by spaces or commas.
    """
    own = re.split(r"[\s,]+", os.environ.get("COURSE_MIRRORS", "").strip(" ,"))
    templates = [
        m if "{number}" in m else m.rstrip("/") + "/cache/epub/{number}/pg{number}.txt" for m in own if m
    ]
    return [template.replace("{number}", str(number)) for template in templates or MIRRORS]


def check(text: str, title: str) -> None:
    """Raise BookError unless text (normalised, cleaned or not) has the signs of the whole book with this
    title."""
    begin = f" {_fold(text[:FIRST_PART])} "
    places = {other: begin.find(f" {_fold(other).removeprefix('the ')} ") for other in BOOKS}
    named = sorted((place, other) for other, place in places.items() if place >= 0)
    if not named:
        raise BookError(
            f"{title} is not named in the first {FIRST_PART:,} characters: it begins {text[:60].strip()!r}"
        )
    if named[0][1] != title:  # a title page may name other books, but after its own
        raise BookError(f"this is {named[0][1]}, not {title}")
    if breaks_off(text):
        raise BookError("the text breaks off before its end marker")
    if len(clean(text)) not in LENGTHS:
        expected = f"{LENGTHS[0]:,} to {LENGTHS[-1]:,}"
        raise BookError(f"{len(clean(text)):,} characters are not a whole Oz book (expected are {expected})")


def objection(text: str, title: str) -> str:
    """Return what speaks against text being this book, or an empty string."""
    try:
        check(text, title)
    except BookError as error:
        return str(error)
    return ""
