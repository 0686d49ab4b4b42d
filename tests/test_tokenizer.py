"""The tokenizer gives spaCy's tokens for any text, cache and number of processes."""

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import spacy
from conftest import made_up_reviews

from sentiformer.core.errors import UserError
from sentiformer.core.files import write_json
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.text import chunks as chunks_module
from sentiformer.text import tokenizer
from sentiformer.text.chunks import CHUNK_CHARACTERS
from sentiformer.text.corpus import Corpus, read_lines
from sentiformer.text.params import TokenizeParams
from sentiformer.text.tokenizer import Tokenizer, tokenize

ENGLISH = TokenizeParams(language="en")
PIECES = [
    *"can't!!!... won't DON'T I'm they've cannot gonna y'all 'twas rock'n'roll o'clock".split(),
    *"https://example.com/a?b=c#d www.imdb.com/title/tt0111161/ me@example.co.uk a.b/c".split(),
    *":) :-( ;D <3 :'( ^_^ (╯°□°）╯︵┻━┻ ¯\\_(ツ)_/¯ 😀 👍🏽 👩‍👩‍👧 🇬🇧 ❤️ ♥".split(),
    *"10/10 $5.99 1,000,000 3.14 -5 1990s '90s 9am 5:30pm 50% No.1 #1 4K $1-$2".split(),
    *"well-known state-of-the-art --- — – a--b e.g. U.S.A. Mr. Ph.D. etc... ... …".split(),
    *"(good) [sic] {x} \"quoted\" 'single' “curly” ‘it’s’ «no» *bold* _under_ ~ ` ``x''".split(),
    *"<br /> <br/> <BR /> <pad> <i>tag</i> &amp; C++ C# .NET AT&T s/he and/or @home".split(),
    *"naïve café İstanbul ΣΊΣΥΦΟΣ straße 映画は素晴らしい фильм مرحبا हिन्दी".split(),
    *"e\u0301 \ufeffx \u200bz".split(),
    *"\x00 \u00ad a.b.c end.Start wow!Yes x,y so...good !?!? 's n't '".split(),
]
SPACES = [" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\x85", "\x1c"]


