"""The Chinese README has the sections, commands, figures and links of the English one."""

import re

import pytest
from conftest import ROOT

NAMES = ("README.md", "README.zh.md")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"\s*(?:^|\s)#\s.*")
LINK = re.compile(r"\]\((.*?)\)")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
CODE = re.compile(r"`(.*?)`")


def facts(section):
    """What does not change in a translation of a section."""
    blocks = "\n".join(FENCED.findall(section)).splitlines()
    prose = FENCED.sub("", section)
    text = LINK.sub("]", prose)
    return {
        "level of the heading": re.match("#*", section)[0],
        "code blocks, without comments": [COMMENT.sub("", line) for line in blocks],
        "numbers": NUMBER.findall(text),
        "links": [link for link in LINK.findall(prose) if link not in NAMES],
        "inline code": sorted(CODE.findall(text)),
        "rows of tables": re.findall(r"^\|", prose, re.MULTILINE),
    }


def sections(name, text):
    """The sections of a README by their headings."""
    fenced = FENCED.sub(lambda found: found[0].replace("\n#", "\n #"), text)
    found = re.split(r"^(?=#+ )", fenced, flags=re.MULTILINE)[1:]
    return {f"{name}, {part.partition(chr(10))[0]!r}": facts(part) for part in found}


def require_equal(english, chinese):
    """Raise an AssertionError that names the first section which differs, and what in it does."""
    pairs = sections(NAMES[0], english).items(), sections(NAMES[1], chinese).items()
    assert len(pairs[0]) == len(pairs[1]), f"{NAMES} have different numbers of headings"
    for (place, expected), (translated, found) in zip(*pairs, strict=True):
        for what, values in expected.items():
            difference = f"{place} and {translated} differ in {what}: {values} != {found[what]}"
            assert values == found[what], difference


def test_both_say_the_same_and_name_each_other():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in NAMES]
    require_equal(*texts)
    for text, other in zip(texts, reversed(NAMES), strict=True):
        assert f"]({other})" in "".join(text.splitlines(keepends=True)[:5])


ENGLISH = """# Title

See [Chinese](README.zh.md) and `data/model`.

## Results

| model | of 2,472 |
|---|---|
| best | 91.6 % |

```
make    # run all
# then
test: 90.2 %
```

## More

[Details](docs/results.md) of 2017.
"""
CHINESE = """# 标题

见 [English](README.md) 和 `data/model`。

## 结果

| 模型 | 共 2,472 |
|---|---|
| 最好 | 91.6 % |

```
make    # 运行
# 然后
test: 90.2 %
```

## 更多

2017 年的[详情](docs/results.md)。
"""


def test_comments_in_code_may_be_translated():
    require_equal(ENGLISH, CHINESE)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("91.6 %", "91.7 %", "'## 结果' differ in numbers"),
        ("2,472", "2472", "'## 结果' differ in numbers"),
        ("2017", "2018", "'## 更多' differ in numbers"),
        ("90.2 %", "90.3 %", "'## 结果' differ in code blocks"),
        ("make ", "make test", "'## 结果' differ in code blocks"),
        ("# 然后", "然后", "'## 结果' differ in code blocks"),
        ("docs/results.md", "docs/log.md", "'## 更多' differ in links"),
        ("`data/model`", "`data/exported`", "'# 标题' differ in inline code"),
        ("| 最好 | 91.6 % |", "91.6 %", "'## 结果' differ in rows of tables"),
        ("## 更多", "更多", "different numbers of headings"),
        ("## 更多", "### 更多", "'### 更多' differ in level"),
    ],
)
def test_a_change_in_one_alone_is_found_and_its_section_named(old, new, what):
    assert CHINESE.count(old) == 1
    with pytest.raises(AssertionError, match=what):
        require_equal(ENGLISH, CHINESE.replace(old, new))
