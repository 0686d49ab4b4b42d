"""The language model in use: words for gaps, and scores of texts."""

import json
import math
import shutil

import pytest
from conftest import RUNTIME

from sentiformer import cli
from sentiformer.core.errors import UserError
from sentiformer.core.seal import seal
from sentiformer.serving import cloze
from sentiformer.serving.cloze import GAP, LanguageModel


@pytest.fixture(scope="module")
def language_model(data):
    return LanguageModel(data / "pretrained", RUNTIME)


def test_each_gap_gets_its_most_probable_words_in_descending_order(language_model):
    gaps = language_model.fill(f"the {GAP} was a {GAP}.", 4)
    assert [len(gap) for gap in gaps] == [4, 4]
    for gap in gaps:
        probabilities = [guess.probability for guess in gap]
        assert probabilities == sorted(probabilities, reverse=True)
        assert not {guess.word for guess in gap} & {"<pad>", "<unk>"}
    everything = language_model.fill(f"the {GAP} was", 1000)[0]
    assert len(everything) == 58, "all words except the special tokens"
    assert sum(guess.probability for guess in everything) == pytest.approx(1, abs=1e-5)


def test_the_words_around_a_gap_change_its_guesses(language_model):
    one, other = (language_model.fill(text, 1)[0][0] for text in (f"the {GAP}", f"{GAP} , and"))
    assert one != other


def test_probabilities_of_a_gap_equal_scores_with_unknown_words_in_the_other_gaps(language_model):
    gaps = language_model.fill(f"the {GAP} was a {GAP} , and", 1000)
    texts = {"the film was a zyzzyva , and": 1, "the zyzzyva was a story , and": 4}
    for gap, (text, place) in zip(gaps, texts.items(), strict=True):
        score = language_model.score(text).tokens[place]
        (probability,) = [guess.probability for guess in gap if guess.word == score.token]
        assert score.log_probability == pytest.approx(math.log(probability), abs=1e-4)


def test_the_score_of_a_text_is_the_mean_of_its_tokens_each_masked_in_turn(language_model):
    score = language_model.score("the film was a story zyzzyva")
    known = [row.log_probability for row in score.tokens if row.log_probability is not None]
    assert [row.token for row in score.tokens] == "the film was a story zyzzyva".split()
    assert score.tokens[-1].log_probability is None
    assert score.per_token == pytest.approx(sum(known) / 5)
    assert score.perplexity == pytest.approx(math.exp(-score.per_token))
    guesses = language_model.fill(f"the {GAP} was a story zyzzyva", 1000)[0]
    (probability,) = [guess.probability for guess in guesses if guess.word == "film"]
    assert known[1] == pytest.approx(math.log(probability), abs=1e-4)


def test_a_long_text_is_scored_in_pieces(language_model):
    score = language_model.score("the film was a story with its cast , " * 29)
    assert len(score.tokens) == 261
    assert all(row.log_probability < 0 for row in score.tokens)
    words = "and its cast was the film a story with , the film its a was , story cast and".split()
    words *= 10
    pieces = [language_model.score(" ".join(words[at : at + 128])).tokens for at in (0, 128)]
    assert language_model.score(" ".join(words)).tokens == pieces[0] + pieces[1]


def test_the_batch_size_does_not_change_the_scores(language_model, monkeypatch):
    expected = language_model.score("the film was a story with its cast")
    monkeypatch.setattr(cloze, "BATCH_GAPS", 3)
    found = language_model.score("the film was a story with its cast")
    for one, other in zip(found.tokens, expected.tokens, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)


def test_user_errors_are_one_line(language_model, data, tmp_path):
    with pytest.raises(UserError, match=r"the text has no \[MASK\]"):
        language_model.fill("the film", 3)
    with pytest.raises(
        UserError, match=r"the text has 140 tokens, the model reads at most 128; shorten it"
    ):
        language_model.fill("the " * 139 + GAP, 3)
    for unknown in ("zyzzyva", "", " "):
        with pytest.raises(UserError, match="has no word that the model knows"):
            language_model.score(unknown)
    for use in (language_model.score, lambda text: language_model.fill(text, 1)):
        with pytest.raises(UserError, match=r"the text holds '\\udc80', which is no whole"):
            use(f"the \udc80 {GAP}")
    (tmp_path / "config.json").write_text(
        '{"stage": "pretrain", "params": {"pretrain": {"epochs": 0}}}'
    )
    seal(tmp_path)
    with pytest.raises(UserError, match=r"holds no language model: .* was 0; raise it"):
        LanguageModel(tmp_path, RUNTIME)
    folder = shutil.copytree(data / "pretrained", tmp_path / "pretrained")
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="safetensors") as error:
        LanguageModel(folder, RUNTIME)
    assert "`dvc repro" in str(error.value)
    assert "pretrain" in str(error.value)


def run(data, capsys, *arguments):
    cli.main([*arguments, "--model", str(data / "pretrained")])
    return capsys.readouterr().out


def test_the_commands_fill_and_score_print_columns_and_json(data, capsys):
    lines = run(data, capsys, "fill", f"the {GAP} was", "--top", "2").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("1 ")
    (gap,) = json.loads(run(data, capsys, "fill", f"the {GAP} was", "--json"))
    assert len(gap) == 5
    *rows, last = run(data, capsys, "score", "the film zyzzyva").splitlines()
    assert [row.split()[1] for row in rows] == ["the", "film", "zyzzyva"]
    assert rows[2].split()[0] == "unknown"
    assert "nats per token, perplexity" in last
    found = json.loads(run(data, capsys, "score", "the film", "--json"))
    assert set(found) == {"per_token", "perplexity", "tokens"}


@pytest.mark.parametrize("top", ["0", "-1", "x", "1.5"])
def test_an_invalid_number_of_words_is_refused(data, capsys, top):
    with pytest.raises(SystemExit):
        cli.main(["fill", GAP, f"--top={top}"])
    assert f"{top!r} is not a whole number above 0" in capsys.readouterr().err
