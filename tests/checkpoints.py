"""Tiny random checkpoints of several families of encoders, as `transformers` saves them."""

from pathlib import Path
from typing import Any

import torch
from conftest import COMMON, WORDS
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoConfig,
    AutoModel,
    BertTokenizer,
    DebertaV2Tokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from transformers.utils import logging

BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
CHARACTERS = [chr(code) for code in range(33, 127)]
WORDS_KNOWN = sorted({word.lower().strip(",;") for word in (*COMMON, *WORDS[0], *WORDS[1], "not")})
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
FAMILIES: dict[str, dict[str, Any]] = {  # and what their configuration needs besides
    "bert": {},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "roberta": {"type_vocab_size": 1},
    "mpnet": {},
    "albert": {"embedding_size": 8},
    "camembert": {"type_vocab_size": 1},
    "electra": {"embedding_size": 8},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8},
    "xlm-roberta": {"type_vocab_size": 1},
}

logging.disable_progress_bar()


def make_checkpoint(folder: Path, family: str = "bert", *, seed: int = 0, **sizes: Any) -> Path:
    """Write a checkpoint with random weights and a fast tokenizer to a new folder; return it.

    `sizes` are keys of the family's configuration, such as `num_hidden_layers`. The same arguments
    give the same bytes.
    """
    tokenizer = make_tokenizer(family)
    special = {
        name: getattr(tokenizer, name)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    }
    given = FAMILIES[family] if family == "distilbert" else {**SIZES, **FAMILIES[family]}
    given = {**given, **special, "max_position_embeddings": 66, "vocab_size": len(tokenizer)}
    config = AutoConfig.for_model(family, **{**given, **sizes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(family: str) -> Any:
    """A fast tokenizer of a family; it knows the words of the made-up reviews and all of ASCII."""
    if family in ("albert", "bert", "distilbert", "electra"):
        return BertTokenizer(vocab=_pieces(BERT_TOKENS), model_max_length=64)
    if family == "mpnet":
        return MPNetTokenizer(vocab=_pieces([*ROBERTA_TOKENS, "[UNK]"]), model_max_length=64)
    if family in ("xlm-roberta", "camembert"):
        pieces = [(token, 0.0) for token in ROBERTA_TOKENS]
        return XLMRobertaTokenizer(vocab=pieces + _scores(), model_max_length=64)
    if family == "deberta-v2":
        pieces = [(token, 0.0) for token in BERT_TOKENS]
        return DebertaV2Tokenizer(vocab=pieces + _scores(), model_max_length=64)
    special = BERT_TOKENS if family == "modernbert" else ROBERTA_TOKENS
    vocab, merges = _byte_pairs(special)
    if family == "roberta":
        return RobertaTokenizer(vocab=vocab, merges=merges, model_max_length=64)
    return _modernbert(vocab, merges)


def _modernbert(vocab: dict[str, int], merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    pad, unk, cls, sep, mask = BERT_TOKENS
    names = {"cls_token": cls, "sep_token": sep, "bos_token": cls, "eos_token": sep}
    names |= {"pad_token": pad, "unk_token": unk, "mask_token": mask}
    byte_level = RobertaTokenizer(vocab=vocab, merges=merges, **names)
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level.backend_tokenizer, model_max_length=64, **names
    )


def _pieces(special: list[str]) -> dict[str, int]:
    """Characters, their continuations and words, for WordPiece."""
    parts = [*special, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    parts += [word for word in WORDS_KNOWN if len(word) > 1]
    return {piece: number for number, piece in enumerate(dict.fromkeys(parts))}


def _scores() -> list[tuple[str, float]]:
    """Characters and words with their log probabilities, for a unigram model."""
    words = [(f"▁{word}", -4.0 - len(word) / 100) for word in WORDS_KNOWN]
    return [("▁", -5.0), *words, *((c, -8.0) for c in CHARACTERS)]


def _byte_pairs(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """All bytes, and merges that build each word from its start, for byte-level BPE."""
    parts, merges = [*special, *sorted(ByteLevel.alphabet())], []
    for word in WORDS_KNOWN:
        text = f"Ġ{word}"
        merges += [(text[:end], text[end]) for end in range(1, len(text))]
    merges = list(dict.fromkeys(merges))
    parts += [left + right for left, right in merges]
    return {piece: number for number, piece in enumerate(dict.fromkeys(parts))}, merges
