"""A network as an ONNX graph, from the vectors of a text's tokens to its logits.

T is the number of tokens, D the size of their vectors, C the number of classes.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from sentiformer.model.classifier import TransformerClassifier, mean_of_tokens
from sentiformer.serving.exported import INPUT, onnx_runtime

TRACED_TOKENS = 5  # of the text with which the network is traced


class TransformerOfVectors(nn.Module):
    """The Transformer from the sum of the vectors of words and n-grams on."""

    positions: Tensor

    def __init__(self, model: TransformerClassifier) -> None:
        super().__init__()
        embedding = model.encoder.embedding
        self.scale = embedding.scale
        self.register_buffer("positions", embedding.positions)
        self.layers, self.norm = model.encoder.layers, model.encoder.norm
        self.classifier = model.classifier

    def forward(self, vectors: Tensor) -> Tensor:
        """(1, T, D) to (1, C)."""
        hidden = vectors * self.scale + self.positions[: vectors.shape[1]]
        for layer in self.layers:
            hidden = layer(hidden, None)
        return self.classifier(mean_of_tokens(self.norm(hidden), None))


class EncoderOfVectors(nn.Module):
    """A fine-tuned encoder from the vectors of its tokens on."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.classifier = model.encoder, model.classifier

    def forward(self, vectors: Tensor) -> Tensor:
        """(1, T, D) to (1, C)."""
        hidden = self.encoder(inputs_embeds=vectors).last_hidden_state
        return self.classifier(mean_of_tokens(hidden, None))


@torch.no_grad()
def to_onnx(network: nn.Module, size: int, max_len: int) -> onnx.ModelProto:
    """Trace a network of (1, T, `size`) vectors for each T up to `max_len`."""
    example = torch.zeros(1, TRACED_TOKENS, size)
    tokens = torch.export.Dim("tokens", min=2, max=max_len)
    with without_warnings():
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=[INPUT],
            output_names=["logits"],
            dynamic_shapes=({1: tokens},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return without_traces(program.model_proto)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Hide warnings of the libraries about their own code, and about packages that are not used."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove where each node comes from: paths of this machine, which other machines lack."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        assert not function.name, function.name
    return model


def in_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its matrices in int8, and activations that are scaled to int8 as they come.

    The classifier stays in fp32. Seven bits of the weights are used: with eight, processors without
    VNNI instructions would compute other products.
    """
    onnx_runtime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The quantizer replaces the only Gemm, which is the classifier, by a MatMul of this name.
    classifier = [f"{node.name}_MatMul" for node in model.graph.node if node.op_type == "Gemm"]
    with TemporaryDirectory() as folder, without_warnings():
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=classifier,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return without_traces(onnx.load(path))
