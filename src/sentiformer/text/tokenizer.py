"""Texts to tokens: spaCy's tokens, lower-cased, without white space and line-break tags.

A text is split at white space into chunks, and spaCy splits each chunk into tokens. Most chunks
occur many times, so the tokens of a chunk are cached. spaCy splits a whole text into the same
tokens, except for rare emoticons and quotation marks that it finds across white space (`'!?:( (`):
7 of IMDb's 100,000 reviews differ. spaCy's time grows with the square of a chunk's length, so
chunks of more than 1,000 characters, which no language has, are split first.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiformer.console.output import say
from sentiformer.console.progress import progress
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading, write_json
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.process import ordered_map
from sentiformer.text.chunks import ChunkTokenizer
from sentiformer.text.corpus import Block, write_corpus, write_lines
from sentiformer.text.language import language_advice
from sentiformer.text.params import TokenizeParams

if TYPE_CHECKING:
    from spacy.tokenizer import Tokenizer as SpacyTokenizer

RULES, CHARACTERS = "rules", "characters"
SEGMENTERS = {"Tokenizer": RULES, "ChineseTokenizer": CHARACTERS}  # by spaCy's class
BLOCK_TEXTS = 1000  # constant, so that the files do not depend on the number of workers


class Tokenizer(ChunkTokenizer):
    """Tokenizer of a language, by spaCy's code, such as `en`; threads that share it take turns.

    Attributes:
        spacy: spaCy's tokenizer.
        segmenter: how spaCy splits a text: by rules, into characters (Chinese), or with another
            package, for which it is the name of spaCy's class.

    Raises:
        UserError: spaCy does not know the language, or needs a package that is not installed.
    """

    def __init__(self, language: str) -> None:
        self.spacy = _spacy_tokenizer(language)
        name = type(self.spacy).__name__
        self.segmenter = SEGMENTERS.get(name, name)
        super().__init__(self.spacy.rules if self.segmenter == RULES else None)

    def _memory(self) -> AbstractContextManager[object]:
        return self.spacy.vocab.memory_zone()  # or spaCy keeps all strings

    def _words(self, chunk: str) -> list[str]:
        return [token.text for token in self.spacy(chunk)]


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


def _tokenize_block(
    tokenizer: Tokenizer, block: tuple[list[str], np.ndarray]
) -> tuple[list[str], Block]:
    """Return the types of a block, in order of appearance; the block has indices into them."""
    texts, labels = block
    tokenized = tokenizer(texts)
    index: dict[str, int] = {}
    ids = [index.setdefault(token, len(index)) for tokens in tokenized for token in tokens]
    lengths = [len(tokens) for tokens in tokenized]
    return list(index), Block(np.array(ids, dtype=np.int32), np.array(lengths), labels)


def tokenize(params: TokenizeParams, raw: Path, folder: Path, *, workers: int) -> dict[str, Any]:
    """Turn the splits of `raw` into corpora in `folder`; return the content of `corpus.json`.

    Types are numbered in order of appearance, so the files do not depend on `workers`.

    Raises:
        UserError: the language is unknown, or a file of `raw` is missing or corrupt.
    """
    dataset = read_json(raw / "dataset.json", made_by="download")
    tokenizer = Tokenizer(params.language)
    if advice := language_advice(params.language, dataset["splits"]["train"]["languages"]):
        say(advice)
    index: dict[str, int] = {}
    splits = dataset["splits"]
    # Validation and test come last, so that they do not change the ids of types in other splits.
    for split in sorted(splits, key=lambda split: split not in PRETRAINING_SPLITS):
        blocks = read_blocks(raw / f"{split}.parquet")
        tokenized = ordered_map(partial(_tokenize_block, tokenizer), blocks, workers=workers)
        total = -(-splits[split]["rows"] // BLOCK_TEXTS)
        shown = progress(tokenized, total=total, what=f"tokenize {split}, blocks of texts")
        splits[split]["tokens"] = write_corpus(folder / f"{split}.arrow", _number(shown, index))
    write_lines(folder / "types.txt", index)
    corpus = {
        **dataset,
        "segmenter": tokenizer.segmenter,
        "types": len(index),
        "spacy": version("spacy"),
        "params": {**dataset["params"], "tokenize": params.model_dump()},
    }
    write_json(folder / "corpus.json", corpus)
    return corpus


def _number(blocks: Iterable[tuple[list[str], Block]], index: dict[str, int]) -> Iterator[Block]:
    """Replace the indices of each block by type ids; new types are added to `index`."""
    for types, block in blocks:
        numbers = [index.setdefault(token, len(index)) for token in types]
        yield block._replace(type_ids=np.array(numbers, dtype=np.int32)[block.type_ids])


def read_blocks(path: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield texts and labels of `BLOCK_TEXTS` texts each; the last may be fewer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, "download", pa.ArrowException, KeyError):
        for batch in pq.ParquetFile(path).iter_batches(BLOCK_TEXTS, columns=["text", "label"]):
            yield batch["text"].to_pylist(), batch["label"].to_numpy(zero_copy_only=False)
