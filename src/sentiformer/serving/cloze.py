"""Using a language model: the likeliest words for a gap, and how likely a text is."""

from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from sentiformer.core.errors import UserError
from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.core.runtime import Runtime
from sentiformer.core.text_files import require_whole_characters
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.serving.predictor import Trained, read_about
from sentiformer.text.tokenizer import Tokenizer
from sentiformer.text.vocab import UNKNOWN

GAP = "[MASK]"
BATCH_GAPS = 64  # of one text, looked at together


class Guess(BaseModel):
    """A word for a gap, and its probability."""

    word: str
    probability: float


class TokenScore(BaseModel):
    """A token, and the logarithm of its probability given all others; None where unknown."""

    token: str
    log_probability: float | None


class Score(BaseModel):
    """A text's pseudo-log-likelihood (Salazar et al. 2020, section 2.1).

    Attributes:
        per_token: mean over the known tokens, in nats.
        perplexity: e to the power of minus that.
        tokens: each token with its own.
    """

    per_token: float
    perplexity: float
    tokens: list[TokenScore]


class LanguageModel:
    """What stage pretrain wrote to a folder, with its tokenizer.

    Raises:
        UserError: there is none, or a file is missing or corrupt.
    """

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        about = read_about(folder, made_by="pretrain")
        if not about["params"]["pretrain"]["epochs"]:
            raise UserError(
                f"{folder} holds no language model: pretrain.epochs was 0; raise it, for instance "
                "to 1, and run `dvc repro pretrain`"
            )
        self._trained = Trained(
            folder,
            runtime,
            made_by="pretrain",
            make=lambda about: MaskedLanguageModel(about.params.model, about),
        )
        self._tokenizer = Tokenizer(self._trained.about.params.tokenize.language)

    def fill(self, text: str, count: int) -> list[list[Guess]]:
        """The `count` likeliest words for each gap of a text, which is written `[MASK]`.

        Raises:
            UserError: there is no gap, the text is longer than the model sees, or has half of a
                character.
        """
        require_whole_characters(text, "the text")
        parts = list(self._tokenizer(text.split(GAP)))
        vocab, longest = self._trained.vocab, self._trained.params.max_len
        ids, gaps = vocab.encode(parts[0]).tolist(), []
        for part in parts[1:]:
            gaps.append(len(ids))
            ids += [UNKNOWN, *vocab.encode(part).tolist()]
        if not gaps:
            raise UserError(f"the text has no {GAP}; write {GAP} where a word is to be guessed")
        if len(ids) > longest:
            raise UserError(f"the text has {len(ids)} tokens, the model sees {longest}; shorten it")
        chances = self._log_probabilities(torch.tensor([ids]), torch.tensor([gaps])).exp()
        best = chances.topk(min(count, len(vocab) - len(SPECIAL_TOKENS)))
        return [
            [
                Guess(word=vocab.tokens[word], probability=chance)
                for word, chance in zip(words, found, strict=True)
            ]
            for words, found in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def score(self, text: str) -> Score:
        """How likely each token of a text is, given the others; a long text is cut into pieces.

        Raises:
            UserError: the text has no known word, or half of a character.
        """
        require_whole_characters(text, "the text")
        (tokens,) = self._tokenizer([text])
        ids = torch.from_numpy(self._trained.vocab.encode(tokens)).long()
        known = ids != UNKNOWN
        if not known.any():
            raise UserError("the text has no word that the model knows; give another")
        found: list[float] = []
        for piece in ids.split(self._trained.params.max_len):
            found += self._scores(piece)
        mean = torch.tensor(found, dtype=torch.float64)[known].mean()
        scores = [
            TokenScore(token=token, log_probability=None if word == UNKNOWN else value)
            for token, value, word in zip(tokens, found, ids.tolist(), strict=True)
        ]
        return Score(per_token=mean.item(), perplexity=(-mean).exp().item(), tokens=scores)

    def _scores(self, ids: Tensor) -> Iterator[float]:
        """The logarithm of the probability of each id of (T,), given the others."""
        for places in torch.arange(len(ids)).split(BATCH_GAPS):
            rows = ids.repeat(len(places), 1)
            rows[torch.arange(len(places)), places] = UNKNOWN
            found = self._log_probabilities(rows, places[:, None])
            yield from found[torch.arange(len(places)), ids[places]].tolist()

    @torch.inference_mode()
    def _log_probabilities(self, rows: Tensor, places: Tensor) -> Tensor:
        """(B * G, V) of the words at G places, (B, G), of rows, (B, T); specials are impossible."""
        model, device = self._trained.model, self._trained.device
        features = model(rows.to(device), None, places.to(device))
        logits = model.logits(features.flatten(0, 1)).float()
        logits[:, : len(SPECIAL_TOKENS)] = -torch.inf
        return logits.log_softmax(dim=1).cpu()
