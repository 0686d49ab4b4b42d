"""Texts from files of the user: all formats, little memory, and one line for each error."""

import csv
import gzip
import io
import json
import random
import tracemalloc
from itertools import islice

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiformer.core.errors import UserError
from sentiformer.core.text_files import read_rows, read_texts

TEXTS = ["Great, truly.", 'He said "no"', "é😀 \u2028 end", " two  spaces ", "<br />"]


def as_csv(texts, column="text"):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("id", column), *enumerate(texts)])
    return file.getvalue().encode()


def as_jsonl(texts, column="text"):
    return "".join(json.dumps({"id": i, column: t}) + "\n" for i, t in enumerate(texts)).encode()


def as_parquet(texts, column="text"):
    file = io.BytesIO()
    pd.DataFrame({"id": range(len(texts)), column: texts}).to_parquet(file)
    return file.getvalue()


def as_lines(texts, column=""):
    return "".join(f"{text}\n" for text in texts).encode()


FORMATS = {".csv": as_csv, ".jsonl": as_jsonl, ".parquet": as_parquet, ".txt": as_lines}


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: bytes):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def message(write):
    """Gives the error text of a file, which is one line and begins with its path."""

    def read(name: str, content: bytes, column: str = "text") -> str:
        path = write(name, content)
        with pytest.raises(UserError) as caught:
            list(read_texts(path, column))
        text = str(caught.value)
        assert text.startswith(str(path))
        assert "\n" not in text
        return text.removeprefix(str(path))

    return read


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_texts(write, ending):
    assert list(read_texts(write(f"a{ending}", FORMATS[ending](TEXTS)), "text")) == TEXTS


@pytest.mark.parametrize("ending", FORMATS)
def test_a_suffix_in_capital_letters_has_the_same_meaning(write, ending):
    assert list(read_texts(write(f"A{ending.upper()}", FORMATS[ending](TEXTS)), "text")) == TEXTS


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_another_column_can_hold_the_text(write, ending):
    path = write(f"a{ending}", FORMATS[ending](TEXTS, "review"))
    assert list(read_texts(path, "review")) == TEXTS


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"text\na\n"), ("a.jsonl", b'{"text": "a"}\n'), ("a.txt", b"a\n")],
)
def test_a_byte_order_mark_is_not_part_of_the_text(write, name, content):
    assert list(read_texts(write(name, b"\xef\xbb\xbf" + content), "text")) == ["a"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b"text\r\na\r\nb\r\n"), ("a.txt", b"a\r\nb\r\n")]
)
def test_windows_line_breaks_are_not_part_of_the_text(write, name, content):
    assert list(read_texts(write(name, content), "text")) == ["a", "b"]


def test_a_csv_text_can_contain_line_breaks_and_quotes(write):
    content = b'text,label\n"one\ntwo ""quoted"", three",1\nplain,0\n'
    texts = list(read_texts(write("a.csv", content), "text"))
    assert texts == ['one\ntwo "quoted", three', "plain"]


def test_blank_lines_of_jsonl_are_skipped_and_those_of_txt_are_texts(write):
    assert list(read_texts(write("a.jsonl", b'\n{"text": "a"}\n \n'), "text")) == ["a"]
    assert list(read_texts(write("a.txt", b"\na\n\n"), "text")) == ["", "a", ""]


def test_a_last_line_without_a_line_break_is_read(write):
    assert list(read_texts(write("a.txt", b"a\nb"), "text")) == ["a", "b"]
    assert list(read_texts(write("a.csv", b"text\na"), "text")) == ["a"]
    assert list(read_texts(write("a.jsonl", b'{"text": "a"}'), "text")) == ["a"]


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".txt", b""), (".jsonl", b""), (".csv", b"text\n"), (".parquet", as_parquet([]))],
)
def test_a_file_without_texts_gives_none(write, ending, content):
    assert list(read_texts(write(f"a{ending}", content), "text")) == []


