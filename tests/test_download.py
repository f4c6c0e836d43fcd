"""Facts about the download, against a real HTTP server on this machine. No other address is ever asked."""

import contextlib
import errno
import hashlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import download_wizard_of_oz
from helpers import books, download
from helpers import files as whole_files
from helpers.books import BOOKS, BookError, download_book, download_series

ROOT = Path(books.__file__).resolve().parent.parent
WIZARD = "The Wonderful Wizard of Oz"


def page(title=WIZARD, words="A lamp stood on the hill, and the road went by it.", number=55):
    """A file in today's layout with our own words in it: Windows line ends, a byte-order mark, a licence."""
    book = "\n\n".join([title, "by L. Frank Baum", f"{words}\n" * (170_000 // (len(words) + 1)) + "The end."])
    head, tail = (
        f"*** START OF THE PROJECT GUTENBERG EBOOK {number} ***",
        f"*** END OF THE PROJECT GUTENBERG EBOOK {number} ***",
    )
    text = f"The Project Gutenberg eBook of {title}\n\nLicence.\n\n{head}\n\n{book}\n\n{tail}\n\nLicence."
    return ("\ufeff" + text).replace("\n", "\r\n").encode(), book


BODY, BOOK = page()
BLOCKED = b"<!DOCTYPE html><html><head><title>Too many requests</title></head><body>Wait.</body></html>"


class Answer:
    """What the server sends to one request. cut: bytes after which the line breaks (the length says more)."""

    def __init__(self, body=BODY, status=200, cut=None, stall=0.0, ranges=False, length=True, headers=()):
        self.body, self.status, self.cut, self.stall = body, status, cut, stall
        self.ranges, self.length, self.headers = ranges, length, dict(headers)

    def send(self, handler):
        body, status, asked = self.body, self.status, handler.headers.get("Range")
        extra = dict(self.headers)
        if self.ranges and asked and handler.headers.get("If-Range") == extra.get("ETag"):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            extra["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        handler.send_response(status)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        for name, value in extra.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[: self.cut])
        handler.wfile.flush()
        if self.stall:
            handler.server.released.wait(self.stall)


class Server:
    """A server with a list of answers for each path; the last one is repeated. It notes every request."""

    def __init__(self):
        self.answers, self.requests = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                answers = outer.answers.get(self.path, [Answer(b"no", 404)])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                with contextlib.suppress(ConnectionError):
                    answer.send(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.released = threading.Event()
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def gives(self, path, *answers):
        self.answers[path] = list(answers)
        return self.base + path

    def asked(self, name):
        return [headers.get(name) for _, headers in self.requests]

    def close(self):
        self.http.released.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def course(tmp_path, monkeypatch):
    """A course folder of its own, no waiting, no proxies, and a wall around this machine."""
    monkeypatch.setattr(books, "DATA", tmp_path / "data")
    monkeypatch.setattr(books, "BOOK_PATH", tmp_path / "data" / "wizard_of_oz.txt")
    monkeypatch.setattr(books, "PAUSE", 0)
    monkeypatch.setattr(download, "WAITS", (0, 0, 0))
    monkeypatch.setattr(download, "TIMEOUT", 5)
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("COURSE_TEXT", "COURSE_MIRRORS"):
            monkeypatch.delenv(name)
    real = socket.create_connection

    def only_here(address, *args, **kwargs):
        assert address[0] == "127.0.0.1", f"a test asked for {address}"
        return real(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", only_here)
    return tmp_path


@pytest.fixture
def mirror(server, monkeypatch):
    """The server as the only mirror; call it with the answers for book 55."""
    monkeypatch.setenv("COURSE_MIRRORS", server.base + "/m/{number}")
    return lambda *answers: server.gives("/m/55", *answers)


def files(folder):
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def main(*arguments):
    return download_wizard_of_oz.main(list(arguments))


# ---------------------------------------------------------------- one book


def test_a_whole_book_is_cleaned_written_and_described(mirror, server, course, capsys):
    mirror(Answer())
    assert main() == 0
    assert books.BOOK_PATH.read_bytes() == BOOK.encode()
    out = capsys.readouterr().out
    digest = download_digest(books.BOOK_PATH)
    for word in (f"{len(BOOK):,}", str(len(set(BOOK))), digest, str(books.BOOK_PATH)):
        assert word in out
    assert files(course / "data") == ["wizard_of_oz.txt"]
    assert len(server.requests) == 1 and "course" in server.asked("User-Agent")[0]


def download_digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "broken",
    [
        Answer(cut=50_000),
        Answer(BLOCKED),
        Answer(b"", 404),
        Answer(b"", 500),
        Answer(b"", 200),
        Answer(BODY[:90_000], length=False),
        Answer(page("Ozma of Oz")[0]),
        Answer(BODY.replace(b"lamp", b"lamp\xff")),
    ],
    ids=["cut", "block page", "404", "500", "empty", "cut without a length", "another book", "not a text"],
)
def test_a_download_that_fails_leaves_the_old_book_untouched_and_nothing_else(mirror, course, capsys, broken):
    mirror(broken)
    books.DATA.mkdir()
    books.BOOK_PATH.write_text("the old book", encoding="utf-8")
    before = books.BOOK_PATH.stat()
    assert main("--force") == 1
    assert books.BOOK_PATH.read_text(encoding="utf-8") == "the old book"
    assert books.BOOK_PATH.stat().st_mtime_ns == before.st_mtime_ns
    assert files(course / "data") == ["wizard_of_oz.txt"]
    out, err = capsys.readouterr()
    assert "Traceback" not in err and "SHA-256" not in out
    assert err.count("By hand: open https://www.gutenberg.org/ebooks/55.txt.utf-8 in a browser") == 1
    assert "python download_wizard_of_oz.py --source pg55.txt" in err


def test_a_failed_first_download_leaves_no_file_at_all(mirror, course):
    mirror(Answer(cut=50_000))
    assert main() == 1
    assert files(course / "data") == []


def test_a_404_or_a_block_page_is_asked_for_once_and_a_500_four_times(mirror, server):
    for answer, times in ((Answer(b"", 404), 1), (Answer(BLOCKED), 1), (Answer(b"", 500), 4)):
        server.requests.clear()
        mirror(answer)
        assert main() == 1
        assert len(server.requests) == times


def test_a_block_page_is_named_in_the_message(mirror, capsys):
    mirror(Answer(BLOCKED))
    assert main() == 1
    assert "a web page ('Too many requests') came instead" in capsys.readouterr().err


def test_a_500_and_then_the_book_is_a_book_and_the_waits_grow(mirror, monkeypatch):
    slept = []
    monkeypatch.setattr(download.time, "sleep", slept.append)
    mirror(Answer(b"", 500), Answer(b"", 503), Answer(b"", 500), Answer())
    download_book(waits=(1, 2, 4))
    assert slept == [0, 1, 2, 4] and books.BOOK_PATH.exists()
    assert list(download.WAITS) == sorted(download.WAITS)


def test_the_default_is_four_tries_with_growing_waits():
    code = "from helpers.download import WAITS as w; print(len(w), list(w) == sorted(set(w)), min(w) > 0)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert run.stdout.split() == ["3", "True", "True"]


def test_a_server_that_falls_silent_is_left_after_the_time_out(mirror, server, capsys):
    mirror(Answer(cut=1_000, stall=5))
    start = time.monotonic()
    with pytest.raises(BookError, match="no answer within 0.1 s"):
        download_book(waits=(0,), timeout=0.1)
    assert time.monotonic() - start < 2 and len(server.requests) == 2


def test_a_silent_server_and_then_a_good_one_is_a_book(mirror):
    mirror(Answer(cut=1_000, stall=5), Answer())
    download_book(timeout=0.1)
    assert books.BOOK_PATH.read_text(encoding="utf-8") == BOOK


def test_a_mirror_that_is_down_is_followed_by_the_main_site(server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("COURSE_MIRRORS", f"{closed} {server.base}/blocked {server.base}/main/{{number}}")
    server.gives("/blocked/cache/epub/55/pg55.txt", Answer(BLOCKED))
    server.gives("/main/55", Answer())
    assert main() == 0
    assert books.BOOK_PATH.read_text(encoding="utf-8") == BOOK
    assert [path for path, _ in server.requests] == ["/blocked/cache/epub/55/pg55.txt", "/main/55"]


# ---------------------------------------------------------------- resume


def test_a_broken_download_goes_on_where_it_stopped(mirror, server):
    tag = {"ETag": '"v1"'}
    mirror(Answer(cut=50_000, headers=tag), Answer(ranges=True, headers=tag))
    download_book()
    assert server.asked("Range") == [None, "bytes=50000-"] and server.asked("If-Range") == [None, '"v1"']
    assert books.BOOK_PATH.read_text(encoding="utf-8") == BOOK


def test_what_came_before_a_time_out_is_not_asked_for_again(mirror, server):
    tag = {"ETag": '"v1"'}
    mirror(Answer(cut=1_000, stall=5, headers=tag), Answer(ranges=True, headers=tag))
    download_book(timeout=0.1)
    assert server.asked("Range") == [None, "bytes=1000-"]
    assert books.BOOK_PATH.read_text(encoding="utf-8") == BOOK


@pytest.mark.parametrize(
    "second",
    [Answer(headers={"ETag": '"v1"'}), Answer(ranges=True, headers={"ETag": '"v2"'})],
    ids=["server ignores Range", "file changed"],
)
def test_what_does_not_continue_the_first_part_is_taken_from_the_beginning(mirror, server, second):
    other = page(words="An owl sat in the tree, and the moon came up.")
    second.body = other[0]
    mirror(Answer(cut=50_000, headers={"ETag": '"v1"'}), second)
    download_book()
    assert server.asked("Range")[1] == "bytes=50000-"
    assert books.BOOK_PATH.read_text(encoding="utf-8") == other[1]


def test_a_server_that_glues_a_changed_file_is_not_believed(mirror, server):
    """It answers 206 in spite of If-Range: with another tag, and then with another length."""
    body = page(words="An owl sat in the tree, and the moon came up.")[0]
    for total, tag in ((len(BODY), '"v2"'), (len(BODY) + 5, '"v1"')):
        books.BOOK_PATH.unlink(missing_ok=True)
        server.requests.clear()
        liar = Answer(
            body[50_000:], 206, headers={"Content-Range": f"bytes 50000-{total - 1}/{total}", "ETag": tag}
        )
        mirror(Answer(cut=50_000, headers={"ETag": '"v1"'}), liar, Answer())
        download_book()
        assert books.BOOK_PATH.read_text(encoding="utf-8") == BOOK
        assert server.asked("Range") == [None, "bytes=50000-", None]


def test_a_416_starts_again_from_the_beginning(mirror, server):
    mirror(Answer(cut=50_000, headers={"ETag": '"v1"'}), Answer(b"", 416), Answer())
    download_book()
    assert server.asked("Range") == [None, "bytes=50000-", None]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}])
def test_without_a_promise_that_the_file_is_the_same_no_part_is_asked_for(mirror, server, headers):
    mirror(Answer(cut=50_000, headers=headers), Answer(headers=headers))
    download_book()
    assert server.asked("Range") == [None, None]


# ---------------------------------------------------------------- stops, full disks, no network


def test_ctrl_c_in_the_middle_leaves_nothing_half_written(mirror, course, monkeypatch, capsys):
    mirror(Answer(cut=50_000, stall=2))
    real = download._bar

    @contextlib.contextmanager
    def stop_at_the_first_bytes(*args):
        with real(*args):

            def advance(count):
                raise KeyboardInterrupt

            yield advance

    monkeypatch.setattr(download, "_bar", stop_at_the_first_bytes)
    assert main() == 130
    assert files(course / "data") == [] and "Stopped" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_full_disk_or_a_stop_while_writing_leaves_the_old_book(
    mirror, course, monkeypatch, capsys, error, step
):
    mirror(Answer())
    books.DATA.mkdir()
    books.BOOK_PATH.write_text("the old book", encoding="utf-8")

    def fail(*args):
        assert step == "replace" or files(course / "data") != ["wizard_of_oz.txt"]
        raise error

    monkeypatch.setattr(whole_files.os, "fsync" if step == "write" else "replace", fail)
    assert main("--force") == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert books.BOOK_PATH.read_text(encoding="utf-8") == "the old book"
    assert files(course / "data") == ["wizard_of_oz.txt"]
    if isinstance(error, OSError):
        assert "the disk is full" in capsys.readouterr().err


def test_without_a_network_there_is_one_message_and_exit_code_1(course, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert main() == 1
    err = capsys.readouterr().err
    assert err.count("could not be downloaded") == 1 and "Network is unreachable" in err
    assert "pg55.txt" in err and "Traceback" not in err and files(course / "data") == []


def test_the_message_for_a_bad_certificate_says_so_and_no_second_try_is_made(monkeypatch, capsys):
    tries = []

    class Opener:
        def open(self, request, timeout):
            tries.append(request.full_url)
            reason = ssl.SSLCertVerificationError(1, "certificate verify failed")
            reason.verify_message = "self-signed certificate"
            raise urllib.error.URLError(reason)

    monkeypatch.setattr(download, "build_opener", Opener)
    assert main() == 1
    err = capsys.readouterr().err
    assert "self-signed certificate" in err and "SSL_CERT_FILE" in err
    assert tries == books.addresses(55)


def test_certificates_are_verified_and_nothing_in_the_source_switches_that_off(monkeypatch):
    handlers = [h for h in download.build_opener().handlers if isinstance(h, urllib.request.HTTPSHandler)]
    assert [(h._context.verify_mode, h._context.check_hostname) for h in handlers] == [
        (ssl.CERT_REQUIRED, True)
    ]
    for path in (*ROOT.glob("helpers/*.py"), ROOT / "download_wizard_of_oz.py"):
        text = path.read_text(encoding="utf-8")
        assert "CERT_NONE" not in text and "_unverified" not in text and "check_hostname = False" not in text


def test_a_server_with_a_certificate_of_its_own_making_is_refused(server, course):
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command to make a certificate")
    key, cert = course / "key.pem", course / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert]
    subprocess.run([*command, "-days", "1", "-subj", "/CN=localhost"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    with pytest.raises(download.DownloadError, match="certificate could not be verified"):
        download.fetch([server.base.replace("http:", "https:")], lambda *a: a, waits=())
    assert server.requests == []


def test_a_proxy_is_used_and_named_without_its_password(server, monkeypatch, capsys):
    monkeypatch.setenv("http_proxy", server.base.replace("//", "//me:secret@"))
    monkeypatch.setenv("COURSE_MIRRORS", "http://books.invalid/{number}")
    assert main() == 1
    err = capsys.readouterr().err
    assert [path for path, _ in server.requests] == ["http://books.invalid/55"]
    assert "proxy" in err and "secret" not in err


def test_a_redirect_never_leaves_https():
    request = urllib.request.Request("https://books.invalid/a")
    follow = download.StayOnHttps().redirect_request
    assert (
        follow(request, None, 302, "Found", {}, "http://books.invalid/b").full_url
        == "https://books.invalid/b"
    )


# ---------------------------------------------------------------- already there, --force, --out, --source


def test_a_book_that_is_there_is_not_asked_for_again(mirror, server, capsys):
    mirror(Answer())
    assert main() == 0
    before = books.BOOK_PATH.stat().st_mtime_ns
    capsys.readouterr()
    assert main() == 0
    out = capsys.readouterr().out
    assert len(server.requests) == 1 and books.BOOK_PATH.stat().st_mtime_ns == before
    assert f"{len(BOOK):,}" in out and str(books.BOOK_PATH) in out and "--force" in out and "Note" not in out


def test_force_replaces_another_file_but_does_not_touch_the_same_one(mirror, server):
    mirror(Answer())
    books.DATA.mkdir()
    books.BOOK_PATH.write_text("old", encoding="utf-8")
    assert main("--force") == 0 and books.BOOK_PATH.read_text(encoding="utf-8") == BOOK
    os.utime(books.BOOK_PATH, (1, 1))
    assert main("--force") == 0 and books.BOOK_PATH.stat().st_mtime == 1
    assert len(server.requests) == 2


def test_a_file_that_does_not_look_like_the_book_is_left_with_a_note(capsys):
    books.DATA.mkdir()
    books.BOOK_PATH.write_text("My own words.", encoding="utf-8")
    assert main() == 0
    assert "does not look like The Wonderful Wizard of Oz" in capsys.readouterr().out


def test_another_book_gets_its_own_name_and_a_hint(server, monkeypatch, course, capsys):
    monkeypatch.setenv("COURSE_MIRRORS", server.base + "/{number}")
    server.gives("/486", Answer(page("Ozma of Oz")[0]))
    assert main("--book", "ozma") == 0
    assert files(course / "data") == ["ozma_of_oz.txt"] and "COURSE_TEXT" in capsys.readouterr().out
    assert main("--book", "486", "--out", str(course / "new" / "o.txt")) == 0
    assert files(course / "new") == ["o.txt"]


def test_the_manual_way_names_the_book_and_the_place(mirror, course, capsys):
    assert main("--book", "ozma", "--out", str(course / "o.txt")) == 1
    err = capsys.readouterr().err
    assert f'--book 486 --out "{course / "o.txt"}" --source pg486.txt' in err


def test_a_saved_file_is_cleaned_just_as_a_downloaded_one(server, course, capsys):
    (course / "saved.txt").write_bytes(BODY)
    assert main("--source", str(course / "saved.txt")) == 0
    assert books.BOOK_PATH.read_text(encoding="utf-8") == BOOK and "Note" not in capsys.readouterr().out
    assert main("--source", server.gives("/x", Answer()), "--out", str(course / "url.txt")) == 0
    assert (course / "url.txt").read_bytes() == BOOK.encode()


def test_another_text_is_taken_with_a_note_unless_a_book_was_named(course, capsys):
    (course / "poem.txt").write_text("A poem.\n", encoding="utf-8")
    assert main("--source", str(course / "poem.txt"), "--book", "55") == 1
    assert not books.BOOK_PATH.exists() and "is not The Wonderful Wizard" in capsys.readouterr().err
    assert main("--source", str(course / "poem.txt")) == 0
    assert books.BOOK_PATH.read_bytes() == b"A poem." and "Note:" in capsys.readouterr().out


def test_a_source_in_another_encoding_is_converted_when_told(course, capsys):
    (course / "p.txt").write_bytes("caf\u00e9".encode("cp1252"))
    assert main("--source", str(course / "p.txt")) == 1
    assert "--encoding cp1252" in capsys.readouterr().err
    assert main("--source", str(course / "p.txt"), "--encoding", "cp1252") == 0
    assert books.BOOK_PATH.read_text(encoding="utf-8") == "caf\u00e9"
    for wrong in ("hex", "nonsense"):
        assert main("--source", str(course / "p.txt"), "--encoding", wrong, "--force") == 1


@pytest.mark.parametrize("content", [None, b"", BLOCKED, b"\0\1"])
def test_a_source_that_is_no_text_is_refused(course, content, capsys):
    if content is not None:
        (course / "s.txt").write_bytes(content)
    assert main("--source", str(course / "s.txt")) == 1
    assert files(course / "data") == [] and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("source", ["http://", "http://[bad", "https://a b/"])
def test_an_address_that_is_none_gets_a_message(source, capsys):
    assert main("--source", source) == 1
    assert "could not be downloaded" in capsys.readouterr().err


def test_a_folder_as_out_and_an_unknown_book_are_errors(course, capsys):
    assert main("--out", str(course)) == 1 and "is a folder" in capsys.readouterr().err
    assert main("--book", "hobbit") == 1 and "Glinda of Oz" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--series", "--book", "1"], ["--series", "--source", "x"], ["--encoding", "x"], ["x"]]
)
def test_arguments_that_do_not_fit_are_refused(words):
    with pytest.raises(SystemExit) as caught:
        main(*words)
    assert caught.value.code == 2


# ---------------------------------------------------------------- the series


@pytest.fixture
def series(server, monkeypatch):
    monkeypatch.setenv("COURSE_MIRRORS", server.base + "/{number}")
    made = {}
    for title, (number, *_) in BOOKS.items():
        body, made[number] = page(title, number=number)
        server.gives(f"/{number}", Answer(body))
    return made


def test_the_series_is_one_file_with_each_title_once_in_order(series, server, course, capsys):
    assert main("--series") == 0
    text = (course / "data" / "oz_series.txt").read_text(encoding="utf-8")
    assert text == "\n\n\n\n".join(series.values()) and len(server.requests) == 14
    assert main("--series") == 0 and len(server.requests) == 14


def test_a_series_that_stops_halfway_asks_only_for_what_is_missing(series, server, course, capsys):
    good = server.answers["/517"]
    server.gives("/517", Answer(BLOCKED))
    assert main("--series") == 1
    assert not (course / "data" / "oz_series.txt").exists()
    kept = files(course / "data" / "oz_series_books")
    assert kept == sorted(f"{number}.txt" for number in list(series)[:5])
    assert "517.txt" in capsys.readouterr().err
    server.answers["/517"] = good
    server.requests.clear()
    download_series()
    assert [path for path, _ in server.requests] == [f"/{number}" for number in list(series)[5:]]
    assert (course / "data" / "oz_series.txt").read_text(encoding="utf-8") == "\n\n\n\n".join(series.values())


def test_a_pause_lies_between_two_books_of_the_series(series, monkeypatch):
    slept = []
    monkeypatch.setattr(books.time, "sleep", slept.append)
    download_series(pause=2)
    assert slept.count(2) == 13


# ---------------------------------------------------------------- the command and the progress


def copy_of_the_course(folder):
    (folder / "helpers").mkdir(parents=True)
    for path in ROOT.glob("helpers/*.py"):
        shutil.copy(path, folder / "helpers")
    return Path(shutil.copy(ROOT / "download_wizard_of_oz.py", folder))


def run(command, folder, **extra):
    strict = [
        sys.executable,
        "-X",
        "warn_default_encoding",
        "-W",
        "error::EncodingWarning",
        "-W",
        "error::ResourceWarning",
    ]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "NO_PROXY": "*"} | extra
    return subprocess.run(
        [*strict, *command], cwd=folder, env=environment, capture_output=True, encoding="ascii"
    )


def test_the_command_works_from_any_folder_and_on_any_locale(server, course):
    script, elsewhere = copy_of_the_course(course / "caf\u00e9"), course / "elsewhere"
    elsewhere.mkdir()
    server.gives("/55", Answer())
    mirrors = {"COURSE_MIRRORS": server.base + "/{number}"}
    done = run([script], elsewhere, **mirrors)
    assert done.returncode == 0, done.stderr
    assert (script.parent / "data" / "wizard_of_oz.txt").read_bytes() == BOOK.encode()
    assert files(elsewhere) == [] and "SHA-256" in done.stdout and done.stderr == ""
    server.gives("/55", Answer(b"", 404))
    failed = run([script, "--force"], elsewhere, **mirrors)
    assert failed.returncode == 1 and "404" in failed.stderr and "Traceback" not in failed.stderr
    assert run([script, "--help"], elsewhere).returncode == 0


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_progress_is_shown_on_a_terminal_and_nowhere_else(mirror, monkeypatch, capsys, with_tqdm):
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    mirror(Answer())
    download_book()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    download_book(force=True)
    err = capsys.readouterr().err
    assert WIZARD in err and ("100%" in err if with_tqdm else f"of {len(BODY) / 1000:,.0f} kB" in err)


def test_a_file_written_whole_has_plain_line_ends_and_ordinary_permissions(course):
    whole_files.write_whole(course / "new" / "a.txt", "one\ntwo")
    assert (course / "new" / "a.txt").read_bytes() == b"one\ntwo"
    (course / "b.txt").touch()
    assert (course / "new" / "a.txt").stat().st_mode == (course / "b.txt").stat().st_mode
