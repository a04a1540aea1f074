"""Denoises the new photographs of an S3 bucket, then ends: `job.py BUCKET`, for cron, a systemd timer or a CronJob.

Reads `incoming/NAME` and writes `clean/NAME` with the ETag of its source as metadata. So a run that was cut short, or
two runs at once, do no harm: a photograph with a result is passed over, a changed one is done again. The exit status is
1 if a photograph failed. `AWS_ENDPOINT_URL` and the other variables of boto3 choose the store.

    */10 * * * *  flock -n /tmp/denoise.lock python job.py my-bucket
"""

import os
import sys
import time
from collections.abc import Iterator

import boto3
import httpx
from botocore.exceptions import ClientError

SOURCE, TARGET = "incoming/", "clean/"
SECONDS = 60.0  # deadline of one photograph
ATTEMPTS = 5


def new_photographs(s3, bucket: str) -> Iterator[tuple[str, str]]:
    """Yield key and ETag of every photograph that has no result yet, or the result of an older one."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=SOURCE):
        for entry in page.get("Contents", ()):
            etag = entry["ETag"].strip('"')
            try:
                done = s3.head_object(Bucket=bucket, Key=TARGET + entry["Key"].removeprefix(SOURCE))
            except ClientError as error:
                if error.response["Error"]["Code"] != "404":
                    raise
                done = {"Metadata": {}}
            if done["Metadata"].get("source-etag") != etag:
                yield entry["Key"], etag


def denoise(client: httpx.Client, image: bytes) -> httpx.Response:
    """Return the response to one image. Try again after the seconds of `Retry-After`, ATTEMPTS times in all."""
    for _ in range(ATTEMPTS - 1):
        reply = client.post("/denoise", content=image)
        if reply.status_code not in (429, 503):
            return reply
        time.sleep(float(reply.headers.get("Retry-After", 5)))
    return client.post("/denoise", content=image)


def main(bucket: str) -> int:
    """Denoise what is new, and return the exit status."""
    s3, failures = boto3.client("s3"), 0
    headers = {"X-Request-Timeout": str(SECONDS)}
    if api_key := os.environ.get("DENOISER_KEY"):
        headers["Authorization"] = f"Bearer {api_key}"
    address = os.environ.get("DENOISER_URL", "http://localhost:8000")
    with httpx.Client(base_url=address, headers=headers, timeout=SECONDS + 5) as client:
        for key, etag in new_photographs(s3, bucket):
            reply = denoise(client, s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            if reply.is_error:
                failures += 1
                print(f"{key}: {reply.status_code} {reply.text}", file=sys.stderr)
                continue
            s3.put_object(
                Bucket=bucket,
                Key=TARGET + key.removeprefix(SOURCE),
                Body=reply.content,
                ContentType=reply.headers["Content-Type"],
                Metadata={"source-etag": etag},
            )
            print(f"{key}: denoised")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
