"""A Hub on this machine: what huggingface_hub asks of the real one to push and to load models, and no more.

It holds everything in memory and answers on the loopback interface only. Large files travel by LFS, so its clients
need HF_HUB_DISABLE_XET=1; as on the real Hub, they come from another host than the rest: `localhost`, not 127.0.0.1.
"""

import base64
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

USER = "wave-hf-tester"
TOKEN, READ_TOKEN = "hf_may_write", "hf_may_read"
LARGE = (".bin", ".safetensors")  # what travels by LFS, like all that is larger than 10 MB on the real Hub


@dataclass
class Repository:
    """Commits, and the branches and pull requests that lead to them."""

    is_private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)

    def commit(self, reference: str, files: dict[str, bytes]) -> str:
        oid = secrets.token_hex(20)
        self.commits[oid] = files
        self.references[reference] = oid
        return oid

    def find(self, revision: str) -> str:
        """Return the commit that a branch, a pull request or a commit names."""
        oid = self.references.get(revision, revision)
        if oid not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid


class Answer(NamedTuple):
    content: Any = b""  # bytes, or what becomes json
    headers: dict[str, str] = {}
    status: int = 200


class Refusal(Exception):  # noqa: N818
    """The answer to a request that fails; the code tells the client what is missing."""

    def __init__(self, status: int, message: str, code: str = "", content: Any = b""):
        self.answer = Answer(content, {"X-Error-Message": message, "X-Error-Code": code}, status)


