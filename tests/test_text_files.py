"""Texts from files of the user: all formats, little memory, and one line for each error."""

import csv
import gzip
import io
import json
import os
import random
import subprocess
import threading
import tracemalloc
from itertools import islice

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiformer.core.errors import UserError
from sentiformer.core.text_files import guess_columns, read_rows, read_texts

TEXTS = ["Great, truly.", 'He said "no"', "é😀 \u2028 end", " two  spaces ", "<br />"]


def as_csv(texts, column="text"):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("id", column), *enumerate(texts)])
    return file.getvalue().encode()


def as_jsonl(texts, column="text"):
    return "".join(json.dumps({"id": i, column: t}) + "\n" for i, t in enumerate(texts)).encode()


def as_tsv(texts, column="text"):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter="\t").writerows([("id", column), *enumerate(texts)])
    return file.getvalue().encode()


def as_array(texts, column="text"):
    return json.dumps([{"id": i, column: t} for i, t in enumerate(texts)], indent=1).encode()


def as_parquet(texts, column="text"):
    file = io.BytesIO()
    pd.DataFrame({"id": range(len(texts)), column: texts}).to_parquet(file)
    return file.getvalue()


def as_lines(texts, column=""):
    return "".join(f"{text}\n" for text in texts).encode()


FORMATS = {".csv": as_csv, ".jsonl": as_jsonl, ".parquet": as_parquet, ".txt": as_lines}
MORE = {**FORMATS, ".tsv": as_tsv, ".ndjson": as_jsonl, ".json": as_array}


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


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
            list(read_rows(path, {column: "--column"}))
        text = str(caught.value)
        assert text.startswith(str(path))
        assert "\n" not in text
        return text.removeprefix(str(path))

    return read


@pytest.fixture
def lines():
    """What `say` was told."""
    return []


@pytest.mark.parametrize("ending", MORE)
def test_every_format_gives_the_same_texts(write, ending):
    assert list(read_texts(write(f"a{ending}", MORE[ending](TEXTS)), "text")) == TEXTS


@pytest.mark.parametrize("name", ["a{}.gz", "a{}.ZST", "a{}"])
@pytest.mark.parametrize("ending", sorted(MORE.keys() - {".parquet"}))
def test_a_compressed_file_is_read_whatever_its_name_says(write, ending, name):
    for content in (
        pa.compress(MORE[ending](TEXTS), codec="gzip", asbytes=True),
        zstd(MORE[ending](TEXTS)),
        MORE[ending](TEXTS),
    ):
        assert list(read_texts(write(name.format(ending), content), "text")) == TEXTS


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_the_parts_of_a_compressed_file_are_all_read(write, compress):
    path = write("a.txt", compress(b"a\n") + compress(b"b\n"))
    assert list(read_texts(path, "text")) == ["a", "b"]


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_compressed_file_that_is_cut_off_is_an_error(message, compress):
    content = compress(random.Random(0).randbytes(10_000).hex().encode())
    text = message("a.txt.gz", content[:-100])
    assert text.startswith(": its compressed data are damaged or cut off (")


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
    assert list(read_texts(write("a.txt", b"\na\n\n"), "text")) == [None, "a", None]


def test_a_last_line_without_a_line_break_is_read(write):
    assert list(read_texts(write("a.txt", b"a\nb"), "text")) == ["a", "b"]
    assert list(read_texts(write("a.csv", b"text\na"), "text")) == ["a"]
    assert list(read_texts(write("a.jsonl", b'{"text": "a"}'), "text")) == ["a"]


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".json", b"[]"), (".csv", b"text\n"), (".tsv", b"text\n"), (".parquet", as_parquet([]))],
)
def test_a_file_without_texts_gives_none(write, ending, content):
    assert list(read_texts(write(f"a{ending}", content), "text")) == []


