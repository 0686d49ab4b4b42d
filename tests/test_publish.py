"""Publishing: what a folder holds, what its card says, and uploads to a Hub on loopback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ENCODER, ROOT
from hub_uploads import CUT, FIRST, TOKEN, serve_uploads
from huggingface_hub import ModelCard, constants, snapshot_download

import sentiformer
from sentiformer import UserError, cli
from sentiformer.core.files import sha256, write_json
from sentiformer.core.seal import SEAL, seal
from sentiformer.evaluation.evaluated import evaluated
from sentiformer.evaluation.metrics import accuracy_interval
from sentiformer.publish import repository
from sentiformer.publish.card import card_sections
from sentiformer.publish.header import card_header
from sentiformer.publish.names import percent
from sentiformer.publish.publication import CARD, FILES, how_to_use, without_folders
from sentiformer.publish.publish import publish
from sentiformer.tracking.model_card import model_card
from sentiformer.verification.lineage import lineage

NAME = "someone/films"
TEXTS = ["a great film, lovely and clever", "boring and dull, a wasted story", "これは映画です", ""]
UPLOAD = {  # what a first upload asks the Hub
    "POST /api/repos/create",
    f"GET /api/models/{NAME}",
    "POST /api/validate-yaml",
    f"POST /api/models/{NAME}/preupload/main",
    f"POST /{NAME}.git/info/lfs/objects/batch",
    "POST /large/verify",
    f"POST /api/models/{NAME}/commit/main",
}


def publication(
    data: Path, folder: Path, model: str = "model", license_id: str | None = None
) -> Path:
    """Publish a model of the stages in a folder."""
    publish(data / model, data / "evaluation", str(folder), license_id)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def refusal(*arguments: object) -> str:
    """The one line of the error when a model cannot be published."""
    with pytest.raises(UserError) as caught:
        publish(*arguments, None)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("SENTIFORMER_THREADS", "1")


@pytest.fixture(scope="module")
def published(data, tmp_path_factory) -> Path:
    """The published Transformer; tests leave it as it is."""
    return publication(data, tmp_path_factory.mktemp("published") / "films")


@pytest.mark.parametrize("model", ["model", "finetuned"])
def test_a_published_model_has_the_lineage_of_the_model(finetuned_data, tmp_path, model):
    folder = publication(finetuned_data, tmp_path / "alone", model)
    facts = [lineage(place, lambda *_: None) for place in (finetuned_data / model, folder)]
    assert facts[0]["weights_sha256"] == sha256(folder / "model.safetensors")
    assert facts[0]["made_from_sha256"]
    assert facts[0]["versions"].keys() >= {"python", "torch", "numpy", "spacy"}
    assert facts[0]["machine"].keys() >= {"device", "processor", "threads", "precision"}
    assert ("encoder" in facts[0]) is (model == "finetuned")
    for fact in facts:
        del fact["files_sha256"]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("model", ["model", "finetuned"])
def test_a_folder_predicts_as_the_model_by_itself(finetuned_data, tmp_path, capsys, model):
    folder = publication(finetuned_data, tmp_path / "alone", model)
    shown = sentiformer.load(folder).predict(TEXTS)
    assert shown == sentiformer.load(finetuned_data / model).predict(TEXTS)
    cli.main(["predict", "--json", "--model", str(folder), TEXTS[0]])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["label"] == shown[0].label
    original = files_of(finetuned_data / model)
    for name, content in files_of(folder).items():
        assert name in (CARD, SEAL) or content == original[name]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".alone.p")]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["model", "finetuned"])
def test_an_exported_model_is_published_with_the_metrics_from_before(
    finetuned_data, tmp_path, model
):
    from sentiformer.export.export import export
    from sentiformer.export.params import ExportParams

    exported = finetuned_data / f"exported-{model}"
    exported.mkdir()
    export(ExportParams(format="int8", model=model), finetuned_data, exported)
    folder = publication(finetuned_data, tmp_path / "exported", exported.name)
    assert sentiformer.load(folder).predict(TEXTS) == sentiformer.load(exported).predict(TEXTS)
    card = ModelCard((folder / CARD).read_text())
    assert {"onnx", "int8"} < set(card.data.tags)
    assert "Exported in int8" in card.text
    assert "measured before the model was exported" in card.text
    assert "pip install '.[onnx]'" in card.text
    trained = publication(finetuned_data, tmp_path / "trained", model)
    before = ModelCard((trained / CARD).read_text()).data.eval_results
    assert card.data.eval_results == before


def test_the_header_follows_the_schema_of_the_hub(published, data):
    card = ModelCard((published / CARD).read_text())
    assert (card.data.library_name, card.data.pipeline_tag) == (
        "sentiformer",
        "text-classification",
    )
    assert card.data.language == ["en"]
    assert all(isinstance(tag, str) for tag in card.data.tags)
    assert card.data.license is None
    (accuracy,) = [r for r in card.data.eval_results if r.metric_type == "accuracy"]
    answers = evaluated(str(data / "model")).answers
    is_right = (answers["predicted"] == answers["actual"]).to_numpy()
    assert accuracy.metric_value == round(is_right.mean(), 6)
    low, high = (percent(end) for end in accuracy_interval(is_right).values())
    assert accuracy.metric_name == f"accuracy (95 % interval {low} to {high})"
    assert {r.dataset_split for r in card.data.eval_results} == {"test"}
    assert f"{percent(is_right.mean())} (95 % interval {low} to {high})" in card.text


def test_the_card_says_what_a_reader_must_know(published, data):
    card = (published / CARD).read_text()
    about = json.loads((data / "model" / "config.json").read_text())
    origin = about["data"]["origin"]
    for words in (
        *(origin["name"], f"Licence: {origin['licence']}", origin["citation"]),
        *(f"train {about['data']['splits']['train']['rows']:,}", "negative, positive"),
        *(
            "English (en)",
            "Length: the accuracy on test",
            'label "?"',
            "no word that the model knows",
        ),
        *("calibration error 0.", "accuracy of tfidf ", 'sentiformer.load("model")'),
        *("sentiformer predict --model model", "`dvc repro train`", "`model.d_model: 16`"),
        evaluated_hash(data),
    ):
        assert words in card, words
    assert "None" not in card
    assert "hf download" not in card
    assert "hf download someone/films --local-dir model\n" in how_to_use(about, "someone/films")


def evaluated_hash(data: Path) -> str:
    return json.loads((data / "evaluation" / "lineage.json").read_text())["model_sha256"]


def test_the_hub_and_mlflow_have_the_same_text(data):
    about = json.loads((data / "model" / "config.json").read_text())
    row = {"source": "a\nb", "texts": "3", "accuracy": "0.5", "tfidf_accuracy": "0.4"}
    description = model_card(about, [row], "use")
    for text in card_sections(about, [row], alone=True).values():
        assert text in description
    assert "- a b (3): accuracy 50.0 %; accuracy of tfidf 40.0 %" in description


def test_the_ensemble_has_its_own_metrics_and_the_encoder_is_named(finetuned_data, tmp_path):
    folder = publication(finetuned_data, tmp_path / "films", "finetuned", "apache-2.0")
    card = ModelCard((folder / CARD).read_text())
    metrics = json.loads((finetuned_data / "evaluation/models/ensemble.json").read_text())
    (found,) = [r for r in card.data.eval_results if r.metric_type == "accuracy"]
    assert found.metric_value == metrics["accuracy"]
    assert card.data.license == "apache-2.0"
    for words in (ENCODER["name"], "licence apache-2.0", "in the mean with the n-gram model"):
        assert words in card.text
    assert "all sources, the encoder alone" in card.text
    assert "pip install '.[encoder]'" in card.text


def test_a_transformer_with_the_n_gram_model_has_the_metrics_of_the_mean(data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    made = shutil.copytree(copy / "model", copy / "ensemble")
    shutil.copytree(copy / "baseline" / "ngrams", made / "ngrams")
    card = ModelCard((publication(copy, tmp_path / "films", "ensemble") / CARD).read_text())
    path = copy / "evaluation" / "models" / "ensemble.json"
    metrics = json.loads(path.read_text())
    (found,) = [r for r in card.data.eval_results if r.metric_type == "log_loss"]
    assert found.metric_value == pytest.approx(metrics["log_loss"], abs=1e-5)
    assert "by the mean of its probabilities and those of the n-gram model" in card.text
    write_json(path, metrics | {"parts": ["finetuned", "nb_trigrams"]})
    seal(copy / "evaluation")
    line = refusal(made, copy / "evaluation", str(tmp_path / "new"))
    assert "evaluates the mean of finetuned, nb_trigrams, not of transformer; use" in line


def test_data_sets_and_encoders_of_the_hub_are_linked(data):
    about = json.loads((data / "model" / "config.json").read_text())
    about["params"]["download"]["source"] = "hub"
    about["data"]["origin"] |= {"name": "owner/reviews/plain", "revision": "a" * 40}
    about["encoder"] = {"name": f"owner/tiny@{'b' * 40}"}
    row = {"source": "s: x", "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    card = ModelCard(card_header(about, [row], None))
    assert card.data.datasets == ["owner/reviews"]
    assert card.data.base_model == "owner/tiny"
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.dataset_revision) == ("owner/reviews", "a" * 40)


def test_no_folder_of_this_machine_is_published():
    place = '/home/a person/"data"/reviews.csv'
    download = {"train": place, "test": "data/test.csv", "validation": None}
    about = {
        "params": {"download": download, "encoder": {"name": "~/enc/tiny"}},
        "data": {"origin": {"name": f"files {place}"}},
        "encoder": {"name": "~/enc/tiny"},
    }
    found = without_folders(about)
    assert found["params"]["download"] == download | {"train": "reviews.csv"}
    assert found["data"]["origin"]["name"] == "files reviews.csv"
    assert found["encoder"] == found["params"]["encoder"] == {"name": "tiny"}


def test_an_earlier_publication_is_replaced_whole(data, published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "films")
    (folder / "ngrams").mkdir()
    (folder / "ngrams" / "words.txt").write_text("old")
    assert files_of(publication(data, folder)) == files_of(published)


@pytest.mark.parametrize("found", ["notes.txt", ".git/config", CARD, "config.json"])
def test_a_folder_with_something_else_is_refused_and_stays(data, published, tmp_path, found):
    folder = tmp_path / "mine"
    if found not in (CARD, "config.json"):
        shutil.copytree(published, folder)
    (folder / found).parent.mkdir(parents=True, exist_ok=True)
    (folder / found).write_text("---\nlibrary_name: other\n---\n")
    before = files_of(folder)
    line = refusal(data / "model", data / "evaluation", str(folder))
    assert f"{folder} holds what is no earlier publication: {found}; give a new folder" in line
    assert files_of(folder) == before


def test_a_large_folder_is_not_read_through(data, published, tmp_path, monkeypatch):
    folder = shutil.copytree(published, tmp_path / "disk")
    read, rglob = [], Path.rglob

    def many(path, pattern):
        for number in range(1000):
            read.append(number)
            yield path / f"{number:04}.txt"
        yield from rglob(path, pattern)

    monkeypatch.setattr(Path, "rglob", many)
    line = refusal(data / "model", data / "evaluation", str(folder))
    assert line.endswith("publication: 0000.txt, 0001.txt, 0002.txt; give a new folder")
    assert len(read) < 100


def test_the_folder_of_the_model_is_refused(data):
    for place in (data / "model", data / "model" / "card"):
        assert "is in the folder of the model" in refusal(
            data / "model", data / "evaluation", str(place)
        )


def test_a_model_without_its_evaluation_is_refused(data, tmp_path):
    copy = shutil.copytree(data / "evaluation", tmp_path / "evaluation")
    write_json(copy / "lineage.json", {"model_sha256": "0" * 64})
    seal(copy)
    place = tmp_path / "new"
    line = refusal(data / "model", copy, str(place))
    assert line.endswith("model; run `dvc repro` in its project")
    shutil.copyfile(data / "evaluation" / "lineage.json", copy / "lineage.json")
    for content in ("", "other\n1\n"):
        (copy / "by_source.csv").write_text(content)
        seal(copy)
        assert "by_source.csv is corrupt (it has no source of" in refusal(
            data / "model", copy, str(place)
        )
    (copy / "lineage.json").unlink()
    assert "`dvc repro evaluate` makes it" in refusal(data / "model", copy, str(place))
    assert "from stage pretrain" in refusal(data / "pretrained", copy, str(place))
    assert "encoder.name was null" in refusal(data / "finetuned", copy, str(place))
    assert not place.exists()


TARGETS = {
    "out": Path("out"),
    "owner/name": "owner/name",
    "hf://owner/name": "owner/name",
    "hf://folder/name": "folder/name",
    "./owner/name": Path("owner/name"),
    "../name": Path("../name"),
    "/tmp/name": Path("/tmp/name"),
    "a/b/c": Path("a/b/c"),
    "folder/old": Path("folder/old"),
    "~/name": Path("~/name").expanduser(),
}


@pytest.mark.parametrize("to", TARGETS)
def test_a_name_with_an_owner_is_a_repository_of_the_hub(tmp_path, monkeypatch, to):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder" / "old").mkdir(parents=True)
    assert repository.target(to) == TARGETS[to]


@pytest.mark.parametrize(
    "to", ["folder/new", "", "https://huggingface.co/a/b", "hf://a", "models:/a"]
)
def test_a_name_that_is_unclear_is_refused(tmp_path, monkeypatch, to):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"is neither a folder nor|write ./folder/new or hf://fold"):
        repository.target(to)


@pytest.fixture
def logged_in(monkeypatch, tmp_path):
    """A function that lets the client of this process use a Hub, with a login."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)

    def use(hub, token=TOKEN):
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        if token is None:
            monkeypatch.delenv("HF_TOKEN", raising=False)
        else:
            monkeypatch.setenv("HF_TOKEN", token)

    return use


