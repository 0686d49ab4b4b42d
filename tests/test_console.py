"""Output for a person: one line for each known error, a traceback for a defect, and progress."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from conftest import ROOT

from sentiformer.console import progress as progress_module
from sentiformer.console.errors import one_line_errors
from sentiformer.console.output import say
from sentiformer.console.progress import Bar, progress
from sentiformer.console.start import quick_start
from sentiformer.core.errors import UserError, is_disk_full, is_out_of_memory
from sentiformer.core.files import write_json
from sentiformer.stage import stage
from sentiformer.text.corpus import Block, write_corpus

FULL_DISK = "error: the disk is full"
OUT_OF_MEMORY = (
    "error: out of memory; free some, use one process (SENTIFORMER_THREADS=1), or lower the sizes "
    "in params.yaml, such as model.max_len, train.batch_size and finetune.max_len"
)
needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")  # noqa: PTH110


def exit_of(error: BaseException) -> object:
    """The message or the exit code with which the program ends after this error."""
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise error
    return caught.value.code


def run(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Run code that can import the library, with buffered output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": ""}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        text=True,
        timeout=20,
        **options,
    )


def test_a_user_error_is_one_line_on_standard_error_and_exit_code_1():
    done = run(
        """
        from sentiformer.console.errors import one_line_errors
        from sentiformer.core.errors import UserError
        with one_line_errors():
            raise UserError("epochs is 0; raise it")
        """,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: epochs is 0; raise it\n")


def test_a_message_has_no_control_characters_no_line_breaks_and_a_limited_length():
    shown = exit_of(
        UserError("no column 'text'; it has \x1b[2Ja\nb\0" + "c" * 99_999 + "; name it")
    )
    assert shown.startswith("error: no column 'text'; it has \ufffd[2Ja b\ufffdccc")
    assert shown.endswith("ccc; name it")
    assert len(shown) < 10_100


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a"),
        OSError(errno.EACCES, "of no file"),
        FileNotFoundError(errno.ENOENT, "no", "a/b"),
        BrokenPipeError(errno.EPIPE, "of a worker or a server"),
        ConnectionResetError(errno.ECONNRESET, "of a server"),
        RuntimeError("b"),
    ],
)
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)) as caught, one_line_errors():
        raise error
    assert caught.value is error


def test_an_exit_code_is_kept():
    assert exit_of(SystemExit(3)) == 3


def test_an_interruption_is_one_word():
    assert exit_of(KeyboardInterrupt()) == "interrupted"


@pytest.fixture
def without_reader():
    """A pipe for standard output whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize("count", [1, 100_000])