@pytest.mark.parametrize("ending", FORMATS)
def test_a_text_of_one_megabyte_is_read_completely(write, ending):
    texts = ["x" * 2**20, "é" * 2**19]
    assert list(read_texts(write(f"a{ending}", FORMATS[ending](texts)), "text")) == texts


@pytest.mark.parametrize("ending", sorted(MORE.keys() - {".txt"}))
def test_the_error_for_a_missing_column_lists_the_columns(message, ending):
    text = message(f"a{ending}", MORE[ending](TEXTS, "review"))
    assert text.startswith(" has no column 'text'; --column takes one of: id, review")


def test_a_column_name_that_occurs_twice_is_an_error(message):
    table = pa.table([["a"], ["b"]], names=["text", "text"])
    pq.write_table(table, buffer := io.BytesIO())
    for name, content in (("a.csv", b"text,text\na,b\n"), ("a.parquet", buffer.getvalue())):
        assert message(name, content) == " has several columns 'text'; rename all but one"


@pytest.mark.parametrize("ending", MORE)
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_an_error(message, ending, content):
    if ending != ".parquet":
        assert message(f"a{ending}", content).startswith(" is empty; write or download it again")


BAD = b"br\xe9ak"


@pytest.mark.parametrize(
    ("name", "start"), [("a.csv", b"text\n"), ("a.jsonl", b'{"text": 1}\n'), ("a.txt", b"one\n")]
)
def test_the_error_for_one_bad_byte_names_its_line_and_leaves_the_others_alone(
    message, name, start
):
    text = message(name, start + "é\r\n".encode() + BAD + "\nñ\n".encode())
    assert text.startswith(", line 3: byte 0xe9 is not UTF-8, the only such line (in windows-1252")
    assert "it reads 'bréak')" in text
    assert "iconv -c -f utf-8 -t utf-8" in text
    assert "ENCODING" not in text


