"""The kind of processor that a benchmark runs on, and the folder with the stored results of that kind."""

import re
from pathlib import Path
from platform import machine, processor

RESULTS = Path(__file__).parent / "results"
# Flags in /proc/cpuinfo that decide how fast a graph runs, the best first, with their names.
INSTRUCTIONS = {
    "amx_int8": "amx",
    "avx512_vnni": "avx512-vnni",
    "avx_vnni": "avx-vnni",
    "avx512f": "avx512",
    "avx2": "avx2",
    "i8mm": "i8mm",
    "asimddp": "dotprod",
}
NOISE = re.compile(r"\((?:r|tm)\)|@.*|\b(?:cpu|processor|\d+-core)\b")


def processor_names(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return the model name of each processor, or that of the platform where the system has no such file."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names or [processor() or machine()]


def processor_kind(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model and the widest instructions of the processor, such as `amd-epyc-avx512-vnni`.

    Virtual machines hide the exact model, and processors of one name differ in their instructions.
    """
    try:
        flags = set(cpuinfo.read_text().split())
    except OSError:
        flags = set[str]()
    name = NOISE.sub(" ", processor_names(cpuinfo)[0].lower())
    instructions = next((title for flag, title in INSTRUCTIONS.items() if flag in flags), "")
    return "-".join(re.findall(r"[a-z0-9]+", f"{name} {instructions}"))


def results_folder() -> Path:
    """Return the folder with the results of this kind of processor. It may not exist."""
    return RESULTS / processor_kind()


def stored_kinds() -> list[str]:
    """Return the kinds of processors of which there are results."""
    return sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
