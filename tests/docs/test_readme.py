"""README.md: generated parts are current, commands come first, links and names exist."""

import json
import re
import subprocess
import sys

import pytest

from llamafactory_dba.arguments import argument_names
from llamafactory_dba.reporting.parts import fill


@pytest.fixture(scope="module")
def text(root):
    return (root / "README.md").read_text(encoding="utf-8")


def test_generated_parts_are_current(root):
    command = [sys.executable, "scripts/update_readme.py", "--check"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def test_opens_with_the_two_commands(text):
    first = text.split("```")[1]
    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make demo", "make test"]
    assert text.index("make demo") < text.index("\n## ")


def test_every_argument_is_in_the_table(text):
    for name in argument_names():
        assert f"| `{name}` |" in text


def test_every_dba_key_it_mentions_exists(text):
    # file names and metrics of a run that begin like arguments
    others = {"dba_log", "dba_layers", "dba_run", "dba_gauge", "dba_qwen3", "dba_"}
    mentioned = set(re.findall(r"\b(?:use_dba|dba_[a-z0-9_]*)", text))
    assert mentioned - set(argument_names()) <= others


def test_local_links_and_named_files_exist(root, text):
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    links |= set(re.findall(r"\bexamples/\w+\.yaml", text))
    assert not {link for link in links if not (root / link).exists()}


def test_its_make_targets_exist(root):
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md"):
        document = (root / name).read_text(encoding="utf-8")
        for target in set(re.findall(r"(?:`|^|\n)make ([a-z-]+)", document)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name}: make {target}"


def test_no_generated_number_without_a_file(update_readme, tmp_path):
    block = update_readme.results_block(tmp_path)
    assert block.count("Not measured yet") == len(update_readme.SECTIONS)
    assert not re.search(r"\d", block)


def test_what_it_says_of_the_demo_is_still_so(root, text):
    files = sorted((root / "benchmarks" / "results").glob("demo*.json"))
    if not files:
        pytest.skip("the demo's results are not in benchmarks/results yet")
    assert "annealing alone (a tiny" in text
    for file in files:
        general = {record["name"]: record["s_g"] for record in json.loads(file.read_text(encoding="utf-8"))["records"]}
        assert general["annealing alone"] > general["DBA"], f"{file.name}: rewrite README's warning"


def test_a_demo_file_becomes_tables(update_readme, tmp_path):
    scores = {"s_d": 50.0, "general": {"strings": 75.0}, "s_g": 75.0, "s": 60.0, "n_domain": 9}
    scores |= {"n_per_skill": {"strings": 8}, "unparsed_domain": 0, "unparsed_general": 0}
    run = {**scores, "name": "DBA", "seconds": 1.0, "peak_memory_bytes": 10**6, "delta": {"s_d": 1, "s_g": 2, "s": 3}}
    result = {
        "schema": "llamafactory-dba/demo/1",
        "base": "micro-base",
        "domain": "law",
        "domain_chance": 25.0,
        "seed": 7,
        "records": [{**scores, "name": "base"}, run],
        "anchor": {"seconds": 2.0, "peak_memory_bytes": 10**6, "bytes": 1000},
        "seconds_total": 5.0,
        "machine": {"cores": 2, "processor": "x86_64", "python": "3.11"},
        "versions": {"torch": "2.11"},
    }
    (tmp_path / "demo_law.json").write_text(json.dumps(result), encoding="utf-8")
    block = update_readme.results_block(tmp_path)
    assert "| DBA | 50.0 | 75.0 | 75.0 | 60.0 |" in block
    assert "Machine: x86_64, 2 cores, Python 3.11, torch 2.11." in block
    assert '`make demo ARGS="--base micro-base --domain law --seed 7"`' in block


def test_an_overhead_file_becomes_a_row(update_readme):
    result = {
        "benchmark": "DBA step against plain step",
        "machine": {
            "processor": "Some CPU",
            "cores": 2,
            "threads": 1,
            "device": "cpu",
            "python": "3.11",
            "torch": "2.11",
        },
        "shape": {"parameters": 29e6, "tokens": 1280, "rank": 32, "dtype": "float32"},
        "pairs": 20,
        "seconds": {"plain": {}, "dba": {}},
        "ratio": {"median": 1.0456, "q1": 1.03, "q3": 1.06},
        "goal": {"ratio": 1.05},
        "arithmetic_limit": 0.0083,
        "memory_bytes": {"plain": 2**30, "dba": 2**30 + 2**20},
    }
    missed = {**result, "ratio": {"median": 1.07, "q1": 1.05, "q3": 1.09}}
    text = update_readme.overhead_section([result, missed])
    assert "1.046 (1.030–1.060), n = 20 | ≤ 1.05: met | 0.83% | 1,025 MiB instead of 1,024 | [1]" in text
    assert "1.070 (1.050–1.090), n = 20 | ≤ 1.05: missed" in text
    assert text.count("Some CPU, 2 cores, torch on 1 of them, Python 3.11, torch 2.11") == 1


def test_markers_must_be_there():
    with pytest.raises(ValueError, match="arguments:begin"):
        fill("no markers", {"arguments": "x"}, "README.md")


def test_filling_twice_changes_nothing(update_readme, text):
    once = fill(text, update_readme.blocks(), "README.md", gap="")
    assert fill(once, update_readme.blocks(), "README.md", gap="") == once


def test_text_around_a_part_is_kept():
    before = "a\n<!-- x:begin (make docs) -->\nold\n<!-- x:end -->\nz\n"
    assert fill(before, {"x": "n\\1ew"}, "page", gap="") == before.replace("old", "n\\1ew")
