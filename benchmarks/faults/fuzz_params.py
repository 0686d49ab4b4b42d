"""Generated parameter files: each is refused in one line, or read as DVC reads it."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sentiformer.params import load_params

ROOT = Path(__file__).parents[2]
COMMITTED = load_params(ROOT / "params.yaml").model_dump()
BIG = 5_000  # digits, or levels of nesting
NUMBERS = [  # and numbers that are none
    *("0", "1", "-1", "-0", "-0.0", "+1", "1.0", "2.", ".5", "0.5", "0.49999999999999999", "1e-3"),
    *("1e400", "-1e400", "1e-400", "1e308", "5e-324", ".inf", "-.inf", ".nan", ".NaN", ".Inf"),
    *("inf", "nan", "NaN", "Infinity", "0x10", "0o17", "017", "0b11", "1_000", "1:30", "190:20:30"),
    *("2147483647", "2147483648", "9007199254740993", "18446744073709551616", "-2147483649"),
    *("9" * BIG, "0x" + "f" * BIG, "0o" + "7" * BIG, "0b" + "1" * BIG, "0." + "3" * BIG),
    *("1e" + "9" * 100, "1,5", "1 000", "１２", "٣", "½", "1/3", "1%", "1e", "e1", "--1", "1-"),
    *("7", "8", "65536", "65537", "16384", "16385", "1000", "1001", "10000", "10001", "3.0e0"),
]
WORDS = [
    *(
        "null",
        "~",
        "",
        "Null",
        "none",
        "None",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "True",
    ),
    *("'1'", '"0.1"', '"\\0"', '"\\uD800"', '"\\U0001F600"', '"\\x00"', '"\\u202e"', '"\\e[31m"'),
    *("2001-01-01", "2001-12-14t21:59:43.10-05:00", "12:30:45", "0001-01-01", "9999-99-99"),
    *(
        "|\n    a\n    b",
        ">-\n    a",
        "''",
        '""',
        '" "',
        "a: b",
        "- a",
        "? a",
        "@a",
        "`a`",
        "%a",
        "&",
        "*",
    ),
    *("../../x", "/etc/passwd", "~root/x", "$HOME", "${x}", "{{x}}", "a\tb", "#", "'", '"', "a #b"),
    *("[]", "{}", "[1]", "[a, b]", "{a: 1}", "[[]]", "[null]", "{a}", "[a, a]", "[1, 2]", "[" * 99),
    *(
        "[" * 900 + "]" * 900,
        "{a: " * 500 + "}" * 500,
        "x" * 100_000,
        "\u200b",
        "\u202ex",
        "ａ",
        "é",
    ),
]
TAGS = [
    *(
        "!!python/object:os.system {}",
        "!!python/object/apply:os.system ['touch pwned']",
        "!!map {}",
    ),
    *(
        "!!python/name:os.system",
        "!!python/module:os",
        "!!int '7'",
        "!!int x",
        "!!int ''",
        "!!seq []",
    ),
    *(
        "!!float '0.5'",
        "!!float x",
        "!!float ''",
        "!!bool maybe",
        "!!bool 'yes'",
        "!!null x",
        "!x 1",
    ),
    *("!!timestamp x", "!!timestamp '2001-01-01'", "!!binary aGk=", "!!binary é", "!!binary '*'"),
    *(
        "!!str 1",
        "!!str",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!omap {}",
        "!!omap [1]",
        "!!pairs [a: 1]",
    ),
    *(
        "!!pairs x",
        "!!merge x",
        "!!value x",
        "!<tag:yaml.org,2002:int> 3",
        "!!str [1]",
        "!!set [1]",
    ),
    *(
        "!!int [1]",
        "!!float {a: 1}",
        "!!bool [1]",
        "!",
        "!!",
        "!!int 0x",
        "!!int '-'",
        "!!int '1:2:x'",
    ),
]
ANCHORS = [
    *("&a 1", "*a", "&a [*a]", "&a {x: *a}", "{<<: {a: 1}}", "{<<: [{a: 1}, {a: 2}]}", "{<<: 1}"),
    *("{? [1, 2] : 3}", "{? {a: 1} : 3}", "{1: 2}", "{null: 1}", "{true: 1}", "{2001-01-01: 1}"),
]
KEYS = [
    *(
        "",
        " ",
        "null",
        "1",
        "true",
        "2001-01-01",
        "<<",
        "? x",
        "'a'",
        '"\\0"',
        "a b",
        "a.b",
        "é",
        "- x",
    ),
    *(
        "!!str x",
        "&k x",
        "*k",
        "[1]",
        "{a: 1}",
        "__class__",
        "model_config",
        "model_dump",
        "schema",
    ),
]


def cases(folder: Path) -> Callable[[int], str]:
    """A function that tries the case of a number."""
    lines, path = _lines_of_params(), folder / "params.yaml"

    def run(number: int) -> str:
        path.write_bytes(make(number, lines))
        return wrong_value(path)

    return run


def _lines_of_params() -> list[str]:
    """The committed parameters without comments and blank lines."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    lines = [re.sub(r"\s+#.*", "", line) for line in text.splitlines()]
    return [line for line in lines if line.strip()]


