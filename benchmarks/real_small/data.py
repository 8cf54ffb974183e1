"""Real data, read at run time and split: general text, general instructions, TFNS finance tweets.

Nothing here is copied into the repository. Every split is fixed (seeded by ``SPLIT_SEED``), so that all runs and
all seeds see the same rows. The finance data is in no general split.
"""

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path


SPLIT_SEED = 20250926
LABELS = ("negative", "neutral", "positive")
MAX_ANSWER_CHARS = 500  # longer Alpaca answers would only be cut off at 256 tokens
_URL = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Item:
    """One held-out multiple-choice question: the answer is ``choices[gold]``.

    Args:
        prompt: a user message, or plain text to go on from where ``raw`` is set.
        choices: the possible answers.
        gold: index of the right one.
        raw: no chat template around the prompt.
        per_token: compare mean instead of summed log-likelihoods; for free texts of different length.
    """

    prompt: str
    choices: tuple[str, ...]
    gold: int
    raw: bool = False
    per_token: bool = False


@dataclass
class Splits:
    """All rows of the benchmark. ``*_train`` are alpaca rows, ``held_out`` maps a set's name to its items."""

    text_train: list[str] = field(default_factory=list)
    text_held_out: dict[str, list[str]] = field(default_factory=dict)
    general_train: dict[str, list[dict]] = field(default_factory=dict)
    held_out: dict[str, list[Item]] = field(default_factory=dict)


def normalise(text: str) -> str:
    """Return ``text`` lower-cased, without URLs and with single blanks: the key for duplicates."""
    return " ".join(_URL.sub(" ", text).lower().split())


def read_rows(path: Path) -> list[dict]:
    """Read a ``.json`` list or a ``.jsonl`` file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return json.loads(text)


def user_message(row: dict) -> str:
    """Join instruction and input the way LLaMA-Factory's alpaca converter does."""
    return "\n".join(part for part in (row["instruction"], row.get("input", "")) if part)


def drop_seen(rows: Iterable[dict], seen: set[str], key=user_message) -> list[dict]:
    """Return the rows whose normalised key is neither in ``seen`` nor in an earlier row."""
    kept, known = [], set(seen)
    for row in rows:
        text = normalise(key(row))
        if text and text not in known:
            known.add(text)
            kept.append(row)
    return kept


def tfns(root: Path, train_rows: int | None = None) -> tuple[list[dict], list[Item]]:
    """Return TFNS: (training rows, test items).

    Training rows: only ``source == "tfns"``, no duplicates and no test sentence once URLs are stripped.
    The test set is TFNS validation with 0 = negative, 1 = positive, 2 = neutral already decoded (data README).
    """
    test_rows = read_rows(root / "finance_sentiment" / "tfns_test.json")
    train = [r for r in read_rows(root / "finance_sentiment" / "fin_sentiment_train.json") if r["source"] == "tfns"]
    train = drop_seen(train, {normalise(r["input"]) for r in test_rows}, key=lambda r: r["input"])
    random.Random(SPLIT_SEED).shuffle(train)
    columns = ("instruction", "input", "output")
    train = [{name: row[name] for name in columns} for row in train[:train_rows]]
    unknown = {r["output"] for r in train + test_rows} - set(LABELS)
    if unknown:
        raise ValueError(f"TFNS labels outside {LABELS}: {sorted(unknown)}")
    return train, [Item(user_message(r), LABELS, LABELS.index(r["output"])) for r in test_rows]


def lettered(row: dict) -> dict:
    """Turn a multiple-choice row into an alpaca row whose answer is the letter."""
    lines = [row["question"], *(f"{chr(65 + i)}. {c}" for i, c in enumerate(row["choices"])), "Answer:"]
    return {"instruction": "\n".join(lines), "input": "", "output": row["answer"]}


def _letter_items(rows: list[dict], limit: int) -> list[Item]:
    items = []
    for row in rows[:limit]:
        letters = tuple(chr(65 + i) for i in range(len(row["choices"])))
        items.append(Item(lettered(row)["instruction"], letters, letters.index(row["answer"])))
    return items


def _true_false(row: dict) -> dict:
    output = row["choices"][ord(row["answer"]) - 65]
    return {"instruction": "True or false?", "input": row["question"], "output": output}


def _select_items(rows: list[dict], rng: random.Random, limit: int, wrong: int = 3) -> list[Item]:
    """Make "which answer belongs to this prompt" items: the true answer among those of other held-out prompts."""
    items = []
    for i, row in enumerate(rows[:limit]):
        others = sorted({r["output"] for j, r in enumerate(rows) if j != i} - {row["output"]})
        choices = [*rng.sample(others, wrong), row["output"]]
        rng.shuffle(choices)
        items.append(Item(user_message(row), tuple(choices), choices.index(row["output"]), per_token=True))
    return items


