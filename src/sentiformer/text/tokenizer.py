"""Text to tokens: spaCy's, lower-cased, without white space and line-break markup.

spaCy decides what a token is, one whitespace-separated chunk at a time; natural text repeats its
chunks, so each distinct chunk is tokenized once and remembered. A whole text it cuts alike but for
a rare emoticon or quotation mark, which it seeks past white space, too (`'!?:( (`): of IMDb's
100,000 reviews seven differ. Its time grows with the square of a chunk's length, so what no
language writes, a chunk of more than 1,000 characters, is cut first.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sentiformer.console import progress
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading, write_json
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.process import ordered_map
from sentiformer.text.corpus import Block, write_corpus, write_lines
from sentiformer.text.params import TokenizeParams

if TYPE_CHECKING:
    from spacy.tokenizer import Tokenizer as SpacyTokenizer

SEGMENTERS = {"Tokenizer": "rules", "ChineseTokenizer": "characters"}  # by spaCy's class
REMEMBERED_CHUNKS = 500_000
CHUNK_CHARACTERS = 1000
# A word in small letters but for the first, with a mark before it or after it: no language's rules
# cut these otherwise, but for the exceptions that they list, and for full stops, which some do not
# cut off. To ask spaCy would take twenty times as long.
PLAIN_CHUNK = re.compile(r"""([("]?)([A-Za-z][a-z]*)([,!?;:)"]|(?<=[a-z][a-z])\.)?""")
BLOCK_TEXTS = 1000  # fixed, so that the bytes do not depend on the number of workers


class Tokenizer:
    """Tokenizes texts of one language; threads take turns.

    Args:
        language: a spaCy language code, such as `en`.

    Attributes:
        segmenter: what of spaCy's cuts a text: rules, characters (Chinese), or the name of the
            class that calls another package.

    Raises:
        UserError: spaCy knows no such language, or it needs a package that is not installed.
    """

    def __init__(self, language: str) -> None:
        self._spacy = _spacy_tokenizer(language)
        name = type(self._spacy).__name__
        self.segmenter = SEGMENTERS.get(name, name)
        self._exceptions = self._spacy.rules if self.segmenter == "rules" else None
        self._cuts_full_stops = self._exceptions is not None and len(self._spacy("ab.")) == 2
        self._chunks: dict[str, tuple[str, ...]] = {}  # which the garbage collector passes over
        self._lock = Lock()  # MLflow serves each request in a thread, and zones must not overlap

    def __call__(self, texts: Iterable[str]) -> list[list[str]]:
        """Cut each text into its tokens."""
        with self._lock, self._spacy.vocab.memory_zone():  # spaCy would keep every string for ever
            return [self._tokens(text) for text in texts]

    def _tokens(self, text: str) -> list[str]:
        tokens: list[str] = []
        for chunk in text.replace("<br />", " ").split():
            known = self._chunks.get(chunk)
            tokens += self._remember(chunk) if known is None else known
        return tokens

    def _remember(self, chunk: str) -> Iterable[str]:
        if len(chunk) > CHUNK_CHARACTERS:
            starts = range(0, len(chunk), CHUNK_CHARACTERS)
            return self._tokens(" ".join(chunk[i : i + CHUNK_CHARACTERS] for i in starts))
        if len(self._chunks) >= REMEMBERED_CHUNKS:
            self._chunks.clear()
        tokens = self._plain(chunk) or tuple(token.text.lower() for token in self._spacy(chunk))
        self._chunks[chunk] = tokens
        return tokens

    def _plain(self, chunk: str) -> tuple[str, ...] | None:
        """The tokens of a chunk that needs no spaCy; None of any other."""
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
    """A block of texts as a worker returns it: its types in order of appearance, ids into them."""

    types: list[str]
    ids: np.ndarray
    lengths: list[int]
    labels: np.ndarray


_tokenizer = cache(Tokenizer)  # one a process and language


def _tokenize_block(block: tuple[str, list[str], np.ndarray]) -> TokenizedBlock:
    language, texts, labels = block
    tokenized = _tokenizer(language)(texts)
    index: dict[str, int] = {}
    ids = [index.setdefault(token, len(index)) for tokens in tokenized for token in tokens]
    return TokenizedBlock(
        list(index), np.array(ids, dtype=np.int32), [len(tokens) for tokens in tokenized], labels
    )


def tokenize(params: TokenizeParams, raw: Path, folder: Path, *, workers: int) -> dict[str, Any]:
    """Turn the splits of `raw` into corpora in `folder`; return what `corpus.json` says.

    Types are numbered in their order of appearance (splits and texts in order), so the bytes
    written do not depend on `workers`.

    Raises:
        UserError: the language is unknown, or a file of `raw` is missing or corrupt.
    """
    dataset = read_json(raw / "dataset.json", made_by="download")
    segmenter = _tokenizer(params.language).segmenter  # workers that are forked share it
    index: dict[str, int] = {}
    facts: dict[str, Any] = {}
    # What judges comes last: no type that is learnt from has a number that depends on it.
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
    """Replace each block's own type ids by those of the whole corpus, which `index` collects."""
    for block in blocks:
        numbers = [index.setdefault(token, len(index)) for token in block.types]
        type_ids = np.array(numbers, dtype=np.int32)[block.ids]
        yield Block(type_ids, np.array(block.lengths), block.labels)


def _read_blocks(path: Path, language: str) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Yield language, texts and labels, in blocks that are full but for the last."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, "download", pa.ArrowException, KeyError):
        for batch in pq.ParquetFile(path).iter_batches(BLOCK_TEXTS, columns=["text", "label"]):
            labels = batch["label"].to_numpy(zero_copy_only=False)
            yield language, batch["text"].to_pylist(), labels
