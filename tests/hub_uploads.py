"""A server on loopback that also takes uploads, by the calls of `huggingface_hub`, as the Hub."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import yaml
from hub_server import Hub, _Handler, serve
from huggingface_hub.repocard import REGEX_YAML_BLOCK

TOKEN = "hf_test"
CUT = "cut"
FIRST = "0" * 40  # the first commit of a repository that has been created


class Uploads(_Handler):
    """Answers the calls that create a repository and make a commit.

    `hub.failures` has, by a part of a path, the statuses that the next calls get; `CUT` closes the
    connection. `hub.agents` are the user agents of all calls, `hub.log` are the headers of the
    commits, `hub.problems` is what the Hub says of a model card.
    `hub.large` are the large files by hash.
    """

    server: Hub

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.server.agents.add(self.headers["User-Agent"])
        path = urlsplit(self.path).path
        for part, statuses in self.server.failures.items():
            if part in path and statuses:
                status = statuses.pop(0)
                self.server.calls.append(f"{self.command} {path}: {status}")
                self.close_connection = True
                if status != CUT:
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    self._send(status, b"", {"Content-Length": "0", "Connection": "close"})
                return False
        return True

    def do_PUT(self) -> None:  # noqa: N802
        hub, path = self.server, urlsplit(self.path).path
        hub.calls.append(f"PUT {path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(content).hexdigest() == path.rpartition("/")[2]
        hub.large[path.rpartition("/")[2]] = content
        self._send(200, b"", {"Content-Length": "0"})

    def do_POST(self) -> None:  # noqa: N802
        hub, path = self.server, urlsplit(self.path).path
        hub.calls.append(f"POST {path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if path != "/api/validate-yaml" and self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._send(401, b"", {"Content-Length": "0"})
        elif path == "/api/repos/create":
            self._create(json.loads(content))
        elif path == "/api/validate-yaml":
            assert yaml.safe_load(REGEX_YAML_BLOCK.search(json.loads(content)["content"])[2])
            found = [{"message": text} for text in hub.problems]
            self._send_object({"errors": found, "warnings": []}, 400 if found else 200)
        elif path == f"/api/models/{hub.name}/preupload/main":
            self._send_object({"files": [*map(self._mode, json.loads(content)["files"])]})
        elif path == f"/{hub.name}.git/info/lfs/objects/batch":
            self._send_object({"objects": [*map(self._actions, json.loads(content)["objects"])]})
        elif path == "/large/verify":
            self._send_object({})
        else:
            assert path == f"/api/models/{hub.name}/commit/main", path
            self._commit([*map(json.loads, content.splitlines())])

    def _create(self, asked: dict[str, str]) -> None:
        hub = self.server
        assert f"{asked['organization']}/{asked['name']}" == hub.name
        status = 409 if hub.branches else 200
        if not hub.branches:
            hub.branches["main"], hub.commits[FIRST] = FIRST, {".gitattributes": b""}
        self._send_object({"url": f"{hub.address}/{hub.name}"}, status)

    def _mode(self, file: dict[str, object]) -> dict[str, object]:
        present = self.server.commits[self.server.branches["main"]].get(str(file["path"]))
        is_large = str(file["path"]).endswith(".safetensors")
        oid = None
        if present is not None:
            git = hashlib.sha1(b"blob %d\0" % len(present) + present)
            oid = (hashlib.sha256(present) if is_large else git).hexdigest()
        mode = "lfs" if is_large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _actions(self, large: dict[str, object]) -> dict[str, object]:
        address = f"{self.server.address}/large"
        actions = {
            "upload": {"href": f"{address}/{large['oid']}?signature=secret"},
            "verify": {"href": f"{address}/verify"},
        }
        is_present = large["oid"] in self.server.large
        return {**large, **({} if is_present else {"actions": actions})}

    def _commit(self, lines: list[dict[str, dict[str, str]]]) -> None:
        hub = self.server
        before = hub.branches["main"]
        if lines[0]["value"].get("parentCommit", before) != before:
            self._send_object({"error": "the branch has changed"}, 412)
            return
        hub.log.append(lines[0]["value"])
        files = dict(hub.commits[before])
        for line in lines[1:]:
            kind, value = line["key"], line["value"]
            if kind == "deletedFile":
                del files[value["path"]]
            elif kind == "lfsFile":
                files[value["path"]] = hub.large[value["oid"]]
            else:
                assert kind == "file"
                files[value["path"]] = base64.b64decode(value["content"])
        commit = hashlib.sha1(json.dumps(lines).encode()).hexdigest()
        hub.branches["main"], hub.commits[commit] = commit, files
        address = f"{hub.address}/{hub.name}/commit/{commit}"
        self._send_object({"commitUrl": address, "commitOid": commit})

    def _send_about(self, revision: str) -> None:
        hub = self.server
        commit = hub.branches.get(revision, revision)
        if commit not in hub.commits:
            self._refuse("RepoNotFound")
            return
        found = REGEX_YAML_BLOCK.search(hub.commits[commit].get("README.md", b"").decode())
        siblings = [{"rfilename": name} for name in hub.commits[commit]]
        about = {"id": hub.name, "sha": commit, "siblings": siblings, "tags": []}
        self._send_object({**about, "cardData": found and yaml.safe_load(found[2])})

    def _send_object(self, value: object, status: int = 200) -> None:
        content = json.dumps(value).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self._send(status, content, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        super()._send(status, content, headers)
        if self.command == "POST":
            self.wfile.write(content)


@contextmanager
def serve_uploads(name: str, files: dict[str, bytes] | None = None) -> Iterator[Hub]:
    """Serve the Hub with the repository `name`, which has `files`; None: it does not exist."""
    with serve(name, FIRST, files or {}, "model") as hub:
        hub.RequestHandlerClass = Uploads
        hub.agents, hub.log, hub.failures, hub.problems = set(), [], {}, []
        contents = (files or {}).values()
        hub.large = {hashlib.sha256(content).hexdigest(): content for content in contents}
        if files is None:
            hub.branches.clear()
            hub.commits.clear()
        yield hub
