"""`llamafactory-cli` in a process that ends with the runner: ``python -m …child OUT PARENT train FILE.yaml``."""

import sys
from pathlib import Path

from .guard import end_with_parent


def main() -> None:
    """Watch the parent, then be the host's own command."""
    end_with_parent(Path(sys.argv[1]), int(sys.argv[2]))
    sys.argv = ["llamafactory-cli", *sys.argv[3:]]
    from llamafactory.cli import main as host

    host()


if __name__ == "__main__":
    main()
