"""Pseudo-labels: a teacher labels the unlabelled texts, and spans of all training texts.

The student learns from its probabilities as from labels (Hinton et al. 2015, section 2). A span is
a run of whole sentences of a text, so that the student also learns from short texts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path

import numpy as np

from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.baselines.params import Teacher, TeachParams
from sentiformer.console.output import say
from sentiformer.console.progress import progress
from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json, write_json
from sentiformer.core.names import PRETRAINING_SPLITS, PSEUDO_LABELLED, PSEUDO_LABELS, UNLABELED
from sentiformer.core.runtime import Runtime
from sentiformer.text.corpus import Block, read_types, write_corpus
from sentiformer.text.tokenizer import BLOCK_TEXTS, Tokenizer, read_blocks

SEED, LEAST, MOST = 1, 5, 40  # of the spans: their seed, and how many tokens they have
# White space after a full stop, also after one of an abbreviation, or a line-break tag: there the
# tokenizer splits as well, so the tokens of a span are a run of the tokens of its text.
SENTENCE_END = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…]\W))\s+|<br />")
# Texts that spaCy splits into characters have no white space between sentences.
CHARACTERS_END = re.compile(rf"(?:(?<=[。！？])|(?<=[。！？]\W))(?=\w)|{SENTENCE_END.pattern}")
SMALLEST = 1e-300  # probability whose logarithm is taken
# From texts and their tokens to the (N, C) probabilities of the classes.
Probabilities = Callable[[Sequence[str], Sequence[list[str]]], np.ndarray]
Texts = tuple[list[str], list[list[str]]]  # some texts, and their tokens


def teach(params: TeachParams, data: Path, folder: Path, runtime: Runtime) -> None:
    """Write the texts that a teacher labels and its probabilities to `folder`.

    Raises:
        UserError: a file of `data` is missing or corrupt, the teacher needs an encoder but there
            is none, or there is nothing to label.
    """
    if params.by is None:
        write_json(folder / "config.json", {"by": None, "texts": 0, "spans": 0})
        return
    corpus = read_json(data / "tokens" / "corpus.json", made_by="tokenize")
    rows = {s: corpus["splits"][s]["rows"] for s in PRETRAINING_SPLITS if s in corpus["splits"]}
    teacher = load_teacher(params.by, data, runtime)
    tokenizer = Tokenizer(corpus["params"]["tokenize"]["language"])
    texts = chain.from_iterable(_texts(data / "raw", split, tokenizer) for split in rows)
    blocks = sum(-(-count // BLOCK_TEXTS) for count in rows.values())
    shown = progress(texts, total=blocks, what=f"{params.by} labels, blocks of texts")
    found: list[np.ndarray] = []
    write_corpus(folder / PSEUDO_LABELLED, _labelled(shown, teacher, data / "tokens", found))
    if not found:
        raise UserError(
            f"params.yaml: teach.by is {params.by}, but no text is unlabelled or has a part of "
            f"whole sentences with {LEAST} to {MOST} tokens; give download.unlabeled texts that "
            "are in no other split, or set teach.by to null"
        )
    whole = rows.get(UNLABELED, 0)
    spans = sum(map(len, found)) - whole
    np.save(folder / PSEUDO_LABELS, np.concatenate(found, dtype=np.float32), allow_pickle=False)
    write_json(folder / "config.json", {"by": params.by, "texts": whole, "spans": spans})
    say(f"{params.by} labelled {whole:,} unlabelled texts and {spans:,} spans")


def load_teacher(by: Teacher, data: Path, runtime: Runtime) -> Probabilities:
    """Load a teacher; `ensemble` takes the mean of the log-probabilities of two models.

    Raises:
        UserError: a file is missing or corrupt, or there is no encoder.
    """
    models: list[Probabilities] = []
    if by != "encoder":
        ngrams = NgramModel.load(data / "baseline" / "ngrams")
        models.append(lambda texts, tokens: ngrams.probabilities(tokens))
    if by != "nb_trigrams":
        from sentiformer.serving.trained_model import load_classifier  # imports torch

        models.append(load_classifier(data / "finetuned", runtime, precision="auto").probabilities)

    def probabilities(texts: Sequence[str], tokens: Sequence[list[str]]) -> np.ndarray:
        logs = [np.log(model(texts, tokens).clip(min=SMALLEST)) for model in models]
        unscaled = np.exp(np.mean(logs, axis=0))
        return unscaled / unscaled.sum(axis=1, keepdims=True)

    return probabilities


def _texts(raw: Path, split: str, tokenizer: Tokenizer) -> Iterator[Texts]:
    """Yield what is labelled of each block of texts: a span of each, and unlabelled texts whole."""
    rng = np.random.default_rng(SEED)
    for block, _ in read_blocks(raw / f"{split}.parquet"):
        drawn: list[tuple[str, list[list[str]]]] = []  # texts, and the tokens of their sentences
        for text in block:
            sentences = split_sentences(text, characters=tokenizer.segmenter == "characters")
            parts = tokenizer(sentences)
            if split == UNLABELED:
                drawn.append((text, parts))
            if span := draw_span([len(part) for part in parts], rng):
                drawn.append((" ".join(sentences[span]), parts[span]))
        yield [text for text, _ in drawn], [[*chain.from_iterable(parts)] for _, parts in drawn]


def split_sentences(text: str, *, characters: bool) -> list[str]:
    """Split a text after sentences; `characters`: each character is a token of its own."""
    pieces = (CHARACTERS_END if characters else SENTENCE_END).split(text)
    return [stripped for piece in pieces if (stripped := piece.strip())]


def draw_span(lengths: Sequence[int], rng: np.random.Generator) -> slice | None:
    """Draw a run of sentences with `LEAST` to `MOST` tokens, each as likely as any other.

    `lengths` are the numbers of tokens of the sentences of a text. The whole text is no span. If
    there is no span, None is returned.
    """
    ends, count = [0, *accumulate(lengths)], len(lengths)
    runs = [
        (first, end)
        for first in range(count)
        for end in range(first + 1, min(first + MOST, count) + 1)
        if LEAST <= ends[end] - ends[first] <= MOST and end - first < count
    ]
    return slice(*runs[rng.integers(len(runs))]) if runs else None


def _labelled(
    blocks: Iterable[Texts], teacher: Probabilities, folder: Path, found: list[np.ndarray]
) -> Iterator[Block]:
    """Yield the texts as type ids of `folder`; what the teacher predicts is added to `found`."""
    index = {word: number for number, word in enumerate(read_types(folder))}
    for texts, tokens in blocks:
        if texts:
            found.append(teacher(texts, tokens))
        try:
            ids = np.array([index[word] for words in tokens for word in words], dtype=np.int32)
        except KeyError as error:
            raise corrupt(folder / "types.txt", "tokenize", f"it lacks {error}") from None
        yield Block(ids, np.array([*map(len, tokens)]), np.full(len(texts), -1))