@pytest.mark.parametrize(("before", "between"), [(0, 3), (3, 0)])
def test_the_error_for_few_bad_lines_lists_them(message, before, between):
    line = "é\n".encode()
    content = b"text\n" + line * before + BAD + b"\n" + line * between + BAD + b"\n"
    text = message("a.csv", content)
    first = 2 + before
    assert (
        f", line {first}: byte 0xe9 is not UTF-8, nor are the lines {first + 1 + between} (in"
        in text
    )
    assert "ENCODING" not in text


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_error_for_a_file_in_another_encoding_says_how_to_convert_it(message, pack):
    text = message("a.csv", pack("text\nEs fällt auf\nplain\nÜbel\n".encode("cp1252")))
    assert text == (
        ", line 2: byte 0xe4 is not UTF-8 (such lines: 2); the file has another encoding: convert "
        "it with `iconv -f ENCODING -t utf-8` (if 'Es fällt auf' reads well, ENCODING is "
        "windows-1252)"
    )


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
    "value", [None, "", " \u3000", "\u200b", "\0", float("nan"), True, [], ["a"], {"a": 1}, b"a"]
)
def test_a_row_without_a_text_is_none_and_the_others_stay(write, lines, value):
    rows = [{"text": "a"}, {"text": value}, {"text": "b"}]
    written = {"a.csv": as_csv(["a", value, "b"])} if isinstance(value, str | None) else {}
    if not isinstance(value, bytes):
        written["a.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
        written["a.json"] = json.dumps(rows).encode()
    if isinstance(value, str | bytes | None):
        column = ["a", value, "b"] if isinstance(value, str | None) else [b"\xff", value, b"a"]
        pq.write_table(pa.table({"text": column}), buffer := io.BytesIO())
        written["a.parquet"] = buffer.getvalue()
    for name, content in written.items():
        expected = [None] * 3 if isinstance(value, bytes) else ["a", None, "b"]
        assert list(read_texts(write(name, content), "text", lines.append)) == expected
    assert lines == []


def test_a_row_without_the_key_or_the_cell_has_no_text(write):
    content = b'{"id": 1}\n{"text": "a"}\n{}\n'
    assert list(read_texts(write("a.jsonl", content), "text")) == [None, "a", None]
    assert list(read_texts(write("a.csv", b"id,text\n1\n2,a\n"), "text")) == [None, "a"]


def test_a_number_is_a_text_in_each_format(write):
    pq.write_table(pa.table({"text": [12]}), buffer := io.BytesIO())
    for name, content in {
        "a.csv": b"text\n12\n",
        "a.jsonl": b'{"text": 12}',
        "a.parquet": buffer.getvalue(),
    }.items():
        assert list(read_texts(write(name, content), "text")) == ["12"]


@pytest.mark.parametrize(
    ("name", "broken"),
    [("a.jsonl", b"{"), ("a.jsonl", b"[1]"), ("a.csv", b"one, two"), ("a.csv", b"text")],
)
def test_a_broken_row_does_not_cost_the_others(write, lines, name, broken):
    row = b'{"text": "good"}\n' if name == "a.jsonl" else b"good\n"
    head = b"" if name == "a.jsonl" else b"text\n"
    path = write(name, head + row + broken + b"\n" + row)
    assert list(read_texts(path, "text", lines.append)) == ["good", None, "good"]
    [line] = lines
    assert line.startswith(f"{path}, line {2 + bool(head)}")
    with pytest.raises(UserError, match=f"line {2 + bool(head)}"):
        list(read_rows(path, {"text": "--column"}))
    write(name, head + row + (broken + b"\n") * 3 + row)
    assert list(read_texts(path, "text", lines.append)) == ["good", None, None, None, "good"]
    assert lines[-1] == f"{path}: 3 rows are broken and count as rows without a text"


def test_rows_have_the_values_of_the_columns_and_their_place(write):
    columns = {"text": "--text", "label": "--label"}
    path = write("a.csv", b"label,x,text\n1,9,a\n0,9,b\n")
    rows = [(f"{path}, line 2", ("a", "1")), (f"{path}, line 3", ("b", "0"))]
    assert list(read_rows(path, columns)) == rows
    with pytest.raises(UserError, match=r"has no column 'label'; --label takes one of: text$"):
        list(read_rows(write("b.csv", b"text\na\n"), columns))
    with pytest.raises(
        UserError, match=r"its suffix must be one of .csv, .tsv, .jsonl, [^t]*.parquet, or"
    ):
        list(read_rows(write("a.txt", b"a\n"), columns))


def test_a_csv_text_with_a_comma_and_no_quotes_is_an_error(message):
    text = message("a.csv", b"text\nfine\nGreat film, loved it\n")
    assert text.startswith(", line 3: 2 cells, the header has 1; put a text with the separator")


@pytest.mark.parametrize("lines", [1, 3])
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (rb'"I said \"late\" twice",x', r"a quote is escaped by a backslash (\"); write it as two"),
        (rb'"late \", again",x', r"a quote is escaped by a backslash (\"); write it as two"),
        (b'"Great" film,x', "text follows a closing quote; put the whole text in quotes"),
        (b'"a "b"",x', "text follows a closing quote; put the whole text in quotes"),
        (b"a,b,c", "3 cells, the header has 2"),
    ],
)
def test_the_line_of_a_broken_csv_record_is_the_one_where_it_begins(message, lines, record, reason):
    good = b'"one' + b"\ntwo" * (lines - 1) + b'",x\n'
    text = message("a.csv", b"text,label\n" + good * 40 + record + b"\n" + good)
    assert text.startswith(f", line {2 + 40 * lines}: {reason}")


