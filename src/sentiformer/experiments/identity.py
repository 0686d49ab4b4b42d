"""What results depend on: two runs with the same identity and parameters have the same result."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sentiformer.core.git import line
from sentiformer.data.file_hashes import hash_files
from sentiformer.experiments.dvc import require_commit
from sentiformer.params import Params

LENGTH = 6  # characters; it is part of the names of experiments
CODE = ("src", "pipeline", "dvc.yaml")


def identity(params: Params, *facts: Any) -> str:
    """A short hash of the commit, changes of the code since, parameters, user's files, and facts.

    Raises:
        UserError: there is no commit, or a file of the user is missing.
    """
    commit, changes = require_commit(), line(Path(), "diff", "HEAD", "--", *CODE)
    content = [commit, changes, params.model_dump(), hash_files(params.download), facts]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:LENGTH]
