"""The web board as a user has it: the stock command in a process of its own, and a browser that clicks on its page."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import support

from llamafactory_dba.webui.locales import LOCALES


ROOT = Path(__file__).parents[1]
MODEL = "models/micro-instruct"
# seconds for a training of the micro model or any part of it: 20 on an idle machine, ten times as long on a busy one
TRAINED = 400.0
WAIT = 20_000  # ms for anything that needs no training: a hundred times what an idle machine takes
STARTED = 240.0  # seconds until the board answers: imports take 15 s on an idle machine
# compares in the page itself, since a jump may be over before a test looks again
WATCH = """(ids) => {
  const place = (id) => {
    const box = document.getElementById(id).getBoundingClientRect();
    return [box.top + window.scrollY, box.left + window.scrollX, box.height].map(Math.round).join(" ");
  };
  const first = Object.fromEntries(ids.map((id) => [id, place(id)]));
  window.dbaMoved = [];
  clearInterval(window.dbaWatch);
  window.dbaWatch = setInterval(() => {
    for (const id of ids) {
      const now = place(id);
      const words = `${id}: ${first[id]} -> ${now}`;
      if (now !== first[id] && !window.dbaMoved.includes(words)) window.dbaMoved.push(words);
    }
  }, 100);
}"""
# gradio's own: fonts from the internet, and the progress of an upload that was over before it was asked for. The last:
# after an answer its client aborts its own event stream, and logs that as an error where the server has not ended the
# stream by then; what is in /assets/ is gradio's, ours stands in the page itself
NOT_OURS = re.compile(
    r"fonts\.googleapis\.com|ERR_NAME_NOT_RESOLVED|ERR_INTERNET_DISCONNECTED|upload_progress|^AbortError: .*/assets/",
    re.DOTALL,
)


def build_folder(folder: Path) -> Path:
    """A folder to start the board in: the micro world's model and data, and nothing that leads out of it."""
    shutil.copytree(ROOT / "examples/micro" / MODEL, folder / MODEL)
    shutil.copytree(ROOT / "data", folder / "data")
    return folder


