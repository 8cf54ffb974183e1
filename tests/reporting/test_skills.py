"""What an average hides: groups of tasks, losses in their own unit, and what was cut off or left out."""

import dataclasses

import pytest
from reporting.runs import a_loss, subjects, write_rich_world, write_run

from llamafactory_dba.reporting.page.collect import collect
from llamafactory_dba.reporting.page.skills import MOST, groups, headline, lost_most
from llamafactory_dba.reporting.page.tables import tasks
from llamafactory_dba.reporting.page.write import to_html, to_markdown


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    root = tmp_path_factory.mktemp("rich")
    write_rich_world(root)
    return collect([root])


def test_a_group_that_lost_is_found_behind_its_average(rich):
    rows = lost_most(rich.groups[0]).rows
    assert rows[0][:2] == ("dba (3 seeds)", "mmlu: subject_03")
    assert rows[0][2:] == ("63.0", "53.0 ± 0.0", "-10.0 ± 0.0", "20", "–"), "a group is not tested"
    mmlu = next(row for row in rows if row[1] == "mmlu")
    assert mmlu[4].startswith("-0.4"), "the average hides it"
    assert any(row[-1] == "▼ 2/3" for row in rows)
    assert max(sum(1 for _ in part) for part in by_run(rows)) <= MOST


def by_run(rows):
    parts = []
    for row in rows:
        parts = [*parts, [row]] if row[0] else [*parts[:-1], [*parts[-1], row]]
    return parts


def test_every_group_is_in_a_folded_table(rich):
    table = groups(rich.groups[0])
    assert len(table.rows) == 57
    assert table.head == ("group", "n", "base %", "Δ dba (3 seeds)", "Δ direct (3 seeds)")
    assert table.rows[3] == ("mmlu: subject_03", "20", "63.0", "-10.0 ± 0.0", "-50.0 ± 0.0")
    page = to_html(rich)
    assert "<details><summary>Groups of tasks <span>(57 rows)</span></summary>" in page
    assert "details::details-content" in page, "paper has no clicks"
    assert "subject_56" in to_markdown(rich)


def test_groups_of_other_samples_are_not_compared(tmp_path):
    base, ours = subjects(0), subjects(1)
    other = dataclasses.replace(ours, groups=ours.groups | {"subject_03": [10.0, 19]})
    write_run(tmp_path / "base", "base", 0.1, 0.9, method="base", more=(base,))
    write_run(tmp_path / "run", "run", 0.5, 0.9, base="../base", more=(other,))
    names = [row[0] for row in groups(collect([tmp_path]).groups[0]).rows]
    assert len(names) == 56 and "mmlu: subject_03" not in names


def test_a_loss_is_in_its_unit_and_worse_when_it_rises(rich):
    rows = [row for row in tasks(rich.groups[0]).rows if row[1] == "direct (3 seeds)"]
    loss = rows[-1]
    assert loss[2].startswith("4.209 ± 0.02") and loss[-3] == "+1.22 ± 0.02 ▼ 3/3"
    titles = [row[0] for row in tasks(rich.groups[0]).rows if row[0]]
    assert titles[-1] == "news (loss, nats_per_token, lower is better, version 1)"
    assert "news" not in "".join(row[1] for row in lost_most(rich.groups[0]).rows), (
        "points and nats do not rank together"
    )


def test_truncated_and_skipped_are_shown_where_there_are_any(rich, tmp_path):
    table = tasks(rich.groups[0])
    assert table.head[4:8] == ("n", "unparsed", "truncated", "skipped")
    row = next(row for row in table.rows if row[0].startswith("mmlu"))
    assert row[4:8] == ("1,140", "3", "2", "1")
    write_run(tmp_path, "run", 0.5, 0.5)
    assert "truncated" not in tasks(collect([tmp_path]).groups[0]).head


def test_without_tests_the_largest_loss_is_named_as_untested(tmp_path):
    write_run(tmp_path / "base", "base", 0.1, 0.9, method="base", more=(subjects(0),))
    write_run(tmp_path / "run", "run", 0.5, 0.9, base="../base", more=(subjects(2), a_loss(3)))
    for name in ("base", "run"):
        path = tmp_path / name / "results.json"
        raw = path.read_text("utf-8").replace('"per_sample": [', '"per_sample_of_old": [')
        path.write_text(raw)
    text = headline(collect([tmp_path]).groups[0])
    assert "Largest loss: mmlu -3." in text and "no paired test" in text
    assert "p < 0.05" not in text


def test_no_base_is_no_table_of_losses(tmp_path):
    write_run(tmp_path, "run", 0.5, 0.5, more=(subjects(1),))
    (group,) = collect([tmp_path]).groups
    assert lost_most(group) is None and groups(group) is None
