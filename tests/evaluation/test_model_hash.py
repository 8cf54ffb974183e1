"""Which model it is: by content, read once; and an adapter on the wrong base."""

import json
import os
import shutil

import pytest
from evaluation.models import MICRO, MICRO_BASE, adapter_on, tiny
from safetensors.torch import load_file, save_file

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation import model_hash
from llamafactory_dba.evaluation.model_hash import find_files, hash_model


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("base") / "model")


def test_the_hash_is_of_the_content(base, tmp_path):
    first = hash_model(find_files(str(base)))
    copy = shutil.copytree(base, tmp_path / "copy")
    assert hash_model(find_files(str(copy))) == first
    (copy / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert hash_model(find_files(str(copy))) == first, "what decides no answer is not in it"
    weights = load_file(copy / "model.safetensors")
    name = min(weights)
    weights[name] = weights[name].clone()
    weights[name].view(-1)[7] += 1e-3  # the fingerprint samples; the hash must not
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert hash_model(find_files(str(copy))) != first


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"])
def test_what_decides_answers_beside_the_weights_is_in_it(base, tmp_path, name):
    first = hash_model(find_files(str(base)))
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    assert hash_model(find_files(str(copy))) != first


def test_large_files_are_read_once_until_they_change(tmp_path, monkeypatch):
    read = []
    original = model_hash.hash_file
    monkeypatch.setattr(model_hash, "hash_file", lambda path: (read.append(path.name), original(path))[1])
    copy = shutil.copytree(MICRO, tmp_path / "model")
    files, memory = find_files(str(copy)), tmp_path / "memory"
    first = hash_model(files, memory)
    assert "model.safetensors" in read
    read.clear()
    assert hash_model(files, memory) == first
    assert "model.safetensors" not in read
    os.utime(copy / "model.safetensors", ns=(1, 1))
    assert hash_model(files, memory) == first
    assert "model.safetensors" in read


def test_an_adapter_is_part_of_it(base, tmp_path):
    adapter = adapter_on(base, tmp_path / "adapter")
    files = find_files(str(base), str(adapter))
    assert files.run_folder == adapter and files.tokenizer == base
    with_it = hash_model(files)
    assert with_it != hash_model(find_files(str(base)))
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 99}), encoding="utf-8")
    assert hash_model(files) != with_it


def test_the_tokenizer_that_training_saved_with_an_adapter_is_used(base, tmp_path):
    adapter = adapter_on(base, tmp_path / "adapter")
    shutil.copy(base / "tokenizer.json", adapter)
    assert find_files(str(base), str(adapter)).tokenizer == adapter


def test_an_adapter_of_another_base_is_refused_by_its_fingerprint(base, tmp_path):
    other = tiny(tmp_path / "other", seed=1)
    adapter = adapter_on(other, tmp_path / "adapter")
    with pytest.raises(DBAError, match="another base model") as caught:
        find_files(str(base), str(adapter))
    assert str(other) in str(caught.value.found)


def test_an_adapter_of_another_base_is_refused_by_its_shapes(base, tmp_path):
    adapter = adapter_on(base, tmp_path / "adapter", named="someone/else")
    assert find_files(str(base), str(adapter)).adapter == adapter, "the shapes fit, and nothing else is known"
    with pytest.raises(DBAError, match="another base model") as caught:
        find_files(str(MICRO_BASE), str(adapter))
    assert "which does not fit" in str(caught.value.found)


def test_wrong_paths_say_what_is_wrong(base, tmp_path):
    with pytest.raises(DBAError, match="The model is not there"):
        find_files(str(tmp_path / "nowhere"))
    with pytest.raises(DBAError, match="no model in this folder"):
        find_files(str(tmp_path))
    adapter = adapter_on(base, tmp_path / "adapter")
    with pytest.raises(DBAError, match="an adapter, not a model") as caught:
        find_files(str(adapter))
    assert f"--model {base} --adapter {adapter}" in str(caught.value.next_step)
    with pytest.raises(DBAError, match="no adapter in this folder"):
        find_files(str(base), str(base))
    with pytest.raises(DBAError, match="neither on this machine"):
        find_files("nobody/has-this")  # the tests run offline


def test_a_missing_shard_is_named(base, tmp_path):
    copy = shutil.copytree(base, tmp_path / "copy")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(DBAError, match="cannot be read") as caught:
        hash_model(find_files(str(copy)))
    assert "model-00001-of-00002" in str(caught.value.found)
