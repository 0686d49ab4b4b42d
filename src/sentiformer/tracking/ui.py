"""`python -m sentiformer.tracking.ui`: the runs in MLflow's pages."""

import os
import sys

from sentiformer.console.errors import one_line_errors
from sentiformer.console.output import say
from sentiformer.core.errors import UserError
from sentiformer.tracking.database import tracking_uri
from sentiformer.tracking.messages import reason_of, without_passwords
from sentiformer.tracking.patience import Patience
from sentiformer.tracking.store import Store

WAIT_SECONDS = 60.0  # by which the answers of a server may be late, all together
RUNS = "#/experiments/{}/runs?workflowType=machine_learning"  # the plain address shows traces


def show_runs() -> None:
    """Print the address of the runs, and start MLflow's pages unless a server shows them.

    `MLFLOW_PORT` and `MLFLOW_HOST` change the address.

    Raises:
        UserError: the store cannot be used.
    """
    uri = tracking_uri()
    patience, experiments = Patience(WAIT_SECONDS), list[str]()
    try:
        patience.limit(lambda: experiments.append(Store.connect(patience).experiment_id))
    except UserError:
        raise
    except Exception as error:  # MLflow, its database and its transport raise errors of any class
        raise UserError(f"MLflow at {without_passwords(uri)} fails ({reason_of(error)})") from None
    is_server = uri.startswith("http")
    host, port = os.environ.get("MLFLOW_HOST", "127.0.0.1"), os.environ.get("MLFLOW_PORT", "5000")
    pages = without_passwords(uri).rstrip("/") if is_server else f"http://{host}:{port}"
    address = f"{pages}/{RUNS.format(*experiments)}"
    say(f"runs: {address}" + ("" if is_server else " (ready in some seconds; Ctrl-C stops it)"))
    if not is_server:
        os.environ["MLFLOW_BACKEND_STORE_URI"] = uri  # not an argument, which others could read
        os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--workers", "1"])


if __name__ == "__main__":
    with one_line_errors():
        show_runs()
