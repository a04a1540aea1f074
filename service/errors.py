"""Every way a request can fail: status, `type` and title on the class, the detail on the instance.

    Problem
    ├── 400  MalformedRequest, MalformedBody, InvalidParameter, AmbiguousModel
    ├── 401  Unauthorized
    ├── 403  Forbidden
    ├── 404  NotFound, ModelNotFound
    ├── 405  MethodNotAllowed
    ├── 406  NotAcceptable
    ├── 408  SlowRequest
    ├── 409  OperationNotOffered
    ├── 413  BodyTooLarge, ImageTooLarge, TooManyItems
    ├── 415  UnsupportedMediaType, UnsupportedImage
    ├── 422  InvalidImage, InvalidArray
    ├── 429  RateExceeded
    ├── 431  HeadTooLarge
    ├── 500  InternalError
    ├── 503  Overloaded, ModelRefused
    └── 504  DeadlineExceeded

A detail says what is wrong and how to mend it; it never repeats the caller's bytes.
"""

from collections.abc import Iterator
from typing import ClassVar, Self


class Problem(Exception):
    """The base: answered as `application/problem+json` (RFC 9457)."""

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail[:1000]
        self.headers = headers or {}

    def bare(self) -> Self:
        """Itself without the frames that it came through. They hold what was sent, and where one of them holds the
        problem it is a circle: 60 MB for each bad body, until the collector happens to come by.
        """
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self

    def body(self, request_id: str) -> dict[str, str | int]:
        """The members of the JSON answer."""
        return {
            "type": f"/problems/{self.type}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": request_id,
        }


class MalformedRequest(Problem):
    status, type, title = 400, "malformed-request", "The request is not HTTP"


class MalformedBody(Problem):
    status, type, title = 400, "malformed-body", "The body is not what its Content-Type says"


class InvalidParameter(Problem):
    status, type, title = 400, "invalid-parameter", "A query parameter or header has no meaning here"


class AmbiguousModel(Problem):
    status, type, title = 400, "ambiguous-model", "Several models offer this operation and none is the default"


class Unauthorized(Problem):
    status, type, title = 401, "unauthorized", "A key is wanted here"


class Forbidden(Problem):
    status, type, title = 403, "forbidden", "This key does not open this"


class NotFound(Problem):
    status, type, title = 404, "not-found", "There is nothing at this address"


class ModelNotFound(Problem):
    status, type, title = 404, "model-not-found", "No such model or version"


class MethodNotAllowed(Problem):
    status, type, title = 405, "method-not-allowed", "This address does not take that method"


class NotAcceptable(Problem):
    status, type, title = 406, "not-acceptable", "None of the accepted types can be answered"


class SlowRequest(Problem):
    status, type, title = 408, "slow-request", "The request came too slowly"


class OperationNotOffered(Problem):
    status, type, title = 409, "operation-not-offered", "The model does not offer this operation"


class BodyTooLarge(Problem):
    status, type, title = 413, "body-too-large", "The body is over the limit"


class ImageTooLarge(Problem):
    status, type, title = 413, "image-too-large", "The picture has more pixels than the limit"


class TooManyItems(Problem):
    status, type, title = 413, "too-many-items", "The request has more items than the limit"


class UnsupportedMediaType(Problem):
    status, type, title = 415, "unsupported-media-type", "This Content-Type is not taken"


class UnsupportedImage(Problem):
    status, type, title = 415, "unsupported-image", "This picture format is not taken"


class InvalidImage(Problem):
    status, type, title = 422, "invalid-image", "The picture cannot be read"


class InvalidArray(Problem):
    status, type, title = 422, "invalid-array", "The numbers do not fit the model"


class RateExceeded(Problem):
    status, type, title = 429, "rate-exceeded", "This key asks too often"


class HeadTooLarge(Problem):
    status, type, title = 431, "head-too-large", "The request's address and headers are over the limit"


class InternalError(Problem):
    status, type, title = 500, "internal-error", "Something went wrong on our side"


class Overloaded(Problem):
    status, type, title = 503, "overloaded", "Too much work is waiting"


class ModelRefused(Problem):
    status, type, title = 503, "model-refused", "This version of the model was refused"


class DeadlineExceeded(Problem):
    status, type, title = 504, "deadline-exceeded", "No answer within the deadline"


def problems() -> Iterator[type[Problem]]:
    """Every kind of problem, in the order of their status."""
    return iter(sorted(Problem.__subclasses__(), key=lambda kind: kind.status))
