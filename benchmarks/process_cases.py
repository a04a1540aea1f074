"""Cases about a whole process: start time, idle memory, memory growth, and scaling with workers."""

import json
import shutil
from pathlib import Path

from benchmarks import payloads
from benchmarks.load import Request, load
from benchmarks.load_cases import CODE, FORM, LOAD_CORE, PNG, TEXT, Bench, Case, Sample, start_hourglass

SHIPPED = Path(__file__).parent.parent / "models"
DIGITS = ("digits", "digits-2d", "digits-denoise")
MANY = 100  # models
MIXED = 200_000
NOISY = Request("/denoise", PNG.body, "image/png")
BROKEN = Request("/denoise?model=dense", PNG.body[: len(PNG.body) // 2], "image/png")
ARRAY = Request("/reconstruct?model=dense", payloads.npy(payloads.digits(16)), "application/x-npy")


def digits_models(bench: Bench) -> Path:
    """Return a folder with the three shipped digits models."""
    folder = bench.folder / "digits"
    for name in DIGITS:
        if not (folder / name).exists():
            shutil.copytree(SHIPPED / name, folder / name)
    return folder


def many_models(bench: Bench) -> Path:
    """Return a folder with the shipped models and copies of the digits models, `MANY` in all."""
    folder = bench.folder / "many"
    if folder.exists():
        return folder
    shipped = sorted(path.parent.parent for path in SHIPPED.glob("*/*/card.json"))
    for model in shipped:
        shutil.copytree(model, folder / model.name)
    for number in range(MANY - len(shipped)):
        source = SHIPPED / DIGITS[number % len(DIGITS)]
        copy = folder / f"{source.name}-{number}"
        shutil.copytree(source, copy)
        for card in copy.glob("*/card.json"):
            card.write_text(json.dumps(json.loads(card.read_text()) | {"name": copy.name}))
    return folder


def seconds_to_answer(bench: Bench, models: Path) -> float:
    """Return the seconds from the start of the process to its first denoised digit."""
    with start_hourglass(bench.folder, models) as server:
        return server.first_answer(NOISY)


def start(bench: Bench) -> Sample:
    """Seconds from the start of the process to its first denoised digit, with all shipped models."""
    seconds = seconds_to_answer(bench, SHIPPED)
    return Sample(seconds, f"{seconds:.2f} s")


def start_with_many(bench: Bench) -> Sample:
    """Seconds to the first denoised digit with `MANY` models in the folder, relative to the shipped ones."""
    shipped, many = seconds_to_answer(bench, SHIPPED), seconds_to_answer(bench, many_models(bench))
    return Sample(many / shipped, f"{many:.2f} / {shipped:.2f} s")


def idle(bench: Bench) -> Sample:
    """PSS in MB of the service with the digits models, after its first response."""
    with start_hourglass(bench.folder, digits_models(bench)) as server:
        server.first_answer(NOISY)
        megabytes = server.pss()
    return Sample(megabytes, f"{megabytes:.0f} MB")


def growth(bench: Bench) -> Sample:
    """PSS after 200,000 valid and invalid requests, relative to that after the first thousands."""
    with start_hourglass(bench.folder, bench.folder / "models") as server:
        server.wait()
        before = 0.0
        done = 0.0
        while done < MIXED:
            for request in (PNG, FORM, TEXT, CODE, ARRAY, BROKEN):
                run = load(server.port, request, connections=32, seconds=2, cores=LOAD_CORE, folder=bench.folder)
                done += 2 * run.rate
            before = before or server.pss()
        after = server.pss()
    return Sample(after / before, f"{before:.1f} -> {after:.1f} MB after {done:,.0f} requests")


def workers(bench: Bench, request: Request, connections: int) -> Sample:
    """Requests per second of two workers on two cores relative to one on one; the load generator shares the cores."""
    rates: list[float] = []
    failed = 0
    for count, cores, beside in ((1, "0", "1"), (2, "0,1", "0,1")):
        with start_hourglass(bench.folder, bench.folder / "models", cores=cores, workers=count) as server:
            server.wait()
            for seconds in (1.0, bench.seconds):  # the first load is a warm-up
                run = load(
                    server.port,
                    request,
                    connections=connections,
                    seconds=seconds,
                    cores=beside,
                    folder=bench.folder,
                )
            rates.append(run.rate)
            failed += run.failed
    return Sample(rates[1] / rates[0], f"{rates[1]:,.0f} / {rates[0]:,.0f} req/s", failed)


BULK = Request("/denoise?model=dense", payloads.npy(payloads.digits(256)), "application/x-npy")
CASES = (
    Case("workers", "two workers over one, 256 pictures a request", 1.8, "higher", "", lambda b: workers(b, BULK, 8)),
    Case(
        "workers-png", "two workers over one, one picture a request", 1.8, "higher", "", lambda b: workers(b, PNG, 64)
    ),
    Case(
        "start-shipped",
        "seconds from start to the first /denoise, all shipped models",
        1.0,
        "lower",
        "naive 0.6, LitServe 1.1, Triton 3.6",
        start,
    ),
    Case(
        "start-many", f"the same with {MANY} models in the folder / the shipped ones", 1.1, "lower", "", start_with_many
    ),
    Case("idle", "PSS with the digits models, MB", 130, "lower", "Triton 210, BentoML 260, Ray 692", idle),
    Case("growth", "PSS after 200,000 mixed requests / before", 1.05, "lower", "", growth, once=True),
)
