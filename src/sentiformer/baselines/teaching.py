"""Stage teach: whoever `teach.by` names says how likely each class of each unlabelled text is."""

from pathlib import Path
from typing import Any

import numpy as np

from sentiformer.baselines.params import TeachParams
from sentiformer.console import say
from sentiformer.core.files import read_json, whole_folder
from sentiformer.core.names import UNLABELED
from sentiformer.core.runtime import Runtime
from sentiformer.text.pseudo_labels import read_probabilities, write_teacher


def teach(params: TeachParams, runtime: Runtime, *, data: Path) -> None:
    """Have the unlabelled texts labelled, and write to `data/teacher`.

    The baseline's labels are at hand; vectors of texts are fitted here. Of both, the mean of their
    probabilities counts.

    Raises:
        UserError: an input is missing or corrupt, or the texts are too few for vectors.
    """
    by, output = params.by, data / "teacher"
    given: list[np.ndarray] = []
    about: dict[str, Any] = {"by": by}
    if by in ("nb_trigrams", "both"):
        corpus = read_json(data / "tokens" / "corpus.json", made_by="tokenize")
        shape = corpus["splits"][UNLABELED]["rows"], len(corpus["labels"])
        given.append(read_probabilities(data / "baseline", shape, made_by="baseline"))
    if by in ("text_vectors", "both"):
        from sentiformer.baselines.text_vectors import label_by_text_vectors

        labels = label_by_text_vectors(data / "tokens", runtime)
        given.append(labels.probabilities)
        about["environment"] = labels.environment
    with whole_folder(output) as folder:
        write_teacher(folder, about, given)
    say(f"unlabelled texts are labelled by {by} → {output}")
