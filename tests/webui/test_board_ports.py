"""A port that somebody else listens on: the board takes the next one and says which, or ends with a message
where it may not."""

import os
import re
import signal
import socket
import time
import urllib.request

import psutil
import pytest
from board_page import open_board


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
LIMIT = 300  # seconds; 15 on an idle machine


@pytest.fixture
def start(tmp_path):
    """Starts boards; returns process and log."""
    started = []

    def board(**variables):
        process = open_board(tmp_path, "log", **variables)
        started.append(process)
        return process, tmp_path / "log"

    yield board
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_next_free_port_is_taken_and_said(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process, log = start(GRADIO_SERVER_PORT=str(port))
        deadline = time.monotonic() + LIMIT
        while not (said := re.search(r"Running on local URL:\s+http://127\.0\.0\.1:(\d+)", log.read_text("utf-8"))):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.3)
        found = int(said[1])
        assert found > port
        assert found in {item.laddr.port for item in psutil.Process(process.pid).net_connections() if not item.raddr}
        with urllib.request.urlopen(f"http://127.0.0.1:{found}/config", timeout=60) as answer:
            assert b"dba_tab" in answer.read()


def test_where_only_one_port_may_be_taken_the_board_ends_with_a_message(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process, log = start(GRADIO_SERVER_PORT=str(port), GRADIO_NUM_PORTS="1")
        assert process.wait(LIMIT) != 0
        last = log.read_text("utf-8").strip().splitlines()[-1]
        assert f"Cannot find empty port in range: {port}-{port}" in last
        assert "GRADIO_SERVER_PORT" in last
