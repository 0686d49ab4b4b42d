"""Reading and checking sections of `params.yaml`.

The class of a section is in the package that reads it. These classes have no defaults: every key
is in `params.yaml`, where DVC tracks it.
"""

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sentiformer.core.errors import ICONV, UserError
from sentiformer.core.names import SPLITS, UNLABELED

Parsed = TypeVar("Parsed", bound=BaseModel)
Fraction = Field(gt=0, lt=1)
Size = Field(gt=0, lt=2**31)
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A section of `params.yaml`: immutable, with strict types and no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of sections as DVC reads it: as YAML 1.2, where 1e-3 is a number.

    Raises:
        UserError: the file is missing, or is not valid YAML with sections.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the project's root") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; convert it, for instance with `{ICONV}`") from None
    except (YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise UserError(f"{path} is not valid YAML: {reason}; correct it") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is {values!r}: it should hold sections such as `model:`")
    return values


def parse(kind: type[Parsed], values: Any, *, where: str) -> Parsed:
    """Check `values` and make them a `kind`.

    Raises:
        UserError: one line with all problems; `where` names the source of the values.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(kind, values, dict(item)) for item in error.errors())
        raise UserError(f"{where}: {problems}") from None


def _problem(kind: type[BaseModel], values: Any, item: dict[str, Any]) -> str:
    """One problem in words: the key, its value, and what it should be."""
    *parents, key = [str(part) for part in item["loc"]] or ["it"]
    name = ".".join([*parents, key])
    if item["type"] == "extra_forbidden":
        return f"{name} is not a known key; {_fix_of_unknown_key(kind, values, parents, key)}"
    if item["type"] == "missing":
        return f"{name} is missing; add it"
    if item["type"] == "value_error":
        contradiction = str(item["ctx"]["error"])
        return f"{name}: {contradiction}" if item["loc"] else contradiction
    if item["type"] == "model_type":
        first, *_ = _known_keys(kind, item["loc"])
        return f"{name} is {item['input']!r}: it should hold keys, such as {first}"
    fix = item["msg"][0].lower() + item["msg"][1:]
    if item["type"] in ("int_type", "float_type") and _is_number(item["input"]):
        fix += " (write it without quotes)"
    if item["type"] == "string_type" and isinstance(item["input"], int | float):
        fix += " (write it in quotes)"
    if key in (*SPLITS, UNLABELED) and isinstance(item["input"], list):
        fix += " (only one; for several files give a glob or a folder)"
    return f"{name} is {item['input']!r}: {fix}"


def _fix_of_unknown_key(kind: type[BaseModel], values: Any, parents: list[str], key: str) -> str:
    """A similar key that is not given yet, or else to remove the unknown one."""
    for parent in parents:
        values = values[parent]
    absent = [known for known in _known_keys(kind, parents) if known not in values]
    near = difflib.get_close_matches(key, absent, n=1)
    return f"did you mean {near[0]}?" if near else "remove it"


def _known_keys(kind: type[BaseModel], parents: Sequence[str]) -> list[str]:
    for parent in parents:
        section = kind.model_fields[parent].annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        kind = section
    return [field.alias or name for name, field in kind.model_fields.items()]


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False