def _cloze_items(blocks: list[str], rng: random.Random, limit: int) -> list[Item]:
    """Make raw-text items: which of four held-out sentences goes on this passage?"""
    pairs = []
    for line in "\n".join(blocks).splitlines():
        sentences = [s for s in re.split(r"(?<=[.!?]) +", line) if 30 <= len(s) <= 200]
        pairs += [(sentences[i], sentences[i + 1]) for i in range(0, len(sentences) - 1, 2)]
    rng.shuffle(pairs)
    rows = [{"instruction": first, "output": " " + second} for first, second in pairs]
    return [replace(i, raw=True) for i in _select_items(rows, rng, limit)]


def _text_blocks(path: Path, size: int = 1000) -> list[str]:
    """Cut a text file at line ends into blocks of about ``size`` characters."""
    blocks, block = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            block += line.strip() + "\n"
        if len(block) >= size:
            blocks.append(block.strip())
            block = ""
    return blocks


def general_splits(root: Path, *, text_chars: int = 9_000_000, limit: int = 300) -> Splits:
    """Return the general data: text and instructions to train on, and held-out sets of ``limit`` items each."""
    rng, out = random.Random(SPLIT_SEED), Splits()
    for name, file in (
        ("novels", "text_novels_en/novels_en.txt"),
        ("news", "text_news_history_en/wiki_current_events_2015-2024-11.txt"),
    ):
        blocks = _text_blocks(root / file)
        held = blocks[20::40]  # every 40th block: 2.5 %
        held_set = set(held)
        rest = [b for b in blocks if b not in held_set]
        rng.shuffle(rest)
        out.text_train += rest[: text_chars // 2 // 1050]
        out.text_held_out[name] = held[:60]
        out.held_out[f"{name}_next_sentence"] = _cloze_items(held, rng, limit)
    rng.shuffle(out.text_train)
    _add_instructions(root, out, rng, limit)
    return out


def _add_instructions(root: Path, out: Splits, rng: random.Random, limit: int) -> None:
    folder, common = root / "general_instruct_en", root / "commonsense_en"
    alpaca = [r for r in read_rows(folder / "alpaca_en_10k.json") if 0 < len(r["output"]) <= MAX_ANSWER_CHARS]
    rng.shuffle(alpaca)
    held, alpaca = alpaca[:400], alpaca[400:]
    out.general_train["alpaca"] = drop_seen(alpaca, {normalise(user_message(r)) for r in held})
    out.held_out["alpaca_answer"] = _select_items(held, rng, limit)

    web = read_rows(folder / "webquestions_test.json")
    train = read_rows(folder / "webquestions_train.json")
    out.general_train["webquestions"] = drop_seen(train, {normalise(user_message(r)) for r in web})
    out.held_out["webquestions_answer"] = _select_items(web, rng, limit)

    _add_news_topic(root, out, rng, limit)
    trivia = read_rows(folder / "opentrivia_test.jsonl")
    train = read_rows(folder / "opentrivia_train_sft_20k.json")
    out.general_train["opentrivia"] = drop_seen(train, {normalise(lettered(r)["instruction"]) for r in trivia})[:4000]
    out.held_out["opentrivia"] = _letter_items(trivia, limit)

    for name in ("arc_easy", "arc_challenge", "openbookqa"):
        test = read_rows(common / f"{name}_test.jsonl")
        seen = {normalise(lettered(r)["instruction"]) for r in test}
        train = [lettered(r) for r in read_rows(common / f"{name}_train.jsonl")]
        out.general_train[name] = drop_seen(train, seen)
        out.held_out[name] = _letter_items(test, limit)

    test = [_true_false(r) for r in read_rows(common / "boolq_test.jsonl")]
    train = [_true_false(r) for r in read_rows(common / "boolq_train.jsonl")]
    out.general_train["boolq"] = drop_seen(train, {normalise(user_message(r)) for r in test})[:4000]
    words = ("true", "false")
    out.held_out["boolq"] = [Item(user_message(r), words, words.index(r["output"])) for r in test[:limit]]


def _add_news_topic(root: Path, out: Splits, rng: random.Random, limit: int) -> None:
    """Add topic classification of news events; train and held-out rows differ in date, so no story is in both."""
    rows = read_rows(root / "news_events_2025" / "wiki_current_events_2024-12_2026-03.jsonl")
    rows = [r for r in rows if r["category_agrees"] and r["event"].strip()]
    topics = tuple(sorted({r["category"] for r in rows}))
    ask = "What is the topic of this news?"
    turn = [{"instruction": ask, "input": r["event"], "output": r["category"], "date": r["date"]} for r in rows]
    held = [r for r in turn if r["date"] >= "2025-12-01"]
    train = [r for r in turn if r["date"] < "2025-12-01"]
    for row in turn:
        row.pop("date")
    rng.shuffle(held)
    out.general_train["news_topic"] = drop_seen(train, {normalise(user_message(r)) for r in held})
    items = [Item(user_message(r), topics, topics.index(r["output"])) for r in held]
    out.held_out["news_topic"] = items[:limit]