def make(number: int, lines: list[str]) -> bytes:
    """The parameter file of a case."""
    rng = random.Random(f"params {number}")
    lines = list(lines)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
        rng.choice(CHANGES)(rng, lines)
    text = "\n".join(lines) + "\n"
    if rng.random() < 0.1:
        text = _whole(rng, text)
    data = text.encode("utf-8", "surrogatepass")
    return _bytes(rng, data, text) if rng.random() < 0.15 else data


def _value(rng: random.Random, lines: list[str]) -> None:
    """Another value of a key."""
    at = rng.choice([n for n, line in enumerate(lines) if ": " in line] or [0])
    value = rng.choice(rng.choice((NUMBERS, NUMBERS, WORDS, TAGS, ANCHORS)))
    lines[at] = f"{lines[at].partition(':')[0]}: {value}"


def _near(rng: random.Random, lines: list[str]) -> None:
    """A number near the value of a key, or near a power of two or ten."""
    at = rng.choice([n for n, line in enumerate(lines) if re.search(r": [\d.]+$", line)] or [0])
    key, _, value = lines[at].partition(": ")
    size = rng.choice((2 ** rng.randint(0, 70), 10 ** rng.randint(0, 20), float(value or 1)))
    near = rng.choice(
        (size, size + 1, size - 1, -size, size / 2, 1 / (size or 1), size * (1 + 2e-16))
    )
    lines[at] = f"{key}: {near!r}"


def _notation(rng: random.Random, lines: list[str]) -> None:
    """Almost the same number in another notation, which may be valid."""
    at = rng.choice([n for n, line in enumerate(lines) if re.search(r": [\d.]+$", line)] or [0])
    key, _, value = lines[at].partition(": ")
    number = float(value or 1) * rng.choice((1, 1, 2, 0.5))
    whole, tags = int(number), ("!!int ", "!!float ", "&x ", "+", "-", "0", " ", "!!str ")
    forms = (f"{number:e}", f"{number:.17g}", hex(whole), oct(whole), f"{whole:_}", f"{number:g}")
    forms += (f"{whole}", f"{number:.1e}", f"'{number}'", f"{rng.choice(tags)}{value} # a comment")
    lines[at] = f"{key}: {rng.choice(forms)}"


def _key(rng: random.Random, lines: list[str]) -> None:
    """Another key: misspelled, hostile, twice or gone."""
    at = rng.randrange(len(lines))
    indent, key, value = re.fullmatch(r"(\s*)([^:]*)(.*)", lines[at], re.DOTALL).groups()
    place = rng.randrange(len(key) + 1)
    wrong = (key.upper(), f"{key[:place]}{rng.choice('_x é')}{key[place:]}", rng.choice(KEYS))
    match rng.randrange(4):
        case 0:
            lines[at] = f"{indent}{rng.choice(wrong)}{value}"
        case 1:
            lines.insert(at, f"{indent}{rng.choice(wrong)}{value}")
        case 2:
            lines.insert(at, lines[at])
        case _:
            del lines[at]


