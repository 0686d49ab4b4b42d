"""Intervals and McNemar's test, checked by their formulas and by simulation."""

from itertools import pairwise
from math import comb

import numpy as np
import pytest

from sentiformer.evaluation.metrics import accuracy_interval, paired_difference
from sentiformer.evaluation.report import p_value_text, points, verdict


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
    assert (found["transformer_alone"], found["baseline_alone"]) == (first, second)
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
    end = ", which is statistically significant (McNemar's exact test: p < 0.0001)."
    assert better.endswith(end)
    worse = verdict(paired_difference(*pairs(900, 20, 24, 20)), "the other")
    assert worse.startswith("The other is better than the Transformer by 0.41 points (95 % ")
    assert "interval −0.95 to +1.77), which is not statistically significant (McNemar" in worse
    equal = verdict(paired_difference(*pairs(900, 20, 20, 20)), "the other")
    assert equal.startswith("The Transformer and the other are equally accurate (McNemar's exact")


def test_points_and_p_values_as_text():
    assert points(0.0123) == "+1.23"
    assert points(-0.0123) == "−1.23"
    assert p_value_text(0.0507) == "p = 0.051"
    assert p_value_text(6e-7) == "p < 0.0001"
    assert p_value_text(1.0) == "p = 1"
