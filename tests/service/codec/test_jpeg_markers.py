"""The one walker of JPEG segments, and that all that reads a JPEG sees the same file."""

from io import BytesIO

import pytest
from PIL import Image

from service.codec import LazyPicture, encode
from service.codec.jpeg_markers import MAX_SEGMENTS, walk
from service.errors import InvalidImage
from tests.support.image_files import saved, segment, segments, waves, with_segments

COMMENTS = (segment(0xFE, b"x"),) * 6000  # more than each reader took when each had a limit of its own
STRANGE = {
    "fill bytes": b"\xff" * 9,
    "a restart marker": b"\xff\xd3",
    "the marker TEM": b"\xff\x01",
    "bytes of no segment": b"abc\xff\0",
    "6000 comments": b"".join(COMMENTS),
}


def jpeg() -> bytes:
    return saved(waves(40, 56), "JPEG", quality=71, subsampling=1, progressive=True)


def picture(blob: bytes) -> LazyPicture:
    return LazyPicture(blob, formats=("jpeg",), max_pixels=1 << 20)


def test_the_segments_of_a_file_are_those_that_it_was_made_of() -> None:
    blob = with_segments(jpeg(), segment(0xE5, b"body"), segment(0xFE, b""))
    heads = segments(blob)
    markers = [(one.marker, one.body(blob)) for one in walk(blob)]
    assert markers[: len(heads)] == heads
    assert markers[-1] == (0xD9, b"")


@pytest.mark.parametrize("name", STRANGE)
def test_what_stands_between_segments_changes_nothing(name: str) -> None:
    blob = with_segments(jpeg(), STRANGE[name])
    plain, markers = picture(jpeg()).decode(), picture(blob).decode()
    assert (markers.pixels == plain.pixels).all()
    assert markers.coding == plain.coding
    assert Image.open(BytesIO(encode(markers, "image/jpeg"))).info["progressive"]


@pytest.mark.parametrize("name", STRANGE)
def test_what_stands_between_segments_hides_no_truncation(name: str) -> None:
    blob = with_segments(jpeg(), STRANGE[name])
    assert picture(blob[:-2]).decode().fraction == 1
    assert picture(blob[: -len(jpeg()) // 3]).decode(allow_truncated=True).fraction < 1


def test_a_segment_that_is_cut_stops_behind_the_data() -> None:
    blob = jpeg()
    first, second, *_ = walk(blob)
    for length in range(second.start + 2, second.stop):
        *whole, last = walk(blob[:length])
        assert whole == [first]
        assert last.start == second.start
        assert last.stop > length


def test_more_segments_than_the_limit_are_an_error() -> None:
    blob = with_segments(jpeg(), segment(0xFE, b"") * MAX_SEGMENTS)
    with pytest.raises(InvalidImage, match=f"more than {MAX_SEGMENTS} segments"):
        list(walk(blob))
