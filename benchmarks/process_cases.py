"""Cases about a whole process: start time, idle memory, memory growth, and scaling with workers."""

import json
import shutil
from pathlib import Path

from benchmarks import payloads
from benchmarks.load import Request, load
from benchmarks.load_cases import CODE, FORM, LOAD_CORE, PNG, TEXT, Bench, Case, Sample, command, start_hourglass
from benchmarks.process import Server, free_port

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


def start_echo(bench: Bench, cores: str, workers: int) -> Server:
    """Start FastAPI's echo with this number of uvicorn's workers."""
    port = free_port()
    echo = [*command("benchmarks.floors.fastapi_echo:app", port), "--workers", str(workers)]
    log = bench.folder / f"echo-{workers}.log"
    return Server("fastapi", echo, port=port, cores=cores, log=log, ready="/livez", environ={})


def start_workers(bench: Bench, cores: str, workers: int) -> Server:
    """Start the service with this number of workers."""
    return start_hourglass(bench.folder, bench.folder / "models", cores=cores, workers=workers)


def scaling(bench: Bench, request: Request, connections: int) -> Sample:
    """Requests per second of two workers on two cores over one on one, relative to the same ratio of FastAPI's echo.

    The load generator needs a core too, so that not even the echo doubles.
    """
    ratios: list[float] = []
    failed = 0
    for start_server in (start_echo, start_workers):
        rates: list[float] = []
        for count, cores, beside in ((1, "0", "1"), (2, "0,1", "0,1")):
            with start_server(bench, cores, count) as server:
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
        ratios.append(rates[1] / rates[0])
    echo, ours = ratios
    return Sample(ours / echo, f"{ours:.2f} (echo {echo:.2f})", failed)


BULK = Request("/denoise?model=dense", payloads.npy(payloads.digits(256)), "application/x-npy")
CASES = (
    Case(
        "scaling",
        "two workers over one, 256 pictures a request / the same of two echo workers",
        0.9,
        "higher",
        "",
        lambda b: scaling(b, BULK, 8),
    ),
    Case(
        "scaling-png",
        "two workers over one, one picture a request / the same of two echo workers",
        0.9,
        "higher",
        "",
        lambda b: scaling(b, PNG, 64),
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
