"""The commands around training: find a data set, write the schema of a card. Imports what they need when they run."""

from training.cli.options import DEFAULT_MODELS, DataFolder, ModelsFolder
from training.data.downloads import DATASETS, IdxName, cache_folder, fetch


def data_command(name: IdxName, *, data: DataFolder = None) -> None:
    """Find or fetch a data set, verify it, and print where its files are.

    Example: hourglass-train data mnist --data ~/data
    """
    for file in fetch(DATASETS[name], data, cache_folder()).values():
        print(file.path)


def schema_command(*, out: ModelsFolder = DEFAULT_MODELS) -> None:
    """Write the JSON schema of a model's card.

    Example: hourglass-train schema --out models
    """
    from training.export.publish import write_schema

    print(write_schema(out))
