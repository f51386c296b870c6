"""Agents on a model hub: the card, what would be sent, and a round trip through a small hub on this machine."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import frmdn
from frmdn.pipeline.commands.main import main
from frmdn.pipeline.trained.card import card
from frmdn.pipeline.trained.file import AgentFile
from frmdn.pipeline.trained.hub import lay_out


@pytest.fixture
def file(finished: Path, tmp_path: Path) -> Path:
    return frmdn.open(finished).export(tmp_path / "agent.safetensors")


def failure(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def yaml_of(text: str) -> dict[str, Any]:
    """The header of a card, whose values stand as JSON or as bare words."""
    yaml = pytest.importorskip("yaml")
    begin, header, body = text.split("---\n", 2)
    assert begin == "" and body.lstrip().startswith("# ")
    found: dict[str, Any] = yaml.safe_load(header)
    return found


def test_the_card_tells_what_was_measured(file: Path) -> None:
    held = AgentFile(file)
    report, text = held.header.evaluation, card(held.header, "me/counting")
    assert report is not None
    header = yaml_of(text)
    assert header["library_name"] == "frmdn" and "Counting-v0" in header["tags"]
    (model,) = header["model-index"]
    (result,) = model["results"]
    assert model["name"] == "me/counting" and result["dataset"]["name"] == "Counting-v0"
    assert result["metrics"][0]["value"] == f"{report['mean']:.2f} +/- {report['std']:.2f}"
    low, high = report["ci95"]
    assert f"| this agent | {report['mean']:.1f} | {report['std']:.1f} | {low:.1f} to {high:.1f} |" in text
    assert f"| random | {report['baselines']['random']['mean']:.1f} |" in text
    assert "Every return of this agent: " + ", ".join(f"{value:.0f}" for value in report["returns"]) in text
    for words in ("frmdn pull me/counting --out agent.safetensors", "frmdn.load(", "2 whole episodes", "| torch | "):
        assert words in text


def test_a_card_without_a_measurement_says_so(file: Path) -> None:
    text = card(replace(AgentFile(file).header, evaluation=None), "me/counting")
    assert "This agent was not evaluated." in text and "model-index" not in text and yaml_of(text)["tags"]


def test_no_name_breaks_out_of_its_place(file: Path) -> None:
    header = AgentFile(file).header
    evil = 'X\n---\n# <script>alert("|")</script> [a](http//b)'
    world = replace(header.world, id=evil, action=replace(header.world.action, names=(evil, "b | c")))
    text = card(replace(header, world=world, versions={evil: evil}), "me/x")
    assert yaml_of(text)["tags"][-1] == evil
    body = text.split("---\n", 2)[2]
    assert "\n# \\<script" not in body and "<script" not in body.replace("\\<", "") and "\n---\n" not in body
    assert all(line.replace("\\|", "").count("|") in (3, 5) for line in body.splitlines() if line.startswith("|"))


def test_what_would_be_sent_is_the_agent_and_its_card(
    finished: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([str(file)], ["--run", str(finished)]):
        folder = tmp_path / f"sent-{len(words)}"
        assert main(["push", *words, "me/counting", "--dry-run", str(folder)]) == 0
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "agent.safetensors"]
        assert (folder / "agent.safetensors").read_bytes() == file.read_bytes()
        assert (folder / "README.md").read_text() == card(AgentFile(file).header, "me/counting")
    (folder / "diary.txt").write_text("dear")
    assert "is not empty (it holds diary.txt)" in failure(capsys, "push", file, "me/x", "--dry-run", folder)
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="is no agent file of frmdn"):
        lay_out(tmp_path / "no.safetensors", "me/x", tmp_path / "third")
    assert not (tmp_path / "third").exists()


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of a model hub that pushing and pulling small files takes, as its client calls it."""

    files: dict[str, bytes]
    made: list[dict[str, Any]]
    token = "Bearer hf_test"

    def answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != self.token:
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self.made.append(json.loads(body))
            self.answer({"url": f"http://{self.headers['Host']}/me/counting"})
        elif "/preupload/" in self.path:
            wanted = json.loads(body)["files"]
            self.answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in wanted]}
            )
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer(
                {
                    "success": True,
                    "commitOid": "0" * 40,
                    "commitUrl": f"http://{self.headers['Host']}/me/counting/commit/0",
                }
            )
        else:
            self.answer({"valid": True})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if "/resolve/" not in self.path or name not in self.files or not self.path.startswith("/me/counting/"):
            self.answer({"error": "Repository not found"}, 404)
            return
        content = self.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """A hub on this machine, in place of the one that the client knows."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import HfApi, constants, file_download

    Hub.files, Hub.made = {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert HfApi().endpoint == address and file_download.constants is constants
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Hub
    server.shutdown()
    server.server_close()


def test_an_agent_goes_to_a_hub_and_comes_back(
    hub: type[Hub], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(file), "me/counting", "--private"]) == 0
    assert "/me/counting" in capsys.readouterr().err
    assert hub.made[0]["name"] == "counting" and hub.made[0]["organization"] == "me"
    assert "private" in json.dumps(hub.made[0])
    assert set(hub.files) == {"agent.safetensors", "README.md"}
    assert hub.files["agent.safetensors"] == file.read_bytes()
    assert hub.files["README.md"].decode() == card(AgentFile(file).header, "me/counting")
    out = tmp_path / "back" / "mine.safetensors"
    assert main(["pull", "me/counting", "--out", str(out)]) == 0
    assert out.read_bytes() == file.read_bytes() and "an agent for Counting-v0" in capsys.readouterr().err


def test_what_comes_from_a_hub_is_looked_at_before_it_is_kept(
    hub: type[Hub], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.files["agent.safetensors"] = file.read_bytes()[:-7]
    out = tmp_path / "mine.safetensors"
    assert "me/counting holds no whole agent of frmdn (" in failure(capsys, "pull", "me/counting", "--out", out)
    assert not out.exists()
    assert "the hub refused me/other (404" in failure(capsys, "pull", "me/other", "--out", out)
    assert "is named *.safetensors, not mine.txt" in failure(capsys, "pull", "me/counting", "--out", "mine.txt")


def test_a_wrong_token_a_missing_token_and_no_network_end_in_one_line(
    hub: type[Hub], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the hub refused me/counting (401" in failure(capsys, "push", file, "me/counting")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "push needs a token of the hub: log in with hf auth login" in failure(capsys, "push", file, "me/counting")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    nowhere = "http://127.0.0.1:9"
    waits: list[float] = []  # the hub's own client tries again five times, ever later: 23 s in which nothing happens
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setenv("HF_ENDPOINT", nowhere)
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere + "/{repo_id}/resolve/{revision}/{filename}")
    for words in (["push", file, "me/counting"], ["pull", "me/counting", "--out", tmp_path / "x.safetensors"]):
        assert f"the hub at {nowhere} cannot be reached (" in failure(capsys, *words)
    assert sum(waits) > 1
    assert not hub.files and not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("words", [["push", "FILE", "me/x"], ["pull", "me/x", "--out", "x.safetensors"]])
def test_without_the_extra_the_pip_line_is_told(
    words: list[str], file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    line = failure(capsys, *[file if word == "FILE" else word for word in words])
    expected = f"frmdn {words[0]} needs huggingface_hub, which is not installed: pip install 'frmdn[hub]'"
    assert line == f"frmdn: {expected}"
