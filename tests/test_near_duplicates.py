"""Near-duplicates: which are found, on what the result depends, and the list of them."""

import csv
import random

import numpy as np
import pytest

from sentiformer.data.minhash import signatures
from sentiformer.data.near_duplicates import (
    LOWEST_ESTIMATE,
    THRESHOLD,
    Match,
    count_matches,
    find_near_duplicates,
    jaccard,
    shingles,
    write_matches,
)

WORDS = [f"w{number}" for number in range(5000)]


def text(seed: int, length: int = 100) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def changed(words: str, share: float) -> str:
    """The text with this share of its words replaced."""
    every = round(1 / share)
    return " ".join("new" + w if i % every == 0 else w for i, w in enumerate(words.split()))


def splits(**texts: list[str]) -> dict[str, list[str]]:
    return {"train": [], "validation": [], "test": [], **texts}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("One, two; THREE four!", ["one two three", "two three four"]),
        ("one<br />two three", ["one two three"]),
        ("Too short.", ["too short"]),
        ("Good", ["good"]),
        (":-)", [": - )"]),
        ("😀 👍👍👍", ["😀 👍 👍", "👍 👍 👍"]),
        ("great 👍👍👍", ["great"]),
        ("", [""]),
        ("snake_case is 1.5", ["snake case is", "case is 1", "is 1 5"]),
        ("in\u00advi\u200bsible", ["invisible"]),
        ("cafe\u0301 CAFÉ café", ["café café café"]),
        ("这部电影。", ["这 部 电", "部 电 影"]),
        ("映画、見たよ", ["映 画 見", "画 見 た", "見 た よ"]),
        ("スター!", ["ス タ ー"]),
        ("好 movie 100", ["好 movie 100"]),
        ("ｽﾀｰ!", ["ス タ ー"]),
        ("看DVD了", ["看 dvd 了"]),
        ("看ＤＶＤ了", ["看 dvd 了"]),
        ("人々と〇", ["人 々 と", "々 と 〇"]),
        ("ที่ดี", ["ท ี ่", "ี ่ ด", "่ ด ี"]),
        ("ສະບາຍ", ["ສ ະ ບ", "ະ ບ າ", "ບ າ ຍ"]),
        ("សួស្", ["ស ួ ស", "ួ ស ្"]),
        ("ပါမ", ["ပ ါ မ"]),
        ("བདེ་ལེགས་ཡིན།", ["བདེ ལེགས ཡིན"]),
        ("영화 정말 좋다", ["영화 정말 좋다"]),
        ("كِتَابٌ جَمِيل، جدا", ["كِتَابٌ جَمِيل جدا"]),
        ("बहुत अच्छी फिल्म।", ["बहुत अच्छी फिल्म"]),
    ],
)
def test_shingles_are_three_words_without_case_and_punctuation(words, expected):
    assert shingles(words) == expected


def test_similarity_is_the_jaccard_index_of_the_shingles():
    assert jaccard("a b c d e", "A, b, c, d, e!") == 1
    assert jaccard("a b c d e", "a b c d x") == 2 / 4
    assert jaccard("a b c a b c", "a b c a") == 2 / 3
    assert jaccard("a b c", "x y z") == 0


def test_a_text_in_which_one_word_of_nine_differs_is_at_the_threshold():
    original = text(1, 900)
    assert jaccard(original, changed(original, 1 / 9)) == pytest.approx(THRESHOLD, abs=0.01)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_the_share_of_equal_values_estimates_the_similarity(share):
    length = 300
    common = round(2 * length * share / (1 + share))
    first = [text(seed, common) + " " + text(seed + 1000, length - common) for seed in range(100)]
    second = [text(seed, common) + " " + text(seed + 2000, length - common) for seed in range(100)]
    exact = np.mean([jaccard(*pair) for pair in zip(first, second, strict=True)])
    mine, other = (np.concatenate([*signatures(map(shingles, side))]) for side in (first, second))
    estimates = (mine == other).mean(axis=1)
    assert estimates.mean() == pytest.approx(exact, abs=0.02)
    assert estimates.std() < (THRESHOLD - LOWEST_ESTIMATE) / 2.5


def test_near_duplicates_are_found_and_others_are_not():
    tests = [text(seed) for seed in range(200)]
    near = [changed(words, 1 / 20) for words in tests[:100]]
    far = [changed(words, 1 / 7) for words in tests[100:]]
    matches = find_near_duplicates(splits(test=tests, train=[text(9999), *near, *far]))
    assert [(match.split, match.other_split) for match in matches] == [("test", "train")] * 100
    assert {(match.row, match.other_row) for match in matches} == {(i, i + 1) for i in range(100)}
    for match in matches:
        exact = jaccard(tests[match.row], near[match.row])
        assert match.similarity == pytest.approx(exact, abs=1e-4)
        assert exact >= THRESHOLD


