"""What is printed about the store: whole reasons, and no passwords."""

import re

from sentiformer.core.errors import one_line

USER = re.compile(r"(?<=://)[^\s/@:]*(:\S*)?@")  # a name, or a name and password, in an address
QUERY = re.compile(r"([?&][\w.-]+=)[^\s&'\")]+")  # a value in an address, such as a token
TRACEBACK = "Traceback (most recent call last)"
STATEMENT = "\n[SQL: "  # before a statement of SQL and its values
CAUSE = re.compile(r".*\(Caused by \w+\((.*)\)\)", re.DOTALL)  # in an error of urllib3
REASON_CHARACTERS = 600  # a server may answer with a page
REMEDIES = {  # by what a reason contains
    "error code 401": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "error code 403": "check MLFLOW_TRACKING_USERNAME and its rights on the server",
    "WRONG_VERSION_NUMBER": "write http:// in MLFLOW_TRACKING_URI if the server has no TLS",
    "BadStatusLine": "write https:// in MLFLOW_TRACKING_URI if the server has TLS",
    "Failed to resolve": "check the name in MLFLOW_TRACKING_URI",
    "Connection refused": "start the server, or check MLFLOW_TRACKING_URI",
    "error code 404": "check MLFLOW_TRACKING_URI",
    "redirects": "check MLFLOW_TRACKING_URI",
    "attempt to write a readonly": "make it writable, with its folder",
    "unable to open database file": "check that it is a file and that its folder is writable",
    "out-of-date database schema": (
        "or, if `mlflow db upgrade` fails, move it away, and `make track` creates it again"
    ),
}


def without_passwords(text: str) -> str:
    """The text, with `***` in place of names, passwords and query values in its addresses."""
    return QUERY.sub(r"\1***", USER.sub("***@", text))


def reason_of(error: Exception) -> str:
    """The whole message of an error as one line without passwords.

    A remedy is often not in its first line. Of a traceback, only the last line is kept, and a
    statement of SQL is left out; of an error of urllib3, only the cause is kept. The middle of a
    long reason is left out. A remedy is added if one is known.
    """
    text = str(error).partition(STATEMENT)[0].strip() or type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        text += "; install the Python package with this driver in .venv"
    before, found, after = text.partition(TRACEBACK)
    if found:
        text = f"{before}{after.strip().splitlines()[-1]}"
    line = CAUSE.sub(r"\1", " ".join(one_line(without_passwords(text)).split())).replace('"', "")
    if len(line) > REASON_CHARACTERS:
        line = f"{line[: REASON_CHARACTERS // 2]} … {line[-REASON_CHARACTERS // 2 :]}"
    remedies = (fix for part, fix in REMEDIES.items() if part in str(error))
    return "; ".join([line, *list(remedies)[:1]])
