"""Logs are read as they grow, whatever state they are in, and thinned out without losing extremes."""

import json
import os
import random

import pytest

from llamafactory_dba.webui import follow as module
from llamafactory_dba.webui.follow import Follower, downsample, follow


def write(path, text, mode="a"):
    with path.open(mode, encoding="utf-8") as file:
        file.write(text)


def line(step, **values):
    return json.dumps({"step": step, **values}) + "\n"


def test_points_come_as_they_are_written(tmp_path):
    log = tmp_path / "log.jsonl"
    follower = Follower(log, ["loss", "gamma"])
    assert follower.poll() == {"loss": [], "gamma": []}
    assert follower.last == {}
    write(log, line(1, loss=2.0) + line(2, loss=1.5, gamma=0.1))
    assert follower.poll() == {"loss": [(1, 2.0), (2, 1.5)], "gamma": [(2, 0.1)]}
    write(log, line(3, gamma=0.2, other=7))
    assert follower.poll()["gamma"] == [(2, 0.1), (3, 0.2)]
    assert follower.last == {"step": 3, "gamma": 0.2, "other": 7}


def test_half_a_line_waits_for_its_end(tmp_path):
    log = tmp_path / "log.jsonl"
    whole = line(1, loss=2.5)
    follower = Follower(log, ["loss"])
    for place in range(len(whole)):
        write(log, whole[:place], "w")
        assert Follower(log, ["loss"]).poll() == {"loss": []}
    write(log, whole[:9], "w")
    assert follower.poll() == {"loss": []}
    write(log, whole[9:])
    assert follower.poll() == {"loss": [(1, 2.5)]}


def test_only_what_is_new_is_read(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    write(log, "".join(line(step, loss=step) for step in range(100)))
    follower = Follower(log, ["loss"])
    follower.poll()
    parsed = []
    loads = json.loads
    monkeypatch.setattr(module.json, "loads", lambda text: parsed.append(text) or loads(text))
    write(log, line(100, loss=1))
    follower.poll()
    follower.poll()
    assert len(parsed) == 1


@pytest.mark.parametrize(
    "bad",
    [
        "no json\n",
        "[1, 2]\n",
        "null\n",
        "\n",
        '{"loss": 3}\n',
        '{"step": "x", "loss": 3}\n',
        '{"step": 5, "loss": "much"}\n',
        '{"step": 5, "loss": NaN}\n',
        '{"step": 5, "loss": Infinity}\n',
        '{"step": 5, "loss": true}\n',
        '{"step": 5, "loss": ' + "9" * 400 + "}\n",
        "\0\0\0\n",
        '{"step": 5, "los{"step": 6}\n',
    ],
)
def test_a_damaged_line_is_passed_over(tmp_path, bad):
    log = tmp_path / "log.jsonl"
    write(log, line(1, loss=1.0) + bad + line(9, loss=2.0))
    assert Follower(log, ["loss"]).poll() == {"loss": [(1, 1.0), (9, 2.0)]}


def test_bytes_that_are_no_text_are_passed_over(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\xff\xfe\x80\n" + line(2, loss=1.0).encode())
    assert Follower(log, ["loss"]).poll() == {"loss": [(2, 1.0)]}


def test_a_log_that_is_begun_again_is_read_anew(tmp_path):
    log = tmp_path / "log.jsonl"
    write(log, line(1, loss=1.0) + line(2, loss=2.0))
    follower = Follower(log, ["loss"])
    follower.poll()
    write(log, line(1, loss=5.0), "w")  # shorter
    assert follower.poll() == {"loss": [(1, 5.0)]}
    fresh = tmp_path / "fresh"  # replaced by another file that is longer, as a resumed run does
    write(fresh, "".join(line(step, loss=step) for step in range(50)))
    os.replace(fresh, log)
    assert len(follower.poll()["loss"]) == 50
    write(log, "".join(line(step, loss=-step) for step in range(99)), "w")  # the same file, longer than before
    assert follower.poll()["loss"][98] == (98, -98.0)
    log.unlink()
    assert follower.poll() == {"loss": []}


def test_a_folder_in_its_place_is_no_error(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    assert Follower(tmp_path / "log.jsonl", ["loss"]).poll() == {"loss": []}


def test_pages_share_a_follower_and_few_are_kept(tmp_path):
    first = follow(tmp_path / "a", ["loss"])
    assert follow(tmp_path / "a", ["loss"]) is first
    assert follow(tmp_path / "a", ["gamma"]) is not first
    for number in range(module.FOLLOWED):
        follow(tmp_path / f"b{number}", ["loss"])
    assert follow(tmp_path / "a", ["loss"]) is not first
    assert len(module._followers) <= module.FOLLOWED


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 1500, 10_000, 12_345])
def test_thinned_out_points_keep_ends_order_and_extremes(count):
    source = random.Random(count)
    points = [(float(step), source.gauss(0, 1)) for step in range(count)]
    if count > 1000:
        points[count // 3] = (float(count // 3), 99.0)
        points[count // 2] = (float(count // 2), -99.0)
    thin = downsample(points, 1000)
    assert len(thin) <= 1000
    assert set(thin) <= set(points)
    assert thin == sorted(thin)
    if count <= 1000:
        assert thin == points
    else:
        assert (thin[0], thin[-1]) == (points[0], points[-1])
        assert {99.0, -99.0} <= {y for _, y in thin}


def test_a_constant_is_thinned_out_to_one_point_per_stretch():
    thin = downsample([(float(step), 1.0) for step in range(5000)], 100)
    assert len(thin) == 2 + 49