def random_texts(count: int) -> list[str]:
    rng = random.Random(0)
    joints = [*SPACES, "", "", "<br />", ".", ","]
    return [
        "".join(rng.choice(PIECES) + rng.choice(joints) for _ in range(rng.randint(1, 25)))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def english():
    return Tokenizer("en")


@pytest.fixture(scope="module")
def spacy_whole():
    """Splits a whole text with spaCy."""
    split = spacy.blank("en").tokenizer

    def tokens(text: str) -> list[str]:
        doc = split(text.replace("<br />", " "))
        return [token.text.lower() for token in doc if not token.is_space]

    return tokens


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_gives_spacys_tokens(english, spacy_whole, piece):
    assert english([piece]) == [spacy_whole(piece)]


def test_random_texts_give_spacys_tokens(english, spacy_whole):
    for text in random_texts(400):
        assert english([text]) == [spacy_whole(text)], repr(text)


def test_reviews_give_spacys_tokens(english, spacy_whole):
    texts = made_up_reviews(50)["text"].tolist()
    assert english(texts) == [spacy_whole(text) for text in texts]


@pytest.mark.parametrize("language", ["en", "de", "fr", "it", "tr", "fi", "es", "xx", "am", "ms"])
def test_plain_chunks_split_without_spacy_give_its_tokens(language):
    """Amharic does not split off a full stop, and Malay splits the currency RM off."""
    spacy_alone = spacy.blank(language).tokenizer
    words = (
        "a I We dont cant cannot gonna Im id its etc no Inc nor Dr am pm ca St Xyz km kg OK zB ud "
        "de la RMKe McGee"
    ).split()
    marks = ("", *',!?;:.)("')
    chunks = [first + word + last for first in marks for word in words for last in marks]
    found = Tokenizer(language)(chunks)
    assert found == [[token.text.lower() for token in spacy_alone(chunk)] for chunk in chunks]


def test_only_plain_chunks_are_split_without_spacy(english):
    assert english._plain("Film") == ("film",)
    assert english._plain("film,") == ("film", ",")
    assert english._plain("film.") == ("film", ".")
    assert english._plain('"Film') == ('"', "film")
    for chunk in ("don't", "cannot", "(cannot", "US.", "a.", "(film)", "été", "10", "a-b", ""):
        assert english._plain(chunk) is None, chunk
    assert Tokenizer("am")._plain("film.") is None


def test_the_tokens_of_an_example(english):
    text = "I can't recommend it!<br /><br />State-of-the-art...\u00a0NOT :) <br/>"
    assert english([text]) == [
        "i ca n't recommend it ! state - of - the - art ... not :) < br/ >".split()
    ]


@pytest.mark.parametrize("space", [*SPACES, "<br />", "<br /><br />"])
def test_a_chunk_does_not_depend_on_its_neighbours(english, space):
    first, second = english(["'!?:(", "(good)"])
    assert english([f"'!?:({space}(good)"]) == [first + second]


def test_tokens_have_no_white_space_and_are_lower_case(english):
    for token in {token for tokens in english(random_texts(100)) for token in tokens}:
        assert token.split() == [token]
        assert token.lower() == token


@pytest.mark.parametrize("text", ["", " ", "<br />", "".join(SPACES), " <br />\n<br /> "])
def test_a_text_without_words_has_no_tokens(english, text):
    assert english([text, "a", text]) == [[], ["a"], []]


def test_the_size_of_the_cache_does_not_change_the_tokens(english, monkeypatch):
    texts = random_texts(50)
    expected = english(texts)
    monkeypatch.setattr(chunks_module, "CACHED_CHUNKS", 3)
    small = Tokenizer("en")
    assert small(texts) == expected
    assert [small([text])[0] for text in texts] == expected
    assert len(small._cache) <= 3


def test_a_caller_may_change_the_returned_tokens(english):
    (tokens,) = english(["well-known"])
    tokens.clear()
    assert english(["well-known"]) == [["well", "-", "known"]]


def test_a_megabyte_without_white_space_is_tokenized_in_seconds(english):
    emoji = "".join(chr(0x1F600 + i) for i in range(50)) * 5000  # 1 MB of UTF-8
    assert english([emoji]) == [list(emoji)]
    (tokens,) = english(["x" * 2**20])
    assert "".join(tokens) == "x" * 2**20
    assert max(map(len, tokens)) == CHUNK_CHARACTERS


def test_a_chunk_of_the_longest_length_is_not_split_first(english, spacy_whole):
    for chunk in ("x" * CHUNK_CHARACTERS, ("ab-" * CHUNK_CHARACTERS)[:CHUNK_CHARACTERS]):
        assert english([chunk]) == [spacy_whole(chunk)]


def test_threads_can_share_a_tokenizer(monkeypatch):
    shared, interval = Tokenizer("en"), sys.getswitchinterval()
    texts = [" ".join(f"w{i}x{j}-y{i * j}!?" for j in range(40)) for i in range(100)]
    monkeypatch.setattr(chunks_module, "CACHED_CHUNKS", 10)
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda text: shared([text])[0], texts))
    finally:
        sys.setswitchinterval(interval)
    assert found == Tokenizer("en")(texts)


def test_another_language_has_its_own_rules(english):
    assert Tokenizer("it")(["L'arte"]) == [["l'", "arte"]]
    assert english(["L'arte"]) == [["l'arte"]]


CHINESE = [
    "这部电影很好看。我喜欢 iPhone 15 Pro!",
    "标题<br /><br />一二三\u3000四五\n六，七！？…… 10/10 O'Neil :-)",
    "繁體字與日本語のテキスト、한국어 👩‍👩‍👧 e\u0301 x\u200by",
    "好" * (3 * CHUNK_CHARACTERS + 1),
]