def push(hub, folder: Path) -> str:
    return repository.push(repository.log_in(hub.name), hub.name, folder)


def failure(hub, folder: Path) -> str:
    """The one line of the error when a push fails."""
    with pytest.raises(UserError) as caught:
        push(hub, folder)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"--to {NAME}")
    assert "secret" not in line
    return line


def test_a_new_repository_gets_all_files_in_one_commit(
    data, published, logged_in, tmp_path, capsys
):
    with serve_uploads(NAME) as hub:
        logged_in(hub)
        line = publish(data / "model", data / "evaluation", NAME, None)
        head = hub.branches["main"]
        assert f"published: {hub.address}/{NAME}/commit/{head}; next: `hf download {NAME}" in line
        assert len(hub.log) == 1
        assert hub.log[0]["parentCommit"] == FIRST
        calls = {call for call in hub.calls if not call.startswith("PUT /large/")}
        assert calls == UPLOAD, "the Hub is asked for nothing else"
        files = hub.commits[head]
        expected = files_of(published)
        assert {**files, CARD: b""} == {**expected, CARD: b"", ".gitattributes": b""}
        assert f"hf download {NAME} --local-dir model" in files[CARD].decode()
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
            snapshot_download(NAME, local_dir=tmp_path / "model", endpoint=hub.address)
        ModelCard.load(tmp_path / "model" / CARD).validate()
    downloaded = sentiformer.load(tmp_path / "model").predict(TEXTS)
    assert downloaded == sentiformer.load(published).predict(TEXTS)
    assert capsys.readouterr().err == "", "no bar of progress in a log"


