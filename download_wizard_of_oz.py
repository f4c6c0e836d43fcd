"""Download The Wonderful Wizard of Oz from Project Gutenberg into data/, without the licence around it.

    python download_wizard_of_oz.py                          the course's book
    python download_wizard_of_oz.py --book ozma              another of Baum's Oz books
    python download_wizard_of_oz.py --series                 all of them in one file
    python download_wizard_of_oz.py --source FILE            a file that you saved yourself, or any text

A file that is there already is left as it is. COURSE_MIRRORS can name other addresses to ask.
"""

import argparse
import sys


def main(argv=None):
    """Run the command and return its exit code: 0 the text is there, 1 a problem that is explained."""
    from helpers.__main__ import too_old

    sentence = too_old(sys.version_info, sys.executable)
    if sentence:
        print(sentence, file=sys.stderr)
        return 1
    from helpers import books

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--book", metavar="NAME|NUMBER", help="words of a title, or a Gutenberg number (default: 55)"
    )
    parser.add_argument("--series", action="store_true", help="all of Baum's Oz books, in one file")
    parser.add_argument("--source", metavar="FILE|URL", help="take the text from here instead")
    parser.add_argument("--encoding", help="of the source, if it is not UTF-8 (for example cp1252)")
    parser.add_argument("--out", metavar="FILE", help="write here instead of into data/")
    parser.add_argument("--force", action="store_true", help="replace a file that is there already")
    options = parser.parse_args(argv)
    if options.series and (options.book or options.source):
        parser.error("--series goes with neither --book nor --source")
    if options.encoding and not options.source:
        parser.error("--encoding tells how to read a --source")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that lacks a letter shows its code instead of failing
            stream.reconfigure(errors="backslashreplace")
    try:
        if options.series:
            books.download_series(options.out, force=options.force)
        else:
            books.download_book(
                options.book,
                options.out,
                source=options.source,
                encoding=options.encoding,
                force=options.force,
            )
    except books.BookError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}. What was there before is as it was.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; what was there before is as it was.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
