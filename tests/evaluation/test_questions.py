"""Questions from prepared and raw files, a user's own, and real ones; and what is said where they are missing."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llamafactory_dba.data.catalogue import find
from llamafactory_dba.data.choices import ASK, LETTERS, choice_prompt, read_choice_prompt
from llamafactory_dba.data.converters.lawbench import TASKS
from llamafactory_dba.data.reading import read_records
from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.definitions import Task, load_task
from llamafactory_dba.evaluation.question_rows import _only_needed
from llamafactory_dba.evaluation.questions import MissingData, Place, load_questions


ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("DBA_REAL_DATA") or ROOT.parent / "shared" / "data")
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"real data is not at {REAL} (DBA_REAL_DATA)")
MINE = Task("mine", "1", "Mine", "me", "en", "generate", "exact", "exact_match", dataset="mine", max_new_tokens=8)
MMLU = [
    {
        "question": f"What is {i}?",
        "subject": "sums" if i % 3 else "words",
        "choices": ["a", "b", "c", "d"],
        "answer": "ABCD"[i % 4],
    }
    for i in range(9)
]


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def own(folder, rows, **entry):
    """A data folder with the data set ``mine``."""
    jsonl(folder / "mine.jsonl", rows)
    entries = {"mine": {"file_name": "mine.jsonl", **entry}}
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return Place(folder, None)


def raw(folder, name, rows):
    jsonl(folder / name, rows)
    return Place(folder, None)


@pytest.mark.parametrize("language, several", [("en", False), ("en", True), ("zh", False), ("zh", True)])
def test_a_prompt_of_choices_is_read_back(language, several):
    source = random.Random(0)
    for count in range(2, len(LETTERS) + 1):
        choices = [f"choice\n{source.randrange(99)} B. {place}" for place in range(count)]
        question = "Which?\nA. looks like a choice\nand C. too"
        prompt = choice_prompt(question, choices, language=language, several=several)
        assert read_choice_prompt(prompt) == (question, tuple(choices), language, several)
    # the last of several lines that begin as a first choice does, and has a second after it
    assert read_choice_prompt(choice_prompt("A. or B. ?", ["x", "z\nA. y"])) == (
        "A. or B. ?",
        ("x", "z\nA. y"),
        "en",
        False,
    )


@pytest.mark.parametrize("prompt", ["", "What?", f"What?\nA. one\n{ASK['en'][0]}", "What?\nA. one\nB. two\nAnswer:"])
def test_other_prompts_are_no_multiple_choice(prompt):
    assert read_choice_prompt(prompt) is None


def test_raw_questions_with_their_subjects(tmp_path):
    found = load_questions(load_task("mmlu"), raw(tmp_path, "mmlu_test.jsonl", MMLU))
    first = found.questions[1]
    assert first.prompt == "What is 1?\nA. a\nB. b\nC. c\nD. d\n" + ASK["en"][0]
    assert (first.reference, first.choices, first.right, first.group) == ("B", ("a", "b", "c", "d"), 1, "sums")
    assert len(found.questions) == 9 and "mmlu_test.jsonl" in found.where and str(tmp_path) not in found.where
    assert len(found.data_hash) == 64


def test_a_limit_takes_the_first_of_every_group(tmp_path):
    place = raw(tmp_path, "mmlu_test.jsonl", MMLU)
    found = load_questions(load_task("mmlu"), place, limit=4)
    assert [question.prompt[8] for question in found.questions] == ["0", "1", "2", "3"]
    assert [question.group for question in found.questions] == ["words", "sums", "sums", "words"]
    assert len(load_questions(load_task("mmlu"), place, limit=99).questions) == 9
    whole = load_questions(load_task("mmlu"), place)
    assert found.data_hash != whole.data_hash == load_questions(load_task("mmlu"), place).data_hash
    for wrong in (0, -1):
        with pytest.raises(DBAError, match="No questions are asked for"):
            load_questions(load_task("mmlu"), place, limit=wrong)


def test_prepared_and_raw_questions_are_the_same(tmp_path):
    from llamafactory_dba.data.fetch import find_inputs
    from llamafactory_dba.data.prepare import prepare

    place = raw(tmp_path / "raw", "mmlu_test.jsonl", MMLU)
    prepare(find("mmlu"), find_inputs(find("mmlu"), "local", tmp_path / "raw"), tmp_path / "out")
    prepared = load_questions(load_task("mmlu"), Place(tmp_path / "out", None))
    assert prepared.where == "mmlu_test of dataset_info.json"
    assert prepared.data_hash == load_questions(load_task("mmlu"), place).data_hash


def test_one_changed_letter_changes_the_hash(tmp_path):
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]
    one = load_questions(MINE, own(tmp_path / "1", rows))
    two = load_questions(MINE, own(tmp_path / "2", [rows[0], {**rows[1], "output": "e"}]))
    assert one.data_hash != two.data_hash


def test_several_letters_are_several_right_choices(tmp_path):
    option = {"A": "一", "B": "二", "C": "三", "D": "", "E": "五"}
    rows = [
        {"id": 1, "question": "哪些？", "option": option, "question_type": "多项选择题", "exam_class": "护理"},
        {"id": 2, "question": "哪个？", "option": option, "question_type": "单项选择题", "exam_class": "护理"},
        {"id": 3, "question": "哪个？", "option": option, "question_type": "单项选择题", "exam_class": "护理"},
    ]
    (tmp_path / "CMB-test-choice-question-merge.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DBAError, match="no question for cmb_exam") as error:
        load_questions(load_task("cmb_exam"), Place(tmp_path, None))
    assert "3 label hidden" in str(error.value) and "the answers are in" in str(error.value)
    answers = [{"id": 1, "answer": "AE"}, {"id": 2, "answer": "E"}]
    (tmp_path / "CMB-test-choice-answer.json").write_text(json.dumps(answers), encoding="utf-8")
    found = load_questions(load_task("cmb_exam"), Place(tmp_path, None))
    assert [(each.reference, each.right, len(each.choices)) for each in found.questions] == [
        ("AD", None, 4),
        ("D", 3, 4),
    ]
    assert found.left_out == {"label hidden": 1}


def test_likelihood_of_piqa_is_that_of_lm_eval(tmp_path):
    """Its doc_to_text and doc_to_choice (tasks/piqa/piqa.yaml), spaces and order as the raw record has them."""
    rows = [
        {"goal": "Open a jar ", "sol1": "Pull {question}.", "sol2": " Turn it.", "label": 1},
        {"goal": "Dry {choices}", "sol1": "Hang it.", "sol2": "Wet it.", "label": 0},
    ]
    task = load_task("piqa_likelihood")
    found = load_questions(task, raw(tmp_path, "piqa_validation.jsonl", rows)).questions
    for row, question in zip(rows, found, strict=True):
        assert question.prompt == f"Question: {row['goal']}\nAnswer:"
        assert question.choices == (" " + row["sol1"], " " + row["sol2"])
        assert question.right == row["label"]
    letters = load_questions(load_task("piqa"), Place(tmp_path, None)).questions
    assert {letters[0].choices[letters[0].right]} == {"Turn it."}


def test_lm_eval_still_asks_piqa_like_that():
    lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is in the extra `eval`")
    theirs = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks" / "piqa" / "piqa.yaml").read_text("utf-8"))
    options = load_task("piqa_likelihood").options
    assert theirs["doc_to_text"] == options["prompt"].replace("{question}", "{{goal}}")
    assert theirs["doc_to_choice"] == "{{[sol1, sol2]}}" and options["fields"]["choices"] == ["sol1", "sol2"]
    assert theirs["doc_to_target"] == options["fields"]["right"] and options["delimiter"] == " "  # its default


def test_likelihood_of_letters_and_of_sciq(tmp_path):
    place = raw(tmp_path, "mmlu_test.jsonl", MMLU)
    question = load_questions(load_task("mmlu_likelihood"), place).questions[2]
    assert question.prompt == "What is 2?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    assert (question.choices, question.right) == ((" A", " B", " C", " D"), 2)
    row = {"question": "Why?", "correct_answer": "so", "distractor1": "x", "distractor2": "y", "distractor3": "z"}
    (tmp_path / "sciq").mkdir()
    (tmp_path / "sciq" / "test.json").write_text(json.dumps([row]), encoding="utf-8")
    question = load_questions(load_task("sciq_likelihood"), place).questions[0]
    assert (question.choices, question.right) == ((" x", " y", " z", " so"), 3)


def test_a_folder_named_as_the_corpus_is_looked_into_first(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "test.json").write_text('[{"text": "of another corpus"}]', encoding="utf-8")
    with pytest.raises(DBAError, match="no raw file of sciq"):
        load_questions(load_task("sciq"), Place(tmp_path, None))
    row = {"question": "Why?", "correct_answer": "so", "distractor1": "x", "distractor2": "y", "distractor3": "z"}
    (tmp_path / "sciq").mkdir()
    (tmp_path / "sciq" / "test.json").write_text(json.dumps([row]), encoding="utf-8")
    assert len(load_questions(load_task("sciq"), Place(tmp_path, None)).questions) == 1


def test_text_for_a_perplexity(tmp_path):
    found = load_questions(
        load_task("perplexity_pile"), raw(tmp_path, "pile.jsonl", [{"text": " a b\n"}, {"text": " "}])
    )
    assert [(each.prompt, each.reference) for each in found.questions] == [("", " a b\n")]
    assert found.left_out == {"empty text": 1}
    task = replace(MINE, output="perplexity", scorer="perplexity", metric="perplexity", max_new_tokens=0)
    assert (
        load_questions(task, own(tmp_path, [{"text": "x"}], columns={"prompt": "text"})).questions[0].reference == "x"
    )
    with pytest.raises(DBAError, match="is questions"):
        load_questions(task, own(tmp_path, [{"instruction": "a", "output": "b"}]))
    with pytest.raises(DBAError, match="is plain text"):
        load_questions(MINE, own(tmp_path, [{"text": "x"}], columns={"prompt": "text"}))


def test_prompts_are_joined_as_training_joins_them(tmp_path):
    rows = [{"instruction": "a", "input": "b", "output": "c"}, {"instruction": "", "input": "b", "output": "c"}]
    found = load_questions(MINE, own(tmp_path, rows)).questions
    assert [each.prompt for each in found] == ["a\nb", "b"]
    asked = load_questions(replace(MINE, ask="Say it."), own(tmp_path, rows)).questions
    assert [each.prompt for each in asked] == ["a\nb\nSay it.", "b\nSay it."]
    messages = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]]
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    place = own(
        tmp_path, [{"m": turn} for turn in messages], formatting="sharegpt", columns={"messages": "m"}, tags=tags
    )
    assert load_questions(MINE, place).questions[0].prompt == "a"
    for turns in ([*messages[0], *messages[0]], [{"role": "system", "content": "s"}, *messages[0]]):
        place = own(tmp_path, [{"m": turns}], formatting="sharegpt", columns={"messages": "m"}, tags=tags)
        with pytest.raises(DBAError, match="one question at a time"):
            load_questions(MINE, place)


@pytest.mark.parametrize("column, value", [("history", [["a", "b"]]), ("system", "Be brief.")])
def test_several_turns_are_refused(tmp_path, column, value):
    rows = [{"instruction": "a", "input": "", "output": "c", column: value}]
    columns = {"prompt": "instruction", "query": "input", "response": "output", column: column}
    with pytest.raises(DBAError, match="one question at a time") as error:
        load_questions(MINE, own(tmp_path, rows, columns=columns))
    assert "mine, row 1" in str(error.value)


def test_news_qa_as_its_builder_writes_it(tmp_path):
    row = {"instruction": "Is this true?", "input": "", "output": "true", "date": "2025-01-05", "category": "Politics"}
    jsonl(tmp_path / "newsqa_test.jsonl", [row, {**row, "output": "false", "category": "Culture"}])
    (tmp_path / "dataset_info.json").write_text(
        '{"newsqa_test": {"file_name": "newsqa_test.jsonl"}}', encoding="utf-8"
    )
    found = load_questions(load_task("newsqa"), Place(tmp_path, None)).questions
    assert [(each.reference, each.group) for each in found] == [("true", "Politics"), ("false", "Culture")]


def test_a_file_without_a_description(tmp_path):
    jsonl(tmp_path / "here" / "x.jsonl", [{"instruction": "a", "output": "b"}])
    task = replace(MINE, dataset="", file="here/x.jsonl")
    assert load_questions(task, Place(tmp_path, None)).questions[0].reference == "b"
    jsonl(tmp_path / "here" / "x.jsonl", [{"q": "a", "a": "b"}])
    with pytest.raises(DBAError, match="no form that can be asked"):
        load_questions(task, Place(tmp_path, None))
    with pytest.raises(MissingData, match="not there"):
        load_questions(replace(task, file="here/y.jsonl"), Place(tmp_path, None))


def test_a_row_that_is_no_multiple_choice(tmp_path):
    place = own(tmp_path, [{"instruction": "Which?", "output": "A"}])
    task = replace(MINE, scorer="choice", metric="accuracy")
    with pytest.raises(DBAError, match="not in the form of multiple choice"):
        load_questions(task, place)
    assert load_questions(replace(task, options={"choices": 4}), place).questions[0].choices == ()
    with pytest.raises(DBAError, match="no multiple choice with one right answer"):
        load_questions(replace(task, output="likelihood", scorer="likelihood"), place)


def test_no_questions_are_an_error(tmp_path):
    place = own(tmp_path, [{"instruction": "a", "output": "", "skill": "x"}, {"instruction": "a", "output": "b"}])
    with pytest.raises(DBAError, match="no question for mine") as error:
        load_questions(replace(MINE, select={"skill": "y"}), place)
    assert "skill = y" in str(error.value) and "1 empty answer" in str(error.value)


@pytest.mark.parametrize(
    "name, said",
    [
        ("mmlu", ["mmlu_test in dataset_info.json", "data prepare mmlu", "huggingface (cais/mmlu)", "not in"]),
        ("m3exam", ["english-questions-test.json", "Encrypted by its authors", "M3Exam (English)"]),
        ("cmb_exam", ["CMB-test-choice-answer.json", "beside"]),
        ("lawbench_3_7", ["3-7.json", "open-compass/LawBench"]),
        ("newsqa", ["newsqa_test", "data newsqa"]),
        ("micro_law", ["micro_law_test", "llamafactory_dba.data.micro"]),
        ("perplexity_wikitext", ["wikitext_test", "column text"]),
    ],
)
def test_missing_data_says_where_to_get_it(tmp_path, name, said):
    for folder in (tmp_path, tmp_path / "gone", None):
        with pytest.raises(MissingData) as error:
            load_questions(load_task(name), Place(folder, None))
        for part in said if folder == tmp_path else said[1:2]:
            assert part in str(error.value), (part, str(error.value))


def test_a_damaged_description_is_not_taken_for_missing_data(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{", encoding="utf-8")
    for name in ("micro_law", "mmlu"):
        with pytest.raises(DBAError, match="cannot be read") as error:
            load_questions(load_task(name), Place(tmp_path, None))
        assert not isinstance(error.value, MissingData)
    (tmp_path / "dataset_info.json").write_text('{"mine": {"file_name": "mine.jsonl"}}', encoding="utf-8")
    with pytest.raises(MissingData, match="its file is not in"):
        load_questions(MINE, Place(tmp_path, None))


def test_a_name_is_looked_up_in_the_data_folder_alone(tmp_path, monkeypatch):
    place = own(tmp_path / "data", [{"instruction": "a", "output": "b"}])
    own(tmp_path / "mine", [{"instruction": "c", "output": "d"}])  # a folder of that name, where the command is run
    monkeypatch.chdir(tmp_path)
    assert load_questions(MINE, place).questions[0].prompt == "a"


def test_a_package_that_scoring_needs_is_asked_for_before_the_work(tmp_path, monkeypatch):
    rows = [{"instruction": "问", "question": "题", "answer": "答案:一"}]
    (tmp_path / "1-1.json").write_text(json.dumps(rows), encoding="utf-8")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DBAError, match="needs jieba") as error:
        load_questions(load_task("lawbench_1_1"), Place(tmp_path, None))
    assert "llamafactory-dba[eval]" in str(error.value)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert load_questions(load_task("lawbench_1_1"), Place(tmp_path, None)).questions[0].extra == {"question": "题"}


def test_two_languages_are_one_task_and_two_groups(tmp_path):
    row = {"question_text": "Q", "options": ["A. x", "B. y"], "answer_text": "B", "need_image": "no"}
    for name in ("english", "chinese"):
        rows = [row, {**row, "need_image": "yes"}]
        (tmp_path / f"{name}-questions-test.json").write_text(json.dumps(rows), encoding="utf-8")
    found = load_questions(load_task("m3exam"), Place(tmp_path, None))
    assert [each.group for each in found.questions] == ["m3exam_en", "m3exam_zh"]
    assert [each.prompt.split("\n")[-1] for each in found.questions] == [ASK["en"][0], ASK["zh"][0]]
    assert found.left_out == {"needs an image": 2}
    (tmp_path / "chinese-questions-test.json").unlink()
    with pytest.raises(MissingData, match=r"M3Exam \(Chinese\)"):
        load_questions(load_task("m3exam"), Place(tmp_path, None))


def test_the_share_of_a_divided_corpus_is_the_published_one(tmp_path):
    lines = [f"Sentence {i}.@{('negative', 'neutral', 'positive')[i % 3]}" for i in range(20)]
    (tmp_path / "Sentences_50Agree.txt").write_text("\n".join(lines), encoding="utf-8")
    found = load_questions(load_task("fpb"), Place(tmp_path, None)).questions
    places = find("fpb").divide.places(20)["test"]
    assert len(found) == 5
    assert [each.prompt.split("\n")[1] for each in found] == [f"Sentence {place}." for place in places]


def test_only_the_split_that_is_asked_is_fetched():
    def narrowed(name):
        task = load_task(name)
        return _only_needed(task, find(task.source[0]))

    assert list(narrowed("ceval").huggingface.splits) == ["validation"]
    assert list(narrowed("fpb").huggingface.splits) == ["all"] and list(narrowed("fpb").local) == ["all"]
    assert narrowed("cmb_exam").huggingface is None  # its test is read from local files alone
    assert narrowed("lawbench_3_8").local == {"test": "3-8.json"}


def test_half_of_a_divided_corpus_is_not_enough(tmp_path):
    (tmp_path / "task1_headline_ABSA_train.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MissingData, match="train alone"):
        load_questions(load_task("fiqa"), Place(tmp_path, None))


def test_the_hub_is_asked_last(tmp_path, monkeypatch):
    """No network is needed for the refusal: the client is offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingData, match="cannot be reached") as error:
        load_questions(load_task("piqa"), Place(tmp_path, "huggingface"))
    assert "data prepare piqa" in str(error.value)


