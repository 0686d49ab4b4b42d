"""Texts to chunks, at white space, and chunks to tokens, lower-cased, without line-break tags.

Most chunks occur many times, so the tokens of a chunk are cached.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

CACHED_CHUNKS = 500_000
CHUNK_CHARACTERS = 1000
# A word in lower case, or with a capital at its start, and a mark before or after it. The rules of
# all languages split these alike, apart from the exceptions that they list, and from full stops,
# which some languages keep at the word. spaCy would take twenty times as long.
PLAIN_CHUNK = re.compile(r"""([("]?)([A-Za-z][a-z]*)([,!?;:)"]|(?<=[a-z][a-z])\.)?""")


class ChunkTokenizer(ABC):
    """Splits texts into chunks and chunks into tokens; threads that share it take turns.

    Args:
        exceptions: the chunks that rules do not split; None if the language is not split by rules.
    """

    def __init__(self, exceptions: Container[str] | None) -> None:
        self._exceptions = exceptions
        self._cuts_full_stops = exceptions is not None and len(self._words("ab.")) == 2
        self._cache: dict[str, tuple[str, ...]] = {}  # tuples of strings cost no garbage collection
        self._lock = Lock()  # MLflow serves each request in a thread; memory zones must not overlap

    @abstractmethod
    def _words(self, chunk: str) -> list[str]:
        """Split a chunk as spaCy does."""

    def _memory(self) -> AbstractContextManager[object]:
        """What must be open while texts are split."""
        return nullcontext()

    def __call__(self, texts: Iterable[str]) -> list[list[str]]:
        """Split each text into its tokens."""
        with self._lock, self._memory():
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
        tokens = self._plain(chunk) or tuple(word.lower() for word in self._words(chunk))
        self._cache[chunk] = tokens
        return tokens

    def _plain(self, chunk: str) -> tuple[str, ...] | None:
        """Return the tokens of a chunk that can be split without spaCy; None for any other."""
        if self._exceptions is None or not (match := PLAIN_CHUNK.fullmatch(chunk)):
            return None
        before, word, after = match.groups()
        if chunk in self._exceptions or word in self._exceptions or (before and after):
            return None
        if after == "." and not self._cuts_full_stops:
            return None
        return tuple(part for part in (before, word.lower(), after) if part)
