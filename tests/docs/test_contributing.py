"""CONTRIBUTING.md and CHANGELOG.md speak of the tree as it is."""

import re
import tomllib

import pytest


@pytest.fixture(scope="module")
def layout(root):
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Layout")[1].split("## Rules")[0]
    return [line for line in text.split("\n") if line.startswith("    ")]


def test_the_layout_names_what_is_there(root, layout):
    package = root / "src" / "llamafactory_dba"
    named = set()
    for line in layout[1:]:
        base = package if line.startswith("      ") else root
        # names stand at the beginning of a line, or of its second column
        for name in re.findall(r"(?:^ +|, | {4,})([\w/]+(?:\.py|/))(?= |,|$)", line):
            assert (base / name).exists(), name
            named.add(base / name)
    folders = {path for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    forgotten = {path for path in folders if not any(path in (name, *name.parents) for name in named)}
    assert not forgotten


def test_the_changelog_has_this_version(root):
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\n## [{version}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_log_of_experiments_has_dated_entries_or_none(root):
    text = (root / "docs" / "log.md").read_text(encoding="utf-8")
    for heading in re.findall(r"^## (.*)$", text, re.MULTILINE):
        assert re.match(r"\d{4}-\d{2}-\d{2}  \S", heading) or heading == "Known before the first entry"
