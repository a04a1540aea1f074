"""The commands `data` and `schema`, which need no net."""

from training.cli.options import DEFAULT_MODELS, DataFolder, ModelsFolder
from training.data.downloads import DATASETS, IdxName, cache_folder, fetch


def data_command(name: IdxName, *, data: DataFolder = None) -> None:
    """Find or download a data set, verify its checksums, and print the paths of its files.

    Example: hourglass-train data mnist --data ~/data
    """
    for file in fetch(DATASETS[name], data, cache_folder()).values():
        print(file.path)


def schema_command(*, out: ModelsFolder = DEFAULT_MODELS) -> None:
    """Write the JSON schema of model cards to OUT/card.schema.json.

    Example: hourglass-train schema --out models
    """
    from training.export.publish import write_schema

    print(write_schema(out))
