"""spaCy's rules of a language as data, and a tokenizer that follows them without spaCy.

The steps are those of spaCy (https://spacy.io/usage/linguistic-features#how-tokenizer-works), whose
import takes longer than all the rest of a prediction, and whose packages take 200 MB.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from sentiformer.core.errors import UserError
from sentiformer.text.chunks import ChunkTokenizer

if TYPE_CHECKING:
    from sentiformer.text.tokenizer import Tokenizer

NEVER = "(?!)"  # matches nothing


class Rules(BaseModel):
    """How a language is split into tokens.

    Attributes:
        exceptions: the tokens of each chunk that the patterns do not split; None if the language
            is split into characters.
        prefix: a regular expression of what is split off at the start of a chunk.
        suffix: of what is split off at its end.
        infix: of what separates the tokens of the rest.
        whole: of what is not split at all.
        url: of what is not split once prefixes and suffixes are split off.
    """

    exceptions: dict[str, list[str]] | None
    prefix: str
    suffix: str
    infix: str
    whole: str
    url: str

    @classmethod
    def of(cls, tokenizer: "Tokenizer") -> Self:
        """Read the rules of spaCy's tokenizer.

        Raises:
            UserError: the language is not split by rules, but by another package.
        """
        if tokenizer.segmenter == "characters":
            others = dict.fromkeys(("suffix", "infix", "whole", "url"), NEVER)
            return cls(exceptions=None, prefix=r"[\s\S]", **others)
        if tokenizer.segmenter != "rules":
            raise UserError(
                f"tokenize.language is split by spaCy's {tokenizer.segmenter}, which needs a "
                "package that an exported model does without; set export.format: null"
            )
        spacy = tokenizer.spacy
        orth = spacy.vocab.strings["ORTH"]
        return cls(
            exceptions={
                chunk: [token[orth] for token in tokens]
                for chunk, tokens in sorted(spacy.rules.items())
                if chunk.split() == [chunk]
            },
            prefix=_pattern(spacy.prefix_search),
            suffix=_pattern(spacy.suffix_search),
            infix=_pattern(spacy.infix_finditer),
            whole=_pattern(spacy.token_match),
            url=_pattern(spacy.url_match),
        )


def _pattern(function: Any) -> str:
    """The regular expression of which `function` is a method."""
    if function is None:
        return NEVER
    pattern: re.Pattern[str] = function.__self__
    return f"(?i){pattern.pattern}" if pattern.flags & re.IGNORECASE else pattern.pattern


class RuleTokenizer(ChunkTokenizer):
    """Splits texts as `Tokenizer` does, by rules alone; threads that share it take turns."""

    def __init__(self, rules: Rules) -> None:
        self._prefix, self._suffix = re.compile(rules.prefix), re.compile(rules.suffix)
        self._infix = re.compile(rules.infix)
        self._whole, self._url = re.compile(rules.whole), re.compile(rules.url)
        self._tokens_of = rules.exceptions or {}
        self._longest = max(map(len, self._tokens_of), default=0)
        self._pieces = cache(self._pieces_of)
        super().__init__(rules.exceptions)

    def _words(self, chunk: str) -> list[str]:
        """Split a chunk; then replace what spells an exception with affixes by its tokens."""
        tokens = self._affixes(chunk, self._tokens_of)
        taken: set[int] = set()
        chosen = []
        longest_first = sorted(self._exceptions_in(tokens), key=lambda s: (s[0] - s[1], s[0]))
        for start, end in longest_first:
            if start not in taken and end - 1 not in taken:
                chosen.append((start, end))
            taken.update(range(start, end))
        for start, end in sorted(chosen, reverse=True):
            tokens[start:end] = self._tokens_of["".join(tokens[start:end])]
        return tokens

    def _exceptions_in(self, tokens: list[str]) -> Iterator[tuple[int, int]]:
        """Yield start and end of the tokens that spell an exception with an affix."""
        for start in range(len(tokens)):
            spelled = ""
            for end in range(start + 1, len(tokens) + 1):
                spelled += tokens[end - 1]
                if len(spelled) > self._longest:
                    break
                if spelled in self._tokens_of and self._pieces(spelled) == tokens[start:end]:
                    yield start, end

    def _pieces_of(self, exception: str) -> list[str] | None:
        """How an exception is split inside another chunk; None if it has no affix."""
        if any(p.search(exception) for p in (self._prefix, self._suffix, self._infix)):
            return self._affixes(exception, ())
        return None

    def _affixes(self, chunk: str, exceptions: Collection[str]) -> list[str]:
        """Split prefixes and suffixes off until an exception, or what is whole, remains."""
        before, after, length = [], [], 0
        while len(chunk) not in (0, length):
            if chunk in exceptions or self._whole.match(chunk):
                break
            length = len(chunk)
            start = _width(self._prefix.search(chunk))
            end = length - _width(self._suffix.search(chunk[start:]))
            if chunk[start:] in exceptions:
                end = length
            elif chunk[:end] in exceptions:
                start = 0
            before.append(chunk[:start])
            after.append(chunk[end:])
            chunk = chunk[start:end]
        parts = self._tokens_of[chunk] if chunk in exceptions else self._infixes(chunk)
        return [token for token in (*before, *parts, *reversed(after)) if token]

    def _infixes(self, chunk: str) -> list[str]:
        if self._whole.match(chunk) or self._url.match(chunk):
            return [chunk]
        parts, start = [], 0
        for match in self._infix.finditer(chunk):
            if match.start():
                parts += [chunk[start : match.start()], match[0]]
                start = match.end()
        return [*parts, chunk[start:]]


def _width(match: re.Match[str] | None) -> int:
    """The number of characters of a match."""
    return len(match[0]) if match else 0
