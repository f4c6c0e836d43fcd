"""The wall that keeps a run off the network: it refuses what it should, in every process, and lets the rest pass.

The notebooks themselves run behind it in test_notebooks_run.py.
"""

import json
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from walls import ROOT, Wall

TRY = """
import json, socket, subprocess, sys, urllib.request

def outcome(action):
    try:
        action()
        return "reached"
    except OSError as error:
        return str(error)

server = socket.create_server(("127.0.0.1", 0))
print(json.dumps({
    "home": outcome(lambda: socket.create_connection(server.getsockname()).close()),
    "address": outcome(lambda: socket.create_connection(("192.0.2.1", 80), timeout=5)),
    "name": outcome(lambda: urllib.request.urlopen("http://books.invalid/", timeout=5)),
    "datagram": outcome(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.2", 53))),
}))
"""


def test_only_this_machine_can_be_reached_from_behind_the_wall(tmp_path):
    wall = Wall(tmp_path)
    env = wall.environment(http_proxy="", HTTP_PROXY="", all_proxy="", ALL_PROXY="")
    done = subprocess.run(
        [sys.executable, "-c", TRY], env=env, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen.pop("home") == "reached"
    assert all("the test's wall" in outcome for outcome in seen.values()), seen
    assert len(wall.processes()) == 1
    assert wall.refused() == [
        "socket.connect '192.0.2.1'",
        "socket.getaddrinfo 'books.invalid'",
        "socket.sendto '192.0.2.2'",
    ]


def test_the_wall_stands_in_the_kernel_of_a_run_and_in_what_the_kernel_starts(tmp_path):
    """A notebook that asks for the network in a process of its own is found out, although the run is ok."""
    wall = Wall(tmp_path)
    call = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), timeout=5)\nexcept OSError: pass"
    cells = [f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {call!r}], check=True)", call]
    notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
    (tmp_path / "00_toy.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "helpers", "run", "00", "--text", "tales", "--notebooks", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=wall.environment(), capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for started in ("-m helpers run", "-m ipykernel_launcher", "-c"):
        assert any(line.startswith(started) for line in wall.processes()), wall.processes()
    assert wall.refused() == ["socket.connect '192.0.2.1'"] * 2


def test_a_book_that_is_not_there_cannot_be_fetched_from_behind_the_wall(tmp_path):
    """Case 8, with nothing put in the place of sockets: one message, exit code 1, no file."""
    wall = Wall(tmp_path)
    out = tmp_path / "book.txt"
    env = wall.environment(COURSE_MIRRORS="http://192.0.2.1/{number}", http_proxy="", HTTP_PROXY="")
    fast = (
        "from helpers import download; download.WAITS = (); import download_wizard_of_oz as d, sys; "
        f"sys.exit(d.main(['--out', {str(out)!r}]))"
    )
    command = [sys.executable, "-c", fast]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("could not be downloaded") == 1 and "By hand: open" in done.stderr
    assert not out.exists() and len(wall.refused()) == 1
