"""A real LLaMA Board in a process of its own, spoken to over HTTP as a browser does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import support
from gradio_client import Client


# what `llamafactory-cli webui` does, and the names of the components besides
MAIN = """
import json, sys
from pathlib import Path
import torch
from llamafactory.webui import interface
create = interface.create_ui
def create_ui(*args, **kwargs):
    page = create(*args, **kwargs)
    methods = [item.fn for item in page.fns.values() if hasattr(item.fn, "__self__")]
    manager = next(method.__self__ for method in methods if method.__name__ == "resume").manager
    ids = {name: elem._id for name, elem in manager._id_to_elem.items()}
    Path("ids.json").write_text(json.dumps(ids))
    return page
interface.create_ui = create_ui
interface.run_web_ui()
"""


EXTRA = '{"use_cpu": true}'
# the host's form for a training of the tests' world, and what the DBA tab adds to it
TRAIN = {
    "top__lang": "en",
    "top__model_name": "Custom",
    "top__model_path": "model",
    "top__finetuning_type": "full",
    "top__template": "qwen3_nothink",
    "train__dataset_dir": "data",
    "train__dataset": ["domain"],
    "train__output_dir": "one",
    "train__extra_args": EXTRA,
    "train__compute_type": "fp32",
    "train__cutoff_len": 64,
}
DBA = {
    "dba__dba_train_enabled": True,
    "dba__dba_train_anchor": "anchor",
    "dba__dba_train_rank": 8,
    "dba__dba_train_correction": False,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BoardProcess:
    """The board, its components by the host's ids, and its events by name."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder, self.port = folder, free_port()
        self.log = (folder / "board.log").open("ab")
        quiet = {"BROWSER": "true", "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN],
            cwd=folder,
            env=support.environment(
                GRADIO_SERVER_PORT=str(self.port), GRADIO_SERVER_NAME="127.0.0.1", **quiet, **variables
            ),
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait()
        self.client = Client(self.url, verbose=False, download_files=False, httpx_kwargs={"timeout": 120})
        self.config = self.client.config
        self.ids: dict[str, int] = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        self.names = {number: name for name, number in self.ids.items()}
        self.components = {item["id"]: item for item in self.config["components"]}

    def _wait(self, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "board.log").read_text(encoding="utf-8"))
            try:
                with urllib.request.urlopen(f"{self.url}/config", timeout=5):
                    return
            except OSError:
                time.sleep(0.3)
        raise TimeoutError((self.folder / "board.log").read_text(encoding="utf-8"))

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def event(self, name: str, output: str | None = None) -> dict[str, Any]:
        """The dependency of a function, told apart by one of its outputs where several are named alike."""
        for item in self.config["dependencies"]:
            if (item["api_name"] or "").rsplit("_", 1)[0] == name or item["api_name"] == name:
                if output is None or self.ids[output] in item["outputs"]:
                    return item
        raise LookupError(name)

    def value(self, number: int) -> Any:
        return self.components[number]["props"].get("value")

    def steps(
        self, name: str, *, output: str | None = None, session: Client | None = None, **values: Any
    ) -> Iterator[dict]:
        """Every update of an event: id of the host (or number) -> value or properties.

        Values of inputs are those of a fresh page, changed by ``values`` (``train__dataset`` for ``train.dataset``).
        """
        item = self.event(name, output)
        changes = {key.replace("__", "."): value for key, value in values.items()}
        for key in changes:
            assert self.ids[key] in item["inputs"], f"{key} is no input of {name}"
        data = [changes.get(self.names.get(number, ""), self.value(number)) for number in item["inputs"]]
        client = session or self.client
        body = {"data": data, "fn_index": item["id"], "session_hash": client.session_hash, "trigger_id": None}
        yield from self._queue(item, body) if item["queue"] else [self._post(item, body)]

    def post(self, item: dict, values: list) -> dict:
        """An event that has no queue, with all of its inputs."""
        body = {"data": values, "fn_index": item["id"], "session_hash": self.client.session_hash}
        return self._post(item, body)

    def call(self, name: str, **values: Any) -> dict:
        """The last update."""
        last: dict = {}
        for update in self.steps(name, **values):
            last = update
        return last

    def _post(self, item: dict, body: dict) -> dict:
        return self._named(item, self._request("/gradio_api/run/predict", body)["data"])

    def _queue(self, item: dict, body: dict) -> Iterator[dict]:
        session = f"test{time.monotonic_ns()}"
        body = {**body, "session_hash": session}
        self._request("/gradio_api/queue/join", body)
        stream = urllib.request.urlopen(f"{self.url}/gradio_api/queue/data?session_hash={session}", timeout=600)
        with stream:
            kept: list = []
            for line in stream:
                if not line.startswith(b"data:"):
                    continue
                said = json.loads(line[5:])
                if said["msg"] == "process_generating" and said["success"]:
                    kept = merge(kept, said["output"]["data"])
                    yield self._named(item, kept)
                if said["msg"] == "process_completed":
                    assert said["success"], said
                    if not item["types"]["generator"]:
                        yield self._named(item, said["output"]["data"])
                    return

    def _request(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def _named(self, item: dict, data: list) -> dict:
        return {
            self.names.get(number, str(number)): value for number, value in zip(item["outputs"], data, strict=True)
        }


def merge(kept: list, update: list) -> list:
    """The first update of a generator is whole, the next ones are differences: lists of [action, path, value]."""
    if not kept:
        return update
    merged = []
    for old, new in zip(kept, update, strict=True):
        if not (isinstance(new, list) and all(isinstance(part, list) and len(part) == 3 for part in new)):
            merged.append(new)
            continue
        value = json.loads(json.dumps(old))
        for action, path, change in new:
            if not path:
                value = value + change if action == "append" else change
                continue
            place = value
            for key in path[:-1]:
                place = place[key]
            if action == "append":
                place[path[-1]] += change
            elif action == "delete":
                del place[path[-1]]
            elif action == "add" and isinstance(place, list):
                place.insert(path[-1], change)
            else:
                place[path[-1]] = change
        merged.append(value)
    return merged
