"""Where a model's files are: a folder, the hub's cache, or the demo made here."""

from pathlib import Path

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import ModelNotFoundError

DEMO = "demo"
_SMALL_FILES = ["*.json", "*.jinja", "*.model"]


def model_folder(model: Model, models: Path, *, fetch: bool = True) -> Path:
    """Return the folder with the configuration and the tokenizer of `model`.

    A hub model's small files are fetched if they are not in the cache yet, unless
    `fetch` is false; its weights are the engine's affair. `models` is where the demo
    is made.

    Raises:
        ModelNotFoundError: they are not here and can't or shan't be fetched.

    """
    if model.source == DEMO:
        return demo_model(models)
    folder = Path(model.source).expanduser()
    if folder.is_dir():
        return folder
    return _from_hub(model, fetch=fetch)


def _from_hub(model: Model, *, fetch: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            model.source,
            revision=model.revision,
            allow_patterns=_SMALL_FILES,
            local_files_only=not fetch,
        )
    except Exception as error:  # the hub's client has no one base for its errors
        reason = str(error).strip().partition("\n")[0]
        raise ModelNotFoundError(
            f"the files of model `{model.name}` can't be had from the hub: {reason}",
            hint="check the name and the network, or give a folder with the model",
        ) from error
    return Path(folder)
