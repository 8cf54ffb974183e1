import json
from pathlib import Path

import pytest
import yaml

from benchmarks.real_small import host, methods, summary


def config(name, method=None):
    method = method or methods.METHODS[name]
    return methods.train_config(method, Path("base"), Path("data"), Path("anchor"), Path("out"), seed=7)


def dba_block(found):
    return {key: value for key, value in found.items() if "dba" in key}


def test_the_annealing_family_differs_in_its_dba_block_only():
    plain = config("annealing")
    assert not dba_block(plain)
    for name in ("ggb", "dc", "dba"):
        found = config(name)
        block = dba_block(found)
        assert {k: v for k, v in found.items() if k not in block} == plain
        assert block["use_dba"] is True
        assert block["dba_anchor_path"] == "anchor"
    assert dba_block(config("ggb"))["dba_use_correction"] is False
    assert dba_block(config("dc"))["dba_boost_magnitude"] == 0
    assert dba_block(config("dba"))["dba_boost_magnitude"] == 200


def test_annealing_is_linear_without_warm_up_at_a_tenth_of_the_rate():
    annealing, direct = config("annealing"), config("direct")
    assert (annealing["lr_scheduler_type"], annealing["warmup_steps"]) == ("linear", 0)
    assert annealing["learning_rate"] == pytest.approx(direct["learning_rate"] / 10)
    assert annealing["num_train_epochs"] == direct["num_train_epochs"] == 1
    assert annealing["per_device_train_batch_size"] == 8
    assert annealing["seed"] == annealing["data_seed"] == 7


def test_mixing_names_both_data_sets():
    assert config("mix_1_1")["dataset"] == "finance_half,general_half"
    assert config("mix_double")["dataset"] == "finance,general_sample"


def test_another_magnitude():
    name, method = methods.with_magnitude("ggb", 20)
    assert name == "ggb_k20"
    assert dba_block(config(name, method)) == dba_block(config("ggb")) | {"dba_boost_magnitude": 20}
    for refused in ("direct", "dc"):
        with pytest.raises(ValueError, match="no boost"):
            methods.with_magnitude(refused, 20)


def test_yaml_round_trip_and_dataset_info(tmp_path):
    assert yaml.safe_load(yaml.safe_dump(config("dba"))) == config("dba")
    host.write_dataset_info(
        tmp_path, {"rows": [{"instruction": "a", "output": "b"}], "text": [{"text": "c"}]}, ("text",)
    )
    host.write_dataset_info(tmp_path, {"more": []})
    info = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    assert set(info) == {"rows", "text", "more"}
    assert info["text"]["columns"] == {"prompt": "text"}
    assert all((tmp_path / entry["file_name"]).is_file() for entry in info.values())


def scores(f1, topic, letters):
    def general(accuracy, chance):
        return {
            "accuracy": accuracy,
            "accuracy_ci95": [accuracy - 5, accuracy + 5],
            "chance": chance,
            "answer_loss": 1.0,
        }

    return {
        "finance": {"weighted_f1": f1},
        "general": {"topic": general(topic, 10.0), "letters": general(letters, 25.0)},
        "text": {"novels": {"loss": 3.0}},
    }


def test_only_sets_above_chance_are_counted_and_the_base_decides():
    base = scores(30.0, 60.0, 27.0)
    assert summary.counted_sets(base) == ["topic"]
    found = summary.headline(scores(80.0, 35.0, 90.0), base, ["topic"])
    assert (found["S_D"], found["S_G"]) == (80.0, 35.0)
    assert found["S"] == pytest.approx(2 * 80 * 35 / 115)
    assert found["kept"] == pytest.approx(100 * 35 / 60)
    assert found["kept_skill"] == pytest.approx(50)


def test_a_base_that_knows_nothing_is_refused():
    base = scores(30.0, 11.0, 27.0)
    with pytest.raises(ValueError, match="nothing could be forgotten"):
        summary.summarise(base, [])


def test_summary_has_mean_and_spread_over_seeds():
    base = scores(30.0, 60.0, 27.0)
    run = {"method": "direct", "seconds": 1.0, "peak_rss_mib": 5.0, "note": "", "learning_rate": 1.0, "steps": 400}
    run["dba_log"] = {"similarity": 0.25}
    runs = [run | {"seed": s, "scores": scores(f1, 50.0, 27.0)} for s, f1 in enumerate((70.0, 80.0))]
    found = summary.summarise(base, runs)
    direct = found["summary"]["direct"]
    assert direct["S_D"] == {"mean": 75.0, "std": pytest.approx(7.0710678), "n": 2}
    assert direct["log"]["similarity"]["mean"] == 0.25
    assert found["base_headline"]["kept"] == 100
    other = summary.summarise(scores(30.0, 11.0, 27.0), runs, judge=base)
    assert other["counted_sets"] == ["topic"]
    assert other["summary"]["direct"]["kept_skill"] is None  # nothing was there to keep: no ratio of noise
    assert summary.spread([1.0])["std"] is None
    with pytest.raises(ValueError, match="no values"):
        summary.spread([])
