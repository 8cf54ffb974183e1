"""Curves are well-formed HTML of a fixed height, with escaped words and sensible axes."""

import math
import re
from xml.etree import ElementTree

import pytest

from llamafactory_dba.webui.curves import Axis, figure


def draw(series, **settings):
    text = figure(series, **{"title": "Loss", "x_label": "step", "y_label": "nats", **settings})
    return text, ElementTree.fromstring(text)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0, 0.0)],
        [(1, 5.0), (1, 5.0)],
        [(0, 0.0), (1, 1e-300)],
        [(0, -1e30), (10, 1e30)],
        [(5, 1.0), (6, 1.0 + 1e-15)],
        [(float(step), math.sin(step)) for step in range(10_000)],
    ],
)
def test_any_points_give_a_figure_of_the_same_height(points):
    text, tree = draw({"a": points, "b": []})
    assert "height:260px" in tree.attrib["style"]
    assert "nan" not in text.lower() and "inf" not in re.sub("info", "", text.lower())
    assert len(text) < 60_000  # the page gets it every two seconds
    lines = [line.attrib["points"].split() for line in tree.iter("polyline")]
    assert len(lines) == (2 if points else 0)
    for place in (place for line in lines for place in line):
        x, y = map(float, place.split(","))
        assert -0.1 <= x <= 1000.1 and -0.1 <= y <= 1000.1


def test_words_are_escaped():
    text, tree = draw({"<script>alert(1)</script>": [(0, 1.0)]}, title='a "b" & <c>', x_label="<x>", y_label="<y>")
    assert "<script" not in text and "<x>" not in text
    assert tree.attrib["aria-label"].startswith('a "b" & <c>')
    assert "<b>" in figure({}, title="t", x_label="", y_label="", empty="<b>") and "&lt;b&gt;" in figure(
        {}, title="t", x_label="", y_label="", empty="<b>"
    )


def test_a_screen_reader_hears_the_last_values():
    _, tree = draw({"loss": [(0, 2.0), (1, 1.25)], "gamma": [(0, 0.5)]})
    assert tree.attrib["aria-label"] == "Loss: loss 1.25; gamma 0.5"


@pytest.mark.parametrize("low_high", [(0, 1), (-3, 17), (0.001, 0.0013), (1e6, 5e6), (-1e-9, 1e-9), (7, 7), (0, 0)])
def test_ticks_are_round_inside_and_not_too_many(low_high):
    axis = Axis(low_high)
    assert 2 <= len(axis.ticks) <= 11
    assert all(-1e-6 <= axis.share(tick) <= 1 + 1e-6 for tick in axis.ticks)
    gaps = [right - left for left, right in zip(axis.ticks, axis.ticks[1:], strict=False)]
    assert all(gap == pytest.approx(gaps[0], rel=1e-6) for gap in gaps)


def test_a_given_range_is_kept_and_widened_where_needed():
    assert (Axis([0.2, 0.4, 0.0, 1.0]).low, Axis([0.2, 0.4, 0.0, 1.0]).high) == (0.0, 1.0)
    text, _ = draw({"a": [(0, 0.3), (1, 1.4)]}, y_range=(0.0, 1.0))
    assert ">1.4<" in text or ">1.2<" in text
