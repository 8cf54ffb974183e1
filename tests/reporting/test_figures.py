"""Pictures keep their size and their names however many methods are in them."""

import warnings

import pytest
from reporting.runs import write_logs, write_run

from llamafactory_dba.reporting.page import figures
from llamafactory_dba.reporting.page.collect import collect


def group_of(root, count):
    write_run(root / "base", "base", 0.1, 0.9, method="base", seed=None)
    for place in range(count):
        name = f"method_number_{place} [learning_rate=0.000{place}]"
        write_run(root / f"run{place}", name, 0.5 + place / 100, 0.5, method=name, base="../base")
        write_logs(root / f"run{place}", 20)
    (group,) = collect([root]).groups
    return group


@pytest.mark.parametrize("draw", [figures.scatter, figures.training])
@pytest.mark.parametrize("count", [1, 7, 30])
def test_the_legend_takes_nothing_from_the_axes(tmp_path, draw, count):
    figure = draw(group_of(tmp_path, count))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    (legend,) = figure.legends
    names = legend.get_window_extent()
    shown = [axis.get_window_extent() for axis in figure.axes if axis.axison]
    smallest = 2.5 if draw is figures.scatter else 1.0
    assert all(box.height >= smallest * figure.dpi and box.width >= 1.5 * figure.dpi for box in shown)
    assert not any(names.overlaps(box) for box in shown)
    assert names.x0 >= 0 and names.y0 >= 0 and names.x1 <= figure.bbox.x1
    texts = [text.get_text() for text in legend.get_texts()]
    assert sum("method_number" in text for text in texts) == count


def test_both_legends_are_in_one_order(tmp_path):
    group = group_of(tmp_path, 4)
    orders = []
    for draw in (figures.scatter, figures.training):
        texts = [text.get_text() for text in draw(group).legends[0].get_texts()]
        orders.append([text for text in texts if "method_number" in text])
    assert orders[0] == orders[1] and len(orders[0]) == 4