@pytest.mark.parametrize("ending", FORMATS)
def test_a_text_of_one_megabyte_is_read_completely(write, ending):
    texts = ["x" * 2**20, "é" * 2**19]
    assert list(read_texts(write(f"a{ending}", FORMATS[ending](texts)), "text")) == texts


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_the_error_for_a_missing_column_lists_the_columns(message, ending):
    text = message(f"a{ending}", FORMATS[ending](TEXTS, "review"))
    line = ", line 1" if ending == ".jsonl" else ""
    assert text == f"{line} has no column 'text'; --column takes one of: id, review"


def test_a_column_name_that_occurs_twice_is_an_error(message):
    table = pa.table([["a"], ["b"]], names=["text", "text"])
    pq.write_table(table, buffer := io.BytesIO())
    for name, content in (("a.csv", b"text,text\na,b\n"), ("a.parquet", buffer.getvalue())):
        assert message(name, content) == " has several columns 'text'; rename all but one"


def test_an_empty_csv_has_no_column(message):
    assert message("a.csv", b"").endswith("--column takes one of: none")


@pytest.mark.parametrize(
    ("name", "content", "byte"),
    [
        ("a.csv", b"text\n\xe9\n", "0xe9"),
        ("a.jsonl", b'{"text": "\xe9"}\n', "0xe9"),
        ("a.txt", b"\xe9\n", "0xe9"),
    ],
)
def test_the_error_for_bytes_that_are_not_utf_8_names_the_byte_and_the_fix(
    message, name, content, byte
):
    text = message(name, content)
    assert text.startswith(f": byte {byte} is not UTF-8; convert the file, for instance")
    assert text.endswith("with `iconv -f ENCODING -t utf-8`")


@pytest.mark.parametrize(
    "line", [b'{"text": ', b"text", b"[" * 100_000, b'{"text": %s}' % (b"1" * 5000)]
)
def test_the_error_for_invalid_json_names_the_line(message, line):
    text = message("a.jsonl", b'{"text": "a"}\n\n' + line + b'\n{"text": "b"}\n')
    assert text.startswith(", line 3 is not JSON (")
    assert text.endswith("); correct the line")


@pytest.mark.parametrize("line", [b"[1]", b"null", b'"a"', b"1"])
def test_the_error_for_json_that_is_not_an_object_names_the_line(message, line):
    text = message("a.jsonl", b'{"text": "a"}\n' + line)
    assert text == ', line 2 is not a JSON object; write {"text": …}'


@pytest.mark.parametrize(
    ("name", "content", "place", "value"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": 1}\n', "line 2", "1"),
        ("a.jsonl", b'{"text": null}\n', "line 1", "None"),
        ("a.parquet", as_parquet(["a", None, "b"]), "row 2", "None"),
        ("a.parquet", as_parquet([b"a"]), "row 1", "b'a'"),
        ("a.parquet", as_parquet([1, 2]), "row 1", "1"),
        ("a.csv", b"id,text\n1,a\n2\n", "line 3", "None"),
    ],
)
def test_the_error_for_a_value_that_is_not_a_text_names_its_place(
    message, name, content, place, value
):
    text = f", {place}: the text is {value}, which is not a text; correct the row"
    assert message(name, content) == text


def test_rows_have_the_values_of_the_columns_and_their_place(write):
    columns = {"text": "--text", "label": "--label"}
    path = write("a.csv", b"label,x,text\n1,9,a\n0,9,b\n")
    rows = [(f"{path}, line 2", ("a", "1")), (f"{path}, line 3", ("b", "0"))]
    assert list(read_rows(path, columns)) == rows
    with pytest.raises(UserError, match=r"has no column 'label'; --label takes one of: text$"):
        list(read_rows(write("b.csv", b"text\na\n"), columns))
    with pytest.raises(UserError, match=r"its suffix must be one of .csv, .jsonl, .parquet$"):
        list(read_rows(write("a.txt", b"a\n"), columns))


def test_a_csv_text_with_a_comma_and_no_quotes_is_an_error(message):
    text = message("a.csv", b"text\nfine\nGreat film, loved it\n")
    assert text.startswith(", line 3: more cells than the header; a text with a comma needs quotes")


