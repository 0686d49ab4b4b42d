"""Stage encoder: tiny checkpoints from a folder and from a Hub on loopback, and each error."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from checkpoints import FAMILIES, make_checkpoint
from conftest import ROOT, tiny_params
from hub_server import CUT, Hub, serve
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from sentiformer.core.errors import UserError
from sentiformer.core.hub import Repository
from sentiformer.encoder.fetch import fetch_encoder
from sentiformer.encoder.params import EncoderParams

NAME, COMMIT = "someone/tiny", "c" * 40
WEIGHTS = "model.safetensors"
CARD = "---\nlicense: apache-2.0\ndatasets:\n- snli\n- ms_marco\n---\n# Tiny\n"
LOADED = {"config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each family; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: make_checkpoint(folder / family, family) for family in FAMILIES}


@pytest.fixture
def copy(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the checkpoint of BERT, for tests that change it."""
    return shutil.copytree(checkpoints["bert"], tmp_path / "copy")


@pytest.fixture
def hub(checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A Hub with the checkpoint of BERT, and other files that must not be read."""
    files = {path.name: path.read_bytes() for path in checkpoints["bert"].iterdir()}
    others = {"pytorch_model.bin": b"pickle", "modeling.py": b"1 / 0", "onnx/model.onnx": b"onnx"}
    with serve(NAME, COMMIT, {**files, **others, "README.md": CARD.encode()}, "model") as hub:
        use(monkeypatch, hub.address, tmp_path / "cache")
        yield hub


def use(monkeypatch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    """Let the client of this process use another Hub and cache; it has read its environment."""
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


def fetch(name: object, folder: Path) -> dict[str, Any]:
    """Fetch an encoder to a new folder; return what its `source.json` says."""
    folder.mkdir(parents=True)
    fetch_encoder(EncoderParams(name=None if name is None else str(name)), folder)
    about: dict[str, Any] = json.loads((folder / "source.json").read_text())
    return about


def refusal(name: object, folder: Path) -> str:
    """The one line of the error when an encoder cannot be fetched."""
    with pytest.raises(UserError) as caught:
        fetch(name, folder / "refused")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(("encoder.name ", WEIGHTS))
    return line


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_without_a_name_only_the_record_is_written(tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from sentiformer.encoder.params import EncoderParams;"
        "from sentiformer.encoder.fetch import fetch_encoder;"
        "fetch_encoder(EncoderParams(name=None), Path(sys.argv[1]));"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run((sys.executable, "-c", code, str(tmp_path)), env=env, check=True)
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["source.json"]
    assert json.loads((tmp_path / "source.json").read_text()) == {"name": None}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_each_family_is_copied_whole(checkpoints, tmp_path, family):
    folder = tmp_path / "fetched"
    about = fetch(checkpoints[family], folder)
    assert {path.name for path in folder.iterdir()} == LOADED | {"source.json"}
    for name, stated in about["files"].items():
        content = (folder / name).read_bytes()
        assert sha256(content).hexdigest() == stated
        if name != "tokenizer.json":  # it is written as the library completes it
            assert content == (checkpoints[family] / name).read_bytes()
    assert about["files"].keys() == LOADED
    assert about["architecture"] == family
    weights = load_file(folder / WEIGHTS)
    expected = sum(weight.numel() for name, weight in weights.items() if "pooler" not in name)
    assert about["parameters"] == expected
    unknown = {"licence": "not stated", "trained_on": "not stated", "revision": None, "url": None}
    assert {key: about[key] for key in unknown} == unknown


def test_only_the_needed_files_are_copied_and_the_card_is_read(copy, tmp_path):
    for name in ("pytorch_model.bin", "modeling.py", "desktop.ini", "model.fp16.safetensors"):
        (copy / name).write_bytes(b"not read")
    (copy / "1_Pooling").mkdir()
    (copy / "README.md").write_text(CARD)
    about = fetch(copy, tmp_path / "fetched")
    assert {path.name for path in (tmp_path / "fetched").iterdir()} == LOADED | {"source.json"}
    assert (about["licence"], about["trained_on"]) == ("apache-2.0", "snli, ms_marco")


@pytest.mark.parametrize("card", ["", "# No YAML", "---\nlicense: [mit\n---\n", "---\n- a\n---\n"])
def test_a_card_without_facts_states_nothing(copy, tmp_path, card):
    (copy / "README.md").write_text(card)
    about = fetch(copy, tmp_path / "fetched")
    assert (about["licence"], about["trained_on"]) == ("not stated", "not stated")


def test_a_relative_folder_is_in_the_projects_root(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(copy.parent))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for number, name in enumerate(("copy", "./copy", "./copy/")):
        assert fetch(name, tmp_path / str(number))["name"] == name
    monkeypatch.setenv("HOME", str(copy.parent))
    fetch("~/copy", tmp_path / "home")


def test_weights_in_shards_are_copied_and_each_is_needed(copy, tmp_path):
    AutoModel.from_pretrained(copy).save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    (copy / WEIGHTS).unlink()
    shards = sorted((tmp_path / "shards").glob("model*"))
    for path in shards:
        shutil.copyfile(path, copy / path.name)
    about = fetch(copy, tmp_path / "fetched")
    assert about["files"].keys() == LOADED - {WEIGHTS} | {path.name for path in shards}
    (copy / shards[0].name).unlink()
    assert shards[0].name in refusal(copy, tmp_path)


def test_names_of_a_checkpoint_for_another_task_are_understood(copy, tmp_path, capsys):
    weights = load_file(copy / WEIGHTS)
    expected = fetch(copy, tmp_path / "first")["parameters"]
    named = {f"bert.{name}": weight for name, weight in weights.items() if "pooler" not in name}
    save_file(named | {"cls.decoder.bias": torch.zeros(3)}, copy / WEIGHTS)
    assert fetch(copy, tmp_path / "second")["parameters"] == expected
    assert "1 weights, such as cls.decoder.bias, are not of the encoder" in capsys.readouterr().out


def test_a_tokenizer_can_be_made_from_a_vocabulary(copy, tmp_path):
    vocabulary = AutoTokenizer.from_pretrained(copy).get_vocab()
    (copy / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    (copy / "tokenizer.json").unlink()
    assert {"vocab.txt", "tokenizer.json"} <= fetch(copy, tmp_path / "fetched")["files"].keys()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_type": "gpt2"}, " is of the family gpt2; use an encoder of albert"),
        ({"model_type": "vit"}, " is of the family vit; use"),
        ({"model_type": "bart"}, " is of the family bart; use"),
        ({"is_decoder": True}, " is of the family bert as a decoder; use"),
        ({"model_type": "unheard"}, "has model type `unheard` but Transformers does not recognize"),
        ({"model_type": None}, "config.json cannot be loaded (The checkpoint you are"),
        (
            {"model_type": "unheard", "auto_map": {"AutoConfig": "modeling.Config"}},
            "contains custom code",
        ),
        ({"hidden_size": "wide"}, "config.json cannot be loaded ("),
        ({"num_attention_heads": 5}, "is not a multiple of the number of attention heads"),
        ({"num_hidden_layers": 3}, "16 weights, such as encoder.layer.2."),
        ({"hidden_size": 32}, "are missing or have not the shape of config.json"),
        ({"vocab_size": 50}, "has the tokenizer of another model (ids up to 224, padding 0, but"),
        ({"pad_token_id": 1}, "has the tokenizer of another model (ids up to 224, padding 0, but"),
    ],
)
def test_a_wrong_configuration_is_one_line(copy, tmp_path, changes, text):
    change_json(copy / "config.json", **changes)
    assert text in refusal(copy, tmp_path)


def test_code_of_a_known_architecture_is_not_run(copy, tmp_path):
    change_json(copy / "config.json", auto_map={"AutoModel": "modeling.Model"})
    (copy / "modeling.py").write_text("raise SystemExit('code of the checkpoint ran')")
    fetch(copy, tmp_path / "fetched")


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("config.json", b"{", "config.json cannot be loaded ("),
        ("config.json", None, " has no config.json; give another folder or name"),
        ("tokenizer.json", b"{", "its tokenizer cannot be loaded ("),
        ("tokenizer.json", None, "has no tokenizer.json and no other vocabulary"),
        (WEIGHTS, b"", "its weights cannot be loaded (Error while deserializing header"),
        (
            WEIGHTS,
            b"version https://git-lfs.github.com/spec/v1\n",
            "its weights cannot be loaded (",
        ),
        (WEIGHTS, None, "has no weights in safetensors, and others are not read; use a commit"),
    ],
)
def test_a_missing_or_damaged_file_is_one_line(copy, tmp_path, file, content, text):
    (copy / "pytorch_model.bin").write_bytes(b"never read")
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(content)
    assert text in refusal(copy, tmp_path)


def test_truncated_weights_are_one_line(copy, tmp_path):
    content = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(content[:-100])
    assert "its weights cannot be loaded (" in refusal(copy, tmp_path)


def test_weights_that_are_not_numbers_are_one_line(copy, tmp_path):
    weights = {name: weight * float("nan") for name, weight in load_file(copy / WEIGHTS).items()}
    save_file(weights, copy / WEIGHTS)
    assert "has infinite weights" in refusal(copy, tmp_path)


@pytest.mark.parametrize(("family", "other"), [("bert", "roberta"), ("roberta", "bert")])
def test_the_tokenizer_of_another_model_is_one_line(checkpoints, tmp_path, family, other):
    copy = shutil.copytree(checkpoints[family], tmp_path / "copy")
    for path in checkpoints[other].glob("tokenizer*"):
        shutil.copyfile(path, copy / path.name)
    assert "has the tokenizer of another model (ids up to" in refusal(copy, tmp_path)


def test_a_tokenizer_without_padding_is_one_line(copy, tmp_path):
    change_json(copy / "tokenizer_config.json", pad_token=None)
    assert "its tokenizer has no padding token" in refusal(copy, tmp_path)


def test_a_folder_that_is_none_is_one_line(copy, tmp_path, monkeypatch):
    assert "is not a folder; give the folder" in refusal(copy / "config.json", tmp_path / "1")
    assert "is not a folder; give the folder" in refusal("./nowhere", tmp_path / "2")
    line = refusal(copy.parent, tmp_path / "3")
    assert line.endswith(f"has no config.json; set it to {copy}")


def test_the_hub_gives_the_same_files_as_the_folder(hub, checkpoints, tmp_path):
    expected = fetch(checkpoints["bert"], tmp_path / "first")
    about = fetch(f"{NAME}@{COMMIT}", tmp_path / "second")
    stated = ("files", "parameters", "architecture")
    assert [about[key] for key in stated] == [expected[key] for key in stated]
    assert (about["name"], about["revision"]) == (f"{NAME}@{COMMIT}", COMMIT)
    assert about["url"] == f"https://huggingface.co/{NAME}/tree/{COMMIT}"
    assert (about["licence"], about["trained_on"]) == ("apache-2.0", "snli, ms_marco")
    unwanted = ("pytorch_model.bin", "modeling.py", "onnx", "telemetry")
    assert not [call for call in hub.calls if any(name in call for name in unwanted)]


def test_a_warm_cache_needs_no_network(hub, tmp_path, monkeypatch):
    fetch(f"{NAME}@{COMMIT}", tmp_path / "first")
    calls = len(hub.calls)
    for number, offline in enumerate((False, True)):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        fetch(f"{NAME}@{COMMIT}", tmp_path / f"again-{number}")
    assert len(hub.calls) == calls
    assert "cannot be loaded (Cannot find" in refusal(f"{NAME}@{'a' * 40}", tmp_path)


def test_a_download_whose_connection_breaks_continues(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.damage = {WEIGHTS: CUT}
    fetch(f"{NAME}@{COMMIT}", tmp_path / "fetched")


def test_a_damaged_download_is_one_line_and_the_next_download_works(hub, tmp_path):
    content = hub.files[WEIGHTS]
    hub.damage = {WEIGHTS: content[:-1] + bytes([content[-1] ^ 1])}
    line = refusal(f"{NAME}@{COMMIT}", tmp_path)
    assert f"{WEIGHTS} of {NAME} is damaged (its SHA-256 differs from the one that the Hub" in line
    hub.damage = {}
    fetch(f"{NAME}@{COMMIT}", tmp_path / "fetched")


def test_a_large_file_that_repositories_share_is_not_called_damaged(tmp_path, monkeypatch):
    """The client links a blob, named by its SHA-256, to a file that is named by another hash."""
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    content = b"shared"
    blobs, snapshot = (
        tmp_path / "models--a--b" / name for name in ("blobs", f"snapshots/{COMMIT}")
    )
    shared = tmp_path / "shared" / ("f" * 64)
    for folder in (blobs, snapshot, shared.parent):
        folder.mkdir(parents=True)
    shared.write_bytes(content)
    blob = blobs / sha256(content).hexdigest()
    blob.symlink_to(shared)
    (snapshot / WEIGHTS).symlink_to(os.path.relpath(blob, snapshot))
    repository = Repository("model", "a/b", COMMIT, "encoder.name a/b")
    repository.check_files()
    shared.write_bytes(b"another")
    with pytest.raises(UserError, match=r"model\.safetensors of a/b is damaged"):
        repository.check_files()
    assert not shared.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (NAME, " is not a folder or owner/name@commit with a commit of 40 hexadecimal digits; th"),
        ("tiny", f"hexadecimal digits; the Hub has {NAME} at commit {COMMIT}; use these"),
        ("a b/c", "hexadecimal digits; https://huggingface.co/models lists the names"),
        (f"{NAME}@main", f"hexadecimal digits; the Hub has {NAME} at commit {COMMIT}; use these"),
        (f"tiny@{COMMIT}", f"hexadecimal digits; the Hub has {NAME} at commit {COMMIT}; use these"),
        (f"{NAME}@{'b' * 40}", f"has no such commit; the Hub has {NAME} at commit {COMMIT}"),
        (
            f"no/thing@{COMMIT}",
            f"no/thing@{COMMIT} is not on the Hub, or is private; search https://hug",
        ),
    ],
)
def test_a_wrong_name_or_commit_is_one_line(hub, tmp_path, name, text):
    line = refusal(name, tmp_path)
    assert text in line


def test_a_gated_encoder_is_one_line(hub, tmp_path):
    hub.refusal = 403, "GatedRepo", "Access to model is restricted."
    line = refusal(f"{NAME}@{COMMIT}", tmp_path)
    assert (
        f"{NAME}@{COMMIT} is gated: accept its conditions on https://huggingface.co/{NAME}, then"
        in line
    )


def test_a_repository_without_safetensors_is_refused_before_anything_is_unpickled(hub, tmp_path):
    del hub.files[WEIGHTS]
    assert "has no weights in safetensors, and others are not read" in refusal(
        f"{NAME}@{COMMIT}", tmp_path
    )
    assert not [call for call in hub.calls if "pytorch_model.bin" in call]


def test_a_model_that_is_no_encoder_is_refused_before_its_weights_are_downloaded(hub, tmp_path):
    config = json.loads(hub.files["config.json"]) | {"model_type": "gpt2"}
    hub.files["config.json"] = json.dumps(config).encode()
    assert "is of the family gpt2" in refusal(f"{NAME}@{COMMIT}", tmp_path)
    assert not [call for call in hub.calls if WEIGHTS in call]


@pytest.mark.slow
def test_the_stage_uses_a_mirror_and_writes_all_or_nothing(hub: Hub, tmp_path):
    names = ("HF_", "HUGGINGFACE_", "SENTIFORMER_", "DVC_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    env |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "HF_HOME": str(tmp_path / "home")}
    env |= {"HF_ENDPOINT": hub.address, "NO_PROXY": "127.0.0.1,localhost", "HOME": str(tmp_path)}

    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")

    def run(name: str) -> subprocess.CompletedProcess[str]:
        params = tiny_params(encoder={"name": name}).model_dump()
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        command = (sys.executable, "-m", "pipeline.encoder")
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    done = run(f"{NAME}@{COMMIT}")
    assert done.returncode == 0, done.stderr
    assert f"{NAME}@{COMMIT}: bert, 8,640 parameters, licence apache-2.0" in done.stdout
    assert "data/encoder" in done.stdout
    env["HF_HUB_OFFLINE"] = "1"
    before = {path.name: path.read_bytes() for path in (tmp_path / "data/encoder").iterdir()}
    failed = run(f"{NAME}@{'a' * 40}")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith(f"error: encoder.name {NAME}@aaaa")
    assert "Traceback" not in failed.stderr
    after = {path.name: path.read_bytes() for path in (tmp_path / "data/encoder").iterdir()}
    assert after == before
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"encoder", ".encoder.lock"}