@pytest.mark.parametrize(
    "alphabet",
    [
        *[(0x4E00, 0x9FA5), (0x3042, 0x3093), (0xE01, 0xE2E), (0xE81, 0xEB0), (0x1000, 0x1021)],
        *[(0x1780, 0x17A2), (0x1F600, 0x1F64F)],
    ],
)
def test_near_duplicates_are_found_in_scripts_without_spaces(alphabet):
    """Chinese, Hiragana, Thai, Lao, Burmese, Khmer, emoji; one sentence in ten is replaced."""
    rng = random.Random(1)

    def sentences(count: int) -> list[str]:
        return [
            "".join(chr(rng.randint(*alphabet)) for _ in range(20)) + "。" for _ in range(count)
        ]

    tests = [sentences(10) for _ in range(40)]
    near = ["".join([*sentences(1), *words[1:]]) for words in tests[:20]]
    far = ["".join(sentences(10)) for _ in range(20)]
    texts = splits(test=["".join(words) for words in tests], train=near + far)
    found = {(match.row, match.other_row) for match in find_near_duplicates(texts)}
    assert found == {(row, row) for row in range(20)}


def test_near_duplicates_of_short_texts_are_found():
    tests = ["Good!", "so bad", "A fine film with a fine cast", "👍👍👍", "좋아요"]
    train = ["good", "So bad...", "a fine film, with a fine cast indeed", "👍👍👍👍👍", "좋아요!!"]
    others = ["god", "so", "a fine film", "👎👎👎", "싫어요"]
    matches = find_near_duplicates(splits(test=tests, train=others + train))
    assert {(match.row, match.other_row) for match in matches} == {(i, i + 5) for i in range(5)}


def test_nearly_all_matches_just_above_the_threshold_are_found():
    tests = [text(seed) for seed in range(300)]
    near = [changed(words, 1 / 11) for words in tests]
    above = sum(jaccard(*pair) >= THRESHOLD for pair in zip(tests, near, strict=True))
    matches = find_near_duplicates(splits(test=tests, train=near))
    assert above == 300
    assert len(matches) >= 0.97 * above


def test_the_first_of_the_most_similar_texts_is_the_match():
    original = text(1)
    others = [changed(original, share) for share in (1 / 15, 1 / 50, 1 / 20)]
    train = [text(2), *others, *others]
    (match,) = find_near_duplicates(splits(validation=[original], train=train))
    assert (match.split, match.other_row) == ("validation", 2)


def test_test_and_validation_are_compared_with_all_other_splits():
    words = text(1)
    each = {name: [f"{name} {words}"] for name in ("train", "validation", "test", "unlabeled")}
    counts = count_matches(find_near_duplicates(each), each)
    assert counts == {
        "test": {"train": 1, "validation": 1, "unlabeled": 1},
        "validation": {"train": 1, "unlabeled": 1},
    }
    assert count_matches([], splits())["test"] == {"train": 0, "validation": 0}


def test_rows_in_another_order_have_the_same_near_duplicates():
    tests = [text(seed) for seed in range(50)]
    train = [changed(words, 1 / 20) for words in tests] + [text(seed) for seed in range(100, 400)]

    def found(order: int) -> set[tuple[str, str, float]]:
        mine, theirs = tests.copy(), train.copy()
        random.Random(order).shuffle(mine)
        random.Random(order + 1).shuffle(theirs)
        matches = find_near_duplicates(splits(test=mine, train=theirs))
        return {(mine[m.row], theirs[m.other_row], m.similarity) for m in matches}

    assert len(found(1)) == 50
    assert found(1) == found(2)


def test_the_list_shows_the_beginning_of_both_texts(tmp_path):
    path = tmp_path / "near_duplicates.csv"
    texts = splits(test=['a, "quoted"\nline ' + "x" * 900], train=["b", "c" * 900])
    write_matches(path, [Match("test", 0, "train", 1, 0.75)], texts)
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["text"] == texts["test"][0][:200]
    assert row["other_text"] == "c" * 200
    assert (row["split"], row["row"], row["other_split"], row["other_row"], row["similarity"]) == (
        "test", "0", "train", "1", "0.75"
    )  # fmt: skip
