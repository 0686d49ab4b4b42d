"""Intervals and McNemar's test, checked by their formulas and by simulation."""

from itertools import pairwise
from math import comb
from pathlib import Path

import numpy as np
import pytest

from sentiformer.evaluation.evaluate import Evaluation
from sentiformer.evaluation.metrics import accuracy_interval, paired_difference
from sentiformer.evaluation.sentences import (
    advice,
    meaning,
    number,
    p_value_text,
    points,
    verdict,
)


def pairs(both, first, second, neither):
    """Whether two models are right, from the numbers of texts on which both, one or none is."""
    counts = [both, first, second, neither]
    kinds = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], counts, axis=0)
    return kinds[:, 0].astype(bool), kinds[:, 1].astype(bool)


def test_interval_of_an_accuracy_is_wilson_s():
    n, p, z = 100, 0.8, 1.959963984540054
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = accuracy_interval(np.arange(n) < 80)
    assert found["accuracy_low"] == pytest.approx(middle - half, abs=1e-6)
    assert found["accuracy_high"] == pytest.approx(middle + half, abs=1e-6)


@pytest.mark.parametrize(("first", "second"), [(9, 2), (2, 9), (5, 5), (0, 6), (1, 0)])
def test_p_value_is_that_of_the_binomial_distribution(first, second):
    discordant, fewer = first + second, min(first, second)
    one_side = sum(comb(discordant, k) for k in range(fewer + 1)) / 2**discordant
    found = paired_difference(*pairs(20, first, second, 7))
    assert found["p_value"] == pytest.approx(min(1, 2 * one_side), rel=5e-3)
    assert (found["transformer_alone"], found["other_alone"]) == (first, second)
    assert found["difference"] == round((first - second) / (27 + discordant), 6)


def test_interval_of_a_difference_is_wald_s_with_half_a_text_more_in_each_count():
    first, second = 12.5, 4.5
    n = 20.5 + first + second + 7.5
    middle = (first - second) / n
    half = 1.959963984540054 * np.sqrt(first + second - (first - second) ** 2 / n) / n
    found = paired_difference(*pairs(20, 12, 4, 7))
    assert found["difference_low"] == pytest.approx(middle - half, abs=1e-6)
    assert found["difference_high"] == pytest.approx(middle + half, abs=1e-6)


@pytest.mark.parametrize("shares", [(0.8, 0.08, 0.05, 0.07), (0.5, 0.3, 0.1, 0.1)])
def test_95_percent_of_the_intervals_contain_the_true_difference(shares):
    rng, contained = np.random.default_rng(1), []
    for _ in range(1000):
        found = paired_difference(*pairs(*rng.multinomial(200, shares)))
        low, high = found["difference_low"], found["difference_high"]
        contained.append(low <= shares[1] - shares[2] <= high)
    assert 0.93 < np.mean(contained) < 0.97


def test_equal_models_differ_significantly_in_at_most_5_percent_of_the_cases():
    rng, significant = np.random.default_rng(2), []
    for _ in range(1000):
        found = paired_difference(*pairs(*rng.multinomial(300, (0.8, 0.07, 0.07, 0.06))))
        significant.append(found["p_value"] < 0.05)
    assert 0.01 < np.mean(significant) < 0.05, "the exact test is conservative"


def test_exchanged_models_have_opposite_signs():
    first, second = pairs(30, 9, 3, 8)
    found, swapped = paired_difference(first, second), paired_difference(second, first)
    assert swapped["difference"] == -found["difference"]
    assert swapped["difference_low"] == -found["difference_high"]
    assert swapped["p_value"] == found["p_value"]


def test_texts_on_which_the_models_agree_do_not_change_the_p_value():
    values = [paired_difference(*pairs(n, 9, 3, 8))["p_value"] for n in (0, 10, 1000)]
    assert all(a == b for a, b in pairwise(values))


@pytest.mark.parametrize("counts", [(5, 0, 0, 5), (0, 3, 0, 0), (0, 0, 3, 0), (1, 0, 0, 0)])
def test_extreme_counts_have_an_interval_within_minus_1_and_1(counts):
    found = paired_difference(*pairs(*counts))
    assert -1 <= found["difference_low"] <= found["difference"] <= found["difference_high"] <= 1
    assert found["difference_low"] < found["difference_high"]


def test_verdict_names_the_better_model_and_the_significance():
    better = verdict(paired_difference(*pairs(900, 60, 20, 20)), "the other")
    assert better.startswith("The Transformer is better than the other by 4.00 points (95 % ")
    end = ") (McNemar's exact test: p < 0.0001)."
    assert better.endswith(end)
    worse = verdict(paired_difference(*pairs(900, 20, 24, 20)), "the other")
    start = "The other is not significantly better than the Transformer: 0.41 points (95 % "
    assert worse.startswith(f"{start}interval −0.95 to +1.77) (McNemar")
    equal = verdict(paired_difference(*pairs(900, 20, 20, 20)), "the other")
    assert equal.startswith("The Transformer and the other are equally accurate (McNemar's exact")


def test_points_and_p_values_as_text():
    assert points(0.0123) == "+1.23"
    assert points(-0.0123) == "−1.23"
    assert p_value_text(0.0507) == "p = 0.051"
    assert p_value_text(6e-7) == "p < 0.0001"
    assert p_value_text(1.0) == "p = 1"


