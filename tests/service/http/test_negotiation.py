"""Content negotiation: the media type by Accept, `format=` and the kind of request."""

from typing import Any

import pytest

from service.errors import InvalidParameter, NotAcceptable
from service.http.negotiation import NegotiationInput, available_types, check_quality, response_type

PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
JSON, NPY = "application/json", "application/x-npy"
IMAGE = NegotiationInput(images=True, body_kind="picture", many=False, image_type=JPEG)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JPEG),
        ("*/*", JPEG),
        ("image/*", JPEG),
        ("image/*;q=0.1, image/png;q=0.5, image/jpeg;q=0.4, image/webp;q=0.9", WEBP),
        ("image/webp;q=0.2, application/json;q=0.8", JSON),
        ("*/*;q=0.1, image/png", PNG),
        ("application/x-npy, text/html", NPY),
    ],
)
def test_accept_selects_the_type_of_highest_quality(accept: str, expected: str) -> None:
    assert response_type(IMAGE._replace(accept=accept)) == expected


def test_type_with_quality_zero_is_not_chosen() -> None:
    others = [media_type for media_type in available_types(IMAGE) if media_type != JPEG]
    assert response_type(IMAGE._replace(accept="image/jpeg;q=0, */*")) == others[0]


def test_format_overrides_accept() -> None:
    assert response_type(IMAGE._replace(accept="image/png", format="webp")) == WEBP


def test_unavailable_type_is_rejected_with_those_available() -> None:
    with pytest.raises(NotAcceptable, match=r"Accept has no available type; accept one of image/jpeg"):
        response_type(IMAGE._replace(accept="text/html"))


def test_too_large_image_is_rejected_with_its_limit() -> None:
    with pytest.raises(NotAcceptable, match="16383"):
        response_type(IMAGE._replace(accept=WEBP, too_small=(WEBP,)))


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"many": True}, JSON),
        ({"many": True, "body_kind": "npy"}, NPY),
        ({"images": False}, JSON),
        ({"body_kind": "npy"}, NPY),
        ({"body_kind": "pictures"}, JSON),
        ({"body_kind": "values"}, JPEG),
    ],
    ids=[
        "several items",
        "several rows of an array",
        "codes",
        "one row of an array",
        "one image of a form",
        "JSON values",
    ],
)
def test_default_type_follows_the_request(changes: dict[str, Any], first: str) -> None:
    assert available_types(IMAGE._replace(**changes))[0] == first


def test_several_items_have_no_image_type() -> None:
    assert set(available_types(IMAGE._replace(many=True))) == {JSON, NPY}


@pytest.mark.parametrize("media_type", [JPEG, WEBP])
def test_quality_is_accepted_with_a_lossy_image(media_type: str) -> None:
    check_quality(media_type, [])
    check_quality(JSON, [PNG, media_type])


@pytest.mark.parametrize(("media_type", "image_types"), [(PNG, []), (JSON, [PNG]), (NPY, [JPEG])])
def test_quality_without_a_lossy_image_is_rejected(media_type: str, image_types: list[str]) -> None:
    with pytest.raises(InvalidParameter, match="quality: applies to JPEG and WebP"):
        check_quality(media_type, image_types)
