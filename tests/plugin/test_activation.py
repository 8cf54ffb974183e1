"""The extension is really loaded: whatever is imported first, in every kind of process, and not where it must not be.

Every case is a fresh interpreter, because the order of imports is the point.
"""

import os
import re
import subprocess
import sys
import textwrap
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import support


ROOT = Path(__file__).parents[2]

# What users' processes import first: the command, torchrun's worker (launcher as __main__ imports the tuner), Ray's
# default worker, the board, and scripts that start anywhere.
FIRST_IMPORTS = [
    "llamafactory.cli",
    "llamafactory.train.tuner",
    "llamafactory.hparams",
    "transformers",
    "llamafactory.hparams.finetuning_args",
    "llamafactory.hparams.parser",
    "llamafactory.train.trainer_utils",
    "llamafactory.train.sft",
    "llamafactory.train.sft.workflow",
    "llamafactory.train.dpo.trainer",
    "llamafactory.webui.interface",
    "llamafactory.api.app",
    "torch",
]
FAST = FIRST_IMPORTS[1:4]

CHECK = """
import {first}
from llamafactory.hparams import FinetuningArguments, get_train_args
from llamafactory.hparams.parser import _TRAIN_ARGS
from llamafactory.train import tuner
from llamafactory_dba import plugin
import dataclasses, pickle
assert plugin.unextended() == [], plugin.unextended()
assert "dba_svd_rank" in [f.name for f in dataclasses.fields(FinetuningArguments)]
assert FinetuningArguments in _TRAIN_ARGS
assert tuner.run_sft.__dba__ and tuner.run_kto.__dba__
args = FinetuningArguments(finetuning_type="full", use_dba=True, dba_anchor_path="x")
assert pickle.loads(pickle.dumps(args)) == args and args.to_dict()["dba_svd_rank"] == 512
print("active")
"""


def python(code: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=support.environment(**variables),
        timeout=240,
        check=False,
    )


def check_first_imports(names):
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: python(CHECK.format(first=name)), names))
    failed = {name: result.stderr[-600:] for name, result in zip(names, results, strict=True) if result.returncode}
    assert not failed


def test_active_whatever_is_imported_first():
    check_first_imports(FAST)


@pytest.mark.slow
def test_active_whatever_is_imported_first_all():
    check_first_imports([name for name in FIRST_IMPORTS if name not in FAST])


def test_switched_off_by_one_variable():
    code = """
    import dataclasses
    from llamafactory.hparams.parser import get_train_args
    from llamafactory.hparams import FinetuningArguments
    assert not any(f.name.startswith("dba") for f in dataclasses.fields(FinetuningArguments))
    print("off")
    """
    assert python(code, DBA_DISABLE="1").stdout.strip() == "off"


def test_unknown_host_refuses_dba_and_nothing_else():
    code = """
    import llamafactory.extras.env as env   # does not import torch yet
    env.VERSION = "0.11.0"
    from llamafactory.hparams import FinetuningArguments
    from llamafactory.train import tuner
    FinetuningArguments(finetuning_type="full")
    assert not hasattr(tuner.run_sft, "__dba__")
    try:
        FinetuningArguments(finetuning_type="full", use_dba=True, dba_anchor_path="x")
    except ValueError as error:
        print(error)
    """
    result = python(code)
    assert "llamafactory >= 0.9.5, < 0.10" in result.stdout
    assert "found: llamafactory 0.11.0" in result.stdout
    assert "remove the dba_* arguments" in result.stdout


def test_a_changed_host_is_told_from_a_good_one():
    """A trainer class that is gone: a warning at import, the host works, DBA is refused."""
    code = """
    import warnings
    warnings.simplefilter("ignore")
    from llamafactory_dba import plugin
    plugin.TRAINER_CLASSES["kto"] = "Renamed"
    from llamafactory.train import tuner
    from llamafactory.hparams import FinetuningArguments
    FinetuningArguments(finetuning_type="full")
    try:
        FinetuningArguments(finetuning_type="full", use_dba=True, dba_anchor_path="x")
    except ValueError as error:
        print(error)
    """
    result = python(code)
    assert "not extended: llamafactory.train.kto.trainer" in result.stdout, result.stderr[-500:]


