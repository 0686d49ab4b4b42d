"""Labels, which are texts or whole numbers, get numbers in the list of label names."""

import pytest

from sentiformer.data.labels import number_labels


@pytest.mark.parametrize(
    ("found", "given", "names", "numbers"),
    [
        (["pos", "neg", "pos"], None, ["neg", "pos"], [1, 0, 1]),
        (["pos", "neg"], ["pos", "neg"], ["pos", "neg"], [0, 1]),
        ([1, 0], None, ["0", "1"], [1, 0]),
        (["10", "9", "-1"], None, ["-1", "9", "10"], [2, 1, 0]),
        ([1, 0], ["neg", "pos"], ["neg", "pos"], [1, 0]),
        (["1", "0"], ["neg", "pos"], ["neg", "pos"], [1, 0]),
        ([5, 1], ["1", "5"], ["1", "5"], [1, 0]),
        (["01", "1"], None, ["01", "1"], [0, 1]),
    ],
)
def test_labels_are_names_or_numbers(found, given, names, numbers):
    number_of, labels = number_labels(found, given)
    assert labels == names
    assert [number_of[str(label)] for label in found] == numbers


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["Good", "bad", "good "],
            "the labels 'Good', 'good ' differ only in case or white space",
        ),
        (["é", "e\u0301"], "the labels 'e\u0301', 'é' differ only in case or white sp"),
        (["good", "goods", "1", "01"], ""),
    ],
)
def test_labels_that_differ_only_in_case_or_white_space_are_reported(capsys, names, said):
    assert number_labels(names, None)[1] == sorted(names)
    line = capsys.readouterr().out
    assert line.startswith(said)
    assert bool(line) is bool(said)