def test_the_command_for_quotes_escaped_by_a_backslash_works(write, message):
    content = b'text\n"a \\"b\\", c"\n"\\"d\\""\n'
    command = message("a.csv", content).split("`")[1]
    assert command == """sed 's/\\\\"/""/g'"""
    fixed = subprocess.run(command, shell=True, input=content, capture_output=True, check=True)
    assert list(read_texts(write("b.csv", fixed.stdout), "text")) == ['a "b", c', '"d"']


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'text\n"a\nb\nc\n', 2),
        (b'text,x\n"a",1\n"two\nlines","never\nb,2\n', 4),
        (b'"text\na\n', 1),
        (b'\r\ntext\r\n"a"\r\n"b\r\n', 4),
    ],
)
def test_the_error_for_a_quote_that_is_not_closed_names_the_line_where_it_opens(
    message, content, line
):
    text = message("a.csv", content)
    assert text.startswith(f", line {line}: a quote opens in this line and is never closed; close")


DATES = pd.array(pa.array([10**15], pa.timestamp("s")), dtype=pd.ArrowDtype(pa.timestamp("s")))


NOT_UTF_8 = pd.array(
    pa.array([b"\xe9"], pa.binary()).view(pa.string()), dtype=pd.ArrowDtype(pa.string())
)


@pytest.mark.parametrize(
    "content",
    [
        *(b"PAR1", b"x" * 1000),
        *(as_parquet(TEXTS)[:-20], as_parquet(DATES), as_parquet(NOT_UTF_8)),
    ],
)
def test_a_file_that_is_not_parquet_is_an_error(message, content):
    assert message("a.parquet", content).startswith(" is not a readable Parquet file: ")


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.gz"])
def test_the_error_for_an_unknown_suffix_lists_the_known_ones(message, name):
    assert message(name, b"a").startswith(
        ": its suffix must be one of .csv, .tsv, .jsonl, .ndjson, .json, .parquet, .txt, or such"
    )


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("nothing.csv", "folder.csv"):
        with pytest.raises(UserError, match=rf"{name} is (not a file; check the path|a folder)"):
            list(read_texts(tmp_path / name, "text"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder is a folder; give a file"):
        list(read_texts(tmp_path / "folder", "text"))
    with pytest.raises(UserError, match=r"a\.XLSX is a spreadsheet; save it as CSV"):
        list(read_texts(tmp_path / "a.XLSX", "text"))


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


@pytest.mark.parametrize("pack", [bytes, zstd])
@pytest.mark.parametrize("ending", sorted(MORE.keys() - {".json"}))
def test_a_large_file_needs_little_memory(write, ending, pack):
    texts = [f"{i} " + "x" * 2000 for i in range(5000)]
    content = MORE[ending](texts)
    path = write(f"a{ending}", content if ending == ".parquet" else pack(content))
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


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1\n"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", b"PK\x03\x04" + b"\xff" * 9, "it is a zip archive, for example of Excel; unpack"),
        (
            "a.csv",
            "text\na\n".encode("utf-16"),
            "it is UTF-16; convert it, for instance with `iconv",
        ),
        ("a.txt", "é\n".encode("utf-16"), "it is UTF-16"),
        (
            "a.txt",
            "a\n".encode("utf-16-le"),
            "it is UTF-16; convert it, for instance with `iconv -f utf-16le",
        ),
        (
            "a.txt",
            "a\n".encode("utf-16-be"),
            "it is UTF-16; convert it, for instance with `iconv -f utf-16be",
        ),
        ("a.txt", "a\n".encode("utf-32"), "it is UTF-32"),
        ("a.jsonl", "{}".encode("utf-16-be").join([b"\xfe\xff", b"\xe9"]), "it is UTF-16"),
        *((f"a{end}", LFS, "it is a Git LFS pointer, not the data; fetch") for end in MORE),
        *((f"a{end}", b"\n<!DOCTYPE html>", "it is a web page") for end in MORE),
        ("a.csv", as_parquet(["a"]), "it is Parquet; rename it so that it ends in .parquet"),
        ("a.tsv", b"%PDF-1.7", "it is a PDF"),
        ("a.jsonl", bytes([0x80, 4, 0x95, 1]), "it is a pickle of Python"),
    ],
)
def test_the_error_for_a_file_in_another_format_names_the_format(tmp_path, name, content, line):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read_texts(path, "text"))
    assert str(caught.value).startswith(f"{path}: {line}")


