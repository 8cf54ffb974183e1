"""What the DBA tab adds to the start of the web board. Goal: at most 10 % of the stock board's.

Each sample is a fresh `llamafactory-cli webui` in an empty folder, once as it is and once with DBA_DISABLE=1, in
turns, so that a machine that gets busier slows both down. From the start of the process, in seconds: until the server
answers (``ready``), until the page's whole description has been fetched (``described``), and the processor time that
the board has taken by then (``processor_seconds``: of all its processes, user and system; it depends far less than
the clock on what else the machine does). ``bytes`` is the size of the description.

Where a Chromium is found (tests/browser.py), a fresh page is opened then: from the navigation until the Train tab can
be seen (``painted``; with ``described`` it is ``first_paint``, from the start of the process), and what the page's
main thread has worked by then (``page_seconds``); with the tab besides, from a click on "DBA" until its first panel is
there (``opened``). Writes benchmarks/results/board_start.json.

    python benchmarks/board_start.py [--pairs 7]
"""

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import psutil


sys.path.append(str(Path(__file__).parents[1] / "tests"))
PAGE = "/"  # its HTML carries the description that /config has, too
LIMIT = 600.0  # seconds
MEASURES = ("ready", "described", "processor_seconds", "bytes", "painted", "page_seconds", "first_paint")


def start(disabled: bool, browser: Any) -> dict[str, float]:
    """One board, from nothing to its description, and to its first page where there is a browser."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
        "DBA_DISABLE": "1" if disabled else "0",
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "BROWSER": "true",  # the host opens one; this one does nothing
    }
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        begin = time.perf_counter()
        board = subprocess.Popen(
            ["llamafactory-cli", "webui"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not answers(port):
                if board.poll() is not None or time.perf_counter() - begin > LIMIT:
                    raise SystemExit((Path(folder) / "log").read_text(encoding="utf-8"))
                time.sleep(0.02)
            ready = time.perf_counter() - begin
            with urllib.request.urlopen(url + PAGE, timeout=60) as answer:
                answer.read()
            with urllib.request.urlopen(url + "/config", timeout=60) as answer:
                size = len(answer.read())
            found = {"ready": ready, "described": time.perf_counter() - begin, "processor_seconds": worked(board.pid)}
            return {**found, "bytes": size, **(paint(browser, url, disabled) if browser is not None else {})}
        finally:
            os.killpg(board.pid, signal.SIGKILL)
            board.wait()


def answers(port: int) -> bool:
    """Whether anybody listens yet."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def worked(pid: int) -> float:
    """Processor time of a process, its children, and those of them that have ended, in seconds."""
    process = psutil.Process(pid)
    times = [item.cpu_times() for item in [process, *process.children(recursive=True)]]
    return sum(item.user + item.system + item.children_user + item.children_system for item in times)


def paint(browser: Any, url: str, disabled: bool) -> dict[str, float]:
    """One page in a browser without anything kept from before."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(1000 * LIMIT)
    counters = context.new_cdp_session(page)
    counters.send("Performance.enable")
    begin = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.get_by_role("tab", name="Train").first.wait_for()
    page.get_by_role("button", name="Start").first.wait_for()
    found = {"painted": time.perf_counter() - begin}
    metrics = {item["name"]: item["value"] for item in counters.send("Performance.getMetrics")["metrics"]}
    found["page_seconds"] = metrics["TaskDuration"]
    if not disabled:
        page.wait_for_timeout(3000)  # the page's first events, which a person would not outrun
        begin = time.perf_counter()
        page.get_by_role("tab", name="DBA").click()
        page.locator("#dba_anchor_start_btn").wait_for()
        found["opened"] = time.perf_counter() - begin
    context.close()
    return found


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; None where there is none."""
    try:
        import browser
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield None
        return
    program = browser.find()  # before Playwright is started, which it does itself
    if program is None:
        yield None
        return
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


def summary(stock: list[dict[str, float]], with_tab: list[dict[str, float]], name: str) -> dict[str, Any]:
    """Medians, and the median of the ratios of the pairs."""
    ratios = sorted(tab[name] / plain[name] for tab, plain in zip(with_tab, stock, strict=True))
    return {
        "stock_median": round(statistics.median(item[name] for item in stock), 3),
        "with_tab_median": round(statistics.median(item[name] for item in with_tab), 3),
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_range": [round(ratios[0], 4), round(ratios[-1], 4)],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=measure.RESULTS / "board_start.json")
    arguments = parser.parse_args()
    stock: list[dict[str, float]] = []
    with_tab: list[dict[str, float]] = []
    load = [os.getloadavg()[0]]
    with chromium() as browser:
        start(False, browser), start(True, browser)  # compiled modules, caches of the disk
        for pair in range(arguments.pairs):
            for disabled in (True, False) if pair % 2 else (False, True):
                found = start(disabled, browser)
                (stock if disabled else with_tab).append(found)
                load.append(os.getloadavg()[0])
                print(f"pair {pair + 1}, {'stock' if disabled else 'with the tab'}: {found}", flush=True)
    for item in (*stock, *with_tab):
        if "painted" in item:
            item["first_paint"] = item["described"] + item["painted"]
    measures = [name for name in MEASURES if name in stock[0]]
    result = {
        "command": measure.command(),
        "what": "start of `llamafactory-cli webui` with and without the DBA tab, seconds; paired, in turns",
        **{name: summary(stock, with_tab, name) for name in measures},
        "goal_ratio": 1.1,
        "n": arguments.pairs,
        "load_average_range": [round(min(load), 2), round(max(load), 2)],
        "stock": stock,
        "with_tab": with_tab,
        **measure.machine(packages=("gradio", "llamafactory", "llamafactory-dba")),
    }
    if "opened" in with_tab[0]:
        opened = sorted(item["opened"] for item in with_tab)
        result["opened"] = {
            "median": round(statistics.median(opened), 3),
            "range": [round(opened[0], 3), round(opened[-1], 3)],
        }
    measure.write(result, arguments.out)
    print({name: result[name] for name in (*measures, *(["opened"] if "opened" in result else []))})


if __name__ == "__main__":
    main()
