"""Check the contents of a wheel: packages, models without training weights, licence and metadata."""

import re
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

LIMIT_BYTES = 6_000_000
MODELS = {"digits", "digits-denoise", "photo-fast", "points-3d"}


def find_problems(wheel: Path) -> list[str]:
    """Return what is wrong with the contents of a wheel, or an empty list."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata_name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(metadata_name))
    models = {name.split("/")[2] for name in names if re.fullmatch(r"service/models/[^/]+/\d+/card\.json", name)}
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    checks = {
        f"has the models {sorted(models)}, not {sorted(MODELS)}": models == MODELS,
        f"has the packages {sorted(tops)}": tops == {"service", "training"},
        "has training weights": not any(name.endswith(".safetensors") for name in names),
        "has no licence file": any(name.endswith("/licenses/LICENSE") for name in names),
        "is not Apache-2.0": metadata["License-Expression"] == "Apache-2.0",
        "is not for every platform": wheel.name.endswith("-py3-none-any.whl"),
        f"is larger than {LIMIT_BYTES} bytes": wheel.stat().st_size <= LIMIT_BYTES,
    }
    return [text for text, holds in checks.items() if not holds]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    for problem in (problems := find_problems(path)):
        print(f"failed: {path.name} {problem}")
    print(f"{path.name}: {path.stat().st_size} bytes, {'refused' if problems else 'contents ok'}")
    sys.exit(bool(problems))
