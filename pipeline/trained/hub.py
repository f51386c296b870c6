"""To a model hub and back (extra `hub`): the file and its card go there, and a file that is an agent comes back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frmdn.agent.errors import MissingExtra, first_line

from ..files import write_bytes
from . import container
from .card import card
from .file import AgentFile

AGENT, CARD = "agent.safetensors", "README.md"
CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "huggingface_hub")


def lay_out(agent: Path, repository: str, folder: Path) -> Path:
    """Write into `folder` what a push sends, and nothing else: the agent file and its card.

    `agent` is a run folder or an agent file. ValueError: it is neither, or the folder holds other things.
    """
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    foreign = sorted(there - {AGENT, CARD})
    if foreign:
        raise ValueError(f"{folder} is not empty (it holds {', '.join(foreign[:3])}): give an empty or a new folder")
    file = folder / AGENT
    if agent.is_file():
        AgentFile(agent)  # nothing that is no whole agent leaves the house
        write_bytes(file, agent.read_bytes())
    else:
        from ..front.run import open

        open(agent).export(file)
    write_bytes(folder / CARD, card(AgentFile(file).header, repository).encode())
    return folder


def push(agent: Path, repository: str, private: bool = False) -> str:
    """Put a run's agent, or an agent file, on the hub as owner/name; made there if it is new. Its address.

    MissingExtra without huggingface_hub; ValueError without a token, a network, or the right to write there.
    """
    hub = _hub("frmdn push")
    if not hub.get_token():
        raise ValueError("push needs a token of the hub: log in with hf auth login, or set HF_TOKEN")
    with tempfile.TemporaryDirectory() as scratch, _talking(repository):
        folder = lay_out(agent, repository, Path(scratch) / "agent")
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Put an agent of frmdn here")
    return f"{api.endpoint}/{repository}"


def pull(repository: str, out: Path, revision: str | None = None) -> AgentFile:
    """Fetch the agent of owner/name into the file `out`; it is read, and refused where it is no agent, before that.

    MissingExtra without huggingface_hub; ValueError without a network, or where there is no such agent.
    """
    hub = _hub("frmdn pull")
    container.check_name(out)
    with tempfile.TemporaryDirectory() as scratch:
        with _talking(repository):
            fetched = Path(hub.hf_hub_download(repository, AGENT, revision=revision, local_dir=scratch))
        try:
            AgentFile(fetched)
        except ValueError as error:
            why = str(error).replace(f"{fetched} ", "")
            raise ValueError(f"{repository} holds no whole agent of frmdn ({why})") from None
        write_bytes(out, fetched.read_bytes())
    return AgentFile(out)


def _hub(purpose: str) -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtra("huggingface_hub", "hub", purpose) from None
    return huggingface_hub


@contextmanager
def _talking(repository: str) -> Iterator[None]:
    """What the client of the hub raises, as a ValueError of one line with the remedy."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except ValueError:
        raise
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        remedy = {
            401: "log in with hf auth login, or set HF_TOKEN",
            403: "use a token that may write, and a repository of yours",
            404: "look at its name, and whether it holds an agent of frmdn",
        }.get(status or 0, "try again later")
        raise ValueError(f"the hub refused {repository} ({status}: {_first(error)}): {remedy}") from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        where = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        raise ValueError(f"the hub at {where} cannot be reached ({_first(error)}): look at the network") from None


def _first(error: Exception) -> str:
    return " ".join(first_line(error).split())[:160]
