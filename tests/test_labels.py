"""Labels get numbers; spellings that surely or perhaps mean the same are joined or reported."""

import math
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from sentiformer.core.errors import UserError
from sentiformer.data.labels import canonical_label, is_hidden, number_labels, require_one_type


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *((1, 1), (1.0, 1), (-1.0, -1), (Decimal("2.0"), 2), (1.5, "1.5"), (Decimal("0.5"), "0.5")),
        *((True, "true"), (False, "false"), ("a b", "a b"), ("NA", "NA"), ("None", "None")),
        *((None, None), (math.nan, None), ("", None), (" \t", None), ("\u200b\ufeff", None)),
        *((math.inf, "inf"), (0, 0), ("0", "0")),
    ],
)
def test_a_value_has_one_form_in_every_file_format(value, label):
    found = canonical_label(value)
    assert (found, type(found)) == (label, type(label))


@pytest.mark.parametrize("value", [["a"], {"a": 1}, date(2020, 1, 1), b"a"])
def test_a_value_that_is_no_label_is_refused(value):
    with pytest.raises(TypeError):
        canonical_label(value)


@pytest.mark.parametrize(
    ("found", "given", "names", "numbers"),
    [
        (["pos", "neg", "pos"], None, ["neg", "pos"], [1, 0, 1]),
        (["pos", "neg"], ["pos", "neg"], ["pos", "neg"], [0, 1]),
        ([1, 0], None, ["0", "1"], [1, 0]),
        (["10", "9", "-1"], None, ["-1", "9", "10"], [2, 1, 0]),
        ([1, 0], ["neg", "pos"], ["neg", "pos"], [1, 0]),
        (["1", "0"], ["neg", "pos"], ["neg", "pos"], [1, 0]),
        (["1.0", "0.0"], ["neg", "pos"], ["neg", "pos"], [1, 0]),
        (["false", "TRUE"], ["neg", "pos"], ["neg", "pos"], [0, 1]),
        ([5, 1], ["1", "5"], ["1", "5"], [1, 0]),
        (["5.0", "1"], ["5", "1"], ["5", "1"], [0, 1]),
        (["0.0", "1.0"], None, ["0", "1"], [0, 1]),
        (["02", "10", "01"], None, ["01", "02", "10"], [1, 2, 0]),
        (["1.5", "2", "0.5"], None, ["0.5", "1.5", "2"], [1, 2, 0]),
        (["True", "False"], None, ["False", "True"], [1, 0]),
        (["a", "b"], ["b", "c", "a"], ["b", "c", "a"], [2, 0]),
    ],
)
def test_labels_are_names_or_numbers(found, given, names, numbers):
    number_of, labels = number_labels(Counter(found), given)
    assert labels == names
    assert [number_of[str(label)] for label in found] == numbers


SAME = [
    *(
        ("1", other)
        for other in ("1.0", "01", "+1", "1e0", "１", "1.", "00001.00", " 1", "1\u200b")
    ),
    *(("-1", other) for other in ("\u22121", "\u20131", "-1.0")),
    *(("7", "007"), ("1.5", "1.50"), ("true", "True"), ("true", "TRUE")),
    *(("good", f"go{sign}od") for sign in "\u200b\u00ad\u2060\u200e\u202e\ufeff\u2066\u200d\u180e"),
    *(("good", other) for other in ("\ufeffgood", "good ", " good", "good\u00a0", "good\r")),
    *(("a b", f"a{space}b") for space in ("\u00a0", "  ", "\t", "\u2003", "\u3000", "\u202f")),
    *(("caf\u00e9", "cafe\u0301"), ("\ud55c", "\u1112\u1161\u11ab")),
]


@pytest.mark.parametrize(("name", "other"), SAME)
def test_spellings_that_surely_mean_the_same_are_one_class_and_counted(capsys, name, other):
    rest = {"1": "2", "-1": "2", "7": "2", "1.5": "2", "true": "false"}.get(name, "zz")
    number_of, names = number_labels({other: 1200, rest: 5, name: 3}, None)
    assert sorted(names) == sorted([name, rest])
    assert number_of[name] == number_of[other] == names.index(name)
    line = capsys.readouterr().out
    assert line.startswith("spellings that are one class, with their number of texts: ")
    assert f"{other!r} (1,200)" in line
    assert f"{name!r} (3)" in line
    assert f" as {name!r}" in line
    assert repr(rest) not in line