COUNTS = {
    "piqa": 1838, "piqa_likelihood": 1838, "medmcqa": 2816, "medmcqa_likelihood": 2816, "tfns": 2388, "mmlu": 14042,
    "mmlu_likelihood": 14042, "cmmlu": 11582, "cmmlu_likelihood": 11582, "ceval": 1346, "gsm8k": 1319, "math": 1000,
    **{f"lawbench_{task.replace('-', '_')}": 500 for task in TASKS},
}  # fmt: skip
GROUPS = {"mmlu": 57, "cmmlu": 67, "ceval": 52}


@real
@pytest.mark.parametrize("name", COUNTS)
def test_real_data_is_found_whole(name):
    task = replace(load_task(name), metric="any")  # jieba, an extra, is for scoring alone
    try:
        found = load_questions(task, Place(REAL, None))
    except MissingData as error:
        pytest.skip(str(error))
    assert len(found.questions) == COUNTS[name] and not found.left_out
    assert all(each.reference or name == "lawbench_2_6" for each in found.questions)
    assert len({each.group for each in found.questions}) == GROUPS.get(name.removesuffix("_likelihood"), 1)


@real
@pytest.mark.parametrize("file", ["mmlu/mmlu_test.jsonl", "cmmlu_ceval_zh/cmmlu_test.jsonl"])
def test_every_real_prompt_of_choices_is_read_back(file):
    if not (REAL / file).is_file():
        pytest.skip(f"{file} is not there")
    for record in read_records(REAL / file):
        choices = [choice.strip() for choice in record["choices"]]
        prompt = choice_prompt(record["question"], choices)
        assert read_choice_prompt(prompt) == (record["question"].strip(), tuple(choices), "en", False)