def test_a_second_upload_sends_what_changed_and_deletes_what_is_old(published, logged_in, tmp_path):
    files = {**files_of(published), "ngrams/words.txt": b"old", "LICENSE": b"mine"}
    with serve_uploads(NAME, files) as hub:
        logged_in(hub)
        push(hub, published)
        assert hub.commits[hub.branches["main"]] == {**files_of(published), "LICENSE": b"mine"}
        assert not [call for call in hub.calls if call.startswith("PUT")]
        push(hub, published)
        assert len(hub.log) == 1, "nothing has changed, so there is no second commit"
        changed = shutil.copytree(published, tmp_path / "changed")
        (changed / "coverage.csv").write_text("a,b\n")
        push(hub, changed)
        assert hub.commits[hub.branches["main"]]["coverage.csv"] == b"a,b\n"


@pytest.mark.parametrize("card", [b"", b"---\nlibrary_name: transformers\n---\n"])
def test_a_repository_with_another_model_is_refused(published, logged_in, card):
    files = {".gitattributes": b"", CARD: card, "pytorch_model.bin": b"weights"}
    with serve_uploads(NAME, files) as hub:
        logged_in(hub)
        line = failure(hub, published)
        assert "holds what is no earlier publication: pytorch_model.bin; give another name" in line
        assert not hub.log