@pytest.mark.parametrize(
    ("sign", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
)
def test_another_separator_is_found_by_the_header_and_reported(write, lines, sign, name):
    path = write("a.csv", f'label{sign}text\nx{sign}"a{sign}, b"\n'.encode())
    assert list(read_texts(path, "text", lines.append)) == [f"a{sign}, b"]
    assert lines == [f"{path}: its columns are separated by {name}"]


def test_a_comma_in_a_header_of_other_separators_is_no_separator(write):
    path = write("a.csv", b"id;text;likes, shares\n1;a, b;2\n")
    assert list(read_texts(path, "text")) == ["a, b"]


def test_the_separator_of_excel_and_spaces_after_separators_are_understood(write):
    assert list(read_texts(write("a.csv", b"sep=;\r\nid;text\r\n1;a\r\n"), "text")) == ["a"]
    assert list(read_texts(write("a.csv", b'id, text\n1, "a, b"\n'), "text")) == ["a, b"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(("ending", "sign"), [(".csv", ","), (".tsv", "\t")])
def test_the_command_that_names_columns_works(
    write, tmp_path, message, monkeypatch, ending, sign, pack
):
    rows = [["1", "a title, of a text", "and a longer body of it"], ["2", "x", "y"]]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=sign).writerows(rows)
    name = f"a b{ending}" + ("" if pack is bytes else ".gz")
    text = message(name, pack(file.getvalue().encode()))
    assert "takes one of: 1, a title, of a text, and a longer body of it (the first row" in text
    monkeypatch.chdir(tmp_path)
    subprocess.run(text.split("`")[1], shell=True, check=True)
    columns = {"text": "", "label": ""}
    named = next(path for path in tmp_path.iterdir() if path.name.startswith("named"))
    assert [list(values) for _, values in read_rows(named, columns)] == [
        ["and a longer body of it", "1"],
        ["y", "2"],
    ]


OPTIONS = {"text": "--text", "label": "--label"}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("text,label", ["text", "label"]),
        ("id,Text,LABEL ", ["Text", "LABEL "]),
        ("review,stars", ["review", "stars"]),
        ("id,Review Text,Star Rating,helpful_count", ["Review Text", "Star Rating"]),
        (
            "tweet_id,airline_sentiment,airline_sentiment_confidence,name,text",
            ["text", "airline_sentiment"],
        ),
        ("UserName,TweetAt,OriginalTweet,Sentiment", ["OriginalTweet", "Sentiment"]),
        ("content,y", ["content", "y"]),
        ("foo,label", ["foo", "label"]),
        ("id,text", ["text", "label"]),
        ("text,date", ["text", "label"]),
        ("title,body,label", ["text", "label"]),
        ("title,article,label", ["text", "label"]),
        ("comment,text_clean,label", ["text", "label"]),
        ("text,category,sentiment", ["text", "label"]),
        ("a,b", ["text", "label"]),
        ("1,a nice review", ["text", "label"]),
        ("text,a,b", ["text", "label"]),
        ("id,text,a", ["text", "label"]),
    ],
)
def test_columns_are_guessed_only_if_there_is_one_choice(write, lines, header, found):
    cells = ",".join("x" for _ in header.split(","))
    paths = [write("a.csv", f"{header}\n{cells}\n".encode())]
    row = dict.fromkeys(header.split(","), "x")
    paths += [write("a.jsonl", json.dumps(row).encode())]
    for path in paths:
        columns = guess_columns(path, OPTIONS, lines.append)
        assert list(columns) == found
        assert list(columns.values()) == ["--text", "--label"]
        changed = sum(map(str.__ne__, found, OPTIONS))
        assert len(lines) == changed, "each column that the options do not name is reported"
        lines.clear()


