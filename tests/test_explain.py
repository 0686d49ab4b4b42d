"""Explanations: their sum, their faithfulness, and how they are shown."""

import json
import shutil
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import WORDS, made_up_reviews

import sentiformer
from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.cli import main
from sentiformer.console.explanations import marked_text
from sentiformer.core.files import read_json
from sentiformer.evaluation import pushes as pushes_module
from sentiformer.evaluation.examples import marked_words
from sentiformer.evaluation.pushes import pushes, sample
from sentiformer.evaluation.shortcuts import class_weight, written_as_names
from sentiformer.serving import explain as explain_module
from sentiformer.serving.explain import owners, shared_ngrams
from sentiformer.serving.input_path import TRANSFORMER_POINTS
from sentiformer.serving.token_spans import as_written, shares_of_tokens, token_spans
from sentiformer.text.tokenizer import Tokenizer

KINDS = ("transformer", "encoder", "ensemble", "transformer and n-grams")


def log_odds(prediction):
    share = prediction.probabilities[prediction.label]
    return np.log(share) - np.log1p(-share)


@pytest.fixture(scope="module")
def models(data, finetuned_data, tmp_path_factory):
    """A model of each kind."""
    both = tmp_path_factory.mktemp("both") / "model"
    shutil.copytree(data / "model", both)
    shutil.copytree(data / "baseline" / "ngrams", both / "ngrams")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTIFORMER_THREADS", "1")
        found = [data / "model", finetuned_data / "finetuned", finetuned_data / "finetuned", both]
        made = dict(zip(KINDS, map(sentiformer.load, found), strict=True))
    made["encoder"].classifier.ngrams = None
    return made