@pytest.mark.parametrize("text", CHINESE)
def test_chinese_is_split_into_characters_without_another_package(text):
    doc = spacy.blank("zh")(text.replace("<br />", " "))
    tokens = [token.text.lower() for token in doc if not token.is_space]
    assert Tokenizer("zh")([text]) == [tokens]
    assert tokens == list("".join(text.replace("<br />", " ").split()).lower())


@pytest.mark.parametrize("language", ["de", "xx", "es", "ru", "ar"])
def test_each_language_gives_spacys_tokens(language):
    split = spacy.blank(language).tokenizer
    texts = [*random_texts(30), "z.B. geht's am 3. Mai los; ¿qué? d.h. т.е. «да» السيد. محمد"]
    expected = [
        [token.text.lower() for token in split(text.replace("<br />", " ")) if not token.is_space]
        for text in texts
    ]
    assert Tokenizer(language)(texts) == expected


@pytest.mark.parametrize(
    ("language", "segmenter"), [("en", "rules"), ("xx", "rules"), ("zh", "characters")]
)
def test_the_segmenter_of_a_language(language, segmenter):
    assert Tokenizer(language).segmenter == segmenter


def test_the_segmenter_of_another_package_is_its_class(monkeypatch):
    class JapaneseTokenizer:
        pass

    monkeypatch.setattr(tokenizer, "_spacy_tokenizer", lambda language: JapaneseTokenizer())
    assert Tokenizer("ja").segmenter == "JapaneseTokenizer"


@pytest.mark.parametrize("language", ["xx-none", "english", "EN", "qq", "lex_attrs"])
def test_an_unknown_language_is_refused_in_one_line(language):
    with pytest.raises(UserError) as caught:
        Tokenizer(language)
    assert str(caught.value).startswith(f"tokenize.language is {language!r}: ")
    assert str(caught.value).endswith("https://spacy.io/usage/models#languages lists the codes")
    assert "\n" not in str(caught.value)


def test_a_missing_package_of_a_language_is_named(monkeypatch):
    def refuse(language: str) -> None:
        raise ImportError(f"{language} needs SudachiPy.\nInstall spacy[ja]")

    monkeypatch.setattr(spacy, "blank", refuse)
    with pytest.raises(
        UserError, match=r"^tokenize\.language is 'ja': ja needs SudachiPy. Install"
    ):
        Tokenizer("ja")


@pytest.fixture
def raw(tmp_path):
    """Two splits as stage download writes them: random, empty and repeated texts."""
    folder = tmp_path / "raw"
    folder.mkdir()
    texts = ["", *random_texts(150), " \n ", *made_up_reviews(2100)["text"], "", "<br />"]
    rows = {"train": pd.DataFrame({"text": texts, "label": np.arange(len(texts)) % 2})}
    rows["test"] = rows["train"].iloc[::-7]
    for split, table in rows.items():
        table.to_parquet(folder / f"{split}.parquet", index=False)
    facts = {
        split: {"rows": len(table), "fingerprint": split, "languages": {"en": len(table)}}
        for split, table in rows.items()
    }
    write_json(folder / "dataset.json", {"splits": facts, "params": {"download": {"a": 1}}})
    return folder


def tokenized(raw, workers=1):
    folder = raw.parent / f"tokens-{workers}"
    folder.mkdir()
    return folder, tokenize(ENGLISH, raw, folder, workers=workers)


def test_a_corpus_has_the_tokens_and_labels_of_the_texts(raw, english):
    folder, about = tokenized(raw)
    types = read_lines(folder / "types.txt", made_by="tokenize")
    assert len(types) == len(set(types)) == about["types"]
    assert about == json.loads((folder / "corpus.json").read_text())
    for split in ("train", "test"):
        table, corpus = pd.read_parquet(raw / f"{split}.parquet"), Corpus(folder / f"{split}.arrow")
        found = [[types[i] for i in text] for text in corpus]
        assert found == english(table["text"])
        assert corpus.labels.tolist() == table["label"].tolist()
        assert about["splits"][split] == {
            "rows": len(table),
            "tokens": sum(map(len, found)),
            "fingerprint": split,
            "languages": {"en": len(table)},
        }
    assert about["params"] == {"download": {"a": 1}, "tokenize": {"language": "en"}}


