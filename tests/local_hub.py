"""A local Hub: an HTTP server with the part of the Hub API that `huggingface_hub` uses here.

Repositories of models are kept in memory. They can be created, committed to (small files in the commit, weights
through large file storage before it), listed, and read at branches and commits. The owner of a token owns the
namespace that the token names.
"""

import base64
import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

from hf_prompt_models import modeling_utils


ROOT = Path(__file__).parent.parent
TOKEN = "hf_user"
"""Of the owner of the namespace `user`."""
LARGE = (".safetensors", ".bin", ".pt")


@dataclass
class Repository:
    """
    Attributes:
        private: whether it can be seen with a token of its owner alone.
        commits: files by path, by commit hash.
        branches: commit hashes by name.
    """

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})

    @property
    def files(self) -> dict[str, bytes]:
        """What `main` holds."""
        return self.commits[self.branches["main"]]

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        content = [self.branches[branch], *(f"{path} {_digest(data)}" for path, data in sorted(files.items()))]
        commit = hashlib.sha1("\n".join(content).encode()).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        return commit


@dataclass
class LocalHub:
    """
    Attributes:
        endpoint: for `HF_ENDPOINT`.
        repositories: by id.
        failures: how many of the next uploads of large files break off with status 503.
        log: method and path of every request.
    """

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    failures: int = 0
    log: list[str] = field(default_factory=list)

    def environment(self, home: Path, token: str | None = TOKEN) -> dict[str, str]:
        """For a process that knows this Hub and no other, with a cache of its own."""
        hidden = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        own = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        paths = [str(ROOT), *(path for path in sys.path if path)]
        own["PYTHONPATH"] = os.pathsep.join(paths)
        return kept | own | ({} if token is None else {"HF_TOKEN": token})


