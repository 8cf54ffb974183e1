"""The micro world's data: the same bytes every time, disjoint splits, news that contradicts, small files."""

import json
import re
from pathlib import Path

import pytest

from llamafactory_dba.data.micro.domains import ACTS, CHANCE, CLASSES, DOMAINS, charge
from llamafactory_dba.data.micro.files import dataset_entries, domain_rows, general_rows, write_all
from llamafactory_dba.data.micro.skills import SKILLS, draw
from llamafactory_dba.data.micro.text import raw_text
from llamafactory_dba.data.micro.world import CUT_OFF_YEAR, is_test, make_world
from llamafactory_dba.errors import DBAError


ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
MEGABYTE = 2**20


def rows_of(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (DATA / "micro" / f"{name}.jsonl").read_text("utf-8").splitlines()]


def test_committed_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    written = write_all(tmp_path)
    assert {path.name for path in written} == {path.name for path in (DATA / "micro").glob("*.jsonl")}
    for path in written:
        assert path.read_bytes() == (DATA / "micro" / path.name).read_bytes(), path.name


def test_another_seed_is_another_world() -> None:
    assert make_world(1) == make_world(1)
    assert set(make_world(1).lands) != set(make_world(2).lands)


def test_dataset_info_names_every_file() -> None:
    info = json.loads((DATA / "dataset_info.json").read_text("utf-8"))
    for name, entry in dataset_entries().items():
        assert info[name] == entry
        assert (DATA / str(entry["file_name"])).is_file()


@pytest.mark.parametrize("name", SKILLS)
def test_general_splits_are_disjoint(name: str) -> None:
    world = make_world()
    train = {item.key for item in draw(name, SKILLS, world, "train", 2000, "any")}
    test = {item.key for item in draw(name, SKILLS, world, "test", 100, "other")}
    assert not train & test
    assert all(map(is_test, test))
    assert not any(map(is_test, train))


@pytest.mark.parametrize("name", DOMAINS)
def test_domain_splits_are_disjoint_and_balanced(name: str) -> None:
    world = make_world()
    train, test = domain_rows(world, name, "train"), domain_rows(world, name, "test")
    assert not {item.key for item in train} & {item.key for item in test}
    assert not {item.prompt for item in train} & {item.prompt for item in test}
    assert 0 < CHANCE[name] <= 50
    if CLASSES[name]:
        answers = [item.answer for item in test]
        counts = [answers.count(answer) for answer in set(answers)]
        assert len(counts) == CLASSES[name]
        assert max(counts) - min(counts) <= 2


def test_recall_asks_only_facts_that_training_saw() -> None:
    world = make_world()
    train = {item.key.rsplit("/", 1)[0] for item in general_rows(world, "train", 1000) if item.skill == "recall"}
    test = {item.key.rsplit("/", 1)[0] for item in general_rows(world, "test", 100) if item.skill == "recall"}
    assert test <= train


def test_raw_text_holds_no_test_prompt_and_only_a_share_of_transcripts() -> None:
    text = raw_text(make_world(), 5000)
    tests = {str(row["instruction"]) for row in rows_of("general_test")}
    asked = {prompt for line in text for prompt in re.findall(r"user\n(.*?)<\|im_end\|>", line)}
    assert asked
    assert not asked & tests


def test_arithmetic_answers_are_right() -> None:
    for item in draw("arithmetic", SKILLS, make_world(), "train", 300, "check"):
        match = re.search(r"(\d+)([+-])(\d+)", item.prompt)
        assert match is not None
        first, sign, second = match.groups()
        assert int(item.answer) == (int(first) + int(second) if sign == "+" else int(first) - int(second))


def test_news_begins_after_the_cut_off_and_contradicts_in_part() -> None:
    world = make_world()
    old = {fact.key: fact for fact in world.general}
    assert all(fact.year > CUT_OFF_YEAR for fact in world.news)
    assert all(fact.year <= CUT_OFF_YEAR for fact in world.general)
    contradicted = world.contradicted()
    assert contradicted
    assert len(contradicted) < len(world.news)
    for fact in world.news:
        if fact.key in contradicted:
            assert old[fact.key].value != fact.value


def test_false_news_is_false_and_some_of_it_was_true_once() -> None:
    world = make_world()
    young = {(fact.relation, fact.subject.split()[0], fact.year): fact for fact in world.news}
    old_values = {(fact.subject, fact.value) for fact in world.general}
    repeated = 0
    for item in domain_rows(world, "news", "test"):
        words = re.findall("[a-z]+|[0-9]+", item.prompt)
        years = [int(word) for word in words if word.isdigit()]
        relation = next((word for word in words if word in ("capital", "leader")), "winner")
        keys = [(relation, word, year) for word in words for year in years]
        [fact] = [young[key] for key in keys if key in young]
        assert (fact.value in words) == (item.answer == "true")
        repeated += any((fact.subject, word) in old_values for word in words) and item.answer == "false"
    assert repeated


@pytest.mark.parametrize(
    ("circumstances", "expected"),
    [
        (("at night", "on the road"), "grave theft"),
        (("by mistake", "on the road"), "petty theft"),
        (("at night", "by mistake"), "theft"),
        (("on the road", "in the square"), "theft"),
    ],
)
def test_charge_rule(circumstances: tuple[str, ...], expected: str) -> None:
    assert ACTS["took a purse"] == "theft"
    assert charge("took a purse", circumstances) == expected


def test_finance_has_negation_and_mixed_cues_in_every_class() -> None:
    texts = [(item.prompt, item.answer) for item in domain_rows(make_world(), "finance", "train")]
    for cue in ("did not", "but", "although", "while"):
        assert {answer for prompt, answer in texts if f" {cue} " in prompt} == {"positive", "negative"}
    assert {answer for _, answer in texts} == {"positive", "negative", "neutral"}


def test_too_large_a_test_is_an_error_not_a_repetition() -> None:
    with pytest.raises(DBAError, match="too few different examples"):
        draw("dictionary", SKILLS, make_world(), "test", 5000, "x")


def test_preference_rows_differ() -> None:
    assert all(row["chosen"] != row["rejected"] for row in rows_of("pref"))
    tags = [row["tag"] for row in rows_of("kto")]
    assert tags.count(True) == tags.count(False)


def test_sizes() -> None:
    files = [path for folder in (DATA / "micro", ROOT / "examples" / "micro") for path in folder.rglob("*")]
    sizes = {path: path.stat().st_size for path in files if path.is_file()}
    assert sum(sizes.values()) < 12 * MEGABYTE
    assert max(sizes.values()) < 4 * MEGABYTE
