"""A real JupyterLab in a real Chromium, on loopback, with settings and the learner's files in a folder of the test.

    with Lab(course, folder) as lab, lab.page() as page:
        page.open("00_welcome_and_setup.ipynb")
        page.run_all()
        assert page.errors() == []

Where no browser is found the tests skip; with COURSE_NEED_BROWSER set, as in CI, that is a failure.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, sync_playwright
from playwright.sync_api import Page as BrowserPage

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
AT_HOME = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:|chrome|about:")
PATIENCE = 90_000  # milliseconds; a busy machine takes its time

# The tool bar says "idle" before there is a kernel; the status bar tells the truth.
IDLE = """() => [...document.querySelectorAll('#jp-main-statusbar .jp-StatusBar-TextItem')]
    .some(each => /\\| Idle/.test(each.textContent))"""
# Every code cell that is not empty has its number: none waits, none was left out. (One whose code is folded has no prompt.)
ALL_RAN = """() => {
    const cells = [...document.querySelectorAll('.jp-NotebookPanel .jp-CodeCell')]
        .filter(each => each.querySelector('.cm-content')?.innerText.trim());
    return cells.length > 0 && cells.every(
        each => /\\[\\d+\\]/.test(each.querySelector('.jp-InputArea-prompt').textContent));
}"""


def chromium() -> str:
    """The path of a Chromium; skips the test where there is none, or fails it where COURSE_NEED_BROWSER is set."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = f"no browser: none of {', '.join(NAMES)} is on the PATH, and CHROMIUM names none"
        if os.environ.get("COURSE_NEED_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


class Lab:
    """JupyterLab on a course's folder. folder: for its settings, its log and the learner's files."""

    def __init__(self, course: Path, folder: Path, *, dark: bool = False, **variables: str) -> None:
        self.course, self.folder, self.dark = course, folder, dark
        self.token = secrets.token_hex(8)
        self.variables = variables
        self.left: list[str] = []  # requests of pages to other machines

    def __enter__(self) -> "Lab":
        chromium()  # before the lab is started
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.log = self.folder / "lab.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
                 f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.course}",
                 f"--IdentityProvider.token={self.token}"],
                env=self.environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.address}/api?token={self.token}", timeout=2).read()
                return self
            except OSError:
                time.sleep(0.2)
        said = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        self.__exit__()
        pytest.fail(f"JupyterLab did not start:\n{said}")

    def __exit__(self, *_) -> None:
        if os.name == "posix":
            os.killpg(self.process.pid, signal.SIGTERM)  # kernels too
        else:
            self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def environment(self) -> dict[str, str]:
        """Nothing of this user's Jupyter is read or written, and no file of the learner's."""
        settings = self.folder / "config" / "labconfig"
        settings.mkdir(parents=True)
        (settings / "default_setting_overrides.json").write_text(
            json.dumps(
                {
                    "@jupyterlab/apputils-extension:notification": {
                        "fetchNews": "false",
                        "checkForUpdates": False,
                    },
                    "@jupyterlab/apputils-extension:themes": {
                        "theme": f"JupyterLab {'Dark' if self.dark else 'Light'}"
                    },
                    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
                    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
                }
            ),
            encoding="utf-8",
        )
        places = ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR",
                  "JUPYTERLAB_WORKSPACES_DIR", "MPLCONFIGDIR")  # fmt: skip
        state = self.folder / "state"
        return {
            **{name: value for name, value in os.environ.items() if name != "MPLBACKEND"},
            **{name: str(self.folder / name.lower()) for name in places},
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "COURSE_STATE": str(state),
            "COURSE_MY_GPT": str(state / "my_gpt.pt"),
            **self.variables,
        }

    @contextmanager
    def page(self, width: int = 1280, height: int = 900) -> Iterator["Page"]:
        """A tab of a new browser, gone afterwards."""
        flags = [*FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else FLAGS
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
            try:
                tab = browser.new_page(viewport={"width": width, "height": height})
                tab.set_default_timeout(PATIENCE)
                tab.on("request", lambda r: AT_HOME.match(r.url) or self.left.append(r.url))
                yield Page(self, tab)
            finally:
                browser.close()


class Page:
    """What a learner sees and does."""

    def __init__(self, lab: Lab, tab: BrowserPage) -> None:
        self.lab, self.tab = lab, tab

    def open(self, name: str) -> None:
        """Open a notebook from the file list, and wait for its kernel."""
        self.tab.goto(f"{self.lab.address}/lab?token={self.lab.token}&reset", wait_until="domcontentloaded")
        for each in ("notebooks", name):
            line = self.tab.locator(".jp-DirListing-item", has=self.tab.get_by_text(each, exact=True))
            line.dblclick()
        self.tab.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell")
        self.tab.wait_for_function(IDLE)

    def run_all(self, seconds: float = 120) -> None:
        """Run All Cells from the menu, and wait until every cell has run."""
        self.tab.click(".lm-MenuBar-item:has-text('Run')")
        self.tab.click(".lm-Menu-item[data-command='runmenu:run-all']")
        self.tab.wait_for_function(ALL_RAN, timeout=1000 * seconds)
        self.tab.wait_for_function(IDLE)

    def errors(self) -> list[str]:
        """Errors and warnings that stand in outputs, and widgets that could not be shown."""
        wrong = self.tab.locator(
            "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
        ).all_inner_texts()
        return wrong + self.tab.locator(":text('Error displaying widget')").all_inner_texts()

    def cell(self, words: str) -> Locator:
        """The code cell whose source holds these words."""
        source = self.tab.locator(".jp-InputArea-editor", has_text=words)
        return self.tab.locator(".jp-NotebookPanel .jp-CodeCell", has=source).first

    def write(self, words: str, source: str) -> None:
        """Put another source into the cell that holds these words."""
        self.cell(words).locator(".cm-content").click()
        self.tab.keyboard.press("ControlOrMeta+a")
        self.tab.keyboard.insert_text(source)

    def run(self, words: str) -> str:
        """Run the cell that holds these words (Ctrl+Enter), and return the text of its output."""
        cell = self.cell(words)
        before = cell.locator(".jp-InputArea-prompt").inner_text()
        cell.locator(".cm-content").click()
        self.tab.keyboard.press("Control+Enter")
        self.tab.wait_for_function(
            "([cell, before]) => { const now = cell.querySelector('.jp-InputArea-prompt').textContent;"
            " return /\\[\\d+\\]/.test(now) && now.trim() !== before.trim(); }",
            arg=[cell.element_handle(), before],
        )
        self.tab.wait_for_function(IDLE)
        return self.output(words)

    def output(self, words: str) -> str:
        """The text that stands under the cell that holds these words."""
        return "\n".join(self.cell(words).locator(".jp-OutputArea-output").all_inner_texts())
