"""Writes ``data/micro`` and its entries in ``data/dataset_info.json``."""

import argparse
import json
from pathlib import Path

from .files import dataset_entries, write_all
from .world import SEED


def main() -> None:
    """Parse the command line, write the files, print their sizes."""
    parser = argparse.ArgumentParser(prog="python -m llamafactory_dba.data.micro", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data"), help="dataset_dir to write into")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the world; the models know the default one")
    args = parser.parse_args()
    for path in write_all(args.folder / "micro", args.seed):
        print(f"{path.stat().st_size:9,d}  {path}")

    info = args.folder / "dataset_info.json"
    entries = json.loads(info.read_text(encoding="utf-8")) if info.is_file() else {}
    entries.update(dataset_entries())
    info.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