@contextmanager
def serve() -> Iterator[LocalHub]:
    hub = LocalHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def push_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what models push land in a folder, for tests that need no Hub."""
    stand_ins = {
        "create_repository": lambda repo_id, *_: repo_id,
        "published_card": lambda *_: None,
        "newest_commit": lambda *_: "c" * 40,
        "upload_checkpoint": lambda pushed, *_, **__: shutil.copytree(pushed, folder, dirs_exist_ok=True),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(modeling_utils, name, stand_in)


class _RefusedError(Exception):
    def __init__(self, status: int, code: str = "", headers: dict[str, str] | None = None, **content: str):
        self.status, self.headers = status, {"X-Error-Code": code} | (headers or {})
        self.content = json.dumps(content).encode()


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, respond: Any) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b"".join(self._chunks())
        self.hub.log.append(f"{self.command} {url.path}")
        headers: dict[str, str] = {}
        try:
            status, content, headers = 200, *respond([unquote(part) for part in url.path.split("/")[1:]])
        except _RefusedError as refused:
            status, content, headers = refused.status, refused.content, refused.headers
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    # -- who may do what ---------------------------------------------------------------------------------------------

    def _repository(self, repo_id: str, write: bool = False) -> Repository:
        """A user without access does not learn that a private repository exists."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        owns = token == f"hf_{repo_id.split('/')[0]}"
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and not owns):
            raise _RefusedError(404 if token else 401, "RepoNotFound")
        if write and not owns:
            raise _RefusedError(403 if token else 401)
        return repository

    def _commit_hash(self, repository: Repository, revision: str) -> str:
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            raise _RefusedError(404, "RevisionNotFound")
        return commit

    # -- reading -----------------------------------------------------------------------------------------------------

    def _get(self, parts: list[str]) -> tuple[bytes, dict[str, str]]:
        match parts:
            case ["api", "models", owner, name]:
                return self._info(f"{owner}/{name}", "main")
            case ["api", "models", owner, name, "revision", revision]:
                return self._info(f"{owner}/{name}", revision)
            case ["api", "models", owner, name, "tree", revision, *folder]:
                repository = self._repository(f"{owner}/{name}")
                files = repository.commits[self._commit_hash(repository, revision)]
                inside = "".join(f"{part}/" for part in folder)
                if inside and not any(path.startswith(inside) for path in files):
                    raise _RefusedError(404, "EntryNotFound")
                return _json([_entry(path, data) for path, data in files.items() if path.startswith(inside)])
            case [owner, name, "resolve", revision, *path]:
                repository = self._repository(f"{owner}/{name}")
                commit = self._commit_hash(repository, revision)
                headers = {"X-Repo-Commit": commit}
                if "/".join(path) not in repository.commits[commit]:
                    raise _RefusedError(404, "EntryNotFound", headers)
                data = repository.commits[commit]["/".join(path)]
                return data, {**headers, "ETag": f'"{_digest(data)}"'}
        raise _RefusedError(404)

    def _info(self, repo_id: str, revision: str) -> tuple[bytes, dict[str, str]]:
        repository = self._repository(repo_id)
        commit = self._commit_hash(repository, revision)
        files = repository.commits[commit]
        card = _metadata(files.get("README.md", b"")) or {}
        return _json(
            {
                "id": repo_id,
                "sha": commit,
                "private": repository.private,
                "siblings": [{"rfilename": path} for path in files],
                "pipeline_tag": card.get("pipeline_tag"),
                "library_name": card.get("library_name"),
                "cardData": card,
                "tags": card.get("tags", []),
            }
        )

    # -- writing -----------------------------------------------------------------------------------------------------

    def _post(self, parts: list[str]) -> tuple[bytes, dict[str, str]]:
        match parts:
            case ["api", "validate-yaml"]:
                if not isinstance(_metadata(json.loads(self.body)["content"].encode()), dict):
                    raise _RefusedError(400)
                return _json({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                asked = json.loads(self.body)
                repo_id = f"{asked['organization'] or 'user'}/{asked['name']}"
                if repo_id in self.hub.repositories:
                    self._repository(repo_id, write=True)
                    raise _RefusedError(409, url=f"{self.hub.endpoint}/{repo_id}")
                self.hub.repositories[repo_id] = Repository(private=asked.get("visibility") == "private")
                try:
                    self._repository(repo_id, write=True)
                except _RefusedError:
                    del self.hub.repositories[repo_id]
                    raise
                return _json({"url": f"{self.hub.endpoint}/{repo_id}", "id": repo_id})
            case ["api", "models", owner, name, "preupload", revision]:
                repository = self._repository(f"{owner}/{name}", write=True)
                self._commit_hash(repository, revision)
                names = [file["path"] for file in json.loads(self.body)["files"]]
                modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in names}
                files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
                return _json({"files": files})
            case ["api", "models", owner, name, "branch", branch]:
                repository = self._repository(f"{owner}/{name}", write=True)
                if branch in repository.branches:
                    raise _RefusedError(409)
                repository.branches[branch] = repository.branches["main"]
                return _json({})
            case [owner, git, "info", "lfs", "objects", "batch"]:
                self._repository(f"{owner}/{git.removesuffix('.git')}", write=True)
                objects = [{**each, "actions": self._upload(each["oid"])} for each in json.loads(self.body)["objects"]]
                return _json({"transfer": "basic", "objects": objects})
            case ["api", "models", owner, name, "commit", branch]:
                repository = self._repository(f"{owner}/{name}", write=True)
                return self._commit(repository, branch, f"{owner}/{name}")
        raise _RefusedError(404)

    def _upload(self, oid: str) -> dict[str, Any]:
        return {"upload": {"href": f"{self.hub.endpoint}/large/{oid}", "header": {}}}

    def _put(self, parts: list[str]) -> tuple[bytes, dict[str, str]]:
        match parts:
            case ["large", oid] if hashlib.sha256(self.body).hexdigest() == oid:
                if self.hub.failures:
                    self.hub.failures -= 1
                    raise _RefusedError(503)
                self.hub.large_files[oid] = self.body
                return b"", {}
        raise _RefusedError(400)

    def _commit(self, repository: Repository, branch: str, repo_id: str) -> tuple[bytes, dict[str, str]]:
        files = dict(repository.commits[self._commit_hash(repository, branch)])
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.large_files[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        commit = repository.commit(branch, files)
        return _json(
            {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.endpoint}/{repo_id}/commit/{commit}"}
        )


def _json(value: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(value).encode(), {"Content-Type": "application/json"}


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": _digest(data), "size": len(data), "pointerSize": 134}
    return entry


def _metadata(readme: bytes) -> Any:
    """The YAML block at a card's beginning."""
    _, fence, rest = readme.decode().partition("---\n")
    return yaml.safe_load(rest.partition("\n---")[0]) if fence else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