SIMILAR = [
    *(("good", other) for other in ("Good", "GOOD", "ｇｏｏｄ")),
    *(("a-b", other) for other in ("a\u2010b", "a\u2011b", "a\u2013b", "a\u2014b", "a - b", "A-b")),
    *(("don't", f"don{sign}t") for sign in "\u2019\u2018\u02bc`\u00b4\u2032"),
    *(('a "b"', "a \u201cb\u201d"), ("a b", "a_b"), ("R&D", "R&amp;D"), ("7 days", "7\u00a0Days")),
    *(("1", "1.0"), ("1", "1,0"), ("Straße", "strasse")),
]


@pytest.mark.parametrize(("name", "other"), SIMILAR)
def test_spellings_that_perhaps_mean_the_same_are_reported_and_joined_by_a_list(
    capsys, name, other
):
    found = {name: 3, other: 1200, "zz": 5}
    assert len(number_labels(found, None)[1]) == 3
    line = capsys.readouterr().out
    assert f"{name!r} (3)" in line
    assert " (1,200)" in line
    assert "are they one class? A list download.labels with only one of them joins them" in line
    assert "zz" not in line
    number_of, names = number_labels(found, ["zz", name])
    assert names == ["zz", name]
    assert number_of == {name: 1, other: 1, "zz": 0}
    assert f"{other!r} (1,200)" in capsys.readouterr().out
    number_of, names = number_labels(found, ["zz", name, other])
    assert len({*number_of.values()}) == 3, "both are named"


@pytest.mark.parametrize(
    "names",
    [["good", "goods"], ["1", "-1"], ["1", "10"], ["a", "b"], ["a.", "a"], ["1", "2", "x"]],
)
def test_other_spellings_are_not_reported(capsys, names):
    assert number_labels(Counter(names), None)[1] == sorted(names)
    assert capsys.readouterr().out == ""


def test_signs_that_join_letters_stay_in_a_name():
    names = ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "x"]
    assert set(number_labels(Counter(names), None)[1]) == set(names)


@pytest.mark.parametrize(
    ("found", "given", "text"),
    [
        (["x"], None, "download.label_column has only the label 'x'; a classifier needs two"),
        (["1", "1.0"], None, "has only the label '1'"),
        (["x", "y"], ["x", "z"], "download.labels are x, z; the data also have y; name all"),
        ([1, 2], ["x", "y"], "x, y, numbered from 0 to 1; the data also have 2; name all"),
        ([-1, 0, 1], ["x", "y", "z"], "numbered from 0 to 2; the data also have -1; name"),
        ([1, 2], ["x", "y", "z"], "numbered from 0, but the lowest label of the data is 1; write"),
        ([0, 1, 2], ["1", "2", "3"], "download.labels are 1, 2, 3; the data also have 0"),
        ([0, 1], ["0", "x"], "download.labels are 0, x; the data also have 1"),
        ([0, 1], ["1", "1.0"], "download.labels name '1.0' twice"),
        (["a\0", "b"], None, r"the label 'a\x00' has a control character; remove it"),
        (["a\ud83d", "b"], None, r"a label holds '\ud83d', which is no whole character"),
    ],
)
def test_an_error_names_the_labels(found, given, text):
    with pytest.raises(UserError) as caught:
        number_labels(Counter(found), given)
    assert text in str(caught.value)


@pytest.mark.parametrize("labels", [[1, "x"], [0, "true"]])
def test_numbers_and_words_in_one_split_are_refused(labels):
    with pytest.raises(UserError, match="labels of two types, such as"):
        require_one_type("train", labels)


@pytest.mark.parametrize("labels", [[1, "2"], [1, "1.5"], ["1", "x"]])
def test_numbers_and_numbers_as_text_are_one_type(labels):
    require_one_type("train", labels)


def test_minus_one_is_a_hidden_label_in_every_spelling():
    assert all(map(is_hidden, [-1, "-1", "-1.0", " -1"]))
    assert not any(map(is_hidden, [0, 1, "1", "x", "-10"]))
