"""A server on loopback that answers the calls of `datasets` and `huggingface_hub` like the Hub."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

CUT = "cut"
STORE_PATH = "/store/"


class Hub(ThreadingHTTPServer):
    """Serves one data set or model, at one commit or more.

    As on the Hub, a request for a Parquet or safetensors file is redirected to another host, with
    the file's SHA-256 in a header. Other files are sent directly; their ETag is git's SHA-1.

    Attributes:
        kind: dataset or model.
        commits: the content of each path in the repository, by commit.
        branches: the commit of each branch.
        refusal: what every call is answered, if it is set: status, error code and message.
        damage: by path, other bytes to send instead of the content, or `CUT` for only half of it;
            a request for the rest gets the rest.
        delay: seconds before each answer.
        calls: method and path of each call, in order.
        store: the address of the host that sends the Parquet files.
    """

    daemon_threads = True

    def __init__(
        self, name: str, revision: str, files: dict[str, bytes], kind: str = "dataset"
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.revision, self.kind = name, revision, kind
        self.commits = {revision: files}
        self.branches = {"main": revision}
        self.refusal: tuple[int, str, str] | None = None
        self.damage: dict[str, bytes | str] = {}
        self.delay = 0.0
        self.ended = threading.Event()
        self.calls: list[str] = []
        self.store = f"http://localhost:{self.server_address[1]}"

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.revision]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serve(
    name: str, revision: str, files: dict[str, bytes], kind: str = "dataset"
) -> Iterator[Hub]:
    """Serve `files` while the block runs."""
    with Hub(name, revision, files, kind) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.ended.set()  # slow answers are no longer waited for
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.calls.append(f"{self.command} {path}")
        hub.ended.wait(hub.delay)
        api, files = f"/api/{hub.kind}s/{hub.name}", f"/{hub.name}/resolve/"
        files = files if hub.kind == "model" else f"/datasets{files}"
        if hub.refusal:
            status, code, message = hub.refusal
            headers = {"X-Error-Code": code, "X-Error-Message": message, "Content-Length": "0"}
            self._send(status, b"", headers)
        elif path.startswith(STORE_PATH):
            self._send_file(*path.removeprefix(STORE_PATH).split("/", 1))
        elif path.startswith(files):
            self._resolve(*path.removeprefix(files).partition("/")[::2])
        elif path in (api, f"/api/{hub.kind}s/{hub.name.split('/')[1]}"):  # without its owner
            self._send_about("main")
        elif path == f"{api}/refs":
            self._send_refs()
        elif path.startswith(f"{api}/revision/"):
            self._send_about(path.removeprefix(f"{api}/revision/"))
        elif path.startswith(f"{api}/tree/"):
            recursive = "recursive=true" in urlsplit(self.path).query.lower()
            self._send_tree(*path.removeprefix(f"{api}/tree/").partition("/")[::2], recursive)
        else:
            self._refuse("RepoNotFound")

    def _resolve(self, commit: str, name: str) -> None:
        if commit not in self.server.commits:
            self._refuse("RevisionNotFound")
        elif name not in self.server.commits[commit]:
            self._refuse("EntryNotFound")
        elif name.endswith((".parquet", ".safetensors")):
            self._redirect(commit, name)
        else:
            self._send_file(commit, name)

    def _send_about(self, revision: str) -> None:
        hub = self.server
        commit = hub.branches.get(revision, revision)
        if commit not in hub.commits:
            self._refuse("RevisionNotFound")
            return
        siblings = [{"rfilename": name} for name in hub.commits[commit]]
        about = {"id": hub.name, "sha": commit, "siblings": siblings}
        self._send_json({**about, "private": False, "gated": False, "tags": []})

    def _send_refs(self) -> None:
        pulls = {name: sha for name, sha in self.server.branches.items() if "/pr/" in name}
        found = [{"name": name, "ref": name, "targetCommit": sha} for name, sha in pulls.items()]
        self._send_json({"branches": [], "converts": [], "tags": [], "pullRequests": found})

    def _send_tree(self, commit: str, folder: str, recursive: bool) -> None:
        if commit not in self.server.commits:
            self._refuse("RevisionNotFound")
            return
        files, start = self.server.commits[commit], f"{folder}/" if folder else ""
        inside = [name for name in files if name.startswith(start)]
        folders = {start + name.removeprefix(start).split("/")[0] for name in inside} - {*inside}
        if folder and not inside:
            self._refuse("EntryNotFound")
            return
        entries = [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]
        for name in inside:
            if recursive or "/" not in name.removeprefix(start):
                size, oid = len(files[name]), "0" * 40
                entries.append({"type": "file", "path": name, "size": size, "oid": oid})
        self._send_json(entries)

    def _redirect(self, commit: str, name: str) -> None:
        content = self.server.commits[commit][name]
        headers = {
            "Location": f"{self.server.store}{STORE_PATH}{commit}/{name}",
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            "X-Repo-Commit": commit,
            "Content-Length": "0",
        }
        self._send(302, b"", headers)

    def _send_file(self, commit: str, name: str) -> None:
        content = self.server.commits[commit][name]
        git = hashlib.sha1(b"blob %d\0" % len(content) + content)
        headers = {"ETag": f'"{git.hexdigest()}"', "X-Repo-Commit": commit}
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            headers["Content-Range"] = f"bytes {found[1]}-{len(content) - 1}/{len(content)}"
            rest = content[int(found[1]) :]
            self._send(206, rest, {**headers, "Content-Length": str(len(rest))})
            return
        sent = content
        if self.command == "GET" and name in self.server.damage:
            damage = self.server.damage[name]
            sent = content[: len(content) // 2] if damage == CUT else damage
        length = len(content) if self.server.damage.get(name) == CUT else len(sent)
        self._send(200, sent, {**headers, "Content-Length": str(length)})

    def _send_json(self, value: object) -> None:
        content = json.dumps(value).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self._send(200, content, headers)

    def _refuse(self, code: str) -> None:
        self._send(404, b"", {"X-Error-Code": code, "Content-Length": "0"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
        if len(content) < int(headers["Content-Length"]):
            self.close_connection = True
