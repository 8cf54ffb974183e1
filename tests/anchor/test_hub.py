"""Sharing anchors: huggingface_hub's own client against a stand-in hub, over HTTP."""

import errno
import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import yaml
from anchor.helpers import config, curvature, truncations
from anchor.hub_server import Hub
from huggingface_hub import ModelCard, constants
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file

from llamafactory_dba.anchor import card, hub_push
from llamafactory_dba.anchor import hub as module
from llamafactory_dba.anchor.curvature import CURVATURE
from llamafactory_dba.anchor.format import read_config, save_anchor
from llamafactory_dba.anchor.hub import FILES, parse_hub_id, pull, resolve_anchor
from llamafactory_dba.anchor.hub_push import push
from llamafactory_dba.anchor.merge import merge
from llamafactory_dba.anchor.origin import Origin, name_of, read_origin
from llamafactory_dba.errors import AnchorError


WEIGHTS = "anchor.safetensors"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A running hub, an empty cache, alice's token; in a folder of its own."""
    with Hub() as server:
        # what HF_ENDPOINT, HF_HOME, … do at import; tests/cli/test_hub.py sets them for processes of its own
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(card, "draw", lambda config: Figure(figsize=(1, 1)))  # test_plot.py draws the real one
        monkeypatch.setenv("HF_TOKEN", "alice")
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture
def mine(hub, make):
    """An anchor folder that is not on the hub yet."""
    return make("mine")


@pytest.fixture
def offline(monkeypatch):
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def ours(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name in FILES}


def error_of(call, *args, **kwargs) -> str:
    with pytest.raises(AnchorError) as caught:
        call(*args, **kwargs)
    assert "alice" not in str(caught.value).replace("alice/", ""), "a token must not be told"
    return str(caught.value)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("owner/name", ("owner/name", "main")),
        ("owner/name@v1.0", ("owner/name", "v1.0")),
        ("owner/name@refs/pr/3", ("owner/name", "refs/pr/3")),
        *[
            (path, None)
            for path in ("/a/b", "./a/b", "../a/b", "./b", "~/b", "a/b/", "a/b/c", "a", "a@b", "", "a b/c")
        ],
    ],
)
def test_what_is_a_hub_id(tmp_path, monkeypatch, text, expected):
    monkeypatch.chdir(tmp_path)
    assert parse_hub_id(text) == expected
    if expected is None:
        assert resolve_anchor(text) == Path(text), "a path is returned as it is"


def test_a_folder_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert resolve_anchor("owner/name") == Path("owner/name")