def _line(rng: random.Random, lines: list[str]) -> None:
    """A line that is moved, indented, or no YAML."""
    at = rng.randrange(len(lines))
    line = lines.pop(at)
    broken = (f" {line}", f"\t{line}", line.lstrip(), f"- {line}", f"{line} {line}", f"{line}:")
    broken += ("---", "...", "%YAML 1.1\n---", "# only", line[: len(line) // 2], f"{line} #")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice((line, rng.choice(broken))))


def _section(rng: random.Random, lines: list[str]) -> None:
    """A section that is no section, or holds what an anchor names."""
    name = rng.choice([line for line in lines if re.fullmatch(r"\w+:", line)] or lines)
    at = lines.index(name)
    value = rng.choice((*WORDS, *TAGS, *ANCHORS, "&s", "*s", "&s\n  <<: *s"))
    lines[at] = f"{name} {value}"
    if rng.random() < 0.5:
        lines.append(rng.choice((f"extra: {value}", "train: *s", f"{name} *s", f"{name} {{}}")))


def _whole(rng: random.Random, text: str) -> str:
    """A file that is no file of sections, or one in another form."""
    laughs = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    listed = "".join(f"- {line}\n" for line in laughs.splitlines())
    as_list = re.sub(r"- a\d+: ", "- ", listed)
    forms = (
        f"%YAML 1.1\n---\n{text}",
        f"%YAML 9.9\n---\n{text}",
        f"---\n{text}---\n{text}",
        as_list,
    )
    forms += (f"{{{text}}}", f"- {text}", laughs, f"{text}download: *a11\n{laughs}", laughs + text)
    forms += (
        text.replace("\n", "\r"),
        text.replace("\n", "\r\n"),
        text.replace("\n", "\u2028"),
        "",
    )
    forms += (
        "\n" * BIG,
        "#" * BIG,
        "[" * 900,
        "? " * 900,
        "- " * 900,
        "&a " * 9,
        "null",
        "42",
        "'",
    )
    return rng.choice((*forms, f"{text}train: {'*a11' * 2}", text * 2, text.replace(":", "=")))


def _bytes(rng: random.Random, data: bytes, text: str) -> bytes:
    """Damaged bytes, or another encoding."""
    at, more = rng.randrange(len(data) + 1), rng.randbytes(rng.choice((1, 2, 9)))
    codes = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252", "cp037", "utf-7", "shift-jis")
    other = text.encode(rng.choice(codes), "replace")
    damaged = (data[:at] + more + data[at:], data[:at] + more + data[at + len(more) :], data[:at])
    damaged += (
        data[at:],
        data[:at] + b"\0" + data[at:],
        data + data[:at],
        rng.randbytes(at),
        other,
    )
    return rng.choice(damaged)


CHANGES = (_value, _value, _value, _near, _notation, _notation, _notation, _key, _line, _section)


def wrong_value(path: Path) -> str:
    """What is wrong with the parameters that are read from a file; empty if nothing is.

    DVC must read the same values, and find them again in the record that it keeps of them.

    Raises:
        UserError: they are refused.
    """
    from dvc.utils.serialize import dumps_yaml, load_yaml, loads_yaml

    found = load_params(path).model_dump()
    if difference := _difference(found, load_yaml(str(path))):
        return f"DVC reads another value: {difference}"
    changed = {  # the others are always the same
        name: {key: value for key, value in section.items() if value != COMMITTED[name][key]}
        for name, section in found.items()
    }
    if difference := _difference(changed, loads_yaml(dumps_yaml(changed))):
        return f"DVC records another value: {difference}"
    return ""


def _difference(ours: Any, others: Any, place: str = "it") -> str:
    """The first place where two values differ; a whole number may be a float of the same value."""
    if isinstance(ours, dict) and isinstance(others, dict):
        if ours.keys() != others.keys():
            return f"{place}: keys {sorted(map(str, ours.keys() ^ others.keys()))}"
        places = (_difference(ours[key], others[key], f"{place}.{key}") for key in ours)
        return next(filter(None, places), "")
    numbers = type(ours) in (int, float) and type(others) in (int, float)
    same = ours == others and (numbers or type(ours) is type(others))
    return "" if same else f"{place}: {ours!r} and {others!r}"