class HubServer(ThreadingHTTPServer):
    """The Hub; it serves from the start of a `with` block to its end."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.large_files_url = f"http://localhost:{self.server_port}/large"
        self.lock = threading.Lock()
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}  # by SHA-256
        self.received: list[bytes] = []  # all paths and bodies of requests

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


ROUTES: list[tuple[str, str, Callable[..., Answer]]] = []
REPOSITORY, REVISION, SHA256 = "(?P<name>[^/]+/[^/]+)", "(?P<revision>[^/]+)", "(?P<sha256>[0-9a-f]{64})"


def route(command: str, path: str) -> Callable:
    """Let a method answer this command for paths that match; the groups of the match are its arguments."""

    def register(method: Callable[..., Answer]) -> Callable[..., Answer]:
        ROUTES.append((command, path, method))
        return method

    return register


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def answer(self) -> None:
        self.body = self.read_body()
        self.server.received += [self.path.encode(), self.body]
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        with self.server.lock:
            try:
                answer = self.find_answer(url.path)
            except Refusal as refusal:
                answer = refusal.answer
        content = answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def find_answer(self, path: str) -> Answer:
        for command, pattern, method in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and command == self.command.replace("HEAD", "GET"):
                return method(self, **{name: unquote(value) for name, value in match.groupdict("main").items()})
        raise Refusal(404, f"No answer to {self.command} {path}", "EntryNotFound")

    @property
    def token(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        if token not in (None, TOKEN, READ_TOKEN):
            raise Refusal(401, "Invalid credentials in Authorization header")
        return token

    def check_may_write(self, name: str) -> None:
        if self.token != TOKEN or name.split("/")[0] != USER:
            raise Refusal(403, f"This token may not write to {name}")

    def find_repository(self, name: str) -> Repository:
        token, repository = self.token, self.server.repositories.get(name)
        if repository is None or (repository.is_private and token is None):
            raise Refusal(404 if token else 401, "Repository not found", "RepoNotFound")
        return repository

    @route("GET", "/api/whoami-v2")
    def tell_user(self) -> Answer:
        return Answer({"name": USER, "type": "user"})

    @route("POST", "/api/repos/create")
    def create_repository(self) -> Answer:
        wanted = json.loads(self.body)
        name = f"{wanted['organization'] or USER}/{wanted['name']}"
        self.check_may_write(name)
        url = f"{self.server.url}/{name}"
        if name in self.server.repositories:
            raise Refusal(409, "You already created this model repo", content={"url": url})
        self.server.repositories[name] = Repository(wanted.get("visibility") == "private")
        self.server.repositories[name].commit("main", {})
        return Answer({"url": url})

    @route("DELETE", "/api/repos/delete")
    def delete_repository(self) -> Answer:
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        self.check_may_write(name)
        self.find_repository(name)
        del self.server.repositories[name]
        return Answer()

    @route("GET", f"/api/models/{REPOSITORY}(/revision/{REVISION})?")
    def describe_repository(self, name: str, revision: str = "main") -> Answer:
        repository = self.find_repository(name)
        oid = repository.find(revision)
        files = [{"rfilename": path} for path in repository.commits[oid]]
        return Answer({"id": name, "sha": oid, "private": repository.is_private, "tags": [], "siblings": files})

    @route("POST", f"/api/models/{REPOSITORY}/branch/{REVISION}")
    def create_branch(self, name: str, revision: str) -> Answer:
        self.check_may_write(name)
        references = self.find_repository(name).references
        references.setdefault(revision, references["main"])
        return Answer(status=201)

    @route("POST", "/api/validate-yaml")
    def accept_model_card(self) -> Answer:
        return Answer({"errors": [], "warnings": []})

    @route("POST", f"/api/models/{REPOSITORY}/preupload/{REVISION}")
    def tell_upload_modes(self, name: str, revision: str) -> Answer:
        self.check_may_write(name)
        self.find_repository(name).find(revision)
        paths = [file["path"] for file in json.loads(self.body)["files"]]
        modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in paths}
        files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
        return Answer({"files": files})

    @route("POST", rf"/{REPOSITORY}\.git/info/lfs/objects/batch")
    def tell_where_to_upload(self, name: str) -> Answer:
        self.check_may_write(name)
        objects = json.loads(self.body)["objects"]
        for wanted in objects:
            wanted["actions"] = {"upload": {"href": f"{self.server.large_files_url}/{wanted['oid']}"}}
        return Answer({"transfer": "basic", "objects": objects})

    @route("PUT", f"/large/{SHA256}")
    def take_large_file(self, sha256: str) -> Answer:
        if hashlib.sha256(self.body).hexdigest() != sha256:
            raise Refusal(400, "The content does not match its SHA-256")
        self.server.large_files[sha256] = self.body
        return Answer()

    @route("POST", f"/api/models/{REPOSITORY}/commit/{REVISION}")
    def commit(self, name: str, revision: str) -> Answer:
        self.check_may_write(name)
        repository = self.find_repository(name)
        files = dict(repository.commits[repository.find(revision)])
        _header, *operations = map(json.loads, self.body.splitlines())
        for operation in operations:
            file = operation["value"]
            if operation["key"] == "lfsFile":
                files[file["path"]] = self.server.large_files[file["oid"]]
            else:
                files[file["path"]] = base64.b64decode(file["content"])
        number, url = len(repository.commits), f"{self.server.url}/{name}"  # the real Hub counts pull requests
        oid = repository.commit(f"refs/pr/{number}" if "create_pr" in self.query else revision, files)
        urls = {"commitUrl": f"{url}/commit/{oid}", "pullRequestUrl": f"{url}/discussions/{number}"}
        return Answer({"commitOid": oid, **urls})

    @route("GET", f"/{REPOSITORY}/resolve/{REVISION}/(?P<path>.+)")
    def send_file(self, name: str, revision: str, path: str) -> Answer:
        repository = self.find_repository(name)
        oid = repository.find(revision)
        content = repository.commits[oid].get(path)
        if content is None:
            return Answer(headers={"X-Repo-Commit": oid, "X-Error-Code": "EntryNotFound"}, status=404)
        sha256 = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": oid, "ETag": f'"{sha256}"'}
        if not path.endswith(LARGE):
            return Answer(content, headers)
        size, location = str(len(content)), f"{self.server.large_files_url}/{sha256}"
        return Answer(b"", headers | {"X-Linked-Size": size, "Location": location}, 302)

    @route("GET", f"/large/{SHA256}")
    def send_large_file(self, sha256: str) -> Answer:
        if self.token:
            raise Refusal(400, "A token was shown to the host of the large files")
        return Answer(self.server.large_files[sha256])
