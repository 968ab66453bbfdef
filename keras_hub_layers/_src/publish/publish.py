"""publish(directory, handle): upload a SavedModel to Kaggle or Hugging Face."""

import os
from dataclasses import dataclass

from keras_hub_layers._src.public import public
from keras_hub_layers._src.publish.pack import check_saved_model, walk
from keras_hub_layers._src.resolve.clients import call, client
from keras_hub_layers._src.resolve.handles import parse
from keras_hub_layers.errors import HandleError, add_place


@dataclass(frozen=True)
class Publication:
    """What `publish` sent, or would send.

    Attributes:
        handle: Where it can be loaded from; on Kaggle the newest version.
        files: Relative path (with "/") and size in bytes of each file.
        sent: False after a dry run.
    """

    handle: str
    files: tuple[tuple[str, int], ...]
    sent: bool

    def __str__(self) -> str:
        lines = [f"{size:>12}  {name}" for name, size in self.files]
        return "\n".join([f"{'published' if self.sent else 'would publish'} {self.handle}", *lines])


@public()
def publish(
    directory: str | os.PathLike[str],
    handle: str,
    *,
    license: str | None = None,
    notes: str = "",
    private: bool = True,
    dry_run: bool = False,
) -> Publication:
    """Upload a SavedModel to Kaggle or Hugging Face.

    The hub's own client does it, with the credentials that it finds; it is an optional package (`[kaggle]`, `[hf]`).

    Args:
        directory: A directory that holds a SavedModel.
        handle: `owner/model/framework/variation` on Kaggle, which gives each upload the next version; or
            `hf://owner/repo[/subfolder][@revision]`.
        license: The licence's name as Kaggle knows it, for example "Apache 2.0". Defaults to None: Kaggle's default.
        notes: What is new. Defaults to "".
        private: Whether a Hugging Face repository that does not exist yet is created as a private one (a model on
            Kaggle always is). Defaults to True.
        dry_run: Whether to check everything and send nothing. Defaults to False.

    Returns:
        A `Publication`: what was sent, and the handle to load it from.

    Raises:
        HandleError: The handle is neither Kaggle's nor Hugging Face's.
        ExportError: The directory holds no SavedModel, or something that cannot be published.
        MissingPackageError: The hub's client is not installed.
        DownloadError: The transfer failed or was refused.

    Example:

    ```python
    keras_hub_layers.publish("export", "hf://me/encoder", dry_run=True)
    ```
    """
    source = os.path.abspath(os.fspath(directory))
    parsed = parse(handle)
    if not (parsed.hugging_face or parsed.kind == "kaggle") or (parsed.kaggle and parsed.kaggle.version):
        raise HandleError(
            "A SavedModel cannot be published there.",
            expected="owner/model/framework/variation (Kaggle, without a version), or hf://owner/repo",
            received=repr(str(parsed)),
            where="handle",
            fix="keras_hub_layers.publish('export', 'hf://owner/repo')",
        )
    check_saved_model(source)
    files = tuple((name, os.path.getsize(path)) for name, path in walk(source) if os.path.isfile(path))
    name, extra = ("kagglehub", "kaggle") if parsed.kaggle else ("huggingface_hub", "hf")
    with add_place(handle):
        hub = client(name, extra)
    if dry_run:
        return Publication(handle, files, sent=False)
    if model := parsed.hugging_face:

        def upload() -> None:
            api = hub.HfApi()
            api.create_repo(model.repo, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=model.repo,
                folder_path=source,
                path_in_repo=model.subfolder or None,
                revision=model.revision,
                commit_message=notes or "Upload a SavedModel",
            )

    else:

        def upload() -> None:
            hub.model_upload(str(parsed.kaggle), source, license_name=license, version_notes=notes)

    with add_place(handle):
        call(upload)
    return Publication(handle, files, sent=True)
