"""Texts to tokens: spaCy's tokens, lower-cased, without white space and line-break tags.

A text is split at white space into chunks, and spaCy splits each chunk into tokens. Most chunks
occur many times, so the tokens of a chunk are cached. spaCy splits a whole text into the same
tokens, except for rare emoticons and quotation marks that it finds across white space (`'!?:( (`):
7 of IMDb's 100,000 reviews differ. spaCy's time grows with the square of a chunk's length, so
chunks of more than 1,000 characters, which no language has, are split first.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sentiformer.console.progress import progress
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading, write_json
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.process import ordered_map
from sentiformer.text.corpus import Block, write_corpus, write_lines
from sentiformer.text.params import TokenizeParams

if TYPE_CHECKING:
    from spacy.tokenizer import Tokenizer as SpacyTokenizer

SEGMENTERS = {"Tokenizer": "rules", "ChineseTokenizer": "characters"}  # by spaCy's class
CACHED_CHUNKS = 500_000
CHUNK_CHARACTERS = 1000
# A word in lower case, or with a capital at its start, and a mark before or after it. The rules of
# all languages split these alike, apart from the exceptions that they list, and from full stops,
# which some languages keep at the word. spaCy would take twenty times as long.
PLAIN_CHUNK = re.compile(r"""([("]?)([A-Za-z][a-z]*)([,!?;:)"]|(?<=[a-z][a-z])\.)?""")
BLOCK_TEXTS = 1000  # constant, so that the files do not depend on the number of workers


class Tokenizer:
    """Tokenizer of one language; safe to share between threads, which take turns.

    Args:
        language: a spaCy language code, such as `en`.

    Attributes:
        segmenter: how spaCy splits a text: by rules, into characters (Chinese), or with another
            package, for which it is the name of spaCy's class.

    Raises:
        UserError: spaCy does not know the language, or needs a package that is not installed.
    """

    def __init__(self, language: str) -> None:
        self._spacy = _spacy_tokenizer(language)
        name = type(self._spacy).__name__
        self.segmenter = SEGMENTERS.get(name, name)
        self._exceptions = self._spacy.rules if self.segmenter == "rules" else None
        self._cuts_full_stops = self._exceptions is not None and len(self._spacy("ab.")) == 2
        self._cache: dict[str, tuple[str, ...]] = {}  # tuples of strings cost no garbage collection
        self._lock = Lock()  # MLflow serves each request in a thread; memory zones must not overlap

    def __call__(self, texts: Iterable[str]) -> list[list[str]]:
        """Split each text into its tokens."""
        with self._lock, self._spacy.vocab.memory_zone():  # or spaCy keeps all strings
            return [self._tokens(text) for text in texts]

    def _tokens(self, text: str) -> list[str]:
        tokens: list[str] = []
        for chunk in text.replace("<br />", " ").split():
            cached = self._cache.get(chunk)
            tokens += self._split(chunk) if cached is None else cached
        return tokens

    def _split(self, chunk: str) -> Iterable[str]:
        """Split a chunk, and cache its tokens."""
        if len(chunk) > CHUNK_CHARACTERS:
            starts = range(0, len(chunk), CHUNK_CHARACTERS)
            return self._tokens(" ".join(chunk[i : i + CHUNK_CHARACTERS] for i in starts))
        if len(self._cache) >= CACHED_CHUNKS:
            self._cache.clear()
        tokens = self._plain(chunk) or tuple(token.text.lower() for token in self._spacy(chunk))
        self._cache[chunk] = tokens
        return tokens

    def _plain(self, chunk: str) -> tuple[str, ...] | None:
        """Return the tokens of a chunk that can be split without spaCy; None for any other."""
        rules = self._exceptions
        if rules is None or not (match := PLAIN_CHUNK.fullmatch(chunk)):
            return None
        before, word, after = match.groups()
        if chunk in rules or word in rules or (before and after):
            return None
        if after == "." and not self._cuts_full_stops:
            return None
        return tuple(part for part in (before, word.lower(), after) if part)


def _spacy_tokenizer(language: str) -> "SpacyTokenizer":
    import spacy

    try:
        return spacy.blank(language).tokenizer
    except (ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"tokenize.language is {language!r}: {reason.rstrip('.')}; "
            "https://spacy.io/usage/models#languages lists the codes"
        ) from None


class TokenizedBlock(NamedTuple):
    """A block of texts as a worker returns it.

    Attributes:
        types: the distinct tokens of the block, in order of appearance.
        ids: the tokens of all texts as indices into `types`, concatenated, int32.
        lengths: number of tokens of each text.
        labels: label of each text.
    """

    types: list[str]
    ids: np.ndarray
    lengths: list[int]
    labels: np.ndarray


_tokenizer = cache(Tokenizer)  # one per process and language


def _tokenize_block(block: tuple[str, list[str], np.ndarray]) -> TokenizedBlock:
    language, texts, labels = block
    tokenized = _tokenizer(language)(texts)
    index: dict[str, int] = {}
    ids = [index.setdefault(token, len(index)) for tokens in tokenized for token in tokens]
    return TokenizedBlock(
        list(index), np.array(ids, dtype=np.int32), [len(tokens) for tokens in tokenized], labels
    )


def tokenize(params: TokenizeParams, raw: Path, folder: Path, *, workers: int) -> dict[str, Any]:
    """Turn the splits of `raw` into corpora in `folder`; return the content of `corpus.json`.

    Types are numbered in order of appearance, so the files do not depend on `workers`.

    Raises:
        UserError: the language is unknown, or a file of `raw` is missing or corrupt.
    """
    dataset = read_json(raw / "dataset.json", made_by="download")
    segmenter = _tokenizer(params.language).segmenter  # loaded before the workers are forked
    index: dict[str, int] = {}
    facts: dict[str, Any] = {}
    # Validation and test come last, so that they do not change the ids of types in other splits.
    for split in sorted(dataset["splits"], key=lambda split: split not in PRETRAINING_SPLITS):
        about = dataset["splits"][split]
        blocks = _read_blocks(raw / f"{split}.parquet", params.language)
        tokenized = ordered_map(_tokenize_block, blocks, workers=workers)
        total = -(-about["rows"] // BLOCK_TEXTS)
        shown = progress(tokenized, total=total, what=f"tokenize {split}, blocks of texts")
        rows, tokens = write_corpus(folder / f"{split}.arrow", _number(shown, index))
        facts[split] = {**about, "rows": rows, "tokens": tokens}
    write_lines(folder / "types.txt", index)
    corpus = {
        **dataset,
        "splits": {split: facts[split] for split in dataset["splits"]},
        "segmenter": segmenter,
        "types": len(index),
        "spacy": version("spacy"),
        "params": {**dataset["params"], "tokenize": params.model_dump()},
    }
    write_json(folder / "corpus.json", corpus)
    return corpus


def _number(blocks: Iterable[TokenizedBlock], index: dict[str, int]) -> Iterator[Block]:
    """Replace the type ids of each block by those of all splits, which are added to `index`."""
    for block in blocks:
        numbers = [index.setdefault(token, len(index)) for token in block.types]
        type_ids = np.array(numbers, dtype=np.int32)[block.ids]
        yield Block(type_ids, np.array(block.lengths), block.labels)


def _read_blocks(path: Path, language: str) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Yield language, texts and labels of `BLOCK_TEXTS` texts each; the last may be fewer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, "download", pa.ArrowException, KeyError):
        for batch in pq.ParquetFile(path).iter_batches(BLOCK_TEXTS, columns=["text", "label"]):
            labels = batch["label"].to_numpy(zero_copy_only=False)
            yield language, batch["text"].to_pylist(), labels
