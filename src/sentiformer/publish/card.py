"""The text of a model card, for the Hub and for MLflow.

After Mitchell et al. 2019, Model Cards for Model Reporting. A section is a title and Markdown.
The names of files, sources and classes are a user's: line breaks and control characters are
replaced, and what would be markup is escaped.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sentiformer.core.errors import listed, one_line
from sentiformer.core.names import ENCODER_FACTS
from sentiformer.publish.names import percent, size_name

LABEL_CHARACTERS = 60
MARKUP = re.compile(r"[\\`*<>&\[\]|]")  # in Markdown


def card_sections(
    about: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], *, alone: bool
) -> dict[str, str]:
    """The sections that each card has: what the model is, its data, classes, metrics and limits.

    Args:
        about: the `config.json` of the model.
        sources: the metrics of each source of test texts: source, texts, accuracy, the accuracy of
            other models as `<model>_accuracy`, and, if known, the interval of the accuracy, log
            loss and calibration error; empty if the model is not evaluated.
        alone: whether the metrics are of the network alone, even if the model is an ensemble.
    """
    labels = [as_text(label[:LABEL_CHARACTERS]) for label in about["labels"]]
    params, origin = about["params"], about["data"]["origin"]
    counts = [f"{name} {facts['rows']:,}" for name, facts in about["data"]["splits"].items()]
    is_alone = alone and "encoder" in about
    return {
        "Model": _what_it_is(about),
        **_encoder(about),
        "Data": as_text(
            f"{origin['name']}; texts: {', '.join(counts)}. Licence: {origin['licence']}. "
            f"Citation: {origin['citation']}."
        ),
        f"Classes ({len(labels)})": listed(labels),
        f"Metrics{' of the encoder alone' if is_alone else ''}": _metrics(about, sources, alone),
        "Limits": f"The language is {params['tokenize']['language']}. Of a longer text "
        "the model reads the beginning and the end, "
        f"{params['finetune' if 'encoder' in about else 'model']['max_len']} tokens. A "
        "text that the model cannot judge, such as one without a known word, has the label "
        '"?" and a reason. Texts of another kind '
        "than the data may be classified wrongly with a high probability.",
    }


def as_text(text: str) -> str:
    """A text as one line of Markdown that shows it as it is."""
    return MARKUP.sub(r"\\\g<0>", one_line(text))


def _what_it_is(about: Mapping[str, Any]) -> str:
    """The kind of the model."""
    size, params = size_name(about), about["params"]
    exported = params.get("export", {}).get("format")
    files = f" Exported in {exported}, so that it predicts without torch." if exported else ""
    if "encoder" not in about:
        teacher = params["teach"].get("by")
        taught = f", also with pseudo-labels by {teacher}" if teacher else ""
        return f"A Transformer ({size}) that classifies texts, trained from scratch{taught}.{files}"
    mean = ", in the mean with the n-gram model nb_trigrams" if _is_mean(about) else ""
    return f"The pretrained encoder {size}, fine-tuned to classify texts{mean}.{files}"


def _encoder(about: Mapping[str, Any]) -> dict[str, str]:
    """What is known about the pretrained encoder, if the model has one."""
    encoder = about.get("encoder") or {}
    known = {key.replace("_", " "): encoder[key] for key in ENCODER_FACTS if encoder.get(key)}
    facts = [as_text(f"{key} {value}") for key, value in known.items()]
    outside = "It has learned from text from outside the data set."
    return {"Encoder": f"{'; '.join(facts)}. {outside}"} if facts else {}


def _is_mean(about: Mapping[str, Any]) -> bool:
    return "encoder" in about and bool(about["params"]["finetune"]["ensemble"])


def _metrics(about: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], alone: bool) -> str:
    """The accuracies on validation and test as a list, beside those of other models."""
    network = ", the encoder alone" if _is_mean(about) and not alone else ""
    validation = percent(about["best"]["valid_accuracy"])
    begin = f"Accuracy on validation (all sources{network}) {validation}; on test:"
    if not sources:
        return f"{begin} not evaluated yet"
    return "\n".join([begin, *map(_source_line, sources)])


def _source_line(row: Mapping[str, Any]) -> str:
    """The metrics of a source; `row` may have strings, as a table of a file has."""
    shares = {key: percent(float(row[key])) for key in row if "accuracy" in key}
    names = [key.removesuffix("_accuracy") for key in shares if key.endswith("_accuracy")]
    others = ", ".join(f"{name} {shares[f'{name}_accuracy']}" for name in names)
    details = ""
    if "accuracy_low" in row:
        details = f" (95 % interval {shares['accuracy_low']} to {shares['accuracy_high']})"
    for name in ("log_loss", "calibration_error"):
        if name in row:
            details += f", {name.replace('_', ' ')} {float(row[name]):.3f}"
    return (
        f"- {as_text(row['source'])} ({int(row['texts']):,}): accuracy {shares['accuracy']}"
        f"{details}{f'; accuracy of {others}' if others else ''}"
    )