@pytest.mark.parametrize(("counts", "said"), [({"zh": 2}, True), ({"en": 2}, False)])
def test_a_language_that_does_not_fit_the_texts_is_reported(raw, capsys, counts, said):
    about = json.loads((raw / "dataset.json").read_text())
    about["splits"]["train"]["languages"] = counts
    write_json(raw / "dataset.json", about)
    tokenized(raw)
    line = "most texts of train seem to be in Chinese (zh), and tokenize.language is en; set token"
    assert (line in capsys.readouterr().out) is said


def test_types_are_in_order_of_appearance(raw, english):
    folder, _ = tokenized(raw)
    texts = [*pd.read_parquet(raw / "train.parquet")["text"]]
    seen = dict.fromkeys(token for tokens in english(texts) for token in tokens)
    assert read_lines(folder / "types.txt", made_by="tokenize")[: len(seen)] == list(seen)


def test_types_of_validation_and_test_do_not_change_ids_in_training_texts(raw):
    """They come last, although `dataset.json` lists these splits before the unlabelled texts."""
    found = []
    for words in ("zyzzyva zymurgy", "a great film"):
        facts = {"train": {}, "validation": {}, "test": {}, "unlabeled": {}}
        for split in facts:
            text = words if split in ("validation", "test") else f"the plot, {split}"
            table = pd.DataFrame({"text": [text], "label": [0]})
            table.to_parquet(raw / f"{split}.parquet", index=False)
            facts[split] = {"rows": 1, "languages": {}}
        write_json(raw / "dataset.json", {"splits": facts, "params": {}})
        folder = raw.parent / words.split()[0]
        folder.mkdir()
        about = tokenize(ENGLISH, raw, folder, workers=1)
        assert list(about["splits"]) == list(facts)
        found.append([(folder / f"{split}.arrow").read_bytes() for split in PRETRAINING_SPLITS])
    assert found[0] == found[1]


def test_the_files_do_not_depend_on_the_number_of_processes(raw):
    written = []
    for workers in (1, 2, 3):
        folder, _ = tokenized(raw, workers)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0].keys() == {"train.arrow", "test.arrow", "types.txt", "corpus.json"}
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("name", ["dataset.json", "train.parquet", "test.parquet"])
def test_a_missing_input_is_reported_with_its_stage(raw, name):
    (raw / name).unlink()
    fix = "`dvc repro download` makes it in the project's root"
    with pytest.raises(UserError, match=rf"{name} is missing; {fix}$"):
        tokenized(raw)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kept", [0, 10, 0.5, -10])
def test_a_truncated_split_is_corrupt(raw, workers, kept):
    path = raw / "train.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])
    assert_corrupt(raw, "train.parquet", workers)


def overwrite_pages(path):
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        overwrite_pages,
        lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
        lambda path: pd.DataFrame({"review": ["a"]}).to_parquet(path),
    ],
    ids=["overwritten pages", "random bytes", "other columns"],
)
def test_a_damaged_split_is_corrupt(raw, damage):
    damage(raw / "train.parquet")
    assert_corrupt(raw, "train.parquet")


@pytest.mark.parametrize("content", ["", '{"splits": ', "nothing"])
def test_a_corrupt_dataset_json_is_reported_in_one_line(raw, content):
    (raw / "dataset.json").write_text(content)
    assert_corrupt(raw, "dataset.json")


def assert_corrupt(raw, name, workers=1):
    with pytest.raises(UserError) as caught:
        tokenized(raw, workers)
    message = str(caught.value)
    assert message.startswith(f"{raw / name} is corrupt (")
    assert message.endswith("); `dvc repro --force download` creates it again")
    assert "\n" not in message
