"""The whole of `params.yaml`: one section per stage, and the model."""

from pathlib import Path

from sentiformer.baselines.params import BaselineParams, TeachParams
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
    baseline: BaselineParams
    build_vocab: BuildVocabParams
    word_vectors: WordVectorsParams
    model: ModelParams
    pretrain: PretrainParams
    teach: TeachParams
    train: TrainParams


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate all parameters.

    Raises:
        UserError: one line with every problem: file, key, value, fix.
    """
    return parse(Params, read_yaml(path), where=str(path))
