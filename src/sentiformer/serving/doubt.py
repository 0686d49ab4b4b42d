"""The texts that a model cannot judge, and why: no text, no known word, or another language.

A language is only believed if the model knows few of the text's words, because names, slang and
short sentences mislead the guess. With the model of the default parameters, 2 of 2,472 reviews and
8,530 sentences get no answer in error, and 156 of 158 sentences of at least five words in thirteen
other languages get none.
"""

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from sentiformer.core.errors import listed
from sentiformer.core.languages import guess_languages, language_name, main_languages
from sentiformer.text.vocab import UNKNOWN, Vocab

NO_TEXT = "no text"
NO_KNOWN_WORD = "no known word"
PROBABILITY = 0.5  # of a guess that is believed
SURE = 0.8  # of a guess that is believed of a text without a known word, such as `qqqq`
KNOWN_SHARE = 0.8  # of the words, above which a text is in the model's language
READ_TOKENS = 100  # the guess reads no more of a text
WORD_CATEGORIES = ("L", "N", "So")  # of Unicode: letters, digits, symbols such as emoji


class Doubts:
    """Finds the texts that a model cannot judge.

    Args:
        vocab: the words that the model knows.
        languages: the number of training texts by their guessed language; the key `unknown` has
            those without a guess. If it is empty, any language is accepted.
    """

    def __init__(self, vocab: Vocab, languages: Mapping[str, int]) -> None:
        self._vocab = vocab
        self._languages = list(main_languages(languages))

    def reasons(
        self, texts: Sequence[str], tokens: Sequence[list[str]], token_ids: Sequence[np.ndarray]
    ) -> list[str]:
        """The reason why each text cannot be judged; empty if it can be.

        `tokens` are those of the whole texts, `token_ids` those that the model reads.
        """
        reasons = [self._reason(text, ids) for text, ids in zip(texts, token_ids, strict=True)]
        if not self._languages:
            return reasons
        rows = [row for row, words in enumerate(tokens) if self._is_strange(words[:READ_TOKENS])]
        if not rows:  # the guesser takes a tenth of a second to import
            return reasons
        for row, guess in zip(rows, guess_languages([texts[row] for row in rows]), strict=True):
            needed = SURE if reasons[row] == NO_KNOWN_WORD else PROBABILITY
            if guess.code not in self._languages and guess.probability >= needed:
                known = listed([language_name(code) for code in self._languages])
                reasons[row] = f"the text seems to be in {language_name(guess.code)}; "
                reasons[row] += f"the model was trained on {known}"
        return reasons

    def _reason(self, text: str, ids: np.ndarray) -> str:
        if not text.strip():
            return NO_TEXT
        words = (self._vocab.tokens[i] for i in ids.tolist() if i > UNKNOWN)
        return "" if any(map(is_word, words)) else NO_KNOWN_WORD

    def _is_strange(self, tokens: list[str]) -> bool:
        """Whether the model knows few of the words that have a letter."""
        words = [token for token in tokens if any(map(str.isalpha, token))]
        known = int(np.count_nonzero(self._vocab.encode(words) > UNKNOWN))
        return bool(words) and known <= len(words) * KNOWN_SHARE


def is_word(token: str) -> bool:
    """Whether a token has a letter, a digit or an emoji, and is not punctuation alone."""
    return any(unicodedata.category(sign).startswith(WORD_CATEGORIES) for sign in token)