def test_torch_stays_importable_when_registering_fails():
    code = """
    import sys, types, warnings
    broken = types.ModuleType("llamafactory_dba.plugin")
    sys.modules["llamafactory_dba.plugin"] = broken   # has no install()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import torch
    print([str(item.message) for item in caught if "llamafactory-dba" in str(item.message)])
    """
    result = python(code)
    assert result.returncode == 0
    assert "is not active" in result.stdout


def test_package_imports_before_torch_and_stays_light():
    code = """
    import sys, llamafactory_dba, llamafactory_dba.autoload, llamafactory_dba.webui
    print("torch" in sys.modules, "llamafactory" in sys.modules)
    """
    assert python(code).stdout.split() == ["False", "False"]


@pytest.mark.parametrize("first", ["training.holding_callback", "training.guard", "data.self_general.engine"])
def test_the_host_can_train_by_preference_whichever_of_our_modules_came_first(first):
    """The host's model loader, as the first import of all, leaves a trl that misses "mergekit"."""
    result = python(f"import llamafactory_dba.{first}, llamafactory.train.dpo.trainer; print('both')")
    assert result.stdout.split()[-1:] == ["both"], result.stderr[-500:]


def test_models_are_loaded_through_host_model_alone():
    files = [file for folder in ("src", "webui") for file in (ROOT / folder).rglob("*.py")]
    imported = re.compile(r"^\s*(from|import) llamafactory\.model\b", re.MULTILINE)
    assert [file.name for file in files if imported.search(file.read_text(encoding="utf-8"))] == ["host_model.py"]


def test_help_and_typos(tmp_path):
    helped = subprocess.run(
        ["llamafactory-cli", "train", "-h"],
        capture_output=True,
        text=True,
        env=support.environment(),
        timeout=240,
        check=False,
    )
    assert helped.returncode == 0
    assert "--dba_boost_magnitude" in helped.stdout
    typo = support.run_cli({"dba_svd_rnk": 4, "model_name_or_path": "x", "output_dir": "y"}, tmp_path)
    assert typo.returncode != 0
    assert "`dba_svd_rnk`: did you mean `dba_svd_rank`?" in typo.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_wheel_has_everything(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "llamafactory_dba/webui/__init__.py" in names
    assert "llamafactory_dba/core/fused.py" in names
    points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "[torch.backends]" in zipfile.ZipFile(wheel).read(points).decode()


@pytest.mark.slow
def test_wheel_installs_works_and_uninstalls(wheel, tmp_path):
    """In a fresh virtual environment that sees this one's packages, but not this package."""
    venv.create(tmp_path / "venv", with_pip=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    shared = [p for p in sys.path if p.endswith("site-packages")]
    view = tmp_path / "host"
    view.mkdir()
    for folder in shared:
        for entry in Path(folder).iterdir():
            if "llamafactory_dba" not in entry.name and not (view / entry.name).exists():
                os.symlink(entry, view / entry.name)
    (site / "host.pth").write_text(str(view))
    interpreter = str(tmp_path / "venv" / "bin" / "python")

    def keys() -> str:
        code = "import sys; sys.argv[1:] = ['train', '-h']; from llamafactory.cli import main; main()"
        return subprocess.run(
            [interpreter, "-c", code], capture_output=True, text=True, env=support.environment(), check=False
        ).stdout

    def pip(*words: str) -> None:
        subprocess.run([interpreter, "-m", "pip", *words], check=True, capture_output=True)

    assert "--dba_svd_rank" not in keys()
    pip("install", "--no-deps", "--no-index", str(wheel))
    assert "--dba_svd_rank" in keys()
    pip("uninstall", "-y", "llamafactory-dba")
    after = keys()
    assert "--learning_rate" in after
    assert "--dba_svd_rank" not in after
