"""Checkpoints from the Hugging Face hub: only data is fetched, never code."""

import re
from pathlib import Path

from ..models.tensors import shards
from ..models.weights import candidates

_TEXTS = ["*.json", "README.md", "LICENSE*"]
_PINNED_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?")


def fetch(name: str, revision: str | None = None) -> tuple[Path, str]:
    """Fetch a snapshot of a repository: config, tokenizer, card, and one set of weights of all it holds.

    What was fetched before is used again, and in offline mode (HF_HUB_OFFLINE=1) nothing else is.

    Args:
        name: "owner/name".
        revision: Branch, tag or commit. None: the newest.

    Returns:
        The folder, and the commit that it holds.

    Raises:
        ValueError: If `huggingface_hub` is not installed, or the repository, its revision or its weights are not there.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ValueError(f"'{name}' is on the hub, which needs one more package: pip install 'foveal[hub]'.") from error
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_TEXTS))
        commit = folder.name  # also of a branch or tag: all that follows is of one commit
        for file in candidates(folder):
            index = file.endswith(".index.json")
            if index and not (folder / file).exists():
                continue
            files = shards(folder / file) if index else [file]
            if not all((folder / part).exists() for part in files):
                snapshot_download(name, revision=commit, allow_patterns=files)
            if all((folder / part).exists() for part in files):
                return folder, commit
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or repr(error)
        suffix = f" at '{revision}'" if revision else ""
        raise ValueError(f"'{name}'{suffix} can't be had from the hub: {reason}") from error
    raise ValueError(f"'{name}' at {commit} holds no weights that foveal reads. Name a repository that does.")


def local_path(place: str | Path) -> Path:
    """Return where a checkpoint lies on this machine, fetched first if "owner/name" or "owner/name@revision" names it.

    What lies on this machine under that name comes first. Paths of other shapes are returned as they are.

    Raises:
        ValueError: If it looks like a hub name and can't be fetched.
    """
    match = _PINNED_NAME.fullmatch(str(place))
    if match is None or Path(place).exists():
        return Path(place)
    try:
        return fetch(match[1], match[2])[0]
    except ValueError as error:
        raise ValueError(f"There is no folder {place} on this machine. {error}") from error


def repository_of(folder: Path) -> tuple[str, str] | None:
    """Return "owner/name" and the commit of a snapshot in the hub's cache. None for any other folder.

    The cache's layout is `models--owner--name/snapshots/commit`.
    """
    repository, snapshots, commit = folder.parts[-3:] if len(folder.parts) > 2 else ("", "", "")
    kind, _, name = repository.partition("--")
    if kind != "models" or snapshots != "snapshots":
        return None
    return name.replace("--", "/", 1), commit
