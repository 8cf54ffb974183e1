"""A stand-in for the Hugging Face hub on 127.0.0.1, for huggingface_hub's own client: only what that asks for.

Repositories are kept in memory. Tokens are user names; a user may write to repositories of that owner. Large files go
by git LFS: a batch request, a PUT, and a commit that names the SHA-256.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


LARGE = (".safetensors", ".png", ".bin")
NAME = r"[\w.-]+/[\w.-]+"
CHUNK = 1 << 16


@dataclass
class Repository:
    """Branches and commits: name → commit, commit → files."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        text = json.dumps([branch, message, len(self.messages), sorted(files)])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha], self.branches[branch] = dict(files), sha
        self.messages.append(message)
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Refusal(Exception):
    """An answer with an error status, and what the hub says in its headers."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class Hub:
    """The server; a context manager.

    Attributes:
        repositories: name → repository.
        requests: "METHOD path" of every request so far.
        delay: seconds after each chunk of a large file, to be slow.
        hold: where there is one, no more than a first part of a large file passes before it is set, to interrupt a
            download or an upload in the middle however long that takes.
        down: answer 503 to everything.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.delay, self.down = 0.0, False
        self.hold: threading.Event | None = None
        self.sending = threading.Event()  # set once a part of a large file has passed
        self.connections: list[socket.socket] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on connections are refused."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add(self, name: str, files: dict[str, bytes], *, branch: str = "main", **options) -> str:
        """A repository, or a further commit, as if others had pushed it."""
        repository = self.repositories.setdefault(name, Repository(**options))
        return repository.commit(branch, files, "added")

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        repository = self.repositories[name]
        return repository.commits[repository.find(revision)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """A client that was interrupted is no error here, and its traceback would land in another test's output."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.hub.connections.append(self.connection)

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def _route(self, method: str) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        body = self._read(int(self.headers.get("Content-Length") or 0), slow=method == "PUT")
        self.hub.requests.append(f"{method} {path}")
        self.user = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.user:
            self.hub.tokens.add(self.user)
        routes = (
            ("POST", r"/api/repos/create", self._create),
            ("POST", r"/api/validate-yaml", self._validate),
            ("POST", rf"/api/models/({NAME})/branch/(.+)", self._branch),
            ("POST", rf"/api/models/({NAME})/preupload/(.+)", self._preupload),
            ("POST", rf"/api/models/({NAME})/commit/(.+)", self._commit),
            ("POST", rf"/({NAME}).git/info/lfs/objects/batch", self._batch),
            ("PUT", r"/lfs/(\w+)", self._put),
            ("GET", rf"/api/models/({NAME})/revision/(.+)", self._info),
            ("GET", rf"/api/models/({NAME})/tree/(.+)", self._tree),
            ("GET|HEAD", rf"/({NAME})/resolve/([^/]+)/(.+)", self._resolve),
        )
        try:
            if self.hub.down:
                raise Refusal(503, message="down for maintenance")
            for methods, pattern, answer in routes:
                found = re.fullmatch(pattern, path)
                if found and method in methods.split("|"):
                    return answer(body, query, *found.groups())
            raise Refusal(404, message=f"the stand-in knows no {method} {path}")
        except Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._send(refusal.status, b"", {name: text for name, text in headers.items() if text})

    def _read(self, size: int, slow: bool) -> bytes:
        """The body of a request; httpx sends a file of unknown length in chunks."""
        chunked = "chunked" in (self.headers.get("Transfer-Encoding") or "")
        parts = []
        while size or chunked:
            wanted = int(self.rfile.readline(), 16) if chunked else min(size, CHUNK)
            part = self.rfile.read(wanted)
            if chunked:
                self.rfile.readline()
            if not part:
                break
            size -= 0 if chunked else len(part)
            parts.append(part)
            if slow:
                self._pause()
        return b"".join(parts)

    def _pause(self) -> None:
        if self.hub.hold is not None or self.hub.delay:
            self.hub.sending.set()
        if self.hub.hold is not None:
            self.hub.hold.wait(300)
        time.sleep(self.hub.delay)

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None, slow: bool = False) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for start in range(0, len(content), CHUNK):
                self.wfile.write(content[start : start + CHUNK])
                if slow:
                    self.wfile.flush()
                    self._pause()

    def _json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _may_read(self, name: str) -> Repository:
        """As the hub does: what may not be seen is not there."""
        repository = self.hub.repositories.get(name)
        owner = name.split("/")[0]
        if repository is None or (repository.private and self.user != owner):
            raise Refusal(404 if self.user else 401, "RepoNotFound", "Repository not found")
        if repository.gated and self.user != owner:
            raise Refusal(403, "GatedRepo", "Access to this repository is restricted")
        return repository

    def _may_write(self, name: str) -> Repository:
        if not self.user:
            raise Refusal(401, message="Invalid username or password.")
        repository = self._may_read(name)
        if self.user != name.split("/")[0]:
            raise Refusal(403, message="You don't have the rights to write to this repository")
        return repository

    def _revision(self, name: str, revision: str) -> tuple[Repository, str]:
        repository = self._may_read(name)
        sha = repository.find(revision)
        if sha is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository, sha

    def _create(self, body: bytes, query: dict) -> None:
        wanted = json.loads(body)
        if not self.user:
            raise Refusal(401, message="Invalid username or password.")
        owner = wanted["organization"] or self.user
        name = f"{owner}/{wanted['name']}"
        if owner != self.user:
            raise Refusal(403, message=f"You don't have the rights to create a model under the namespace {owner}")
        if name in self.hub.repositories:
            return self._json({"url": f"{self.hub.url}/{name}"}, 409)
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        self._json({"url": f"{self.hub.url}/{name}"})

    def _validate(self, body: bytes, query: dict) -> None:
        block = yaml.safe_load(json.loads(body)["content"].split("---")[1])
        errors = [] if isinstance(block, dict) else [{"message": "the metadata is no mapping"}]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _branch(self, body: bytes, query: dict, name: str, branch: str) -> None:
        repository = self._may_write(name)
        if branch in repository.branches:
            raise Refusal(409, message="Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        self._json({})

    def _preupload(self, body: bytes, query: dict, name: str, branch: str) -> None:
        self._may_write(name)
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(body)["files"]
        ]
        self._json({"files": files})

    def _batch(self, body: bytes, query: dict, name: str) -> None:
        self._may_write(name)
        objects = []
        for item in json.loads(body)["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.large:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}", "header": {}}}
            objects.append(entry)
        self._json({"transfer": "basic", "objects": objects})

    def _put(self, body: bytes, query: dict, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, message="the content is not what was announced")
        self.hub.large[oid] = body
        self._send(200, b"")

    def _commit(self, body: bytes, query: dict, name: str, branch: str) -> None:
        repository = self._may_write(name)
        files, message = dict(self.hub.files(name, branch)), ""
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit", repository.branches[branch]) != repository.branches[branch]:
                    raise Refusal(412, message="A commit has happened since. Please refresh and try again.")
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise Refusal(400, message=f"unknown operation {item['key']}")
        sha = repository.commit(branch, files, message)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha, "success": True})

    def _info(self, body: bytes, query: dict, name: str, revision: str) -> None:
        repository, sha = self._revision(name, revision)
        files = [{"rfilename": path} for path in sorted(repository.commits[sha])]
        self._json({"id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": files})

    def _tree(self, body: bytes, query: dict, name: str, revision: str) -> None:
        repository, sha = self._revision(name, revision)
        entries = []
        for path, content in sorted(repository.commits[sha].items()):
            entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        self._json(entries)

    def _resolve(self, body: bytes, query: dict, name: str, revision: str, path: str) -> None:
        repository, sha = self._revision(name, revision)
        if path not in repository.commits[sha]:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        content = repository.commits[sha][path]
        large = path.endswith(LARGE)
        etag = (hashlib.sha256 if large else hashlib.sha1)(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": sha}, slow=large)
