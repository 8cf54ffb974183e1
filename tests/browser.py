"""A headless Chromium for the tests of the web board: find it, or have it installed (``python tests/browser.py``).

Looked for in this order: the program that DBA_BROWSER names, Playwright's own, the names below on the path. Installed
from Debian's packages where apt-get may be used (it needs root; no other server than the package mirror is asked), by
``playwright install`` otherwise. Where neither goes, the reason is printed and the tests skip with it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path


NAMED_BY = "DBA_BROWSER"
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEBIAN = ("chromium-headless-shell", "fonts-wqy-microhei")  # 90 MB to load; the font has the board's zh, ja and ko
INSTALL_SECONDS = 300
NOT_HERE = f"no Chromium: `make test-browser` installs one where it can, {NAMED_BY}=PROGRAM names one"


def find() -> Path | None:
    """The browser's program; None where there is none.

    Raises:
        FileNotFoundError: DBA_BROWSER names something that is not there, which must not look like a skipped test.
    """
    named = os.environ.get(NAMED_BY)
    if named:
        found = shutil.which(named)
        if found is None:
            raise FileNotFoundError(f"{NAMED_BY}={named} is no program")
        return Path(found)
    own = _playwrights_own()
    if own is not None:
        return own
    return next((Path(path) for name in NAMES if (path := shutil.which(name))), None)


def install() -> str:
    """Install one if there is none; returns "" or why it cannot be had."""
    if find() is not None:
        return ""
    reasons = []
    for command in _ways():
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=_environment()
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reasons.append(f"{' '.join(command)}: {type(error).__name__}")
            continue
        if find() is not None:
            return ""
        lines = (done.stderr or done.stdout).strip().splitlines()
        if done.returncode:
            said = next(
                (line for line in lines if "rror" in line or line.startswith("E:")), lines[-1] if lines else ""
            )
            reasons.append(f"{' '.join(command)}: {said.strip()}")
    return "; ".join(reasons) or "no way to install one is known for this system"


def _ways() -> list[list[str]]:
    ways = []
    if sys.platform == "linux" and shutil.which("apt-get") and os.geteuid() == 0:
        apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"]
        ways += [[*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *DEBIAN]]
    return [*ways, [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]]


def _environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def _playwrights_own() -> Path | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        full = Path(playwright.chromium.executable_path)
    # the headless shell, which the tests use, has a folder of its own beside the full browser's
    shells = (
        sorted(full.parents[2].glob("chromium_headless_shell-*/*/*headless*shell*")) if len(full.parents) > 2 else []
    )
    return next((path for path in [*shells[::-1], full] if path.is_file() and os.access(path, os.X_OK)), None)


if __name__ == "__main__":
    problem = install()
    print(f"The browser tests are skipped: {problem}" if problem else f"Browser: {find()}")
