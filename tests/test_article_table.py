"""The tables of `docs/model.md` against the code."""

import re

import pytest
import torch
from conftest import ROOT

from sentiformer.model.classifier import TransformerClassifier
from sentiformer.model.params import InputSizes
from sentiformer.params import load_params

PAGE = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
CODE = re.findall(r"\| `(\w+)` \| `(src/\S+\.py):(\d+)` \|$", PAGE, re.MULTILINE)
WEIGHTS = re.findall(
    r"^\| `([\w.]+)` \| ([\d,]+(?: x [\d,]+)?) \| ([\d,]+) \|$", PAGE, re.MULTILINE
)
TOTAL = re.search(r"^\| total \| \| ([\d,]+) \|$", PAGE, re.MULTILINE)


def test_no_row_of_the_tables_is_overlooked():
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert len(CODE) + len(WEIGHTS) + 1 == len(rows) - 4, "each table has two lines of header"
    assert len(CODE) >= 12


@pytest.mark.parametrize(("name", "path", "line"), CODE)
def test_each_line_of_the_table_defines_the_name_beside_it(name, path, line):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    definition = re.compile(rf"(class|def) {name}\b")
    found = [number for number, text in enumerate(lines, 1) if definition.match(text)]
    assert found == [int(line)], f"docs/model.md: {path} defines {name} in line {found}"


def test_the_weights_are_those_of_the_default():
    params = load_params(ROOT / "params.yaml")
    inputs = InputSizes(
        vocab_size=params.build_vocab.max_size,
        pairs=params.word_vectors.pairs,
        triples=params.word_vectors.triples,
    )
    with torch.device("meta"):
        model = TransformerClassifier(params.model, inputs, num_classes=2)
    expected = [
        (name, " x ".join(f"{size:,}" for size in weight.shape), f"{weight.numel():,}")
        for name, weight in model.named_parameters()
    ]
    assert expected == WEIGHTS
    assert TOTAL is not None
    assert TOTAL[1] == f"{sum(weight.numel() for weight in model.parameters()):,}"
