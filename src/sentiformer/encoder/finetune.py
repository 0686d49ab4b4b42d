"""Stage finetune: the pretrained encoder, trained to classify, or nothing where there is none."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sentiformer.baselines.ngram_model import FILES, NgramModel
from sentiformer.console.output import say
from sentiformer.core.errors import UserError
from sentiformer.core.events import EPOCH_COLUMNS, STEP_COLUMNS
from sentiformer.core.files import corrupt, read_json, sha256, write_csv, write_json
from sentiformer.core.process import is_first
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.encoder.params import FinetuneParams
from sentiformer.text.corpus import nonempty_corpus, read_types
from sentiformer.training.params import TrainParams

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedConfig

    from sentiformer.core.device import Device
    from sentiformer.encoder.batches import EncoderBatches
    from sentiformer.encoder.network import EncoderClassifier
    from sentiformer.training.loop import Settings
    from sentiformer.training.run import Setup, Tracker

BATCH_TEXTS = 32  # in a step
FEW_TEXTS = 10_000  # with fewer for training, a step has half as many texts
MICRO_TOKENS = 8192  # of a micro-batch on a CPU, which takes about 2 GiB with 6 layers of 384
LEAST_STEPS = 200  # a training on few texts has learnt little after fewer
SHARED = {"seed", "patience", "class_weights", "precision"}  # parameters of the section train
NGRAMS = "ngrams"  # the folder of the n-gram model in data/baseline, and in an ensemble
CHECKPOINT_FILES = ("config.json", "source.json", "tokenizer.json")  # that prediction needs
POSITIONS_AFTER_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")  # types of models
SMALL_GPU = 24 * 2**30  # bytes; such a GPU computes activations twice to save memory


def finetune(
    params: FinetuneParams,
    train: TrainParams,
    runtime: Runtime,
    *,
    output: Path,
    tracker: "Tracker",
) -> None:
    """Fine-tune the encoder that stage encoder fetched, or resume, and write it to `output`.

    `output` is in the folder with what earlier stages wrote. Without an encoder there is no model.

    Raises:
        UserError: an input is missing or corrupt, a parameter does not fit the encoder, or the
            training diverges.
    """
    source = read_json(output.parent / "encoder" / "source.json", made_by="encoder")
    if source.get("name") is None:
        if is_first():
            with sealed_folder(output) as folder:
                about = {"stage": "finetune", "params": {"encoder": {"name": None}}}
                write_json(folder / "config.json", about)
                write_csv(folder / "steps.csv", STEP_COLUMNS, [])
                write_csv(folder / "history.csv", EPOCH_COLUMNS, [])
            say(f"encoder.name is null: no fine-tuned encoder → {output}")
        return
    from sentiformer.training.run import run_training  # imports torch

    with TemporaryDirectory() as tokens:
        setup = set_up(params, train, runtime, data=output.parent, tokens=Path(tokens))
        run_training(setup, output, runtime, tracker=tracker)


def set_up(
    params: FinetuneParams, train: TrainParams, runtime: Runtime, *, data: Path, tokens: Path
) -> "Setup":
    """Prepare a training of the encoder in `data`; the folder `tokens` gets its tokens.

    Raises:
        UserError: as `finetune`.
    """
    from sentiformer.core.device import prepare_device
    from sentiformer.training.distributed import Group
    from sentiformer.training.inputs import Inputs
    from sentiformer.training.loop import Training
    from sentiformer.training.losses import ClassificationLoss, balanced_weights
    from sentiformer.training.run import Setup

    device = prepare_device(runtime, train.precision)
    inputs, folder, shared = Inputs(data), data / "encoder", train.model_dump(include=SHARED)
    about = inputs.describe(device, {"finetune": params.model_dump(), "train": shared})
    about["encoder"] = read_json(folder / "source.json", made_by="encoder")
    about["params"]["encoder"] = {"name": about["encoder"]["name"]}
    model = _classifier(params, train.seed, folder, len(about["labels"]), device)
    batches = _batches(params, train.seed, data, tokens)
    weights = balanced_weights(batches["train"].texts.labels).to(device.device)
    training = Training(
        ClassificationLoss(model, weights if train.class_weights else None),
        _settings(params, train, _texts_in_step(batches["train"].items), device),
        **batches,
        device=device,
        group=Group.join(device.device),
    )
    places, partner = {"encoder": [folder / name for name in CHECKPOINT_FILES]}, None
    if params.ensemble:
        partner = _on_validation(NgramModel.load(ngrams := data / "baseline" / NGRAMS), data)
        places[NGRAMS] = [ngrams / name for name in FILES]
    copied = {f"{place}/{path.name}": path for place in places for path in places[place]}
    texts_of = [data / "raw" / f"{split}.parquet" for split in batches]
    inputs.read += [*copied.values(), *sorted(folder.glob("*.safetensors")), *texts_of]
    about["made_from"] = inputs.hashes()
    return Setup(about, training, inputs.vocab, copied=copied, partner=partner)


def _on_validation(ngrams: NgramModel, data: Path) -> "np.ndarray":
    """What the n-gram model says of validation, (N, C) probabilities."""
    types = read_types(data / "tokens")
    corpus = nonempty_corpus(data / "tokens" / "validation.arrow", types=len(types))
    return ngrams.probabilities([corpus.tokens(row, types) for row in range(len(corpus))])


def _batches(
    params: FinetuneParams, seed: int, data: Path, tokens: Path
) -> "dict[str, EncoderBatches]":
    """The batches of train and validation; see `set_up`."""
    from sentiformer.encoder.batches import EncoderBatches
    from sentiformer.encoder.tokens import EncoderTokenizer

    tokenizer = EncoderTokenizer(data / "encoder")
    texts = {
        split: tokenizer.tokenize(data / "raw", split, tokens) for split in ("train", "validation")
    }
    batch_size = _texts_in_step(len(texts["train"].labels))
    order = {"batch_size": batch_size, "max_len": params.max_len, "seed": seed}
    return {split: EncoderBatches(texts[split], tokenizer, **order) for split in texts}


def _texts_in_step(texts: int) -> int:
    """Texts in a step, for a number of training texts."""
    return BATCH_TEXTS if texts >= FEW_TEXTS else BATCH_TEXTS // 2


def _settings(
    params: FinetuneParams, train: TrainParams, batch_size: int, device: "Device"
) -> "Settings":
    from sentiformer.training.loop import Settings

    return Settings(
        "finetune",
        **params.model_dump(include={"epochs", "learning_rate"}),
        **train.model_dump(include={"seed", "patience"}),
        batch_size=batch_size,
        optimizer="layered_adamw",
        least_steps=LEAST_STEPS,
        micro_tokens=MICRO_TOKENS if device.device.type == "cpu" else 0,
    )


def _classifier(
    params: FinetuneParams, seed: int, folder: Path, classes: int, device: "Device"
) -> "EncoderClassifier":
    """The checkpoint in `folder` with a new classifier, on the device."""
    import torch

    from sentiformer.encoder.network import EncoderClassifier, load_encoder, read_config

    source = read_json(folder / "source.json", made_by="encoder")
    for name, digest in source["files"].items():
        if sha256(folder / name, made_by="encoder") != digest:
            raise corrupt(folder / name, "encoder", "its SHA-256 is not that of source.json")
    require_fit(params, read_config(folder))
    torch.manual_seed(seed)
    encoder = load_encoder(folder, params.layers)
    is_small = device.device.type == "cuda" and torch.cuda.mem_get_info()[1] <= SMALL_GPU
    if is_small and encoder.supports_gradient_checkpointing:
        encoder.activation_checkpointing_enable()
    return EncoderClassifier(encoder, classes, params.frozen).to(device.device)


def require_fit(params: FinetuneParams, config: "PreTrainedConfig") -> None:
    """Check the parameters against the configuration of a checkpoint.

    Raises:
        UserError: a value is too large for the encoder.
    """
    layers = params.layers or config.num_hidden_layers
    used = config.pad_token_id + 1 if config.model_type in POSITIONS_AFTER_PADDING else 0
    most = {
        "layers": config.num_hidden_layers,
        "frozen": 0 if config.model_type == "albert" else layers,  # whose layers share weights
        "max_len": config.max_position_embeddings - used,
    }
    for key, limit in most.items():
        if (value := getattr(params, key) or 0) > limit:
            raise UserError(
                f"finetune.{key} is {value}, but the encoder allows at most {limit}; lower it"
            )
