"""Locates a model's files: in a folder, on the Hugging Face Hub, or the demo model."""

from pathlib import Path

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import ModelNotFoundError

DEMO = "demo"
_SMALL_FILES = ["*.json", "*.jinja", "*.model"]


def model_folder(model: Model, models_folder: Path, *, download: bool = True) -> Path:
    """Return the folder with the configuration and the tokenizer of `model`.

    If `download` is true, small files of a hub model are downloaded into the cache; the
    engine downloads the weights. The demo model is built in `models_folder`.

    Raises:
        ModelNotFoundError: the files are not available, or can't be downloaded.

    """
    if model.source == DEMO:
        return demo_model(models_folder)
    folder = Path(model.source).expanduser()
    if folder.is_dir():
        return folder
    return _from_hub(model, download=download)


def _from_hub(model: Model, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            model.source,
            revision=model.revision,
            allow_patterns=_SMALL_FILES,
            local_files_only=not download,
        )
    except Exception as error:  # the hub's client has no common base class of errors
        reason = str(error).strip().partition("\n")[0]
        raise ModelNotFoundError(
            f"can't download the files of model `{model.name}`: {reason}",
            hint="check the name and the network, or use the path of a local folder",
        ) from error
    return Path(folder)