def test_push_then_pull_gives_the_same_bytes(hub, mine, tmp_path):
    (mine / "notes.txt").write_text("private")
    pushed = push(mine, "alice/finance")
    there = hub.files("alice/finance")
    assert there.keys() == {".gitattributes", "README.md", "anchor.png", "anchor_config.json", WEIGHTS}
    assert hub.repositories["alice/finance"].branches == {"main": pushed.origin.commit}
    assert len(hub.repositories["alice/finance"].messages) == 2, "its creation, and all files in one commit"
    pulled = pull("alice/finance", tmp_path / "new" / "got")
    assert pulled.folder == tmp_path / "new" / "got" and pulled.origin == pushed.origin
    assert ours(contents(pulled.folder)) == ours(contents(mine)) == ours(there)
    assert read_origin(pulled.folder) == read_origin(mine) == pushed.origin
    assert {path.name for path in pulled.folder.iterdir()} == {*ours(there), "anchor_origin.json"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["got"], "nothing else is left"


def test_the_card_on_the_hub_names_the_hub_id(hub, mine, tmp_path):
    push(mine, "alice/finance", branch="v2")
    there = ModelCard(hub.files("alice/finance", "v2")["README.md"].decode())
    assert there.data.library_name == "llamafactory-dba" and there.data.license == "apache-2.0"
    assert there.data.base_model == "maker/model" and "dba-anchor" in there.data.tags
    assert "dba_anchor_path: alice/finance@v2" in there.text
    assert (mine / "README.md").read_text(encoding="utf-8") == str(there), "the local card says the same"
    assert hub.files("alice/finance").keys() == {".gitattributes"}, "main is as it was"
    pull("alice/finance@v2", tmp_path / "got")


def test_a_second_push_replaces_everything(hub, mine, make, tmp_path):
    first = push(mine, "alice/finance").origin.commit
    sharded = tmp_path / "sharded"
    save_anchor(sharded, truncations(seed=1), config(), shard_bytes=4000)
    push(sharded, "alice/finance", message="second try")
    there = hub.files("alice/finance")
    assert WEIGHTS not in there and "anchor.safetensors.index.json" in there
    assert sum(name.startswith("anchor-0000") for name in there) > 1
    assert hub.repositories["alice/finance"].messages[-1] == "second try"
    assert ours(contents(pull("alice/finance", tmp_path / "new").folder)) == ours(contents(sharded))
    assert ours(contents(pull(f"alice/finance@{first}", tmp_path / "old").folder)).keys() >= {WEIGHTS}


def test_resolve_by_id_by_revision_and_from_the_cache(hub, mine, make, offline):
    first = push(mine, "alice/finance").origin
    found = resolve_anchor("alice/finance")
    assert ours(contents(found)) == ours(contents(mine)) and read_origin(found) == first
    second = push(make("other", seed=1), "alice/finance").origin
    assert resolve_anchor("alice/finance").name == second.commit
    hub.requests.clear()
    assert resolve_anchor(f"alice/finance@{first.commit}") == found
    assert not hub.requests, "a commit never changes: nobody is asked"
    offline()
    assert resolve_anchor("alice/finance").name == second.commit
    assert resolve_anchor(f"alice/finance@{first.commit}") == found
    assert name_of(found) == f"alice/finance@{first.commit}"


def test_only_the_anchors_files_are_downloaded(hub, mine):
    push(mine, "alice/finance")
    hub.add("alice/finance", {**hub.files("alice/finance"), "extra.bin": b"x", "sub/anchor.safetensors": b"y"})
    assert ours(contents(resolve_anchor("alice/finance"))).keys() == contents(resolve_anchor("alice/finance")).keys()
    assert not any("extra.bin" in request for request in hub.requests)


@pytest.mark.parametrize("state", ["stopped", "down", "no access any more"])
def test_the_cache_stands_in_and_it_is_said_which_commit(hub, mine, tmp_path, monkeypatch, caplog, state):
    commit = push(mine, "alice/finance", private=True).origin.commit
    resolve_anchor("alice/finance")
    if state == "stopped":
        hub.stop()
    elif state == "down":
        hub.down = True
    else:
        monkeypatch.setenv("HF_TOKEN", "bob")
    with caplog.at_level(logging.WARNING, "llamafactory.dba"):
        monkeypatch.setattr(logging.getLogger("llamafactory"), "propagate", True)
        assert resolve_anchor("alice/finance").name == commit
    assert commit in caplog.text and "from the cache" in caplog.text
    if state != "no access any more":
        assert ours(contents(pull("alice/finance", tmp_path / "got").folder)) == ours(contents(mine))


def test_nothing_in_the_cache_says_how_to_work_offline(hub, offline):
    hub.stop()
    message = error_of(resolve_anchor, "alice/finance")
    assert "cannot be reached" in message and "no local folder alice/finance" in message
    assert "anchor pull alice/finance --out" in message and "HF_HUB_OFFLINE=1" in message and hub.url in message
    offline()
    message = error_of(pull, "alice/finance", "got")
    assert "HF_HUB_OFFLINE forbids" in message and "no local folder" not in message


def test_a_password_in_the_address_is_not_told(hub, monkeypatch):
    hub.stop()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("//", "//user:secret@"))
    assert "secret" not in error_of(resolve_anchor, "alice/finance")


def test_missing_repository(hub):
    message = error_of(resolve_anchor, "alice/finnace")
    assert "no local folder alice/finnace and no hub repository alice/finnace" in message and "log in" in message
    assert "no local folder" not in error_of(pull, "alice/finnace", "got")
    assert "no id of a hub repository" in error_of(pull, "finance", "got")
    assert not Path("got").exists()


def test_missing_revision(hub, mine):
    push(mine, "alice/finance")
    message = error_of(resolve_anchor, "alice/finance@v9")
    assert "alice/finance has no revision v9" in message and "/alice/finance/tree/main" in message


def test_private_and_gated_repositories(hub, mine, monkeypatch):
    push(mine, "alice/secret", private=True)
    assert hub.repositories["alice/secret"].private
    hub.repositories["alice/gated"] = hub.repositories["alice/secret"].__class__(gated=True)
    hub.add("alice/gated", hub.files("alice/secret"))
    monkeypatch.setenv("HF_TOKEN", "bob")
    assert "is gated" in error_of(resolve_anchor, "alice/gated")
    monkeypatch.delenv("HF_TOKEN")
    assert "for a private repository log in" in error_of(resolve_anchor, "alice/secret")


def test_a_model_is_no_anchor(hub):
    hub.add("maker/model", {"config.json": b"{}", "model.safetensors": b"large", "README.md": b"a model"})
    for message in (error_of(resolve_anchor, "maker/model"), error_of(pull, "maker/model", "got")):
        assert "holds no anchor" in message and "a model: README.md, config.json, model.safetensors" in message
    assert not any("resolve" in request for request in hub.requests), "nothing was downloaded"


