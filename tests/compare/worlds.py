"""Suites for the tests, and a stand-in for the worker that answers at once instead of training."""

import sys
from pathlib import Path

import yaml


ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "examples" / "compare" / "micro_smoke.yaml"

# Speaks the protocol of compare/worker.py and needs neither torch nor the host. What it does is said by the settings
# that arrive: a learning rate of 0.5 dies, 0.25 hangs, 0.125 finds a full disk, 0.0625 fails, 0.03125 diverges.
FAKE = """
import json, os, signal, sys, time
from pathlib import Path
import yaml
for line in sys.stdin:
    job = json.loads(line)
    kind, value = job["kind"], {}
    if kind == "check":
        value = {"problems": []}
    if kind == "train":
        keys = yaml.safe_load(Path(job["yaml"]).read_text())
        Path(job["log"]).write_text("first line\\nlast words of the log\\n")
        out = Path(keys["output_dir"])
        out.mkdir(parents=True, exist_ok=True)
        (out / "model.safetensors").write_bytes(b"weights")
        (out / "trained.txt").write_text(str(time.time_ns()))
        name = "anchor_config.json" if keys.get("dba_stage") else "rate.txt"
        (out / name).write_text(str(keys.get("learning_rate")))
        rate = keys.get("learning_rate")
        if rate == 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        if rate == 0.25:
            time.sleep(600)
        error = {0.125: "OSError: [Errno 28] No space left on device", 0.0625: "ValueError: broken",
                 0.03125: "DBAError: step 3 is not finite"}.get(rate)
        if error:
            print(json.dumps({"ok": False, "error": error}), flush=True)
            continue
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    if kind == "measure" and os.environ.get("FAKE_MEASURE"):
        print(json.dumps({"ok": False, "error": "ValueError: no score"}), flush=True)
        continue
    if kind == "measure" and os.environ.get("FAKE_NONSENSE"):
        print(json.dumps({"ok": True, "value": {}}), flush=True)
        continue
    if kind in ("base", "measure"):
        tasks = {"t": {"role": "general", "metric": "m", "value": 40.0, "n": 5, "unparsed": 0, "version": "1"}}
        s_d = 50.0 + job["about"].get("seed", 0)
        value = {"s_d": s_d, "s_g": 40.0, "s": 2 * s_d * 40 / (s_d + 40), "tasks": tasks}
        if kind == "measure":
            value["points"] = {
                item["folder"]: [
                    {"alpha": a, "results": f"alpha_{a:.2f}/results.json", **value} for a in item["alphas"]
                ]
                for item in job["frontiers"]
            }
            if job["about"]["settings"].get("learning_rate") == 0.015625:
                value["diverged"] = "grad_norm is nan"
    print(json.dumps({"ok": True, "value": value}), flush=True)
"""


def fake_worker(folder: Path) -> list[str]:
    """Command of the stand-in."""
    path = folder / "fake_worker.py"
    path.write_text(FAKE, encoding="utf-8")
    return [sys.executable, str(path)]


def smoke(**changes) -> dict:
    """The smoke suite as decoded YAML, with changes at the top."""
    return {**yaml.safe_load(SMOKE.read_text(encoding="utf-8")), **changes}


def write(raw: dict, folder: Path, name: str = "suite.yaml") -> Path:
    """A suite file."""
    path = folder / name
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path