def open_board(folder: Path, log: str = "board.log", **variables: str) -> "subprocess.Popen[bytes]":
    """The stock command in ``folder``, in a process group of its own, on this machine only; it prints into ``log``."""
    settings = {"GRADIO_SERVER_NAME": "127.0.0.1", "BROWSER": "true", "GRADIO_ANALYTICS_ENABLED": "False"}
    with (folder / log).open("ab") as file:
        return subprocess.Popen(
            ["llamafactory-cli", "webui"],
            cwd=folder,
            env=support.environment(**{**settings, "PYTHONUNBUFFERED": "1", **variables}),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class BoardProcess:
    """`llamafactory-cli webui` in ``folder``; it ends with `stop`, the trainings that it has started do not."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = open_board(folder, GRADIO_SERVER_PORT=str(port), **variables)
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + STARTED
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/config", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        self.stop()
        raise RuntimeError(self.log())

    def log(self) -> str:
        """What the board has printed."""
        return (self.folder / "board.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """As Ctrl-C in its terminal does, and for good if that is not enough."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class BoardPage:
    """One browser page on a board. What it does is what a user does: click, type, press keys."""

    def __init__(self, page: Any, url: str, pictures: Path) -> None:
        self.page, self.url, self.pictures = page, url, pictures
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(_with_place(said)) if said.type == "error" else None)

    def open(self, *, query: str = "") -> "BoardPage":
        """Open the board and wait until its first event has filled the form."""
        self.page.goto(self.url + query)
        self.page.get_by_role("tab").first.wait_for(timeout=60_000)
        self.by_label("Language").wait_for(timeout=60_000)  # the host's first event writes the labels
        self.page.wait_for_timeout(1000)
        return self

    def tab(self, name: str) -> Any:
        """The panel ``anchor``, ``train``, ``results`` or ``recipes`` of the DBA tab."""
        if not self.page.locator("#dba_tab").is_visible():
            self._click_tab(self.page.get_by_role("tab", name="DBA"), self.page, "DBA")
            self.page.locator("#dba_tabs").wait_for()  # what is in the tab is put on the page now
            self.page.wait_for_timeout(500)
        labels = "|".join(texts["label"] for texts in LOCALES[f"dba_tab_{name}"].values())
        strip = self.page.locator("#dba_tabs")
        self._click_tab(self.page.locator(f"#dba_tab_{name}-button"), strip, labels)
        panel = self.page.locator(f"#dba_tab_{name}")
        panel.wait_for()
        return panel

    def _click_tab(self, tab: Any, strip: Any, labels: str) -> None:
        if tab.count() and tab.first.is_visible():
            tab.first.click()
        else:  # gradio puts what does not fit beside the others into a menu "…"
            strip.locator(".overflow-menu > button").first.click()
            strip.locator(".overflow-dropdown button").filter(has_text=re.compile(labels)).first.click()
            self.page.mouse.click(2, 2)  # beside everything, which closes the menu
            self.page.wait_for_timeout(300)

    def pick(self, field: Any, text: str) -> None:
        """Choose an entry of a dropdown, given by its element's id or as a locator of its input."""
        field = self.page.locator(f"#{field} input").first if isinstance(field, str) else field
        field.click()
        field.fill(text)
        self.page.get_by_role("option", name=text).first.wait_for()
        element = field.element_handle()  # the choice of a language renames the label by which the field was found
        exact = self.page.get_by_role("option", name=text, exact=True)
        (exact if exact.count() else self.page.get_by_role("option", name=text)).first.click()
        element.evaluate("(field) => field.blur()")  # not Tab, which would open the next menu over the page
        self.page.wait_for_timeout(300)

    def type(self, field: Any, text: str) -> None:
        """Fill in a text or a number, as if it were typed, and leave the field."""
        field = self.page.locator(f"#{field}").locator("input, textarea").first if isinstance(field, str) else field
        field.fill(text)
        field.evaluate("(field) => field.blur()")
        self.page.wait_for_timeout(300)

    def by_label(self, label: str) -> Any:
        """A host's field, which has no id."""
        named = self.page.locator("label").filter(has=self.page.get_by_text(label, exact=True))
        return self.page.locator(f'[aria-label="{label}"]').or_(named.locator("input, textarea")).first

    def language(self, lang: str) -> None:
        """Switch the board's language from English, which a fresh page has."""
        self.pick(self.by_label("Language"), lang)
        label = LOCALES["dba_tab_results"][lang]["label"]
        self.page.locator("#dba_tab_results-button").filter(has_text=label).wait_for(state="attached")
        self.page.wait_for_timeout(1000)

    def choose_model(self, path: str = MODEL) -> None:
        """The micro model: a custom one, by its folder, all weights trained, its own template."""
        self.pick(self.by_label("Model name"), "Custom")
        for _ in range(10):  # the host's answer to the name may come late, and empties the path
            self.page.wait_for_timeout(1000)
            if self.by_label("Model path").input_value() == path:
                break
            self.type(self.by_label("Model path"), path)
        self.pick(self.by_label("Finetuning method"), "full")
        self.page.wait_for_timeout(1000)
        self.pick(self.by_label("Chat template"), "qwen3_nothink")

    def fill_training(self, output: str, *, epochs: str = "2", rows: str = "400", **more: Any) -> None:
        """The host's Train tab for a short run on a CPU."""
        self.page.get_by_role("tab", name="Train").first.click()
        self.pick(self.by_label("Dataset"), "micro_finance_train")
        self.type(self.by_label("Learning rate"), "1e-4")
        self.type(self.by_label("Epochs"), epochs)
        self.type(self.by_label("Max samples"), rows)
        self.pick(self.by_label("Compute type"), "fp32")
        for label, value in (("Cutoff length", "64"), ("Batch size", "8"), ("Gradient accumulation", "1")):
            self.type(self.page.get_by_label(f"number input for {label}", exact=True).first, value)
        self.page.get_by_role("button", name="Extra configurations").click()
        extra = {"optim": "adamw_torch", "use_cpu": True, "preprocessing_num_workers": 1, **more}
        self.type(self.by_label("Extra arguments"), json.dumps(extra))
        self.type(self.page.get_by_label("number input for Logging steps", exact=True).first, "1")
        self.page.get_by_role("button", name="Extra configurations").click()
        field = self.by_label("Output dir")
        field.fill(output)
        field.press("Enter")
        field.evaluate("(field) => field.blur()")
        self.page.wait_for_timeout(500)

    def make_anchor(self, folder: str, *, samples: str = "1200") -> tuple[list[str], list[str]]:
        """Compute an anchor of the micro model: start, stop as soon as there is progress, resume, wait for the end.

        Returns:
            The states that were shown, and which fields moved meanwhile.
        """
        panel = self.tab("anchor")
        self.pick("dba_anchor_dataset", "micro_general_train")
        for name, value in {"samples": samples, "cutoff": "64", "rank": "8", "batch": "8"}.items():
            self.type(f"dba_anchor_{name}", value)
        self.type("dba_anchor_out", folder)
        self.picture("anchor-form")
        states = []
        self.watch_places("dba_anchor_start_btn", "dba_anchor_status", "dba_anchor_curve", "dba_anchor_log_box")
        panel.get_by_role("button", name="Start").click()
        states.append(self.wait_text("dba_anchor_status", r"Step [1-9]\d* of", TRAINED))
        panel.get_by_role("button", name="Stop").click()
        states.append(self.wait_text("dba_anchor_status", r"[Ss]topped", TRAINED))
        self.picture("anchor-stopped")
        panel.get_by_role("button", name="Resume").click()
        states.append(self.wait_text("dba_anchor_status", r"Step [1-9]\d* of", TRAINED))
        self.picture("anchor-running")
        moved = self.moved()
        states.append(self.wait_text("dba_anchor_status", r"Finished", TRAINED))
        self.page.locator("#dba_anchor_result img, #dba_anchor_result svg").first.wait_for()
        self.picture("anchor-finished")
        return states, moved

    def wait_text(self, element: str, pattern: str, seconds: float = 20) -> str:
        """Wait until an element's text matches, and return the text."""
        found = self.page.locator(f"#{element}").filter(has_text=re.compile(pattern))
        found.wait_for(timeout=1000 * seconds)
        return str(found.inner_text())

    def expect(self, element: Any) -> Any:
        """Playwright's assertions on an element, given by its id or a locator: they wait until they hold."""
        from playwright.sync_api import expect  # here, since the fast tests collect this module without it

        expect.set_options(timeout=WAIT)
        return expect(self.page.locator(f"#{element}") if isinstance(element, str) else element)

    def watch_places(self, *elements: str) -> None:
        """Note from now on, ten times a second, where elements begin and how high they are; `moved` tells."""
        self.page.evaluate(WATCH, list(elements))

    def moved(self) -> list[str]:
        """Elements that were ever anywhere else, or of another height, than at first."""
        return list(self.page.evaluate("window.dbaMoved"))

    def picture(self, name: str) -> Path:
        """A screenshot of the whole page, kept."""
        path = self.pictures / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def wait_error(self, text: str) -> None:
        """Wait until the page has reported an error with ``text``, whoever's it is."""
        until = time.monotonic() + WAIT / 1000
        while not any(text in error for error in self.errors):
            assert time.monotonic() < until, f"no error with {text!r} among {self.errors}"
            self.page.wait_for_timeout(100)

    def own_errors(self) -> list[str]:
        """What the page reported, without what gradio itself does to offline pages and small uploads."""
        found = [error for error in self.errors if not NOT_OURS.search(error)]
        # beside the failed request, gradio's client logs its bare answer
        return found if found != ["Response"] and not all(e.startswith("Response (") for e in found) else []


def _with_place(said: Any) -> str:
    return f"{said.text} ({said.location.get('url', '')})"