def spoil(hub, name="alice/finance") -> None:
    """Other numbers under the header's checksums, as an edit by hand would leave them."""
    files = dict(hub.files(name))
    files[WEIGHTS] = files[WEIGHTS][:-4] + b"\0\0\0\0"
    hub.add(name, files)


def test_a_wrong_checksum_is_refused_and_the_old_anchor_stays(hub, mine, make, tmp_path):
    push(mine, "alice/finance")
    pull("alice/finance", tmp_path / "got")
    before = contents(tmp_path / "got")
    spoil(hub)
    message = error_of(pull, "alice/finance", tmp_path / "got", overwrite=True)
    assert "damaged" in message and "another checksum" in message and "got is unchanged" in message
    assert contents(tmp_path / "got") == before
    for _ in range(2):  # not even when it is in the cache already
        assert "another checksum" in error_of(resolve_anchor, "alice/finance")
    files = dict(hub.files("alice/finance"))
    hub.add("alice/finance", {name: content for name, content in files.items() if name != WEIGHTS})
    assert "missing" in error_of(pull, "alice/finance", tmp_path / "got", overwrite=True)
    assert contents(tmp_path / "got") == before and not list(tmp_path.glob(".got*"))


def test_where_a_pull_may_write(hub, mine, tmp_path):
    push(mine, "alice/finance")
    pull("alice/finance", tmp_path / "got")
    assert "holds an anchor already" in error_of(pull, "alice/finance", tmp_path / "got")
    (tmp_path / "got" / "notes.txt").write_text("mine")
    pull("alice/finance", tmp_path / "got", overwrite=True)
    assert (tmp_path / "got" / "notes.txt").read_text() == "mine"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years of work")
    assert "something else" in error_of(pull, "alice/finance", tmp_path / "thesis", overwrite=True)
    (tmp_path / "file").write_text("x")
    assert "something else" in error_of(pull, "alice/finance", tmp_path / "file")