def test_results_end_silently_when_the_reader_of_standard_output_has_gone(without_reader, count):
    code = f"""
        from sentiformer.console.errors import one_line_errors
        from sentiformer.console.output import print_results
        with one_line_errors():
            print_results(str(number) for number in range({count}))
            raise AssertionError("the program has ended")
    """
    done = run(code, stdout=without_reader, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_pipe_elsewhere_fails_even_if_the_reader_of_standard_output_has_gone(
    without_reader,
):
    code = """
        import os
        from sentiformer.console.errors import one_line_errors
        from sentiformer.console.output import print_results
        read, write = os.pipe()
        os.close(read)
        with one_line_errors():
            print_results(os.write(write, b"x") for _ in range(3))
    """
    done = run(code, stdout=without_reader, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


def test_a_stage_goes_on_when_the_reader_of_standard_output_has_gone(tmp_path, without_reader):
    code = f"""
        from pathlib import Path
        from sentiformer.console.output import say
        from sentiformer.stage import stage
        @stage
        def main(params, runtime):
            for number in range(1000):
                say(str(number))
            Path({str(tmp_path)!r}, "done").touch()
        main()
    """
    done = run(code, stdout=without_reader, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_a_closed_terminal_does_not_stop_the_work_but_a_full_disk_does(monkeypatch, code):
    def gone(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tqdm.tqdm.write", gone)
    if code != errno.ENOSPC:
        say("a line")
        return
    with pytest.raises(OSError, match="No space left"):
        say("a line")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_that_names_the_file(code):
    assert exit_of(OSError(code, os.strerror(code), "data/x")).startswith(f"{FULL_DISK} at data/x;")
    assert exit_of(OSError(code, os.strerror(code))).startswith(f"{FULL_DISK}; free some space")
    assert is_disk_full(RuntimeError(f"I/O error: {os.strerror(code)} (os error {code})"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [("a/b", "not a directory"), (".", "is a directory"), ("a" * 300, "file na")],
)
def test_an_impossible_path_is_one_line_that_names_it(tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match=r"Errno") as caught:
        Path(path).read_text()
    assert exit_of(caught.value).startswith(f"error: {path}: {reason}")
    made_nowhere = FileNotFoundError(errno.ENOENT, "no", "/proc/a")
    assert exit_of(made_nowhere).startswith("error: /proc/a: no such file or directory; check the")
    denied = PermissionError(errno.EACCES, "no", "a")
    assert exit_of(denied) == "error: a: permission denied; check the path and its permissions"


def test_another_error_of_a_file_does_not_count_as_a_full_disk():
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))
    assert is_disk_full(OSError("384000 requested and 261088 written"))  # NumPy's words
    assert not is_disk_full(ValueError("full"))
    assert not is_disk_full(ValueError("a column that you requested and did not write"))


def test_no_temporary_folder_is_one_line_with_a_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.gettempdir()
    line = exit_of(caught.value)
    assert line.startswith(f"error: no temporary folder can be written, of ['{tmp_path}/absent']; ")
    assert "TMPDIR" in line


WRITERS = {
    "text": lambda path: path.write_text("x"),
    "bytes": lambda path: path.write_bytes(b"x" * 100_000),
    "json": lambda path: write_json(path, {}),
    "arrow": lambda path: write_corpus(path, [Block(np.arange(9), np.array([9]), np.array([1]))]),
    "parquet": lambda path: pd.DataFrame({"a": [1]}).to_parquet(path),
    "csv": lambda path: pd.DataFrame({"a": [1]}).to_csv(path),
}


@needs_dev_full
@pytest.mark.parametrize("writer", WRITERS)
def test_each_writer_of_files_reports_a_full_disk(tmp_path, writer):
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        WRITERS[writer](path)
    assert is_disk_full(caught.value)
    assert exit_of(caught.value).startswith(FULL_DISK)


@needs_dev_full
def test_a_full_disk_under_standard_output_is_one_line():
    code = """
        from sentiformer.console.errors import one_line_errors
        from sentiformer.console.output import say
        with one_line_errors():
            say("result")
    """
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run(code, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith(FULL_DISK)
    assert len(done.stderr.splitlines()) == 1


ABSURD = {
    "bytes": lambda: bytearray(2**62),
    "numpy": lambda: np.empty(2**50),
    "numpy beyond": lambda: np.empty((2**40, 2**40)),
    "torch": lambda: torch.empty(2**50),
    "torch beyond": lambda: torch.nn.Linear(2**31, 2**31),
    "arrow": lambda: pa.allocate_buffer(2**50),
}


@pytest.mark.parametrize("size", ABSURD)
def test_an_allocation_that_is_too_large_is_one_line(size):
    with pytest.raises((MemoryError, RuntimeError, ValueError)) as caught:
        ABSURD[size]()
    assert is_out_of_memory(caught.value)
    assert exit_of(caught.value) == OUT_OF_MEMORY


def test_a_gpu_without_memory_is_one_line():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    assert exit_of(error) == OUT_OF_MEMORY


def test_another_error_does_not_count_as_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes (2, 3) and (4, 5) do not match"))


def test_a_package_that_is_not_installed_is_one_line():
    line = exit_of(ModuleNotFoundError("No module named 'dvc'", name="dvc"))
    assert line.startswith("error: the Python package dvc is not installed; in the project's root")
    own = ModuleNotFoundError("No module named 'sentiformer.x'", name="sentiformer.x")
    with pytest.raises(ModuleNotFoundError), one_line_errors():
        raise own


@pytest.mark.slow
def test_a_quick_start_leaves_garbage_collection_and_other_modules_as_they_were():
    done = run(
        """
        import gc, sys
        from sentiformer.console.start import UNUSED, quick_start
        try:
            with quick_start():
                import spacy, torch
                assert not gc.isenabled()
                assert set(UNUSED) <= set(sys.modules)
                raise KeyError
        except KeyError:
            pass
        assert gc.isenabled()
        assert not set(UNUSED) & set(sys.modules)
        import importlib
        for name in UNUSED:
            assert importlib.import_module(name).__file__
        """,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_modules_that_are_imported_already_stay(monkeypatch):
    before = types.ModuleType("spacy.cli")
    monkeypatch.setitem(sys.modules, "spacy.cli", before)
    with quick_start():
        assert sys.modules["spacy.cli"] is before
    assert sys.modules["spacy.cli"] is before


def run_redirected(code: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of which a shell redirects or closes the streams."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {redirection}', sys.executable, code],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("stream", ["2>&-", pytest.param("2>/dev/full", marks=needs_dev_full)])
def test_a_note_that_nobody_can_read_is_dropped(stream):
    code = (
        "from sentiformer.console.errors import one_line_errors\n"
        "from sentiformer.console.output import note\n"
        "with one_line_errors(): note('a'); note('b'); print('done')"
    )
    done = run_redirected(code, stream)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_stage_reports_a_user_error_in_one_line_and_keeps_its_name(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)

    @stage
    def main(params: object, runtime: object) -> None:
        raise UserError("wrong")

    assert main.__name__ == "main"
    with pytest.raises(SystemExit, match="error: wrong"):
        main()


def test_a_stage_watches_its_parent_only_under_dvc(monkeypatch):
    called = []
    monkeypatch.setattr("sentiformer.stage.exit_with_parent", lambda: called.append("watch"))
    main = stage(lambda *_: called.append("main"))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    main()
    assert called == ["main"]
    monkeypatch.setenv("DVC_STAGE", "train")
    main()
    assert called == ["main", "watch", "main"]


def test_say_prints_a_line(capsys):
    say("done → data/model")
    assert capsys.readouterr() == ("done → data/model\n", "")


def test_progress_is_plain_lines_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "LOG_SECONDS", -1)
    with Bar("train", total=2000, done=500) as bar:
        bar.advance(500)
        bar.advance(1000, "loss 0.5")
    assert capsys.readouterr().out == "train: 1,000 of 2,000\ntrain: 2,000 of 2,000, loss 0.5\n"


def test_progress_prints_at_most_one_line_in_ten_seconds(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now)
    with Bar("train", total=100) as bar:
        for _ in range(100):
            now += 1
            bar.advance(1)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"train: {done} of 100" for done in range(11, 100, 11)]


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_module, "LOG_SECONDS", -1)
    with Bar("train", total=2000, done=500) as bar:
        assert "train:  25%" in terminal.getvalue()
        bar.advance(1500, "loss 0.5")
    assert capsys.readouterr().out == "", "no plain lines beside the bar"


def test_progress_yields_each_item_before_it_reads_the_next(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "LOG_SECONDS", -1)
    items = iter("abc")
    shown = progress(items, total=3, what="read")
    assert next(shown) == "a"
    assert capsys.readouterr().out == "", "the first is not done yet"
    assert next(items) == "b", "it reads no item ahead"
    assert list(shown) == ["c"]
    assert capsys.readouterr().out == "read: 1 of 3\nread: 2 of 3\n"


def test_characters_that_a_terminal_cannot_show_are_escaped(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(
        """
        from sentiformer.console.errors import one_line_errors
        from sentiformer.console.output import say
        from sentiformer.core.errors import UserError
        with one_line_errors():
            say("model \u2192 data")
            raise UserError("\u00fc")
        """,
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (1, "model \\u2192 data\n")
    assert done.stderr == "error: \\xfc\n"


INTERRUPTED = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run in the background
from sentiformer.console.errors import one_line_errors
from sentiformer.console.interrupt import install_interrupt_handler
install_interrupt_handler()
with one_line_errors():
    try:
        {work}
    except KeyboardInterrupt:
        print("caught", flush=True)
        raise
"""


@pytest.mark.parametrize(
    ("module", "slow"), [("pipeline.train", "torch"), ("sentiformer", "pydantic")]
)
def test_ctrl_c_stops_a_program_during_its_first_import(tmp_path, module, slow):
    text = "print('slow', flush=True)\nimport time\ntime.sleep(30)\n"
    (tmp_path / f"{slow}.py").write_text(text)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "slow\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "interrupted\n")
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("work", "output"),
    [("import slow", "slow\n"), ("print('slow', flush=True); time.sleep(30)", "slow\ncaught\n")],
)
def test_ctrl_c_during_an_import_ends_the_process_at_once(tmp_path, work, output):
    (tmp_path / "slow.py").write_text("print('slow', flush=True)\nimport time\ntime.sleep(30)\n")
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(work=work)],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "slow\n"
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=10)
    assert ("slow\n" + rest, errors, process.returncode) == (output, "interrupted\n", 1)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_program_with_closed_streams_does_its_work(closed):
    code = (
        "import sys; from sentiformer.console.errors import one_line_errors\n"
        "from sentiformer.console.output import say\n"
        "from sentiformer.console.progress import Bar\n"
        "with one_line_errors():\n"
        "    say('é'); print(sys.stdin.read()); print('x', file=sys.stderr)\n"
        "    with Bar('work', total=1) as bar: bar.advance(1)\n"
    )
    done = run_redirected(code, closed)
    assert (done.returncode, done.stderr.replace("x\n", "")) == (0, "")
