"""The space of a search: which values each parameter may have, from the command line."""

import difflib
import math
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from pydantic import ValidationError

from sentiformer.core.errors import UserError
from sentiformer.core.params import parse, read_yaml
from sentiformer.params import Params

EXAMPLE = "model.num_layers=1,2 train.learning_rate=0.0003..0.003"
LOG_FACTOR = 10  # between the bounds, from which a range is searched by its logarithm
DIGITS = 3  # significant ones of a number from a range


class Choice(NamedTuple):
    """A few values."""

    values: tuple[Any, ...]


class Range(NamedTuple):
    """All numbers from `low` to `high`, which are both whole numbers or both are not."""

    low: float
    high: float

    @property
    def is_log(self) -> bool:
        """Whether factors matter rather than differences, as for a learning rate."""
        return self.low > 0 and self.high / self.low > LOG_FACTOR * 0.999  # 0.003 / 0.0003 < 10

    def rounded(self, value: float) -> float:
        """A value as it is used: short, so that a person can type it."""
        if isinstance(self.low, int):
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


Space: TypeAlias = dict[str, Choice | Range]


def parse_space(arguments: Iterable[str], params: Params) -> Space:
    """Read arguments such as `model.num_layers=1,2` and `train.learning_rate=0.0003..0.003`.

    A range has whole numbers if both bounds are, and so is the value in `params`.

    Raises:
        UserError: an argument is not such, its key is unknown, or `params.py` refuses a value.
    """
    space: Space = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not all(map(str.strip, text.split(","))):
            raise UserError(
                f"{argument!r} has a missing value; write choices as in model.num_layers=1,2, or a "
                "range as in train.learning_rate=0.0003..0.003"
            )
        _require_key(key, params)
        if key in space:
            raise UserError(f"{key} is given twice; give all its values in one argument")
        space[key] = of = _values(argument, text, _value(params, key))
        for value in of.values if isinstance(of, Choice) else of:
            _require_value(argument, params, key, value)
    if not space:
        raise UserError(f"there is nothing to search; give parameters, such as {EXAMPLE}")
    return space


def _require_key(key: str, params: Params) -> None:
    sections = params.model_dump()
    known = [f"{section}.{name}" for section, values in sections.items() for name in values]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        fix = f"did you mean {near[0]}?" if near else "params.yaml has all parameters"
        raise UserError(f"{key} is not a parameter; {fix}")
    if key.startswith("download."):
        raise UserError(
            f"{key} changes the texts, and scores on other texts cannot be compared; change it in "
            "params.yaml and search again"
        )


def _value(params: Params, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(params, section), name)


def _values(argument: str, text: str, current: Any) -> Choice | Range:
    """The values of an argument; `current` is the parameter's present value."""
    low, dots, high = text.partition("..")
    bounds = [_number(bound) for bound in (low, high)]
    if not dots or None in bounds:
        values = tuple(map(_scalar, text.split(",")))
        if len(set(map(repr, values))) < len(values):
            raise UserError(f"{argument} has a value twice; give each once")
        return Choice(values)
    first, last = bounds
    if not first < last < math.inf:
        raise UserError(f"{argument} is an empty range; give the lower bound first, then a higher")
    if isinstance(current, float) or not all(isinstance(bound, int) for bound in bounds):
        return Range(float(first), float(last))
    return Range(first, last)


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None


def _scalar(text: str) -> Any:
    """A value as in `params.yaml`; what is no scalar of YAML is a text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe").load(text)
    except (YAMLError, ValueError):
        return text
    return value if isinstance(value, str | int | float | None) else text


def with_values(params: Params, values: Mapping[str, Any]) -> dict[str, Any]:
    """All sections as in `params.yaml`, with other values of some parameters."""
    sections = params.model_dump()
    for key, value in values.items():
        section, name = key.split(".")
        sections[section][name] = value
    return sections


def _require_value(argument: str, params: Params, key: str, value: Any) -> None:
    """Refuse a value that is wrong by itself; another parameter's value may make it possible."""
    sections = with_values(params, {key: value})
    try:
        Params.model_validate(sections)
    except ValidationError as error:
        if any(list(map(str, item["loc"][:2])) == key.split(".") for item in error.errors()):
            parse(Params, sections, where=argument)


def problem(params: Params, values: Mapping[str, Any]) -> str:
    """Why these values cannot stand together; empty if they can."""
    try:
        parse(Params, with_values(params, values), where="these values")
    except UserError as error:
        return str(error)
    return ""


def combinations(space: Space, most: int) -> list[dict[str, Any]] | None:
    """All combinations of values, or None if there are more than `most`."""
    each = [
        list(range(int(s.low), int(s.high) + 1)) if isinstance(s, Range) else list(s.values)
        for s in space.values()
        if isinstance(s, Choice) or (isinstance(s.low, int) and s.high - s.low < most)
    ]
    if len(each) < len(space) or math.prod(map(len, each)) > most:
        return None
    return [dict(zip(space, values, strict=True)) for values in product(*each)]


def scored_stage(space: Space, params: Params) -> str:
    """The stage whose model is scored: finetune if the encoder is searched, or else train.

    Raises:
        UserError: there is no encoder, or the stage does not depend on a parameter of the space.
    """
    searched = [key for key in space if key.startswith(("encoder.", "finetune."))]
    stage = "finetune" if searched else "train"
    if searched and "encoder.name" not in space and params.encoder.name is None:
        raise UserError(f"{searched[0]} has no effect: encoder.name is null; name an encoder first")
    known = _params_of(stage, read_yaml(Path("dvc.yaml"))["stages"])
    for key in space:
        if not known & {key, key.partition(".")[0]}:
            raise UserError(
                f"{key} has no effect on validation: stage {stage} does not depend on it; leave it "
                f"out{' or search it without ' + searched[0] if searched else ''}"
            )
    return stage


def _params_of(stage: str, stages: Mapping[str, Any]) -> set[str]:
    """The parameters and sections that a stage depends on, also through the stages before it."""
    maker = {out: name for name, s in stages.items() for out in s["outs"] if isinstance(out, str)}
    found, todo = set(stages[stage].get("params", [])), [stage]
    while todo:
        for dep in stages[todo.pop()]["deps"]:
            before = maker.get("/".join(dep.split("/")[:2]))
            if before is not None:
                found |= set(stages[before].get("params", []))
                todo.append(before)
    return found
