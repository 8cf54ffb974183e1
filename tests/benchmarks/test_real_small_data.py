import json

import pytest

from benchmarks.real_small import data, paths


def row(text, label, source="tfns"):
    return {"instruction": "What is the sentiment of this tweet?", "input": text, "output": label, "source": source}


@pytest.fixture
def folder(tmp_path):
    """A made-up data folder with every trap that the real one has."""
    finance = tmp_path / "finance_sentiment"
    finance.mkdir()
    train = [
        row("Shares up https://t.co/abc", "positive"),
        row("SHARES  up https://t.co/xyz", "positive"),  # a duplicate but for its URL
        row("Outlook cut https://t.co/train", "negative"),  # in the test set but for its URL
        row("Board meets", "neutral"),
        row("Sales fell", "negative", source="fpb"),  # not TFNS
    ]
    test = [row("Outlook cut https://t.co/test", "negative"), row("Profit up", "positive"), row("AGM", "neutral")]
    (finance / "fin_sentiment_train.json").write_text(json.dumps(train), encoding="utf-8")
    (finance / "tfns_test.json").write_text(json.dumps(test), encoding="utf-8")
    return tmp_path


def test_tfns_has_no_duplicate_and_no_test_sentence(folder):
    train, test = data.tfns(folder)
    assert sorted(data.normalise(r["input"]) for r in train) == ["board meets", "shares up"]
    assert set(train[0]) == {"instruction", "input", "output"}
    assert [item.choices[item.gold] for item in test] == ["negative", "positive", "neutral"]
    assert all(item.choices == data.LABELS for item in test)
    assert test[0].prompt == "What is the sentiment of this tweet?\nOutlook cut https://t.co/test"


def test_tfns_refuses_an_unknown_label(folder):
    file = folder / "finance_sentiment" / "fin_sentiment_train.json"
    file.write_text(json.dumps([row("Board meets", "bullish")]), encoding="utf-8")
    with pytest.raises(ValueError, match="bullish"):
        data.tfns(folder)


def test_letters_and_true_false():
    question = {"question": "Which?", "choices": ["one", "two"], "answer": "B"}
    assert data.lettered(question) == {"instruction": "Which?\nA. one\nB. two\nAnswer:", "input": "", "output": "B"}


needs_data = pytest.mark.skipif(paths.data_missing() is not None, reason=str(paths.data_missing()))


@pytest.fixture(scope="module")
def splits():
    return data.general_splits(paths.data_root())


@needs_data
def test_real_tfns_train_and_test_are_disjoint_once_urls_are_gone():
    train, test = data.tfns(paths.data_root())
    sentences = {data.normalise(r["input"]) for r in train}
    assert len(sentences) == len(train) > 9000
    assert not sentences & {data.normalise(item.prompt.split("\n", 1)[1]) for item in test}
    assert len(test) == 2388
    # 2,388 = TFNS validation: 347 bearish, 1,566 neutral, 475 bullish (neutral and positive are not swapped)
    assert [sum(item.gold == label for item in test) for label in range(3)] == [347, 1566, 475]


@needs_data
def test_general_training_rows_hold_no_held_out_prompt(splits):
    held = {data.normalise(i.prompt) for items in splits.held_out.values() for i in items if not i.raw}
    trained = {data.normalise(data.user_message(r)) for rows in splits.general_train.values() for r in rows}
    assert trained and held and not held & trained
    text_held = {b for blocks in splits.text_held_out.values() for b in blocks}
    assert text_held and not text_held & set(splits.text_train)


@needs_data
def test_held_out_sets_are_full_and_well_formed(splits):
    for name, items in splits.held_out.items():
        assert 200 <= len(items) <= 300, name
        for item in items:
            assert 0 <= item.gold < len(item.choices)
            assert len(set(item.choices)) == len(item.choices) >= 2


@needs_data
def test_no_finance_row_in_the_general_data(splits):
    finance, test = data.tfns(paths.data_root())
    sentences = {data.normalise(r["input"]) for r in finance}
    sentences |= {data.normalise(item.prompt.split("\n", 1)[1]) for item in test}
    general = [r for rows in splits.general_train.values() for r in rows]
    assert not sentences & {data.normalise(r.get("input", "")) for r in general}


@needs_data
def test_splits_do_not_change_between_calls(splits):
    again = data.general_splits(paths.data_root())
    assert again.text_train[:50] == splits.text_train[:50]
    assert again.held_out == splits.held_out