def test_a_column_that_an_option_names_is_not_guessed(write):
    path = write("a.csv", b"review,stars\nx,y\n")
    columns = {"rewiew": "--text", "label": "--label"}
    assert next(iter(guess_columns(path, columns, print))) == "rewiew"
    with pytest.raises(
        UserError, match=r"'rewiew'; did you mean 'review'\? --column takes one of: review, stars$"
    ):
        list(read_texts(path, "rewiew"))


def test_predict_guesses_the_column_and_says_it(write, lines):
    path = write("a.csv", b"id,review\n1,a\n")
    assert list(read_texts(path, "text", lines.append)) == ["a"]
    assert lines == [
        f"{path} has no column 'text'; 'review' is read instead; --column names another"
    ]
    lines.clear()
    assert list(read_texts(path, "Review", lines.append)) == ["a"]
    assert lines[0].startswith(f"{path} has no column 'Review'; 'review' is read instead")


@pytest.mark.parametrize("first", ["this is a text", "a nice review", "1"])
def test_a_text_without_a_header_is_not_taken_as_one(write, first):
    path = write("a.csv", f"{first}\nanother\n".encode())
    with pytest.raises(UserError) as caught:
        list(read_texts(path, "text"))
    assert f"takes one of: {first} (the first row is taken as the header" in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("wrap", [None, "data", "rows"])
def test_an_array_of_objects_is_read_in_any_shape(write, lines, name, indent, wrap):
    rows = [{"text": text, "tags": [{"a": 1}]} for text in TEXTS]
    value = {"version": 1, wrap: rows} if wrap else rows
    path = write(name, json.dumps(value, indent=indent).encode())
    assert list(read_texts(path, "text", lines.append)) == TEXTS
    one_row_a_line = b'[\n{"text": "a"}\n,\n{"text": "b"}\n]\n'
    assert list(read_texts(write("b.json", one_row_a_line), "text")) == ["a", "b"]
    assert lines == ([f"{path}: the rows are the array {wrap!r}"] if wrap else [])


@pytest.mark.parametrize("key", ["text", "tags"])
def test_a_single_row_with_an_array_is_a_row(write, key):
    row = {"text": "a", key: "a", "tags": [{"a": 1}]}
    for content in (json.dumps(row), json.dumps(row) + "\n\n"):
        assert list(read_texts(write("a.jsonl", content.encode()), "text")) == ["a"]


@pytest.mark.parametrize(
    "value",
    [
        {"train": [{"text": "a"}], "test": [{"text": "b"}]},
        {"text": ["a", "b"], "label": ["x", "y"]},
        {"text": {"0": "a"}, "label": {"0": "x"}},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_the_error_for_one_object_that_is_no_row_says_what_to_write(message, value, indent):
    text = message("a.json", json.dumps(value, indent=indent).encode())
    assert text.startswith(": it is one JSON object without exactly one array of rows; write an")


def test_the_error_for_an_array_names_the_line_or_the_row(message):
    content = as_array(["a", "b"])
    assert message("a.json", content[:-20]).startswith(", line 7 is not JSON (")
    assert message("a.json", b'["a"]') == ', row 1 is not a JSON object; write {"text": …}'
    objects = json.dumps({"text": "a"}, indent=1).encode() + b"\n"
    assert "line 4 is not JSON (text follows the first value; write" in message(
        "a.json", objects * 2
    )
    assert message("a.csv", b'{"text": "a"}\n').startswith(" seems to be JSON; rename it")


def test_a_pipe_is_read_once(tmp_path):
    for name, content in {"pipe": "a\nb\n", "pipe.csv": "id,text\n1,a\n2,b\n"}.items():
        os.mkfifo(tmp_path / name)
        writer = threading.Thread(target=(tmp_path / name).write_text, args=(content,))
        writer.start()
        assert list(read_texts(tmp_path / name, "text")) == ["a", "b"]
        writer.join()
