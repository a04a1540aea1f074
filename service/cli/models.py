"""The commands `hourglass models`: list, verify, sign, pull, push, pin and unpin versions of models."""

import asyncio
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from service.cli.runner import CommandError, load_settings, load_state, load_writable_settings
from service.config import Settings
from service.errors import ModelRejected
from service.extras import install_extra
from service.repository.layout import scan_models
from service.repository.pins import PIN_FILE, Pin, write_pin

if TYPE_CHECKING:
    from service.repository.hub.listing import Source

models_app = App(
    name="models",
    help="List, verify, sign, pull, push and pin versions of models.\n\n"
    "Example: hourglass models list --models-dir models",
)
ModelsDirOption = Annotated[
    str | None,
    Parameter(show_env_var=False, help="folder of models or its address; serve --help lists all settings"),
]
ModelArgument = Annotated[str, Parameter(show_env_var=False, help="NAME@VERSION, such as photo@2")]
stderr = Console(stderr=True)
FromOption = Annotated[str, Parameter("--from", show_env_var=False, help="address; default: HOURGLASS_MODELS_SOURCE")]
VerifiedArguments = Annotated[str, Parameter(show_env_var=False, help="NAME or NAME@VERSION; none: all")]


@models_app.default
@models_app.command(name="list")
def list_models(*, models_dir: ModelsDirOption = None) -> None:
    """List the models that would serve, their operations and pins, and the rejected versions with the reasons.

    Example: hourglass models list --models-dir models
    """
    state = load_state(load_settings(models_dir))
    snapshot = state.store.snapshot
    table = Table("model", "version", "operations", "title", box=None)
    for name, model in snapshot.loaded.items():
        pin = " (pinned)" if name in snapshot.pins else ""
        table.add_row(name, f"{model.card.version}{pin}", " ".join(model.runners), model.card.title)
    Console().print(table)
    for rejected in snapshot.rejected.values():
        _complain(f"rejected: {rejected.name} {rejected.version}: {rejected.reason}")


@models_app.command
def verify(*names: VerifiedArguments, models_dir: ModelsDirOption = None) -> None:
    """Check the hashes of the cards, and the signatures if HOURGLASS_TRUSTED_KEYS is set. The status is 1 if one fails.

    Example: hourglass models verify photo@2 --models-dir models
    """
    from service.repository.hub.transfer import verify_version

    settings = load_settings(models_dir)
    failed = False
    for name, version in _select(_local_folder(settings), names):
        try:
            size = verify_version(settings.models_folder / name / str(version), settings.trusted_public_keys)
        except ModelRejected as problem:
            failed = True
            _complain(f"{name}@{version}: {problem.detail}")
        else:
            print(f"{name}@{version}: {size} bytes")
    if failed:
        raise SystemExit(1)


@models_app.command
def sign(
    model: ModelArgument,
    *,
    key_file: Annotated[Path, Parameter(show_env_var=False, help="private ed25519 key in PEM")],
    models_dir: ModelsDirOption = None,
) -> None:
    """Sign a version, and print the public key for HOURGLASS_TRUSTED_KEYS.

    `openssl genpkey -algorithm ed25519 -out key.pem` makes a key.
    Example: hourglass models sign photo@2 --key-file key.pem
    """
    if not find_spec("cryptography"):
        raise CommandError("signing: " + install_extra("hub"))
    from service.repository.signatures import sign_card

    folder = _local_folder(load_writable_settings(models_dir))
    name, version = _one(folder, model)
    print(sign_card(folder / name / str(version), key_file))


@models_app.command
def pull(
    *names: VerifiedArguments,
    source: FromOption = "",
    models_dir: ModelsDirOption = None,
) -> None:
    """Copy versions from an address into the models folder, verified by their cards. Without names, the newest of all.

    Example: hourglass models pull photo@2 --from s3://bucket/models --models-dir models
    """
    settings = load_writable_settings(models_dir)
    flags = {**settings.model_dump(exclude_unset=True), "models_source": source or settings.models_source}
    with _named_flag("--models-source", "--from"):
        settings = Settings.from_env(os.environ, flags)
    if not settings.models_source:
        raise CommandError("name an address by --from or HOURGLASS_MODELS_SOURCE, such as s3://bucket/models")
    settings.models_folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_pull(settings, names))


async def _pull(settings: Settings, names: tuple[str, ...]) -> None:
    from service.repository.hub.transfer import parse_listing, pull_version

    folder = _local_folder(settings)
    source = _open(settings.models_source)
    versions = parse_listing(await source.list_files())
    newest = {version.name: version.version for version in versions}
    requested = [_parse(name) for name in names] or list(newest.items())
    for name, number in requested:
        number = number or newest.get(name)
        version = next((each for each in versions if (each.name, each.version) == (name, number)), None)
        if version is None:
            raise CommandError(f"{settings.models_source} has no {name}{f'@{number}' if number else ''}")
        if (folder / version.path).exists():
            print(f"{name}@{number} is here already")
            continue
        room = settings.model_cache_mib << 20
        await pull_version(source, version, folder, room, settings.trusted_public_keys)
        print(f"{name}@{number} pulled")


