"""Repositories on the Hub: find a commit, read and update the card, upload a checkpoint."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi, ModelCard
from huggingface_hub.errors import EntryNotFoundError
from transformers.utils.hub import cached_file, extract_commit_hash

from hf_prompt_models.backbones.open_clip import CONFIG_FILE as OPEN_CLIP_CONFIG
from hf_prompt_models.hub.model_card import CARD_FILE, is_generated
from hf_prompt_models.hub.shim import SHIM_FILE


REPLACED = (
    *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", SHIM_FILE),
    *(
        "adapter_config.json",
        "adapter_model.safetensors",
        "lora/adapter_config.json",
        "lora/adapter_model.safetensors",
    ),
)
"""Files that a push deletes, because they would be stale after a push of another scope or of LoRA updates."""


def cached_commit(name_or_path: str | os.PathLike, hub_kwargs: dict[str, Any]) -> str | None:
    """Return the commit of a repository that was just loaded, or `None` for a folder.

    Args:
        name_or_path: Hub id or folder.
        hub_kwargs: `revision`, `cache_dir`, … that it was loaded with.
    """
    if os.path.isdir(name_or_path):
        return None
    where = {name: hub_kwargs[name] for name in ("cache_dir", "revision", "subfolder") if name in hub_kwargs}
    for file in ("config.json", OPEN_CLIP_CONFIG):
        found = cached_file(
            name_or_path, file, local_files_only=True, _raise_exceptions_for_missing_entries=False, **where
        )
        if found is not None:
            return extract_commit_hash(found, None)
    return None


def newest_commit(repo_id: str, token: str | bool | None = None) -> str:
    """Return the latest commit of the main branch of a repository.

    Raises:
        RepositoryNotFoundError: if there is no such repository, or it is private and not accessible.
    """
    return str(HfApi().model_info(repo_id, token=token).sha)


def create_repository(repo_id: str, token: str | bool | None, private: bool | None, revision: str | None) -> str:
    """Create a repository and a branch in it, unless they exist, and return the full repository id."""
    api = HfApi()
    repo_id = api.create_repo(repo_id, token=token, private=private, exist_ok=True).repo_id
    if revision is not None and not revision.startswith("refs/pr"):
        api.create_branch(repo_id, branch=revision, token=token, exist_ok=True)
    return repo_id


def published_card(repo_id: str, token: str | bool | None, revision: str | None) -> ModelCard | None:
    """Return the card of a repository, or `None` if it has none."""
    try:
        file = HfApi().hf_hub_download(repo_id, CARD_FILE, token=token, revision=revision)
    except EntryNotFoundError:
        return None
    return ModelCard(Path(file).read_text(encoding="utf-8"))


def update_card(card: ModelCard, repo_id: str, token: str | bool | None, revision: str | None) -> None:
    """Upload a new card to a repository, unless the card there was edited by a user or is the same."""
    there = published_card(repo_id, token, revision)
    if there is not None and (not is_generated(there) or there.content == card.content):
        return
    HfApi().upload_file(
        path_or_fileobj=card.content.encode(),
        path_in_repo=CARD_FILE,
        repo_id=repo_id,
        token=token,
        revision=revision,
        commit_message="Update the model card",
    )


def upload_checkpoint(folder: Path, repo_id: str, **commit: Any) -> CommitInfo:
    """Upload the files of a folder in one commit, and delete the files of an earlier checkpoint.

    Args:
        folder: folder with the files.
        repo_id: id of an existing repository.
        commit: `token`, `revision`, `commit_message`, `commit_description`, `create_pr`.
    """
    return HfApi().upload_folder(repo_id=repo_id, folder_path=folder, delete_patterns=list(REPLACED), **commit)
