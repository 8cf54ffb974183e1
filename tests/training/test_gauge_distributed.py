"""The gauge through `llamafactory-cli`, in one process and in two."""

import json

import pytest
import support


ON = {
    "use_dba": None,
    "dba_anchor_path": None,
    "dba_gauge_steps": 2,
    "dba_gauge_samples": 15,  # no multiple of two
}
SETS = {
    "scores": {"dba_gauge_dataset": "general", "dba_gauge_domain_dataset": "other", "dba_gauge_keep_best": True},
    "divergence": {},
}


def lines(folder):
    text = (folder / "dba_gauge.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_a_user_sees_it_in_the_console(world, tmp_path):
    args = support.arguments(world, tmp_path / "run", **ON, **SETS["scores"], dba_gauge_score="token")
    result = support.run_cli(args, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    text = result.stdout + result.stderr
    for part in (
        "DBA gauge: 15 general rows of general",
        "and 15 domain rows of other",
        "DBA gauge: a measurement takes",
        "'dba_gauge_s': ",
        "DBA gauge: 4 measurements took",
        "DBA gauge: best s",
    ):
        assert part in text
    assert [line["step"] for line in lines(tmp_path / "run")] == [0, 2, 4, 6]


@pytest.mark.slow
def test_a_bad_argument_ends_the_command_before_the_model_is_loaded(world, tmp_path):
    result = support.run_cli(support.arguments(world, tmp_path / "run", **ON, dba_gauge_dataset="genral"), tmp_path)
    assert result.returncode != 0
    assert "did you mean `general`?" in result.stderr
    assert "Loading weights" not in result.stderr and not (tmp_path / "run").exists()


@pytest.mark.distributed
@pytest.mark.parametrize("name", SETS)
def test_two_processes_measure_what_one_does(world, tmp_path, name):
    model = support.without_dropout(world / "model", tmp_path / "model")
    found = {}
    for processes, variables, batch in (("1", {}, 8), ("2", {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}, 4)):
        (tmp_path / processes).mkdir()
        args = support.arguments(
            world,
            tmp_path / processes / "run",
            **ON,
            **SETS[name],
            model_name_or_path=str(model),
            per_device_train_batch_size=batch,
            dba_gauge_patience=50 if name == "scores" else 0,
            num_train_epochs=2,  # not resumed: torch cannot load an optimizer's state onto "cpu:0", with or without us
        )
        result = support.run_cli(args, tmp_path / processes, **variables)
        assert result.returncode == 0, result.stderr[-2000:]
        found[processes] = lines(tmp_path / processes / "run")
    assert len(found["1"]) == len(found["2"]) == 7
    for one, two in zip(found["1"], found["2"], strict=True):
        assert one.keys() == two.keys()
        for key in one.keys() - {"seconds"}:
            # fp32 sums in another order, growing over twelve steps; an argmax may turn with them on a tie
            slack = {"rel": 2e-3, "abs": 1e-6} if key.endswith(("loss", "kl")) else {"abs": 3.0}
            assert one[key] == pytest.approx(two[key], **slack), key
