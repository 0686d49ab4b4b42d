"""What is printed about the store: whole reasons, and no passwords."""

import re

from sentiformer.core.errors import one_line

USER = re.compile(r"(?<=://)[^\s/@:]*(:\S*)?@")  # a name, or a name and password, in an address
QUERY = re.compile(r"([?&][\w.-]+=)[^\s&'\")]+")  # a value in an address, such as a token
TRACEBACK = "Traceback (most recent call last)"
STATEMENT = "\n[SQL: "  # before a statement of SQL and its values


def without_passwords(text: str) -> str:
    """The text, with `***` in place of names, passwords and query values in its addresses."""
    return QUERY.sub(r"\1***", USER.sub("***@", text))


def reason_of(error: Exception) -> str:
    """The whole message of an error as one line without passwords.

    A remedy is often not in its first line. Of a traceback, only the last line is kept, and a
    statement of SQL is left out.
    """
    text = str(error).partition(STATEMENT)[0].strip() or type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        text += "; install the Python package with this driver in .venv"
    before, found, after = text.partition(TRACEBACK)
    if found:
        text = f"{before}{after.strip().splitlines()[-1]}"
    return without_passwords(" ".join(one_line(text).split()))
