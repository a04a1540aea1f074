"""Formats of scanners on the command line: read without a setting, and written in their own format."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.codec import read_pages
from service.errors import ImageTooLarge
from tests.conftest import digit
from tests.service.cli.test_commands import hourglass
from tests.support.compatibility import accepts, refuses
from tests.support.image_files import XMP


def save(path: Path, image: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def denoise(models: Path, source: Path, output: Path) -> None:
    run = hourglass("denoise", source, "-o", f"{output}/", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr


def grey(seed: int = 0) -> Image.Image:
    return Image.fromarray(digit(seed)[:, :, 0])


@accepts(26, "gray scans in their own format", oracle="Pillow", cases="{suffix}")
@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".bmp", ".gif", ".png", ".TIF"])
def test_a_grey_image_comes_back_exactly_in_its_own_format(models: Path, tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"x{suffix}", grey())
    denoise(models, tmp_path / f"x{suffix}", tmp_path / "out")
    with Image.open(tmp_path / f"out/x{suffix}") as image, Image.open(tmp_path / f"x{suffix}") as source:
        assert image.format == source.format
        assert (np.asarray(image.convert("L")) == 255 - digit()[:, :, 0]).all()


@accepts(26, "AVIF in its own format", oracle="Pillow")
def test_an_avif_image_comes_back_as_avif(models: Path, tmp_path: Path) -> None:
    save(tmp_path / "x.avif", grey().convert("RGB"))
    denoise(models, tmp_path / "x.avif", tmp_path / "out")
    with Image.open(tmp_path / "out/x.avif") as image:
        assert image.format == "AVIF"


@accepts(26, "TIFF of every mode", oracle="Pillow", cases="{mode}")
@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "RGB", "CMYK", "LA", "RGBA"])
def test_a_tiff_of_any_mode_is_read(models: Path, tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(digit()[:, :, 0].astype(np.uint16) << 8) if mode == "I;16" else grey().convert(mode)
    save(tmp_path / "x.tif", image)
    denoise(models, tmp_path / "x.tif", tmp_path / "out")
    with Image.open(tmp_path / "out/x.tif") as output:
        assert output.size == image.size


@accepts(26, "resolution of scans", oracle="Pillow", cases="{suffix}")
@pytest.mark.parametrize("suffix", [".tif", ".bmp"])
def test_the_resolution_of_a_scan_is_kept(models: Path, tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"x{suffix}", grey(), dpi=(300, 300))
    denoise(models, tmp_path / f"x{suffix}", tmp_path / "out")
    with Image.open(tmp_path / f"out/x{suffix}") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), rel=1e-3)


@accepts(26, "profiles of scans", oracle="Pillow")
def test_the_profile_of_a_colour_scan_is_kept(models: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colours = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    save(tmp_path / "x.tif", Image.fromarray(colours), icc_profile=profile, dpi=(600, 600))
    run = hourglass(
        *("denoise", tmp_path / "x.tif", "-o", f"{tmp_path}/out/", "--model", "photos", "--models-dir", models)
    )
    assert run.returncode == 0, run.stderr
    with Image.open(tmp_path / "out/x.tif") as image:
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == pytest.approx((600, 600))


@accepts(26, "all pages of a TIFF", oracle="Pillow")
def test_all_pages_of_a_tiff_are_processed(models: Path, tmp_path: Path) -> None:
    save(tmp_path / "x.tif", grey(0), save_all=True, append_images=[grey(1), grey(2)], dpi=(200, 200))
    denoise(models, tmp_path / "x.tif", tmp_path / "out")
    with Image.open(tmp_path / "out/x.tif") as image:
        assert getattr(image, "n_frames", 1) == 3
        for page in range(3):
            image.seek(page)
            assert (np.asarray(image) == 255 - digit(page)[:, :, 0]).all()


@accepts(26, "codes of all pages", oracle="the rows of the table")
def test_codes_of_pages_are_rows_of_the_table(models: Path, tmp_path: Path) -> None:
    save(tmp_path / "x.tif", grey(0), save_all=True, append_images=[grey(1)])
    run = hourglass("encode", tmp_path / "x.tif", "-o", tmp_path / "c.csv", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr
    rows = (tmp_path / "c.csv").read_text().splitlines()[1:]
    assert [row.partition(",")[0].rpartition("#")[2] for row in rows] == ["page=1", "page=2"]


@accepts(26, "frames and pages behind the first that are not written are named", oracle="stderr")
def test_frames_and_pages_that_are_not_written_are_mentioned(models: Path, tmp_path: Path) -> None:
    save(tmp_path / "moving.gif", grey(0), save_all=True, append_images=[grey(1)])
    run = hourglass(
        "denoise", tmp_path / "moving.gif", "-o", tmp_path / "x.png", "--model", "digits", "--models-dir", models
    )
    assert "only the first of 2 frames is used" in run.stderr
    save(tmp_path / "x.tif", grey(0), save_all=True, append_images=[grey(1)])
    run = hourglass(
        "denoise", tmp_path / "x.tif", "-o", tmp_path / "y.png", "--model", "digits", "--models-dir", models
    )
    assert "only the first of 2 pages is written" in run.stderr


def pages(count: int, **options: Any) -> bytes:
    file = BytesIO()
    grey().save(file, "TIFF", save_all=True, append_images=[grey()] * (count - 1), **options)
    return file.getvalue()


def test_the_preview_of_a_page_is_no_page() -> None:
    file = BytesIO()
    preview = grey().resize((2, 2))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    grey().save(file, "TIFF", save_all=True, append_images=[preview])
    with Image.open(file) as image:
        image.seek(1)
        marked = getattr(image, "tag_v2", {}).get(254)
    assert marked == 1
    assert len(read_pages(file.getvalue(), max_pages=10, max_pixels=10**6).pages) == 1


@refuses(26, "too many pages or pixels", because="the limit is named")
def test_pages_and_their_pixels_are_limited() -> None:
    with pytest.raises(ImageTooLarge, match="the TIFF has 5 pages, the limit is 4"):
        read_pages(pages(5), max_pages=4, max_pixels=10**6)
    with pytest.raises(ImageTooLarge, match="page 1 has 8x8 pixels, the limit is 10 pixels"):
        read_pages(pages(2), max_pages=4, max_pixels=10)


def test_each_page_keeps_its_own_metadata(models: Path, tmp_path: Path) -> None:
    first, second = grey(0), grey(1)
    second.encoderinfo = {"dpi": (600, 300), "tiffinfo": {700: XMP, 0x013B: "Artist"}}
    save(tmp_path / "x.tif", first, save_all=True, append_images=[second], dpi=(200, 200))
    run = hourglass(
        "denoise", tmp_path / "x.tif", "-o", tmp_path / "y.tif", "--model", "digits", "--models-dir", models
    )
    assert run.returncode == 0, run.stderr
    assert "metadata that are not in the output: exif" in run.stderr
    with Image.open(tmp_path / "y.tif") as image:
        assert image.info["dpi"] == (200, 200)
        image.seek(1)
        assert image.info["dpi"] == (600, 300)
        assert b"M\xc3\xbcller" in getattr(image, "tag_v2", {})[700]


def test_the_pages_of_a_tiff_and_of_a_big_tiff_are_found() -> None:
    for options in ({}, {"big_tiff": True}):
        single = read_pages(pages(3, **options), max_pages=4, max_pixels=10**6).pages
        assert [np.asarray(Image.open(BytesIO(page))).tolist() for page in single] == [digit()[:, :, 0].tolist()] * 3
        assert [getattr(Image.open(BytesIO(page)), "n_frames", 1) for page in single] == [1, 1, 1]


@refuses(26, "a corrupt page", because="its number is named")
def test_a_corrupt_page_is_named(models: Path, tmp_path: Path) -> None:
    whole = pages(3, compression="tiff_adobe_deflate")
    with Image.open(BytesIO(whole)) as image:
        image.seek(1)
        tags: Any = getattr(image, "tag_v2", {})
        data, directory = tags[273][0], tags.offset
    words = ("-o", tmp_path / "y.tif", "--model", "digits", "--models-dir", models)
    for offset in (data, directory):
        (tmp_path / "x.tif").write_bytes(whole[:offset] + b"\xff" * 40 + whole[offset + 40 :])
        run = hourglass("denoise", tmp_path / "x.tif", *words)
        assert run.returncode == 1
        assert ("page 2: the TIFF data are corrupt" if offset == data else "the directory of a page") in run.stderr


def test_metadata_that_an_output_cannot_hold_are_named(models: Path, tmp_path: Path) -> None:
    save(tmp_path / "x.jpg", grey(), comment=b"hello")
    words = ("--model", "digits", "--models-dir", models)
    run = hourglass("denoise", tmp_path / "x.jpg", "-o", tmp_path / "x.webp", *words)
    assert run.returncode == 0
    assert "metadata that are not in the output: comment" in run.stdout + run.stderr
