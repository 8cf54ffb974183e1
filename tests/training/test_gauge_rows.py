"""Which rows are measured: fixed, answered, and not asked in the training data."""

import numpy as np
import pytest
from datasets import Dataset

from llamafactory_dba.errors import DBAError
from llamafactory_dba.training.gauge import base
from llamafactory_dba.training.gauge.rows import Sample, answer_tokens, choose, order, question, questions_in


def row(ids, labels=None):
    return {"input_ids": list(ids)} | ({} if labels is None else {"labels": list(labels)})


ONE_TURN = row([1, 2, 3, 4], [-100, -100, 3, 4])
TWO_TURNS = row([1, 2, 3, 4, 5, 6], [-100, 2, -100, -100, 5, 6])
ALL_ANSWER = row([7, 8], [7, 8])
CUT = row([1, 2, 3], [-100, -100, -100])


def test_the_question_is_what_stands_before_the_last_answer():
    def ids(*numbers):
        return np.asarray(numbers, dtype=np.int64).tobytes()

    assert question(ONE_TURN) == ids(1, 2)
    assert question(TWO_TURNS) == ids(1, 2, 3, 4)
    assert question(ALL_ANSWER) == ids()
    assert question(CUT) == ids(1, 2, 3)
    assert question(row([1, 2])) == ids(1, 2)
    assert question({**ONE_TURN, "images": ["a.png"]}) is None  # the same words may be about another picture
    assert question({**ONE_TURN, "images": None}) == ids(1, 2)


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_questions_of_the_training_data_are_found_whatever_the_answer(batch):
    other_answer = row([1, 2, 9], [-100, -100, 9])
    train = [ALL_ANSWER, CUT, other_answer, row([], []), TWO_TURNS, ONE_TURN, ALL_ANSWER]
    data = Dataset.from_list(train)
    for item in (ONE_TURN, TWO_TURNS, CUT):
        assert questions_in(data, [question(item)], batch) == {question(item)}
    absent = row([1, 5, 9], [-100, -100, 9])
    assert questions_in(data, [question(absent), None], batch) == set()
    assert questions_in(data.select([1, 6]), [question(ONE_TURN)], batch) == set()  # rows that were selected away
    assert questions_in(data.select([5, 0]), [question(ONE_TURN)], batch) == {question(ONE_TURN)}


def test_texts_without_labels_are_compared_whole():
    data = Dataset.from_list([row([1, 2, 3]), row([4])])
    assert questions_in(data, [question(row([1, 2, 3])), question(row([1, 2]))]) == {question(row([1, 2, 3]))}


def test_many_random_rows_agree_with_looking_one_by_one():
    random = np.random.default_rng(3)
    rows = []
    for _ in range(300):
        ids = random.integers(0, 3, random.integers(1, 7))
        rows.append(row(ids.tolist(), np.where(random.random(len(ids)) < 0.5, ids, -100).tolist()))
    wanted = [question(item) for item in rows[:150]]
    assert questions_in(Dataset.from_list(rows[150:]), wanted, 7) == set(wanted) & {question(r) for r in rows[150:]}


def test_rows_asked_in_training_or_without_an_answer_are_replaced_by_others():
    rows = [row([10 + n, n], [-100, n]) for n in range(6)]
    sample = choose("x", [CUT, *rows], {question(rows[0]), question(rows[2])}, 3)
    assert [r["labels"][1] for r in sample.rows] == [1, 3, 4]
    assert (sample.overlapping, sample.unanswered, sample.answer_tokens) == (2, 1, 3)


def test_no_row_left_is_an_error_that_says_why():
    with pytest.raises(DBAError, match=r"2 rows: 1 without an answer token, 0 that fill .cutoff_len., 1 also"):
        choose("x", [CUT, ONE_TURN], {question(ONE_TURN)}, 5)
    with pytest.raises(DBAError, match="0 rows"):
        choose("x", [], set(), 5)


def test_rows_that_fill_the_cutoff_are_left_out():
    sample = choose("x", [TWO_TURNS, ONE_TURN, ALL_ANSWER], set(), 5, cutoff=4)
    assert (sample.rows, sample.cut) == ((ALL_ANSWER,), 2)
    with pytest.raises(DBAError, match="raise `cutoff_len`"):
        choose("x", [TWO_TURNS], set(), 5, cutoff=6)


def test_the_first_token_is_never_predicted():
    assert answer_tokens(ALL_ANSWER) == 1
    assert answer_tokens(row([1, 2, 3])) == 2
    assert answer_tokens(row([1])) == 0


def test_the_order_is_fixed_and_leaves_global_generators_alone():
    np.random.seed(0)
    first = order(1000, 10)
    state = np.random.rand()
    np.random.seed(0)
    assert (first, state) == (order(1000, 10), np.random.rand())
    assert len(set(first)) == 40
    assert sorted(order(5, 10)) == [0, 1, 2, 3, 4]


def test_positions_stay_within_their_bytes_and_say_which_rows():
    sample = Sample("x", tuple(row([5] * 11) for _ in range(20)))  # 200 answer tokens
    everything = base.positions(sample, vocabulary=100)
    assert everything.compared == everything.total == 200
    some = base.positions(sample, vocabulary=100, limit=50 * 400)
    assert some.compared == 50 and some.total == 200
    assert all(list(places) == sorted(set(places)) for places in some.chosen)
    assert some == base.positions(sample, vocabulary=100, limit=50 * 400)
    assert some.digest != everything.digest
    assert base.positions(sample, vocabulary=10**9).compared == 1
    changed = Sample("x", (row([6] * 11), *sample.rows[1:]))
    assert base.positions(changed, vocabulary=100).digest != everything.digest


def test_what_the_base_says_is_kept_by_row_whoever_wrote_it(tmp_path):
    import torch

    values = {number: torch.rand(2, 3) for number in range(4)}
    base.write_part(tmp_path / "f", 0, {0: values[0], 2: values[2]}, "d")
    base.write_part(tmp_path / "f", 1, {1: values[1], 3: values[3]}, "d")
    found = base.Base([tmp_path / "none", tmp_path / "f"], "d")
    assert all(torch.equal(found.read(number), value) for number, value in values.items())
    with pytest.raises(DBAError, match="other rows"):
        base.Base([tmp_path / "f"], "e")
    with pytest.raises(DBAError, match="dba_gauge_base"):
        base.Base([tmp_path / "none"], "d")
