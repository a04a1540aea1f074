"""Photographs over HTTP: metadata and profiles, strength, noise estimate, tiles, disconnects."""

import asyncio
import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from starlette.testclient import TestClient

from service.codec import write_npy
from service.http.disconnect import ClientDisconnect, cancel_on_disconnect
from tests.conftest import Serve, digit, pixels, png
from tests.support.compatibility import accepts

NPY = "application/x-npy"


def post(client: TestClient, path: str, body: bytes, kind: str) -> Any:
    return client.post(path, content=body, headers={"content-type": kind})


def camera(orientation: int = 1) -> Image.Exif:
    """Return EXIF of a camera: make, position and orientation."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Hourglass", orientation
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8769).update({0xA002: 9, 0xA003: 6, 0x927C: b"the maker's own"})
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_is_kept_with_upright_orientation_or_stripped(client: TestClient, serve: Serve, kind: str) -> None:
    picture = np.full((6, 9, 3), 128, np.uint8)
    blob, media = png(picture, kind, exif=camera(6)), f"image/{kind.lower()}"
    kept = Image.open(BytesIO(post(client, "/denoise?model=photos", blob, media).content))
    assert kept.size == (6, 9)
    assert kept.getexif().get(0x0112, 1) == 1
    assert kept.getexif()[0x010F] == "Hourglass"
    assert kept.getexif().get_ifd(0x8825)[1] == "N"
    assert kept.getexif().get_ifd(0x8769) == {0xA002: 6, 0xA003: 9, 0x927C: b"the maker's own"}
    stripped = Image.open(BytesIO(post(client, "/denoise?model=photos&metadata=strip", blob, media).content))
    assert not dict(stripped.getexif())
    strict = serve(metadata="strip")
    for query, has_exif in (("", False), ("&metadata=keep", True)):
        answer = Image.open(BytesIO(post(strict, f"/denoise?model=photos{query}", blob, media).content))
        assert bool(dict(answer.getexif())) is has_exif


def test_icc_profile_is_kept_with_and_without_metadata(client: TestClient) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    blob = png(np.full((6, 9, 3), 128, np.uint8), icc_profile=profile, exif=camera())
    answer = Image.open(BytesIO(post(client, "/denoise?model=photos&metadata=strip", blob, "image/png").content))
    assert answer.info["icc_profile"] == profile


def test_exif_of_resized_response_states_the_new_size(client: TestClient) -> None:
    blob = png(np.full((30, 20, 3), 128, np.uint8), exif=camera())
    answer = Image.open(BytesIO(post(client, "/denoise", blob, "image/png").content))
    assert answer.size != (20, 30)
    assert answer.getexif()[0x010F] == "Hourglass"
    exif = answer.getexif().get_ifd(0x8769)
    assert (exif[0xA002], exif[0xA003]) == answer.size


def test_strength_blends_output_with_input(client: TestClient) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (31, 17, 3), np.uint8)
    for strength in (0.0, 0.3, 1.0):
        answer = post(client, f"/denoise?model=photos&strength={strength}", png(picture), "image/png")
        expected = np.rint(picture + np.float32(strength) * (255 - picture.astype(np.float32) - picture))
        assert (pixels(answer.content) == expected).all()
    many = np.stack([picture, picture[::-1]])
    for array in (many, np.asfortranarray(many)):
        answer = post(client, "/denoise?model=photos&strength=0", write_npy(array), NPY)
        assert (np.load(BytesIO(answer.content), allow_pickle=False) == many).all()


def test_failing_picture_fails_alone_and_runs_once(serve: Serve) -> None:
    client = serve()
    runner = client.app_state["service"].store.snapshot.loaded["photos"].runners["denoise"]
    ran: list[int] = []

    def poisoned(tile: Any) -> Any:
        ran.append(int(tile[0, 0, 0, 0]))
        if ran[-1] == 2:
            raise RuntimeError("poison")
        return 255 - tile

    runner.scheduler._run = poisoned
    pictures = [np.full((9, 7 + value % 2, 3), value, np.uint8) for value in range(5)]
    body = {"images": [base64.b64encode(png(picture)).decode() for picture in pictures]}
    results = client.post("/denoise?model=photos", json=body).json()["results"]
    assert ["error" in result for result in results] == [False, False, True, False, False]
    assert sorted(ran) == [0, 1, 2, 3, 4]


def test_grayscale_returns_a_grey_picture(client: TestClient) -> None:
    picture = np.full((9, 7, 3), (200, 100, 50), np.uint8)
    answer = post(client, "/denoise?model=photos&grayscale=true", png(picture), "image/png")
    assert (pixels(answer.content) == 255 - round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()
    assert pixels(answer.content).ndim == 2
    refused = post(client, "/denoise?model=photos&grayscale=true", write_npy(picture[np.newaxis]), NPY)
    assert (refused.status_code, refused.json()["type"]) == (400, "/problems/invalid-parameter")


@pytest.mark.parametrize(
    "query", ["strength=2.1", "strength=-0.1", "strength=nan", "strength=", "strength=1&strength=1", "grayscale=2",
              "grayscale=", "metadata=drop", "metadata="]
)  # fmt: skip
def test_parameters_out_of_range_are_rejected(client: TestClient, query: str) -> None:
    answer = post(client, f"/denoise?model=photos&{query}", png(np.zeros((4, 4, 3), np.uint8)), "image/png")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-parameter")


def test_other_operations_reject_parameters_of_denoise(client: TestClient) -> None:
    answer = post(client, "/reconstruct?strength=1", png(digit()), "image/png")
    assert answer.status_code == 400
    assert "/reconstruct takes model, version, format" in answer.json()["detail"]


def test_response_states_estimated_noise(client: TestClient) -> None:
    flat = np.full((120, 160, 3), 128)
    noisy = np.clip(np.rint(np.random.default_rng(0).normal(flat, 10)), 0, 255).astype(np.uint8)
    answer = post(client, "/denoise?model=photos", png(noisy), "image/png")
    assert float(answer.headers["x-noise-sigma"]) == pytest.approx(10 / 255, rel=0.05)
    same = client.post("/denoise?model=photos", json={"images": [base64.b64encode(png(noisy)).decode()]}).json()[
        "results"
    ][0]
    assert same["noise_sigma"] == pytest.approx(10 / 255, rel=0.05)


def test_large_picture_is_run_in_tiles(serve: Serve) -> None:
    client = serve(tile_memory_mib=16)
    picture = np.random.default_rng(3).integers(0, 256, (700, 600, 3), np.uint8)
    runner = client.app_state["service"].store.snapshot.loaded["photos"].runners["denoise"]
    ran: list[int] = []
    honest = runner.session.run
    runner.scheduler._run = lambda tile: (ran.append(tile.shape[1] * tile.shape[2]), honest(tile))[1]
    answer = post(client, "/denoise?model=photos", png(picture), "image/png")
    assert (pixels(answer.content) == 255 - picture).all()
    assert len(ran) > 6
    assert max(ran) <= runner.choices["tile"].value


def test_disconnect_cancels_the_work() -> None:
    async def scene() -> bool:
        stopped = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                stopped.set()
                raise

        async def receive() -> Any:
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        with pytest.raises(ClientDisconnect):
            await cancel_on_disconnect(receive, work())
        await asyncio.wait_for(stopped.wait(), 10)
        return stopped.is_set()

    assert asyncio.run(scene())


def test_finished_work_stops_watching_for_disconnect() -> None:
    async def scene() -> tuple[int, int]:
        async def work() -> int:
            return 7

        async def receive() -> Any:
            await asyncio.sleep(60)

        result = await cancel_on_disconnect(receive, work())
        await asyncio.sleep(0)
        return result, len(asyncio.all_tasks())

    assert asyncio.run(scene()) == (7, 1)


def test_exception_of_the_work_is_raised() -> None:
    async def scene() -> None:
        async def work() -> int:
            raise ValueError("its own")

        async def receive() -> Any:
            await asyncio.sleep(60)

        await cancel_on_disconnect(receive, work())

    with pytest.raises(ValueError, match="its own"):
        asyncio.run(scene())


@accepts(8, "`X-Noise-Sigma` of a cut-out", oracle="the noise of the opaque image", cases="hidden {hidden}")
@pytest.mark.parametrize("hidden", [0, 255, 77])
def test_the_noise_of_a_cut_out_is_that_of_its_visible_pixels(client: TestClient, hidden: int) -> None:
    noisy = np.random.default_rng(0).normal(128, 10, (120, 160, 3)).round().astype(np.uint8)
    noisy[:, 70:] = hidden
    opaque = np.zeros((120, 160, 1), np.uint8)
    opaque[:, :70] = 255
    answer = post(client, "/denoise?model=photos", png(np.dstack([noisy, opaque])), "image/png")
    assert float(answer.headers["x-noise-sigma"]) == pytest.approx(10 / 255, rel=0.05)