def found(difference, p_value, accuracy=0.9):
    return {"accuracy": accuracy, "difference": difference, "p_value": p_value}


def rivals(tfidf, nb_trigrams, ensemble, finetuned=None):
    """The compared models; the fine-tuned encoder, if there is one, is in the ensemble."""
    others = {"finetuned": finetuned | {"outside_text": True}} if finetuned else {}
    part = "finetuned" if finetuned else "transformer"
    mean = ensemble | {"parts": [part, "nb_trigrams"], "outside_text": bool(finetuned)}
    return {"tfidf": tfidf, "nb_trigrams": nb_trigrams, **others, "ensemble": mean}


WORSE = found(0.02, 0.001, 0.88)


@pytest.mark.parametrize(
    ("compared", "train_texts", "words"),
    [
        (rivals(found(0.01, 0.5), found(-0.02, 0.2, 0.92), WORSE), 20_000, ""),
        (rivals(found(0.02, 0.001), found(0.01, 0.5), WORSE), 100, ""),
        (
            rivals(found(0.01, 0.5), found(-0.032, 0.003, 0.92), found(-0.04, 0.06, 0.93)),
            20_000,
            "prefer the baseline nb_trigrams: its accuracy is 3.2 points higher (p = 0.003)",
        ),
        (
            rivals(found(-0.01, 0.5, 0.93), found(0.0, 1.0, 0.92), found(-0.02, 0.3, 0.94)),
            240,
            "prefer the baseline tfidf: it is simpler and at least as accurate here, and train has "
            "only 240 texts",
        ),
        (
            rivals(found(0.0, 1.0), WORSE, WORSE),
            1999,
            "prefer the baseline tfidf: it is simpler and at least as accurate here, and train has "
            "only 1,999 texts",
        ),
        (
            rivals(WORSE, found(-0.01, 0.01, 0.92), found(-0.02, 0.001, 0.93)),
            240,
            "prefer the mean of the Transformer and the NB-weighted trigram model: its accuracy is "
            "2.0 points higher (p = 0.001); docs/encoder.md says how to use it",
        ),
    ],
)
def test_significantly_better_model_is_recommended_or_else_a_baseline_if_train_is_small(
    compared, train_texts, words
):
    assert advice(compared, train_texts) == words


def test_advice_on_the_encoder_names_the_page_that_says_how_to_use_it():
    encoder, mean = found(-0.03, 1e-5, 0.94), found(-0.02, 1e-5, 0.93)
    words = "its accuracy is 3.0 points higher (p < 0.0001); docs/encoder.md says how to use it"
    compared = rivals(WORSE, WORSE, mean, encoder)
    assert advice(compared, 20_000) == f"prefer the fine-tuned encoder: {words}"
    mean, encoder = encoder, mean
    name = "mean of the fine-tuned encoder and the NB-weighted trigram model"
    assert advice(rivals(WORSE, WORSE, mean, encoder), 20_000) == f"prefer the {name}: {words}"


def test_line_for_the_terminal_has_the_accuracy_of_each_source_and_of_the_other_models():
    rows = [
        {"source": name, "accuracy": accuracy}
        for name, accuracy in (("reviews", 0.9153), ("sentences", 0.798))
    ]
    models = rivals(found(0.01, 0.5, 0.9081), found(0, 1, 0.918), found(0, 1, 0.93))
    lines = Evaluation({}, rows, models, 20_000, 1234).lines(Path("folder"))
    others = "tfidf 90.8 %, nb_trigrams 91.8 %, ensemble 93.0 %"
    start = "test: accuracy 91.5 % (reviews), 79.8 % (sentences)"
    doubtful = "1,234 labels of train and validation may be wrong → folder/label_issues.csv"
    assert lines == [f"{start}; {others} → folder", doubtful]


@pytest.mark.parametrize(
    ("accuracy", "low", "high", "words"),
    [
        (0.915, 0.9, 0.93, "One in 12 texts of this kind gets a wrong label; always answering"),
        (1.0, 0.9, 1.0, "The model made no mistake on these texts; always answering “often”"),
        (0.62, 0.5, 0.7, "The model is not clearly better than a constant answer: always"),
        (0.2, 0.1, 0.3, "The model is worse than a constant answer: always answering “often”"),
    ],
)
def test_meaning_compares_the_accuracy_with_a_constant_answer(accuracy, low, high, words):
    metrics = {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high}
    classes = [{"class": "rare", "texts": 40.0}, {"class": "often", "texts": 60.0}]
    text = meaning(metrics, classes)
    assert text.startswith(words)
    assert text.endswith("always answering “often” would be right for 60.0 %.")


def test_low_accuracy_of_many_classes_is_not_one_in_one():
    metrics = {"accuracy": 0.35, "accuracy_low": 0.3, "accuracy_high": 0.4}
    classes = [{"class": str(number), "texts": 10.0} for number in range(20)]
    assert meaning(metrics, classes).startswith("65.0 % of the texts of this kind get a wrong")


def test_undefined_number_is_a_word():
    assert number(None) == "undefined"
    assert number(0.91234567) == "0.9123"