@pytest.mark.parametrize("content", [b'text\n"a\nb\nc\n', b'"text\na\n', b'text\n"a"b\n'])
def test_a_csv_quote_that_is_not_closed_is_an_error(message, content):
    assert message("a.csv", content).endswith("; correct the line")


DATES = pd.array(pa.array([10**15], pa.timestamp("s")), dtype=pd.ArrowDtype(pa.timestamp("s")))


NOT_UTF_8 = pd.array(
    pa.array([b"\xe9"], pa.binary()).view(pa.string()), dtype=pd.ArrowDtype(pa.string())
)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"PAR1", b"x" * 1000),
        *(as_parquet(TEXTS)[:-20], as_parquet(DATES), as_parquet(NOT_UTF_8)),
    ],
)
def test_a_file_that_is_not_parquet_is_an_error(message, content):
    assert message("a.parquet", content).startswith(" is not a readable Parquet file: ")


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.csv.gz"])
def test_the_error_for_an_unknown_suffix_lists_the_known_ones(message, name):
    assert message(name, b"") == ": its suffix must be one of .csv, .jsonl, .parquet, .txt"


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("nothing.csv", "folder.csv"):
        with pytest.raises(UserError, match=rf"{name} is not a file; check the path"):
            list(read_texts(tmp_path / name, "text"))


def test_a_file_without_read_permission_is_an_error(write, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write("a.txt", b"a\n")
    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UserError, match=r"a\.txt cannot be read; check its permissions"):
        list(read_texts(path, "text"))


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".txt"])
def test_the_first_texts_are_available_before_the_rest_is_read(write, ending):
    content = FORMATS[ending](["good"] * 20_000)
    texts = read_texts(write(f"a{ending}", content + b"\xff\n"), "text")
    assert list(islice(texts, 10_000)) == ["good"] * 10_000
    with pytest.raises(UserError, match="is not UTF-8"):
        list(texts)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_large_file_needs_little_memory(write, ending):
    texts = [f"{i} " + "x" * 2000 for i in range(5000)]
    path = write(f"a{ending}", FORMATS[ending](texts))
    for _ in islice(read_texts(path, "text"), 1):
        pass  # imports are not part of the measurement
    tracemalloc.start()
    count = sum(1 for _ in read_texts(path, "text"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 5000
    assert peak < 5_000_000


def test_a_parquet_file_of_one_row_group_needs_little_memory(write):
    texts = [random.Random(number).randbytes(1000).hex() for number in range(10_000)]
    rows = read_texts(write("a.parquet", as_parquet(texts)), "text")
    most, before = 0, pa.total_allocated_bytes()
    for number, text in enumerate(rows):
        assert text == texts[number]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 10_000_000, "of 20,000,000 bytes of text, half of that when compressed"


UTF_16 = "it is UTF-16; convert it, for instance with `iconv -f utf-16 -t utf-8`"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", gzip.compress(b"text\na\n", mtime=0), "it is compressed by gzip; decompress it"),
        (
            "a.csv",
            b"PK\x03\x04" + b"\xff" * 9,
            "it is a zip archive, for example of Excel; unpack it",
        ),
        ("a.csv", "text\na\n".encode("utf-16"), UTF_16),
        ("a.txt", "é\n".encode("utf-16"), UTF_16),
        ("a.jsonl", "{}".encode("utf-16-be").join([b"\xfe\xff", b"\xe9"]), UTF_16),
    ],
)
def test_the_error_for_a_file_in_another_format_names_the_format(tmp_path, name, content, line):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read_texts(path, "text"))
    assert str(caught.value).startswith(f"{path}: {line}")


@pytest.mark.parametrize("sign", [";", "\t"])
def test_a_table_with_other_separators_gets_a_hint(tmp_path, sign):
    path = tmp_path / "a.csv"
    path.write_text(f"text{sign}label\na{sign}b\n")
    with pytest.raises(
        UserError, match=r"takes one of: text.label \(the columns of a CSV must be separated by"
    ):
        list(read_texts(path, "text"))
