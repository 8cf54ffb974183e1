"""The wheel has every package: one that is forgotten in pyproject.toml works from a checkout only."""

import tomllib


def test_every_package_is_named(root):
    named = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    source = root / "src"
    there = {".".join(path.parent.relative_to(source).parts) for path in source.rglob("*.py")}
    board = {
        ".".join(("llamafactory_dba", *path.parent.relative_to(root).parts)) for path in (root / "webui").rglob("*.py")
    }
    assert set(named) == there | board
