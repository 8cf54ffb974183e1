"""run_record.json as a format: round trip, sums over segments, resumed runs, damaged files."""

import dataclasses
import json
import math

import pytest

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.results import Cost
from llamafactory_dba.training.record import (
    COST_KEYS,
    FILE,
    RunRecord,
    Segment,
    kept_segments,
    read_record,
    total_cost,
    write_record,
)


FIRST = Segment(0, 4, 10.0, 8.0, 2, hook_seconds=0.5, tokens=100, energy_joules=7.0, peak_device_bytes=5)
SECOND = Segment(4, 6, 5.0, 4.0, 2, hook_seconds=0.25, tokens=50, energy_joules=3.0, peak_host_bytes=9)


def record(**changes):
    segments = changes.pop("segments", (FIRST, SECOND))
    cost = total_cost(segments, trainable_parameters=12)
    return RunRecord("dba", cost, seed=1, segments=segments, steps=6, finished=True, data={"d": "ff"}, **changes)


def test_cost_has_the_keys_of_the_results():
    """The engine does `Cost(**record.cost)`."""
    assert set(COST_KEYS) == {field.name for field in dataclasses.fields(Cost)}
    assert Cost(**record().cost).tokens == 150


def test_round_trip(tmp_path):
    assert write_record(record(), tmp_path) == tmp_path / FILE
    assert read_record(tmp_path) == read_record(tmp_path / FILE) == record()
    assert read_record(tmp_path / "nothing") is None


def test_sums():
    cost = total_cost((FIRST, SECOND), anchor_bytes_on_disk=3)
    assert (cost["wall_seconds"], cost["tokens"], cost["energy_joules"]) == (15.0, 150, 10.0)
    assert cost["device_hours"] == pytest.approx(2 * 15 / 3600)
    assert cost["step_overhead"] == pytest.approx(0.75 / (12 - 0.75))
    assert (cost["peak_device_bytes"], cost["peak_host_bytes"], cost["anchor_bytes_on_disk"]) == (5, 9, 3)
    assert cost["program_seconds"] is None


def test_what_was_not_measured_is_no_zero():
    unmeasured = dataclasses.replace(SECOND, energy_joules=None, hook_seconds=None)
    cost = total_cost((FIRST, unmeasured))
    assert (cost["energy_joules"], cost["step_overhead"], cost["tokens"]) == (None, None, 150)
    assert set(total_cost(()).values()) == {None}


def test_missing_steps_make_no_sum():
    cost = total_cost((SECOND,))  # the segments before step 4 are lost
    assert (cost["wall_seconds"], cost["tokens"], cost["device_hours"]) == (None, None, None)
    assert cost["peak_host_bytes"] == 9


def test_steps_made_again_are_dropped():
    third = dataclasses.replace(SECOND, first_step=6, last_step=8)
    assert kept_segments((FIRST, SECOND, third), 6) == (FIRST, SECOND)
    assert kept_segments((FIRST, SECOND, third), 5) == (FIRST,)
    assert kept_segments((FIRST,), 0) == ()


def test_a_later_version_may_add_keys(tmp_path):
    path = write_record(record(), tmp_path)
    raw = json.loads(path.read_text())
    raw["news"], raw["segments"][0]["news"], raw["cost"]["news"] = 1, 2, 3
    path.write_text(json.dumps(raw))
    assert read_record(tmp_path) == record()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw.pop("format"), "no record of a run"),
        (lambda raw: raw.update(format_version=2), "format_version 1"),
        (lambda raw: raw.update(format_version="1"), "format_version 1"),
        (lambda raw: raw.pop("method"), "Keys are missing in the record"),
        (lambda raw: raw.update(cost=None), "cost is damaged"),
        (lambda raw: raw.update(data=[]), "data is damaged"),
        (lambda raw: raw["cost"].update(tokens=-1), "cost.tokens is damaged"),
        (lambda raw: raw["cost"].update(wall_seconds=math.nan), "cost.wall_seconds is damaged"),
        (lambda raw: raw["cost"].update(wall_seconds="1"), "cost.wall_seconds is damaged"),
        (lambda raw: raw["segments"][1].pop("seconds"), r"Keys are missing in segments\[1\]"),
        (lambda raw: raw["segments"][1].update(tokens=True), r"segments\[1\].tokens is damaged"),
        (lambda raw: raw.update(segments={}), "segments is damaged"),
    ],
)
def test_damaged_records_are_refused(tmp_path, damage, message):
    path = write_record(record(), tmp_path)
    raw = json.loads(path.read_text())
    damage(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(DBAError, match=message) as caught:
        read_record(tmp_path)
    assert str(path) in str(caught.value) and caught.value.next_step


@pytest.mark.parametrize("content", [b"", b'{"format": "lla', b"\xff\xfe", b"[]"])
def test_truncated_files_are_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DBAError):
        read_record(tmp_path)


def test_the_format_needs_neither_torch_nor_the_host():
    import subprocess
    import sys

    code = (
        "import sys, llamafactory_dba.training.record, llamafactory_dba.training.layer_log; "
        "print([name for name in ('torch', 'llamafactory', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
