"""Use of a language model: the most probable masked words, and the likelihood of a text."""

from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject
from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.core.runtime import Runtime
from sentiformer.core.text_files import require_whole_characters
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.serving.config import Config
from sentiformer.serving.trained_model import TrainedModel, WithoutDraws
from sentiformer.text.tokenizer import Tokenizer
from sentiformer.text.vocab import UNKNOWN

GAP = "[MASK]"
BATCH_GAPS = 64  # masked copies of one text in a batch


class Guess(BaseModel):
    """A word for a gap, and its probability."""

    word: str
    probability: float


class TokenScore(BaseModel):
    """A token, and its log-probability given all other tokens; None for an unknown word."""

    token: str
    log_probability: float | None


class Score(BaseModel):
    """The pseudo-log-likelihood of a text (Salazar et al. 2020, section 2.1).

    Attributes:
        per_token: mean log-probability of the known tokens, in nats.
        perplexity: e to the power of minus `per_token`.
        tokens: the log-probability of each token.
    """

    per_token: float
    perplexity: float
    tokens: list[TokenScore]


class LanguageModel(TrainedModel[MaskedLanguageModel, Config]):
    """The language model that stage pretrain wrote to a folder, with its tokenizer.

    Raises:
        UserError: the folder holds no language model, or a file is missing or corrupt.
    """

    made_by = "pretrain"
    config_type = Config

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        super().__init__(folder, runtime)
        self._tokenizer = Tokenizer(self.config.params.tokenize.language)

    def _require_model(self, folder: Path, config: JsonObject) -> None:
        if not config["params"]["pretrain"]["epochs"]:
            raise UserError(
                f"{folder} holds no language model: pretrain.epochs was 0; raise it, for instance "
                "to 1, and run `dvc repro pretrain`"
            )

    def _build(self, folder: Path) -> MaskedLanguageModel:
        with WithoutDraws():
            return MaskedLanguageModel(self.config.params.model, self.config)

    def fill(self, text: str, count: int) -> list[list[Guess]]:
        """The `count` most probable words for each `[MASK]` in a text.

        Raises:
            UserError: the text has no `[MASK]`, is too long for the model, or holds a lone
                surrogate.
        """
        token_ids, gaps = self._read_gaps(text)
        probabilities = self._log_probabilities(token_ids[None], gaps[None]).exp()
        tokens = self.vocab.tokens
        best = probabilities.topk(min(count, len(tokens) - len(SPECIAL_TOKENS)))
        return [
            [Guess(word=tokens[i], probability=p) for i, p in zip(words, values, strict=True)]
            for words, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _read_gaps(self, text: str) -> tuple[Tensor, Tensor]:
        """The (T,) token ids of a text with gaps, and the (G,) positions of the gaps."""
        require_whole_characters(text, "the text")
        first, *others = self._tokenizer(text.split(GAP))
        ids, gaps = self.vocab.encode(first).tolist(), []
        for part in others:
            gaps.append(len(ids))
            ids += [UNKNOWN, *self.vocab.encode(part).tolist()]
        if not gaps:
            raise UserError(f"the text has no {GAP}; write {GAP} in place of the missing word")
        if len(ids) > (longest := self.config.params.model.max_len):
            raise UserError(
                f"the text has {len(ids)} tokens, the model reads at most {longest}; shorten it"
            )
        return torch.tensor(ids), torch.tensor(gaps)

    def score(self, text: str) -> Score:
        """The log-probability of each token of a text; a long text is cut into pieces.

        Raises:
            UserError: the text has no known word, or holds a lone surrogate.
        """
        require_whole_characters(text, "the text")
        (tokens,) = self._tokenizer([text])
        ids = torch.from_numpy(self.vocab.encode(tokens)).long()
        known = ids != UNKNOWN
        if not known.any():
            raise UserError("the text has no word that the model knows; give another text")
        values: list[float] = []
        for piece in ids.split(self.config.params.model.max_len):
            values += self._score_piece(piece)
        mean = torch.tensor(values, dtype=torch.float64)[known].mean()
        scores = [
            TokenScore(token=token, log_probability=None if word == UNKNOWN else value)
            for token, value, word in zip(tokens, values, ids.tolist(), strict=True)
        ]
        return Score(per_token=mean.item(), perplexity=(-mean).exp().item(), tokens=scores)

    def _score_piece(self, ids: Tensor) -> Iterator[float]:
        """The log-probability of each of (T,) token ids, given the others."""
        for positions in torch.arange(len(ids)).split(BATCH_GAPS):
            rows = ids.repeat(len(positions), 1)
            rows[torch.arange(len(positions)), positions] = UNKNOWN
            values = self._log_probabilities(rows, positions[:, None])
            yield from values[torch.arange(len(positions)), ids[positions]].tolist()

    @torch.inference_mode()
    def _log_probabilities(self, token_ids: Tensor, positions: Tensor) -> Tensor:
        """The (B * G, V) log-probabilities of the words at (B, G) positions of (B, T) token ids.

        Special tokens have probability 0.
        """
        features = self.model(token_ids.to(self.device), None, positions.to(self.device))
        logits = self.model.logits(features.flatten(0, 1)).float()
        logits[:, : len(SPECIAL_TOKENS)] = -torch.inf
        return logits.log_softmax(dim=1).cpu()