@models_app.command
def push(
    *names: VerifiedArguments,
    to: Annotated[str, Parameter("--to", show_env_var=False, help="s3://, gs:// or az:// address, or a folder")],
    models_dir: ModelsDirOption = None,
) -> None:
    """Copy verified versions to an address, or to a folder with the index.json that https:// addresses need.

    Example: hourglass models push photo@2 --to s3://bucket/models
    """
    from service.repository.hub.transfer import push_to_folder, push_version

    folder = _local_folder(load_settings(models_dir))
    with _named_flag("--models-dir", "--to"):
        target = Settings.from_env({}, {"models_dir": to})
    for name, version in _select(folder, names):
        if target.models_address is None:
            push_to_folder(folder / name / str(version), target.models_folder, f"{name}/{version}")
        else:
            asyncio.run(push_version(folder / name / str(version), _open(target.models_address), f"{name}/{version}"))
        print(f"{name}@{version} pushed")


@models_app.command
def pin(
    model: ModelArgument,
    *,
    candidate: Annotated[int | None, Parameter(show_env_var=False, help="version that gets a share")] = None,
    percent: Annotated[float, Parameter(show_env_var=False, help="share of the candidate, 0 to 100")] = 0,
    models_dir: ModelsDirOption = None,
) -> None:
    """Let requests without a version get this version, whatever is newer. Running services follow at once.

    At an address, they follow at their next look. Example: hourglass models pin photo@2 --candidate 3 --percent 5
    """
    settings = load_writable_settings(models_dir)
    name, version = _parse(model)
    if version is None:
        raise CommandError(f"{model} names no version: pin NAME@VERSION")
    chosen = Pin(version=version, candidate=candidate, percent=percent)
    if settings.models_address:
        data = chosen.model_dump_json(exclude_defaults=True).encode()
        asyncio.run(_open(settings.models_address).write(f"{name}/{PIN_FILE}", data))
    else:
        folder = _local_folder(settings)
        for number in (version, candidate):
            if number:
                _one(folder, f"{name}@{number}")
        write_pin(folder / name, chosen)
    print(f"{name}@{version} is pinned")


@models_app.command
def unpin(model: Annotated[str, Parameter(show_env_var=False)], *, models_dir: ModelsDirOption = None) -> None:
    """Let requests without a version get the newest valid version again.

    Example: hourglass models unpin photo
    """
    settings = load_writable_settings(models_dir)
    name, _ = _parse(model)
    if settings.models_address:
        asyncio.run(_open(settings.models_address).delete(f"{name}/{PIN_FILE}"))
    else:
        write_pin(_local_folder(settings) / name, None)
    print(f"{name} is not pinned")


@contextmanager
def _named_flag(setting: str, flag: str) -> Generator[None]:
    """Name the flag of a command in place of that of a setting, which errors of settings name."""
    try:
        yield
    except ValueError as error:
        raise CommandError(str(error).replace(f"the flag {setting} ", f"{flag} ")) from error


def _open(address: str) -> "Source":
    from service.repository.hub.source import open_source

    return open_source(address)


def _local_folder(settings: Settings) -> Path:
    """Return the models folder. Raises CommandError if it does not exist or if the models are at an address."""
    if settings.models_address:
        raise CommandError(f"{settings.models_address} is no folder: set --models-dir to one")
    if not settings.models_folder.is_dir():
        raise CommandError(f"the models folder {settings.models_folder} does not exist; set it with --models-dir")
    return settings.models_folder


def _parse(text: str) -> tuple[str, int | None]:
    """Return the name and the version of NAME or NAME@VERSION. Raises CommandError."""
    from service.repository.layout import NAME_PATTERN, VERSION_PATTERN

    name, _, version = text.partition("@")
    if not NAME_PATTERN.fullmatch(name) or "/" in name or (version and not VERSION_PATTERN.fullmatch(version)):
        raise CommandError(f"{text} is neither NAME nor NAME@VERSION, such as photo@2")
    return name, int(version) if version else None


def _one(folder: Path, text: str) -> tuple[str, int]:
    """Return the name and the version of a local version, or of the newest one. Raises CommandError."""
    name, version = _parse(text)
    versions = scan_models(folder).get(name, {})
    if not versions or (version and version not in versions):
        raise CommandError(f"there is no {text} in {folder}")
    return name, version or max(versions)


def _select(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield the versions that the arguments choose: the newest of a name without version, all without arguments."""
    for text in names:
        yield _one(folder, text)
    if not names:
        for name, versions in scan_models(folder).items():
            for version in sorted(versions):
                yield name, version


def _complain(message: str) -> None:
    stderr.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
