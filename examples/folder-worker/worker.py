"""Denoises the files of a folder until it is stopped: `worker.py INBOX OUTBOX [--once]`.

A file leaves INBOX when its result is complete: in OUTBOX, or in INBOX/failed together with the reason. Stopping the
worker at any moment loses nothing. Move files into INBOX, or write them first under a name that begins with a dot.
"""

import argparse
import os
import random
import time
from pathlib import Path

import httpx

SECONDS = 60.0  # deadline of one file
LONGEST_WAIT = 60.0
BUSY = (429, 502, 503)  # it says so to every file: wait as long as it takes
ATTEMPTS = 3  # for a file that takes too long, or breaks the connection: it must not hold up the others


def denoise(client: httpx.Client, image: bytes) -> httpx.Response:
    """Return the response to one image. While the service is busy or away, wait as it says and try again.

    After ATTEMPTS without an answer in time, the response is a 504.
    """
    attempt = failures = 0
    while True:
        try:
            reply = client.post("/denoise", content=image)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            wait, reason = None, repr(error)
        except httpx.TransportError as error:
            failures += 1
            wait, reason = None, repr(error)
            if failures == ATTEMPTS:
                return httpx.Response(504, json={"detail": f"no answer after {failures} attempts: {reason}"})
        else:
            failures += reply.status_code == 504
            wait, reason = reply.headers.get("Retry-After"), str(reply.status_code)
            if reply.status_code not in (*BUSY, 504) or failures == ATTEMPTS:
                return reply
        backoff = min(LONGEST_WAIT, 2.0**attempt)
        pause = float(wait) if wait and wait.isdecimal() else backoff
        attempt += 1
        print(f"busy ({reason}), waiting {pause:g} s", flush=True)
        time.sleep(pause + random.uniform(0, 0.3 * pause))  # so that several workers do not come back at once


def work_on(client: httpx.Client, source: Path, outbox: Path) -> None:
    """Move one file from the inbox to its result."""
    reply = denoise(client, source.read_bytes())
    if reply.is_success:
        part = outbox / f".{source.name}"
        part.write_bytes(reply.content)
        part.rename(outbox / source.name)  # at once: readers of the outbox never see half a file
        source.unlink()
        print(f"{source.name}: denoised", flush=True)
    elif reply.status_code in (401, 403, 404, 405):
        raise SystemExit(f"{reply.status_code}: {reply.text}")  # wrong for every file: do not fail them all
    else:
        failed = source.parent / "failed"
        failed.mkdir(exist_ok=True)
        (failed / f"{source.name}.json").write_bytes(reply.content)
        source.rename(failed / source.name)
        print(f"{source.name}: {reply.status_code} {reply.text}", flush=True)


def main() -> None:
    """Work on the inbox, the oldest file first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("inbox", type=Path)
    parser.add_argument("outbox", type=Path)
    parser.add_argument("--once", action="store_true", help="end when the inbox is empty")
    options = parser.parse_args()
    options.outbox.mkdir(exist_ok=True, parents=True)
    headers = {"X-Request-Timeout": str(SECONDS)}
    if key := os.environ.get("DENOISER_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    address = os.environ.get("DENOISER_URL", "http://localhost:8000")
    with httpx.Client(base_url=address, headers=headers, timeout=SECONDS + 5) as client:
        while True:
            files = [path for path in options.inbox.iterdir() if path.is_file() and not path.name.startswith(".")]
            for source in sorted(files, key=lambda path: path.stat().st_mtime):
                work_on(client, source, options.outbox)
            if options.once:
                return
            time.sleep(1)


if __name__ == "__main__":
    main()