def test_nothing_is_sent_without_a_login(data, logged_in):
    with serve_uploads(NAME) as hub:
        logged_in(hub, token=None)
        line = refusal(data / "model", data / "evaluation", NAME)
        assert f"--to {NAME} is a repository of the Hub, which needs a login; log in with" in line
        assert not hub.calls


FAILURES = {
    "wrong token": ("create", [401], "does not accept the login; log in with `hf auth login`"),
    "no right to create": ("create", [403], "does not let this login write there; give the name"),
    "no right to write": ("preupload", [403], "does not let this login write there"),
    "no right to commit": ("commit", [403], "does not let this login write there"),
    "conflict": ("commit", [409], "somebody else changed the repository meanwhile; run it again"),
    "other parent": ("commit", [412], "somebody else changed the repository meanwhile"),
    "broken create": ("create", [CUT], "was not published (Server disconnected"),
    "broken commit": ("commit", [500], "was not published (Server error '500"),
    "broken upload": ("/large/", [CUT] * 6, "was not published (Server disconnected"),
    "wrong upload": ("/large/", [400], "was not published (Bad request"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_and_leaves_no_half_model(published, logged_in, name):
    part, statuses, words = FAILURES[name]
    with serve_uploads(NAME, {".gitattributes": b""}) as hub:
        logged_in(hub)
        if part == "create":
            hub.branches.clear()
        hub.failures = {part: list(statuses)}
        assert words in failure(hub, published)
        assert not hub.failures[part]
        assert not hub.log


@pytest.mark.parametrize("status", [500, 503, 429, CUT])
@pytest.mark.parametrize("part", ["preupload", "objects/batch", "/large/", "verify"])
def test_a_short_failure_of_an_upload_is_tried_again(published, logged_in, part, status):
    with serve_uploads(NAME) as hub:
        logged_in(hub)
        hub.failures = {part: [status]}
        push(hub, published)
        assert not hub.failures[part]
        assert {**hub.commits[hub.branches["main"]], ".gitattributes": b""} == {
            **files_of(published),
            ".gitattributes": b"",
        }


def test_what_the_hub_says_of_the_card_is_shown(published, logged_in):
    with serve_uploads(NAME) as hub:
        logged_in(hub)
        hub.problems = ['"license" must be one of [apache-2.0, mit]']
        line = failure(hub, published)
        assert 'does not accept the model card (Invalid metadata in README.md. - "license"' in line
        assert not any("preupload" in call for call in hub.calls), "it is asked before the upload"


def test_without_a_network_there_is_one_line(published, logged_in, monkeypatch):
    with serve_uploads(NAME) as hub:
        logged_in(hub)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "offline mode is enabled" in failure(hub, published)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "check the network (HF_ENDPOINT, HF_HUB_OFFLINE)" in failure(hub, published)


@pytest.mark.slow
def test_a_program_of_its_own_uses_the_address_and_sends_no_telemetry(published, tmp_path):
    code = (
        "import sys; from pathlib import Path; from sentiformer.publish.repository import *;"
        f"print(push(log_in({NAME!r}), {NAME!r}, Path(sys.argv[1])))"
    )
    with serve_uploads(NAME) as hub:
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
            "HF_ENDPOINT": hub.address,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(tmp_path),
            "AGENT": "some-agent",
        }
        command = [sys.executable, "-c", code, str(published)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{hub.address}/{NAME}/commit/" in done.stdout
        calls = {call for call in hub.calls if not call.startswith("PUT /large/")}
        assert calls == UPLOAD
        (agent,) = {agent for agent in hub.agents if "httpx" not in agent}
        assert agent.startswith("sentiformer/")
        assert "torch" not in agent
        assert "some-agent" not in agent


def test_each_file_that_a_model_reads_is_published(finetuned_data):
    unread = {"history.csv", "steps.csv"}
    for model in ("model", "finetuned"):
        assert files_of(finetuned_data / model).keys() - unread <= set(FILES)


def test_the_command_says_what_came_out(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["publish", str(data / "model"), "--to", "films"])
    output = capsys.readouterr().out
    assert (
        "publication → films; next: read films/README.md, then `hf upload owner/name films`"
        in output
    )
    assert "the card states no licence of the model; --license apache-2.0" in output
    assert yaml.safe_load((tmp_path / "films" / CARD).read_text().split("---\n")[1])
