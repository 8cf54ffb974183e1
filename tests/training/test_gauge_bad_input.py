"""What cannot be measured is refused before the model is loaded, in words that help."""

import json

import pytest
import support

from llamafactory_dba.errors import DBAError


OFF = {"use_dba": None, "dba_anchor_path": None, "dba_svd_rank": None, "dba_anchor_check_steps": None}
ON = {"dba_gauge_steps": 2, "dba_gauge_dataset": "general"}
SETTINGS = {
    "steps below 0": ({"dba_gauge_steps": -1}, "`dba_gauge_steps` must be >= 0"),
    "no samples": ({**ON, "dba_gauge_samples": 0}, "`dba_gauge_samples` must be >= 1"),
    "negative patience": ({**ON, "dba_gauge_patience": -1}, "`dba_gauge_patience` must be >= 0"),
    "patience without steps": ({"dba_gauge_dataset": "general", "dba_gauge_patience": 2}, "`dba_gauge_steps` is 0"),
    "data without steps": ({"dba_gauge_dataset": "general"}, "`dba_gauge_steps` is 0"),
    "patience on the divergence": ({"dba_gauge_steps": 2, "dba_gauge_patience": 2}, "every run would stop at once"),
    "best of what": ({"dba_gauge_steps": 2, "dba_gauge_keep_best": True}, "keeps the best S"),
    "best without domain rows": ({**ON, "dba_gauge_keep_best": True}, "needs held-out domain rows"),
    "best of texts": ({**ON, "stage": "pt", "dataset": "text", "dba_gauge_keep_best": True}, "stage `sft`"),
    "trained on": ({**ON, "dataset": "domain,general"}, "general, which this run trains on"),
    "pairs": ({**ON, "stage": "dpo", "dataset": "pairs"}, "stage `sft` or `pt`, found `dpo`"),
    "verdicts": ({**ON, "stage": "kto", "dataset": "kto"}, "found `kto`"),
    "anchor run": ({**ON, "dba_stage": "anchor"}, "nothing to gauge"),
    "streamed": ({"dba_gauge_steps": 2, "streaming": True, "max_steps": 3}, "fixed sample of training rows"),
    "several at once": ({**ON, "dba_gauge_samples": 0, "dba_gauge_patience": -1}, r"(?s)samples.*patience"),
}
DATA = {
    "misspelt": ({**ON, "dba_gauge_dataset": "genral"}, "did you mean `general`"),
    "one of two misspelt": ({**ON, "dba_gauge_dataset": "general, othr"}, "did you mean `other`"),
    "misspelt domain": ({**ON, "dba_gauge_domain_dataset": "nothing like it"}, "`dba_gauge_domain_dataset` names"),
    "no answers": ({**ON, "dba_gauge_dataset": "unanswered"}, "no row of unanswered"),
    "all cut off": ({**ON, "dba_gauge_dataset": "long", "cutoff_len": 16}, "raise `cutoff_len`"),
    "all in training": ({**ON, "dba_gauge_dataset": "copy"}, "48 also in the training data"),
    "pairs as general data": ({**ON, "dba_gauge_dataset": "pairs"}, "not applicable in the current"),
}


@pytest.fixture(scope="module")
def data(world, tmp_path_factory):
    """The world's data and some that cannot be measured."""
    folder = tmp_path_factory.mktemp("gauge-data")
    for path in (world / "data").glob("*.json"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    question = "word " * 500
    rows = {
        "copy": json.loads((folder / "domain.json").read_text(encoding="utf-8")),
        "long": [{"instruction": f"{question} {number}", "input": "", "output": ""} for number in range(5)],
    }
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    for name, content in rows.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        info[name] = {"file_name": f"{name}.json"}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", [*SETTINGS, *DATA])
def test_refused_in_words_that_help(world, data, tmp_path, name):
    changes, message = {**SETTINGS, **DATA}[name]
    kind = ValueError if name == "pairs as general data" else DBAError
    with pytest.raises(kind, match=message):
        support.run_here(
            support.arguments(
                world, tmp_path / "out", **{**OFF, "dataset_dir": str(data), "eval_dataset": None}, **changes
            )
        )
    assert not (tmp_path / "out" / "dba_gauge.jsonl").exists()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_misspelt_argument_is_answered_with_the_nearest(world, tmp_path):
    with pytest.raises(DBAError, match="did you mean `dba_gauge_steps`"):
        support.run_here(support.arguments(world, tmp_path / "out", **OFF, dba_guage_steps=5))


@pytest.mark.parametrize("engine", [{"deepspeed": "x.json"}, {"fsdp": "full_shard"}])
def test_engines_that_shard_the_weights_are_refused(world, tmp_path, engine):
    from types import SimpleNamespace

    from llamafactory_dba.training.gauge.prepare import prepare

    data = SimpleNamespace(
        packing=False,
        neat_packing=False,
        streaming=False,
        train_on_prompt=False,
        dataset=["domain"],
        eval_dataset=None,
        val_size=0,
        tokenized_path=None,
        dataset_dir=str(world / "data"),
    )
    training = SimpleNamespace(predict_with_generate=False, **engine)
    gauge = SimpleNamespace(
        dba_gauge_dataset="general", dba_gauge_domain_dataset=None, dba_gauge_keep_best=False, dba_gauge_samples=4
    )
    with pytest.raises(DBAError, match="shards the weights"):
        prepare("sft", None, data, training, gauge)


def test_a_model_that_hides_its_logits_is_refused():
    import torch

    from llamafactory_dba.training.gauge.measure import answers

    class Fused(torch.nn.Linear):
        def forward(self, input_ids, use_cache):
            return {"loss": torch.zeros(())}

    def collate(rows):
        return {"input_ids": torch.zeros(1, 2), "labels": torch.zeros(1, 2, dtype=torch.long)}

    with pytest.raises(DBAError, match="use_unsloth"):
        answers(Fused(2, 2), collate, [{}])


def test_predicting_only_does_not_measure(world, tmp_path):
    support.run_here(
        support.arguments(
            world, tmp_path / "out", **OFF, **ON, do_train=False, do_eval=True, eval_dataset="other", dataset=None
        )
    )
    assert not (tmp_path / "out" / "dba_gauge.jsonl").exists()
