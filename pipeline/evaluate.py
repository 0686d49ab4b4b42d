"""Evaluates data/model on test, and compares it with other models; writes data/evaluation."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.environment import write_environment
from sentiformer.core.files import write_json
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.params import Params
from sentiformer.stage import stage

DATA = Path("data")
OUTPUT = DATA / "evaluation"
SUMMARY = Path("metrics.json")  # in Git


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the metrics, the comparison, the predictions, and the tables of the report."""
    from sentiformer.evaluation.evaluate import evaluate  # imports torch

    with sealed_folder(OUTPUT) as folder:
        evaluation = evaluate(runtime, data=DATA, folder=folder)
        write_environment(folder)
    write_json(SUMMARY, evaluation.summary())
    for line in evaluation.lines(OUTPUT):
        say(line)


if __name__ == "__main__":
    main()
