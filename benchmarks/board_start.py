"""What the DBA tab adds to the start of the web board. Goal: at most 10 % of the stock board's.

Each sample is a fresh `llamafactory-cli webui` in an empty folder, once as it is and once with DBA_DISABLE=1, in
turns, so that a machine that gets busier slows both down. Measured from the start of the process, in seconds: until
the server answers (``ready``), and until the page's whole description has been fetched (``described``: what a browser
needs for the first paint). ``bytes`` is the size of that description. Writes benchmarks/results/board_start.json.

    python benchmarks/board_start.py [--pairs 7]
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import measure


PAGE = "/"  # its HTML carries the description that /config has, too
LIMIT = 600.0  # seconds


def start(disabled: bool) -> dict[str, float]:
    """One board, from nothing to its description."""
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
            return {"ready": ready, "described": time.perf_counter() - begin, "bytes": size}
        finally:
            os.killpg(board.pid, signal.SIGKILL)
            board.wait()


def answers(port: int) -> bool:
    """Whether anybody listens yet."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
    start(disabled=False), start(disabled=True)  # compiled modules, caches of the disk
    stock, with_tab = [], []
    for pair in range(arguments.pairs):
        for disabled in (True, False) if pair % 2 else (False, True):
            (stock if disabled else with_tab).append(start(disabled))
            print(
                f"pair {pair + 1}, {'stock' if disabled else 'with the tab'}: {(stock if disabled else with_tab)[-1]}"
            )
    result = {
        "command": measure.command(),
        "what": "start of `llamafactory-cli webui` with and without the DBA tab, seconds; paired, in turns",
        **{name: summary(stock, with_tab, name) for name in ("ready", "described", "bytes")},
        "goal_ratio": 1.1,
        "n": arguments.pairs,
        "stock": stock,
        "with_tab": with_tab,
        **measure.machine(packages=("gradio", "llamafactory", "llamafactory-dba")),
    }
    measure.write(result, arguments.out)
    print({name: result[name] for name in ("ready", "described", "bytes")})


if __name__ == "__main__":
    main()
