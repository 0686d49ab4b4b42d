"""Reading and checking sections of `params.yaml`.

The class of a section is in the package that reads it. These classes have no defaults: every key
is in `params.yaml`, where DVC tracks it.
"""

import difflib
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sentiformer.core.errors import ICONV, UserError

Parsed = TypeVar("Parsed", bound=BaseModel)
Fraction = Field(gt=0, lt=1)
Rate = Field(gt=0, le=1)
Size = Field(gt=0, lt=2**31)
Name = Annotated[str, Field(min_length=1)]


class _Shortened(Repr):
    """How a wrong value is shown: shortened, as it can be huge or hold itself billions of times."""

    repr_ordereddict = Repr.repr_dict  # of !!omap

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict = 2, 20, 20
        self.maxstring = self.maxother = self.maxlong = 1000

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write a very long number in decimal digits."""
        return super().repr_int(x, level) if x.bit_length() < 10_000 else "a huge number"


shown = _Shortened().repr


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
    # the last four: of a value that its tag does not fit, such as !!int without digits
    except (YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise UserError(f"{path} is not valid YAML: {reason}; correct it") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is {shown(values)}: it should hold sections such as `model:`")
    return values


def parse(kind: type[Parsed], values: Any, *, where: str) -> Parsed:
    """Check `values` and make them a `kind`.

    Raises:
        UserError: one line with all problems; `where` names the source of the values.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        items = error.errors()
    missing = [item["loc"] for item in items if item["type"] == "missing"]
    problems = "; ".join(_problem(item, missing) for item in items)
    raise UserError(f"{where}: {problems}")


def _problem(item: ErrorDetails, missing: list[tuple[int | str, ...]]) -> str:
    """One problem in words: the key, its value, and what it should be."""
    name = ".".join(map(str, item["loc"])) or "it"
    match item["type"]:
        case "extra_forbidden":
            absent = [str(loc[-1]) for loc in missing if loc[:-1] == item["loc"][:-1]]
            near = difflib.get_close_matches(str(item["loc"][-1]), absent, n=1)
            fix = f"did you mean {near[0]}?" if near else "remove it"
            return f"{name} is not a known key; {fix}"
        case "missing":
            return f"{name} is missing; add it"
        case "value_error":
            contradiction = str(item["ctx"]["error"])
            return f"{name}: {contradiction}" if item["loc"] else contradiction
        case "int_parsing" | "int_from_float":
            return f"{name} is {shown(item['input'])}; give a whole number"
        case "float_parsing":
            return f"{name} is {shown(item['input'])}; give a number"
        case "model_type":
            return f"{name} is {shown(item['input'])}: it should hold keys with values"
    fix = item["msg"][0].lower() + item["msg"][1:]
    if item["type"] in ("int_type", "float_type") and isinstance(item["input"], str):
        fix += ", without quotes"
    if item["type"] == "string_type" and isinstance(item["input"], int | float):
        fix += ", in quotes"
    return f"{name} is {shown(item['input'])}: {fix}"
