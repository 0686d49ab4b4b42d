"""Words that may be shortcuts: the model relies on them, but a person would not."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.serving.token_spans import as_written, token_spans, without_line_breaks

CHECKED = 50  # words of each class, those that contribute most where they occur
SENTENCE_ENDS = frozenset('.!?…:"“”(')  # the next word may have a capital for this reason
NAME_SHARE = 0.5  # of a word's places inside of sentences where it has a capital, as a name
NO_WEIGHT = "no weight in the baseline"
NAME = "written as a name"


def shortcuts(
    table: pd.DataFrame,
    texts: Sequence[str],
    tokens: Sequence[list[str]],
    baseline: NgramModel,
    labels: list[str],
) -> pd.DataFrame:
    """The words that may be shortcuts.

    They are among the words that contribute most to a class where they occur, and the baseline has
    no weight for them in favor of this class, or they are written as names.

    Args:
        table: from `pushes`.
        texts: the texts of this table.
        tokens: of each text.
        baseline: has a weight of each word.
        labels: the classes in their order.
    """
    names = written_as_names(texts, tokens)
    rows = []
    for label, found in table[table["n"] == 1].groupby("class", sort=False):
        most = found.sort_values("mean", ascending=False, kind="stable").head(CHECKED)
        for words, count, mean in most[["words", "texts", "mean"]].itertuples(index=False):
            weight = class_weight(baseline, words, labels.index(str(label)))
            reasons = [NO_WEIGHT] * (weight <= 0) + [NAME] * (words in names)
            if mean > 0 and reasons:
                rows.append((label, words, count, mean, round(weight, 4), ", ".join(reasons)))
    columns = ["class", "words", "texts", "mean", "baseline_weight", "reason"]
    return pd.DataFrame(rows, columns=columns)


def class_weight(baseline: NgramModel, word: str, label: int) -> float:
    """The weight of a word for a class; 0 for a word that the baseline does not know."""
    (weights,) = baseline.contributions([word])
    return float(weights[label] if len(weights) > 1 else weights[0] * (2 * label - 1))


def written_as_names(texts: Sequence[str], tokens: Sequence[list[str]]) -> set[str]:
    """The words that mostly have a capital letter inside of sentences."""
    capitals: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for text, words in zip(texts, tokens, strict=True):
        line = without_line_breaks(text)
        written, _ = as_written(line, token_spans(line, words))
        for before, token, word in zip(written, written[1:], words[1:], strict=False):
            if before not in SENTENCE_ENDS:
                places[word] += 1
                capitals[word] += token[0].isupper() and not token.isupper()
    return {word for word, count in capitals.items() if count > NAME_SHARE * places[word]}
