"""All sections of `params.yaml`: one per stage, and the model."""

from pathlib import Path

from sentiformer.baselines.params import TeachParams
from sentiformer.core.params import Section, parse, read_yaml
from sentiformer.data.params import DownloadParams
from sentiformer.features.params import WordVectorsParams
from sentiformer.model.params import ModelParams
from sentiformer.text.params import BuildVocabParams, TokenizeParams
from sentiformer.training.params import PretrainParams, TrainParams


class Params(Section):
    """All sections, in the order of the stages."""

    download: DownloadParams
    tokenize: TokenizeParams
    build_vocab: BuildVocabParams
    word_vectors: WordVectorsParams
    model: ModelParams
    pretrain: PretrainParams
    teach: TeachParams
    train: TrainParams


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check all parameters.

    Raises:
        UserError: one line with all problems: file, key, value and fix.
    """
    return parse(Params, read_yaml(path), where=str(path))