@pytest.mark.parametrize("number, expected", [(errno.ENOSPC, "disk is full"), (errno.EACCES, "cannot be written to")])
def test_the_disk_does_not_take_it(hub, mine, tmp_path, monkeypatch, number, expected):
    """Root may write everywhere, so the error is made by hand, at the end of a download."""
    push(mine, "alice/finance")

    def fail(*args):
        raise OSError(number, os.strerror(number), str(tmp_path / "got"))

    monkeypatch.setattr(module, "put_in_place", fail)
    assert expected in error_of(pull, "alice/finance", tmp_path / "got")
    assert not (tmp_path / "got").exists() and not list(tmp_path.glob(".got*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(hub, mine, tmp_path):
    push(mine, "alice/finance")
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "cannot be written to" in error_of(pull, "alice/finance", tmp_path / "closed" / "got")


def test_what_push_refuses(hub, mine, tmp_path, monkeypatch):
    before = contents(mine)
    assert "no id of a hub repository" in error_of(push, mine, "finance")
    assert "--branch" in error_of(push, mine, "alice/finance@v2")
    assert "does not let you write to bob/finance" in error_of(push, mine, "bob/finance")
    assert "no hub repository alice/nothing" in error_of(push, mine, "alice/nothing", create=False)
    hub.add("alice/model", {"config.json": b"{}", "README.md": b"a model"})
    assert "holds something else" in error_of(push, mine, "alice/model")
    assert hub.files("alice/model")["README.md"] == b"a model"
    monkeypatch.setenv("HF_TOKEN", "")
    assert "does not know who you are" in error_of(push, mine, "alice/finance")
    hub.stop()
    assert "nothing was uploaded" in error_of(push, mine, "alice/finance")
    assert contents(mine) == before, "the folder is as it was"
    assert "alice/finance" not in hub.repositories


def test_a_damaged_anchor_is_not_pushed(hub, mine):
    tensors = load_file(mine / WEIGHTS)
    tensors["scale"] += 1
    save_file(tensors, mine / WEIGHTS)
    message = error_of(push, mine, "alice/finance")
    assert "another checksum" in message and "scale has the norm" in message
    assert not hub.requests


@pytest.mark.parametrize("path", ["/home/me/models/base", "~/models/base", "C:\\models\\base", "made of /data/x"])
def test_paths_of_this_machine_are_not_pushed(hub, mine, path):
    header = json.loads((mine / "anchor_config.json").read_text())
    header["base_model"]["id"] = path
    (mine / "anchor_config.json").write_text(json.dumps(header))
    message = error_of(push, mine, "alice/finance")
    assert f"base_model.id: {path}" in message and "--base-model" in message and not hub.requests


def test_slashes_that_are_no_paths(hub, mine):
    header = json.loads((mine / "anchor_config.json").read_text())
    header["data"]["origins"] = {"own": "from https://huggingface.co/a/b and/or c/d, 1/2"}
    (mine / "anchor_config.json").write_text(json.dumps(header))
    push(mine, "alice/finance")


def test_a_push_into_a_repository_that_moves_on(hub, mine, monkeypatch):
    push(mine, "alice/finance")
    ask = module.ask

    def late(hub_id):
        info = ask(hub_id)
        hub.add("alice/finance", {**hub.files("alice/finance"), "LICENSE": b"by another"})
        return info

    monkeypatch.setattr(hub_push, "ask", late)
    (mine / "README.md").unlink()
    assert "changed meanwhile" in error_of(push, mine, "alice/finance")
    assert "LICENSE" in hub.files("alice/finance")


def test_a_read_only_copy_can_be_pushed(hub, mine, monkeypatch):
    """A folder that cannot be written to, as the hub cache should be, is uploaded with a card all the same."""

    def fail(*args, **kwargs):
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr(hub_push, "write_origin", fail)
    push(mine, "alice/finance")
    assert "dba_anchor_path: alice/finance" in hub.files("alice/finance")["README.md"].decode()


def test_an_interrupted_download_into_the_cache_is_finished_later(hub, mine, monkeypatch):
    commit = push(mine, "alice/finance").origin.commit
    download = module.hf_hub_download

    def interrupt(repo_id, name, **kwargs):
        if name == "anchor_config.json":
            raise KeyboardInterrupt
        return download(repo_id, name, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "hf_hub_download", interrupt)
        resolve_anchor("alice/finance")
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "no whole copy" in error_of(resolve_anchor, f"alice/finance@{commit}")
    assert ours(contents(resolve_anchor(f"alice/finance@{commit}"))) == ours(contents(mine))


def test_merged_anchors_name_their_source_on_the_hub(hub, mine, make, tmp_path):
    commit = push(mine, "alice/finance").origin.commit
    result = merge([resolve_anchor("alice/finance"), make("other", seed=1)], tmp_path / "merged")
    assert [source.name for source in result.config.sources] == [f"alice/finance@{commit}", "other"]


def test_the_origin_is_forgotten_with_the_anchor(hub, mine, tmp_path):
    origin = push(mine, "alice/finance").origin
    assert read_origin(mine) == origin
    save_anchor(mine, truncations(seed=3), config(steps=99), overwrite=True)
    assert (mine / "anchor_origin.json").exists() and read_origin(mine) is None
    assert name_of(mine) == "mine"
    (mine / "anchor_origin.json").write_text("{")
    assert read_origin(mine) is None


def test_a_pull_without_a_card_makes_one(hub, mine, tmp_path):
    push(mine, "alice/finance")
    files = hub.files("alice/finance")
    hub.add("alice/finance", {name: files[name] for name in ("anchor_config.json", WEIGHTS)})
    pulled = pull("alice/finance", tmp_path / "got")
    block = yaml.safe_load((pulled.folder / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert block["base_model"] == "maker/model" and read_config(pulled.folder).steps == 13


def test_an_anchor_of_an_early_version_is_checked_in_full(hub, mine, tmp_path):
    header = json.loads((mine / "anchor_config.json").read_text())
    del header["files"]
    (mine / "anchor_config.json").write_text(json.dumps(header))
    assert "no checksums" in push(mine, "alice/finance").notes[0]
    assert "no checksums" in pull("alice/finance", tmp_path / "got").notes[0]
    tensors = load_file(mine / WEIGHTS)
    tensors["scale"] += 1
    save_file(tensors, mine / WEIGHTS)
    hub.add("alice/finance", {**hub.files("alice/finance"), WEIGHTS: (mine / WEIGHTS).read_bytes()})
    assert "scale has the norm" in error_of(pull, "alice/finance", tmp_path / "bad")
    shutil.rmtree(tmp_path / "got")


def test_origin_reads_as_a_hub_id():
    assert parse_hub_id(str(Origin("owner/name", "0" * 40))) == ("owner/name", "0" * 40)


def test_a_curvature_goes_along(hub, tmp_path):
    save_anchor(tmp_path / "mine", truncations(), config(), curvature=curvature())
    push(tmp_path / "mine", "alice/curved")
    found = pull("alice/curved", tmp_path / "copy")
    assert (found.folder / CURVATURE).read_bytes() == (tmp_path / "mine" / CURVATURE).read_bytes()
    assert read_config(found.folder).curvature == read_config(tmp_path / "mine").curvature
