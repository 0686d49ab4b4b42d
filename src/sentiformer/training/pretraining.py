"""The training of a language model from files to files."""

from pathlib import Path

import numpy as np
import torch

from sentiformer.core.errors import UserError
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.runtime import Runtime
from sentiformer.model.embedding import InputSizes
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.model.params import ModelParams
from sentiformer.text.corpus import Corpus
from sentiformer.text.vocab import count_words
from sentiformer.training.initial_weights import load_word_vectors, word_vectors_params
from sentiformer.training.job import Job, describe
from sentiformer.training.masked_words import MaskedWords, Windows
from sentiformer.training.params import PretrainParams
from sentiformer.training.perplexity import write_perplexity


class PretrainingJob(Job):
    """The training of a masked language model on train and unlabelled texts."""

    name, kind = "pretrain", "language_model"

    def __init__(
        self,
        model: ModelParams,
        params: PretrainParams,
        runtime: Runtime,
        *,
        data: Path,
        checkpoints: Path,
    ) -> None:
        super().__init__(model, params, runtime, data=data, checkpoints=checkpoints)
        own = {"max_len": params.window, "dropout": params.dropout}
        unused = {"token_dropout": 0.0}  # what is not used decides no file
        size = model.model_copy(update=own | unused)
        sections = {"model": size.model_dump(), "pretrain": params.model_dump()}
        about = describe(data, self.vocab, self._device, word_vectors_params(data) | sections)
        torch.manual_seed(params.seed)
        language_model = MaskedLanguageModel(size, InputSizes.model_validate(about))
        self._files += load_word_vectors(language_model.encoder, data)
        rows = {split: facts["rows"] for split, facts in about["data"]["splits"].items()}
        corpora = [self._corpus(split) for split in PRETRAINING_SPLITS if rows.get(split)]
        counts = np.sum([self._counts(corpus) for corpus in corpora], axis=0)
        self._start(
            MaskedWords(language_model.to(self._device.device), counts),
            about,
            patience=params.epochs,
            train=Windows(corpora, self._ids_of_types, params),
            validation=Windows([self._validation_corpus()], self._ids_of_types, params),
        )

    def _counts(self, corpus: Corpus) -> np.ndarray:
        return count_words(corpus, self._ids_of_types, len(self.vocab))

    def _validation_corpus(self) -> Corpus:
        """Validation, of which a word must be known, to be hidden."""
        if not self._counts(corpus := self._corpus("validation")).any():
            raise UserError(
                f"no validation text has one of the vocabulary's {len(self.vocab)} words, which "
                "could be hidden; raise build_vocab.max_size, or set pretrain.epochs to 0"
            )
        return corpus

    def write(self, folder: Path) -> None:
        """Write the weights of the best epoch, all that belongs to them, and the perplexities."""
        super().write(folder)
        best, epochs = self.training.best(), self.epochs
        metrics = {"perplexity": best.perplexity, "accuracy": best.valid_accuracy}
        write_perplexity(folder, metrics, [(event.epoch, event.perplexity) for event in epochs])