@pytest.fixture(scope="module")
def texts():
    return made_up_reviews(12, seed=5)["text"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_sum_to_the_change_of_the_log_odds(models, texts, kind):
    for found in models[kind].explain(texts):
        assert len(found.tokens) == len(found.spaces) == len(found.contributions)
        total = found.baseline + sum(found.contributions)
        assert found.label == found.prediction.label
        assert total == pytest.approx(log_odds(found.prediction), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_few_points_are_as_good_as_many(models, texts, kind, monkeypatch):
    found = models[kind].explain(texts)
    monkeypatch.setattr(explain_module, "POINTS", 128)
    for few, many in zip(found, models[kind].explain(texts), strict=True):
        size = np.abs(many.contributions).sum()
        assert np.abs(np.subtract(few.contributions, many.contributions)).sum() < 0.05 * size


def test_the_number_of_points_grows_until_the_error_is_small(models, texts, monkeypatch):
    used = []
    monkeypatch.setattr(explain_module, "POINTS", 1)
    monkeypatch.setattr(explain_module, "TOLERANCE", 1e-4)
    monkeypatch.setattr(explain_module, "NEGLIGIBLE", 0)
    path = explain_module.InputPath
    original = path.contributions
    monkeypatch.setattr(
        path,
        "contributions",
        lambda self, points, weights: used.append(len(points)) or original(self, points, weights),
    )
    models["transformer"].explain(texts[0])
    assert used == [2**n for n in range(len(used))]
    assert len(used) > 1
    assert used[-1] <= TRANSFORMER_POINTS
    used.clear()
    models["encoder"].explain(texts[0])
    assert used == [1, 2, 4, 8], "an encoder gets no more than 8 points"


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_odds_fall_most_without_the_tokens_that_contribute_most(models, texts, kind):
    falls = {"most": [], "least": []}
    for text in texts:
        found = models[kind].explain(text)
        order, before = np.argsort(found.contributions), log_odds(found.prediction)
        for name, removed in (("most", order[-3:]), ("least", order[:3])):
            pairs = zip(found.tokens, found.spaces, strict=True)
            left = [t + " " * s for place, (t, s) in enumerate(pairs) if place not in removed]
            share = models[kind].predict("".join(left)).probabilities[found.label]
            falls[name].append(before - np.log(share) + np.log1p(-share))
    assert np.mean(falls["most"]) > max(0, np.mean(falls["least"]))


def test_words_of_a_class_contribute_most_to_it(models):
    found = models["transformer"].explain("the film was great , lovely and it is a story")
    assert found.label == "positive"
    best = sorted(zip(found.contributions, found.tokens, strict=True))[-2:]
    assert {token for _, token in best} == {"great", "lovely"}


def test_tokens_that_are_not_read_and_unknown_words_contribute_nothing(models):
    words = ["great"] * 12 + ["boring"] * 40 + ["great"] * 40
    found = models["transformer"].explain(" ".join(words))
    values = np.array(found.contributions)
    assert not values[16:-16].any(), "the model reads 32 tokens: 16 from each end"
    assert values[:12].any()
    alone = models["transformer"].explain("a great qqqqq film, with zzzzz")
    by_token = dict(zip(alone.tokens, alone.contributions, strict=True))
    assert by_token["qqqqq"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["transformer", "encoder"])
def test_a_long_text_takes_memory_in_proportion_to_its_tokens(models, kind):
    text = "great film " * 2000
    (tokens,) = models[kind].tokens([text])
    tracemalloc.start()
    shares = owners(models[kind].classifier, text, token_spans(text, tokens))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32e6, "a square of 4,000 tokens has 128 MB"
    assert shares.shape[1] == len(tokens) == 4000
    assert set(shares.sum(axis=1)) <= {0, 1}


def test_a_text_that_cannot_be_judged_is_not_explained(models):
    for text, reason in (("", "no text"), (None, "no text"), ("qqqq zzzz", "no known word")):
        found = models["transformer"].explain(text)
        assert (found.label, found.tokens, found.contributions) == ("?", [], [])
        assert found.prediction.reason == reason
    assert models["transformer"].explain([]) == []


def test_ngrams_count_for_their_tokens_in_equal_parts():
    of_ids = [np.array([1.0, 2, 3, 4]), np.array([0.0, 10, 0, 0]), np.array([0.0, 0, 0, 30])]
    assert shared_ngrams(of_ids).tolist() == [6, 17, 13, 14]


def test_the_parts_of_tokens_in_the_ngram_model_sum_to_its_scores(data):
    model = NgramModel.load(data / "baseline" / "ngrams")
    for tokens in Tokenizer("en")(made_up_reviews(8, seed=3)["text"]):
        scores = model.contributions(tokens).sum(axis=0) + model.intercepts
        found = model.probabilities([tokens])[0]
        assert scores[0] == pytest.approx(np.log(found[1] / found[0]), abs=1e-5)
    assert model.contributions([]).shape == (0, 1)


TEXTS = [
    "A great  film, isn't it?<br /><br />Don't miss İstanbul in ΣΑΣ!",
    "it's (very)\tgood... 10/10 :-) \u00a0\U0001f600",
    "x" * 2500 + " end",
    "ﬁne Straße ŉ",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("language", ["en", "de", "xx", "zh"])
def test_tokens_are_found_in_their_text(text, language):
    (tokens,) = Tokenizer(language)([text])
    line = text.replace("<br />", " ")
    written, spaces = as_written(line, token_spans(line, tokens))
    assert [token.lower() for token in written] == tokens
    joined = "".join(t + " " * s for t, s in zip(written, spaces, strict=True))
    assert joined.split() == line.split()


def test_pieces_are_shared_by_the_tokens_that_they_cover():
    tokens = np.array([[0, 2], [2, 5], [6, 9]])
    pieces = np.array([[0, 0], [0, 2], [0, 4], [5, 6], [5, 9], [9, 10]])
    shares = shares_of_tokens(pieces, tokens)
    assert shares.tolist() == [[0, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize("kind", KINDS)
def test_attention_has_a_share_for_each_token(models, texts, kind):
    model = models[kind]
    before = model.predict(texts)
    for found in model.attention(texts):
        assert sum(found.shares) == pytest.approx(1)
        assert min(found.shares) >= 0
        assert len(found.shares) == len(found.tokens) == len(found.spaces)
    assert model.attention("").shares == []
    assert model.predict(texts) == before, "the model is as before"


def run(capsys, *arguments):
    main(["explain", *arguments])
    return capsys.readouterr()


def test_the_command_prints_signs_and_numbers_without_colors(data, capsys, monkeypatch):
    monkeypatch.setenv("SENTIFORMER_THREADS", "1")
    model = ("--model", str(data / "model"))
    shown = run(capsys, *model, "a great film", "qqqq").out.splitlines()
    assert shown[0].startswith("positive ")
    assert "great[+" in shown[1]
    assert shown[2].startswith("for positive: great +")
    assert shown[-1] == "? (no known word)"
    assert "\033" not in "".join(shown)
    looked = run(capsys, *model, "--attention", "a great film")
    assert "which is not an explanation" in looked.out
    assert "does not explain" in looked.err
    printed = run(capsys, *model, "--json", "a great film")
    assert "--json" not in printed.err
    values = json.loads(printed.out)
    assert values["tokens"] == ["a", "great", "film"]
    assert values["prediction"]["label"] == values["label"] == "positive"


def test_tokens_are_colored_only_on_a_terminal_with_colors(monkeypatch):
    arguments = (["good", "bad", "so"], [True, False, False], [1.0, -0.5, 0.01], "{:+.1f}")
    assert marked_text(*arguments) == "good[+1.0] bad[-0.5]so"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    colored = marked_text(*arguments)
    assert colored.count("\033[34m") == colored.count("\033[33m") == 1
    assert colored.endswith("so")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in marked_text(*arguments)


def test_the_words_of_a_class_push_to_it(data):
    table = pd.read_csv(data / "evaluation" / "pushes.csv", keep_default_na=False)
    words = table[table["n"] == 1]
    for number, label in enumerate(("negative", "positive")):
        means = words[words["class"] == label].set_index("words")["mean"]
        own = means[means.index.isin(WORDS[number])]
        assert own.mean() > means.drop(own.index).mean()
    assert (table["texts"] >= pushes_module.LEAST_TEXTS).all()


def test_the_table_does_not_depend_on_the_processes(models, texts):
    classifier, tokens = models["transformer"].classifier, models["transformer"].tokens(texts)
    predicted = np.arange(len(texts)) % 2
    one, two = (pushes(classifier, tokens, predicted, workers=workers) for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_the_sample_has_equal_numbers_of_each_class(monkeypatch):
    monkeypatch.setattr(pushes_module, "SAMPLE", 6)
    predicted = np.array([0] * 90 + [1] * 3 + [2] * 2)
    assert np.bincount(predicted[sample(predicted)]).tolist() == [2, 2, 2]
    assert len(set(sample(predicted))) == 6
    assert sorted(sample(np.zeros(4, dtype=int))) == [0, 1, 2, 3]


def test_names_are_words_with_capitals_inside_of_sentences():
    texts = ["Great film by Tom Hanks. Great, Tom!", "A Great film that I saw with TOM, great."]
    tokens = Tokenizer("en")(texts)
    assert written_as_names(texts, tokens) == {"hanks", "tom"}


def test_the_weight_of_a_word_has_the_sign_of_its_class(data):
    model = NgramModel.load(data / "baseline" / "ngrams")
    assert class_weight(model, "great", 1) > 0 > class_weight(model, "great", 0)
    assert class_weight(model, "qqqq", 1) == 0


def test_the_report_marks_words_and_escapes_them(data):
    explained = read_json(data / "evaluation" / "explained.json", made_by="evaluate")
    assert explained
    page = (data / "report" / "report.html").read_text()
    assert '<mark class="for" style="--size: 60%">' in page or "The model makes no mistake" in page
    assert "Words to check" in page
    words = {"tokens": ["a", "bad", "film"], "spaces": [True] * 3, "contributions": [0.01, -2, 1]}
    marks = [(word, size) for word, size in marked_words(words) if word.strip()]
    assert marks == [("a", 0), ("bad", -1), ("film", 0.5)]
