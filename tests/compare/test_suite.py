"""Bad suites: everything that is wrong is said at once, with the nearest name."""

import pytest

from llamafactory_dba.compare.suite import parse_suite, ratio_of, read_suite
from llamafactory_dba.errors import DBAError
from tests.compare.worlds import ROOT, smoke


def problems(**changes) -> str:
    with pytest.raises(DBAError) as stop:
        parse_suite(smoke(**changes))
    return str(stop.value)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "compare").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_suites_that_come_with_it_are_read(path):
    suite = read_suite(path)
    assert suite.name == path.stem
    head = path.read_text(encoding="utf-8").split("\nname:")[0]
    for part in ("# Purpose:", "# Needs:", "# Command:", "# Expected time and result:"):
        assert part in head


def test_an_unknown_key_is_answered_with_the_nearest():
    assert "unknown key `seed`; did you mean `seeds`?" in problems(seed=3)
    methods = {"direct": {"tittle": "x"}}
    assert "`methods.direct` has an unknown key `tittle`; did you mean `title`?" in problems(methods=methods)


def test_all_problems_come_together():
    text = problems(seeds=[1, 1], evaluate="lite", timeout=-1, reference="dbb")
    assert "`timeout` must be a number above 0" in text
    text = problems(seeds=[1, 1], evaluate="lite", reference="dbb")
    assert "`seeds` must name one or more, each once" in text
    assert "did you mean `light`" in text and "did you mean `dba`" in text


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"methods": {}}, "`methods` must name one or more"),
        ({"seeds": []}, "`seeds`"),
        ({"seeds": ["one"]}, "`seeds` must be a list of whole numbers"),
        ({"seeds": [True]}, "`seeds` must be a list of whole numbers"),
        ({"bases": {"b": {"template": "x"}}}, "lacks `model`"),
        ({"methods": {"a/b": {}}}, "a name has letters"),
        ({"methods": {1: {}}}, "a name has letters"),
        ({"methods": {"m": {"mix": "1:0"}}}, "such as '1:3'"),
        ({"methods": {"m": {"mix": "three"}}}, "such as '1:3'"),
        ({"methods": {"m": {"mix": "1:3"}}, "general": ""}, "needs `general`"),
        ({"methods": {"m": {"needs": ["ancor"]}}}, "did you mean `anchor`"),
        ({"methods": {"m": {}, "w": {"of": "n", "frontier": [0.5]}}}, "'n' is unknown"),
        ({"methods": {"m": {}, "w": {"of": "m"}}}, "`of` and `frontier` belong together"),
        ({"methods": {"m": {}, "w": {"of": "m", "frontier": [1.5]}}}, "alphas lie between 0"),
        ({"methods": {"m": {}, "w": {"of": "m", "frontier": [0.5], "keys": {"a": 1}}}}, "trains nothing"),
        ({"sweeps": {"s": {"key": "lora_rank", "values": [1], "methods": ["dbaa"]}}}, "did you mean `dba`"),
        ({"sweeps": {"s": {"key": "lora_rank", "values": [], "methods": ["dba"]}}}, "needs values and methods"),
        ({"budget": {"equal": "step"}}, "did you mean `steps`"),
        ({"evaluation": {"limits": 3}}, "did you mean `limit`"),
    ],
)
def test_bad_values(changes, words):
    changes.setdefault("reference", "")
    assert words in problems(**changes)


def test_no_suite_at_all(tmp_path):
    with pytest.raises(DBAError, match="cannot be read"):
        read_suite(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(DBAError, match="cannot be read"):
        read_suite(tmp_path / "broken.yaml")
    with pytest.raises(DBAError, match="no suite"):
        parse_suite([1, 2])


def test_ratios():
    assert ratio_of("1:3") == 3
    assert ratio_of("2:1") == 0.5
