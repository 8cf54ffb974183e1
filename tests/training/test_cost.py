"""What a run cost: recorded with and without DBA, exact across stop and resume, without an effect on the training."""

import hashlib
import json
import shutil
import time
from types import SimpleNamespace

import pytest
import support
import torch

from llamafactory_dba.anchor.fingerprint import fingerprint_folder
from llamafactory_dba.training import cost
from llamafactory_dba.training.record import FILE, read_record
from llamafactory_dba.training.run_facts import method_name


CHECKPOINTS = {"save_strategy": "steps", "save_steps": 2}


def plain(world, out, **changes):
    """A run without DBA."""
    args = support.arguments(world, out, use_dba=None, dba_anchor_path=None, dba_svd_rank=None)
    args.pop("dba_anchor_check_steps")
    return {**args, **changes}


@pytest.fixture(scope="module")
def direct(world, tmp_path_factory):
    """A recorded run without DBA: 6 steps of 8 rows, checkpoints every 2."""
    out = tmp_path_factory.mktemp("direct") / "run"
    support.run_here(plain(world, out, dba_record=True, **CHECKPOINTS))
    return out


@pytest.fixture(scope="module")
def tokens(world):
    """Tokens of the domain rows, from the tokenizer itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    rows = json.loads((world / "data" / "domain.json").read_text())
    total = 0
    for row in rows:
        prompt = f"<|im_start|>user\n{row['instruction']}<|im_end|>\n<|im_start|>assistant\n"
        total += len(tokenizer.encode(prompt)) + len(tokenizer.encode(row["output"] + "<|im_end|>\n"))
    return total


def test_a_plain_run_is_recorded_when_asked(world, direct, tokens):
    record = read_record(direct)
    assert record is not None
    assert (record.method, record.seed, record.steps, record.finished) == ("full", 7, 6, True)
    assert record.base_model == str(world / "model")
    assert record.base_fingerprint == fingerprint_folder(world / "model").total != ""
    assert record.data == {"domain": hashlib.sha256((world / "data" / "domain.json").read_bytes()).hexdigest()}
    assert record.settings["learning_rate"] == 1e-3
    assert (record.settings["template"], record.settings["cutoff_len"]) == ("qwen3_nothink", 64)
    assert (record.settings["finetuning_type"], record.settings["global_batch"]) == ("full", 8)
    assert not [name for name in record.settings if "dba" in name]
    assert record.cost["tokens"] == tokens
    assert record.cost["trainable_parameters"] == sum(tensor.numel() for tensor in support.weights(direct).values())
    assert record.cost["peak_host_bytes"] > 10**8  # torch alone takes more
    assert 0 < sum(segment.step_seconds for segment in record.segments) < record.cost["wall_seconds"]
    assert record.cost["device_hours"] == pytest.approx(record.cost["wall_seconds"] / 3600)
    for name in ("peak_device_bytes", "step_overhead", "anchor_bytes_on_disk", "anchor_bytes_in_memory"):
        assert record.cost[name] is None
    assert record.machine["device"] == "cpu" and torch.__version__.startswith(record.versions["torch"])
    assert [(s.first_step, s.last_step) for s in record.segments] == [(0, 2), (2, 4), (4, 6)]


def test_without_the_argument_there_is_no_record(world, direct, tmp_path):
    """And measuring changes no bit of the weights."""
    support.run_here(plain(world, tmp_path / "run"))
    assert not (tmp_path / "run" / FILE).exists()
    assert support.same_weights(direct, tmp_path / "run")


def test_a_dba_run_is_recorded_by_itself(world, tmp_path, tokens):
    support.run_here(support.arguments(world, tmp_path / "on"))
    record = read_record(tmp_path / "on")
    assert record is not None
    run = json.loads((tmp_path / "on" / "dba_run.json").read_text())
    assert record.method == "dba"
    assert record.cost["tokens"] == tokens
    assert record.cost["anchor_bytes_in_memory"] == run["anchor_bytes_in_memory"] > 0
    assert record.cost["anchor_bytes_on_disk"] == (world / "anchor" / "anchor.safetensors").stat().st_size
    assert record.cost["step_overhead"] > 0
    assert {name: value for name, value in record.settings.items() if "dba" in name} == {
        "use_dba": True,
        "dba_boost_magnitude": 200.0,
        "dba_use_correction": True,
        "dba_base_correction": 0.1,
        "dba_svd_rank": 8,
        "dba_anchor_check_steps": 2,
    }
    assert record.anchor["datasets"] == ["general"] and record.anchor["made_in_seconds"] is None
    support.run_here(support.arguments(world, tmp_path / "off", dba_record=False, dba_layer_log_steps=0))
    assert not (tmp_path / "off" / FILE).exists()
    assert support.same_weights(tmp_path / "on", tmp_path / "off")
    assert support.step_log(tmp_path / "on") == support.step_log(tmp_path / "off")


def test_lora_is_recorded(world, tmp_path):
    changes = {"finetuning_type": "lora", "lora_rank": 4, "lora_target": "q_proj"}
    support.run_here(plain(world, tmp_path / "run", dba_record=True, **changes))
    record = read_record(tmp_path / "run")
    assert record is not None and record.method == "lora"
    assert (record.settings["lora_rank"], record.settings["lora_target"]) == (4, ["q_proj"])
    assert record.cost["trainable_parameters"] == 2 * 4 * (64 + 64)  # two layers: A and B of rank 4 on 64 x 64


def test_gradients_of_several_batches_and_epochs_count(world, tmp_path, tokens):
    """Every row in every epoch, in whatever batches; evaluation rows do not count."""
    changes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "num_train_epochs": 2}
    evaluation = {"eval_dataset": "other", "eval_strategy": "steps", "eval_steps": 4}
    support.run_here(plain(world, tmp_path / "run", dba_record=True, **changes, **evaluation))
    assert read_record(tmp_path / "run").cost["tokens"] == 2 * tokens


def test_stop_and_resume_adds_up(world, direct, tmp_path, tokens):
    """Resumed from step 4 of 6 over a record that has all 6: the last two count once."""
    out = tmp_path / "run"
    out.mkdir()
    shutil.copytree(direct / "checkpoint-4", out / "checkpoint-4")
    shutil.copy(direct / FILE, out)
    before = read_record(out)
    support.run_here(plain(world, out, dba_record=True, **CHECKPOINTS))
    record = read_record(out)
    assert support.same_weights(direct, out)
    assert record.segments[:2] == before.segments[:2]
    assert record.segments[2] != before.segments[2]
    assert [segment.last_step for segment in record.segments] == [2, 4, 6]
    assert record.cost["tokens"] == before.cost["tokens"] == tokens
    assert record.cost["wall_seconds"] == pytest.approx(sum(segment.seconds for segment in record.segments))


@pytest.mark.parametrize("left", ["nothing", "damaged"])
def test_resume_without_a_record_has_no_totals(world, direct, tmp_path, left):
    out = tmp_path / "run"
    out.mkdir()
    shutil.copytree(direct / "checkpoint-4", out / "checkpoint-4")
    if left == "damaged":
        (out / FILE).write_text('{"format": ')
    support.run_here(plain(world, out, dba_record=True, **CHECKPOINTS))
    record = read_record(out)
    assert record.finished and support.same_weights(direct, out)
    assert record.cost["tokens"] is None and record.cost["wall_seconds"] is None
    assert record.cost["trainable_parameters"] == read_record(direct).cost["trainable_parameters"]


@pytest.mark.slow
def test_kill_and_resume_adds_up(world, tmp_path, tokens):
    """SIGKILL after the first checkpoint, then the same command again."""
    import subprocess

    import yaml

    args = plain(world, tmp_path / "run", dba_record=True, num_train_epochs=4, **CHECKPOINTS)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(args))
    command = ["llamafactory-cli", "train", str(tmp_path / "run.yaml")]
    process = subprocess.Popen(command, env=support.environment(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoint-2" / "trainer_state.json").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    killed = read_record(tmp_path / "run")
    assert killed is not None and not killed.finished
    assert support.run_cli(args, tmp_path).returncode == 0
    record = read_record(tmp_path / "run")
    assert record.steps == 24 and record.segments[0] == killed.segments[0]
    assert record.cost["tokens"] == 4 * tokens


@pytest.mark.distributed
def test_two_processes_add_up(world, tmp_path, tokens):
    args = support.arguments(world, tmp_path / "run", per_device_train_batch_size=4, **CHECKPOINTS)
    result = support.run_cli(args, tmp_path, FORCE_TORCHRUN="1", NPROC_PER_NODE="2")
    assert result.returncode == 0, result.stderr[-2000:]
    record = read_record(tmp_path / "run")
    assert record.cost["tokens"] == tokens
    assert record.machine["processes"] == 2
    assert record.cost["device_hours"] == pytest.approx(2 * record.cost["wall_seconds"] / 3600)


def test_an_anchor_made_on_the_way_is_accounted_for(world, tmp_path):
    changes = {"dba_anchor_path": str(tmp_path / "anchor"), "dba_anchor_dataset": "general"}
    support.run_here(support.arguments(world, tmp_path / "run", **changes))
    assert read_record(tmp_path / "run").anchor["made_in_seconds"] > 0


@pytest.mark.parametrize("changes", [{"stage": "ppo"}, {"dba_stage": "anchor"}], ids=["ppo", "anchor"])
def test_what_cannot_be_recorded_is_refused(world, tmp_path, changes):
    with pytest.raises(ValueError, match="dba_record"):
        support.run_here(
            plain(
                world,
                tmp_path / "run",
                dba_record=True,
                **{"reward_model": "x", "reward_model_type": "full", **changes},
            )
        )


def named(**changes):
    flags = [f"use_{name}" for name in ("dora", "rslora", "llama_pro", "galore", "apollo", "badam", "adam_mini")]
    base = dict.fromkeys([*flags, "use_muon", "use_dft_loss", "use_asft_loss", "use_eaft_loss", "pissa_init"], False)
    base |= {"finetuning_type": "full", "use_dba": False, "dba_boost_magnitude": 200.0, "dba_use_correction": True}
    base["dba_variant"] = "paper"
    return SimpleNamespace(**(base | changes))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("full", {}),
        ("freeze", {"finetuning_type": "freeze"}),
        ("llama_pro", {"finetuning_type": "freeze", "use_llama_pro": True}),
        ("lora", {"finetuning_type": "lora"}),
        ("dora", {"finetuning_type": "lora", "use_dora": True}),
        ("galore", {"use_galore": True}),
        ("lora+muon", {"finetuning_type": "lora", "use_muon": True}),
        ("full+dft", {"use_dft_loss": True}),
        ("dba", {"use_dba": True}),
        ("dba+freeze", {"use_dba": True, "finetuning_type": "freeze"}),
        ("dba+galore", {"use_dba": True, "use_galore": True}),
        ("ggb_only", {"use_dba": True, "dba_use_correction": False}),
        ("elastic", {"use_dba": True, "dba_variant": "elastic"}),
        ("agem+freeze", {"use_dba": True, "dba_variant": "agem", "finetuning_type": "freeze"}),
        ("dc_only", {"use_dba": True, "dba_boost_magnitude": 0.0}),
        ("full", {"use_dba": True, "dba_boost_magnitude": 0.0, "dba_use_correction": False}),
    ],
)
def test_methods_are_named_after_their_arguments(name, changes):
    assert method_name(named(**changes)) == name
    if name == "lora":
        assert method_name(named(**changes), SimpleNamespace(quantization_bit=4)) == "qlora"


def powercap(folder, *, package=0, core=0):
    """A fake tree of RAPL counters: one package with its cores below, and the whole platform."""
    for name, title, value in (
        ("intel-rapl:0", "package-0", package),
        ("intel-rapl:0:0", "core", core),
        ("intel-rapl:1", "psys", 5),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "name").write_text(f"{title}\n")
        (folder / name / "energy_uj").write_text(f"{value}\n")
        (folder / name / "max_energy_range_uj").write_text("10000000\n")


def test_energy_of_a_processor(tmp_path):
    powercap(tmp_path, package=1_000_000)
    meter = cost.EnergyMeter(torch.device("cpu"), powercap=tmp_path)
    assert meter.sources == ["rapl"]
    powercap(tmp_path, package=3_500_000, core=900_000)  # the cores are part of the package
    assert meter.take() == 2.5
    powercap(tmp_path, package=500_000)  # the counter started again at 10 J
    assert meter.take() == 7.0
    assert meter.take() == 0.0
    shutil.rmtree(tmp_path / "intel-rapl:0")  # a counter that goes away ends the measurement, not the run
    assert meter.take() is None


def test_energy_is_unknown_where_nothing_reports_it(tmp_path):
    assert cost.EnergyMeter(torch.device("cpu"), powercap=tmp_path / "none").take() is None
    powercap(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("no number")  # as unreadable as one of root's
    assert cost.EnergyMeter(torch.device("cpu"), powercap=tmp_path).take() is None


def test_one_process_of_a_machine_reads_its_processor(tmp_path):
    powercap(tmp_path, package=1_000_000)
    second = cost.EnergyMeter(torch.device("cpu"), first_on_machine=False, powercap=tmp_path)
    powercap(tmp_path, package=2_000_000)
    assert second.take() == 0.0


def test_counters_are_read_before_they_start_again_twice(tmp_path, monkeypatch):
    powercap(tmp_path, package=1_000_000)
    meter = cost.EnergyMeter(torch.device("cpu"), powercap=tmp_path)
    for value in (9_000_000, 2_000_000, 9_500_000, 3_000_000):
        powercap(tmp_path, package=value)
        meter.keep_up()  # too early to read
    assert meter._joules == 0.0
    monkeypatch.setattr(cost, "READ_EVERY", 0.0)
    powercap(tmp_path, package=9_000_000)
    meter.keep_up()
    powercap(tmp_path, package=1_000_000)
    assert meter.take() == 8.0 + 2.0


def test_tokens_of_every_kind_of_mask():
    ids = torch.ones(2, 4, dtype=torch.long)
    flat = torch.tensor([[1, 1, 1, 0], [1, 1, 2, 2]])  # 2: the second row that was packed into one
    assert int(cost.count_tokens({"input_ids": ids, "attention_mask": flat})) == 7
    from llamafactory.data.collator import prepare_4d_attention_mask

    packed = prepare_4d_attention_mask(flat, torch.float32)
    assert int(cost.count_tokens({"input_ids": ids, "attention_mask": packed})) == 7
    assert int(cost.count_tokens({"input_ids": ids, "attention_mask": packed == 0})) == 7
    assert cost.count_tokens({"input_ids": ids, "attention_mask": None}) == 8
    assert cost.count_tokens({}, (ids,)) == 8
    assert cost.count_tokens({"inputs_embeds": torch.zeros(2, 3, 5)}) == 6


def test_only_passes_with_gradients_count():
    model = torch.nn.Embedding(5, 3)
    model.forward = lambda input_ids: input_ids
    counter = cost.TokenCounter(model)
    ids = torch.ones(2, 4, dtype=torch.long)
    model(input_ids=ids)
    with torch.no_grad():
        model(input_ids=ids)
    model.eval()(input_ids=ids)
    assert (counter.take(), counter.take()) == (8, 0)
    counter.remove()
    model.train()(input_ids=ids)
    assert counter.take() == 0


def test_clock_adds_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    clock = cost.Clock(torch.device("cpu"))
    clock.stop()  # without a start: nothing
    clock.start()
    now[0] = 5.0
    clock.start()  # begun anew
    now[0] = 7.0
    clock.stop()

    @clock.timed
    def fail():
        now[0] += 1.0
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (clock.take(), clock.take()) == (3.0, 0.0)


@pytest.mark.gpu
def test_clock_of_a_device_measures_its_work():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    device = torch.device("cuda")
    clock, matrix = cost.Clock(device), torch.randn(4096, 4096, device=device)
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(20):
        clock.timed(torch.mm)(matrix, matrix)
    launched = time.perf_counter() - begun
    torch.cuda.synchronize()
    whole = time.perf_counter() - begun
    measured = clock.take()
    assert launched < measured <= whole  # starting the kernels takes less time than they do


@pytest.mark.parametrize(("stage", "dataset"), [("dpo", "pairs"), ("kto", "kto"), ("pt", "text")])
def test_other_stages_are_recorded(world, tmp_path, stage, dataset):
    """Both answers of a pair are trained on; the reference model's passes have no gradients."""
    support.run_here(plain(world, tmp_path / "run", dba_record=True, stage=stage, dataset=dataset, max_steps=2))
    record = read_record(tmp_path / "run")
    assert (record.steps, record.settings["stage"], record.settings["max_steps"]) == (2, stage, 2)
    rows = 16 * (2 if dataset == "pairs" else 1)
    assert 2 * rows < record.cost["tokens"] <= 64 * rows  # rows of several tokens, cut off at 64
