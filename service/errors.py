"""Every error that a request can get: status, `type` and title on the class, the detail on the instance.

    Problem
    ├── 400  MalformedRequest, MalformedBody, InvalidParameter, AmbiguousModel
    ├── 401  Unauthorized
    ├── 403  Forbidden
    ├── 404  NotFound, ModelNotFound
    ├── 405  MethodNotAllowed
    ├── 406  NotAcceptable
    ├── 408  RequestTimeout
    ├── 409  OperationNotSupported
    ├── 413  BodyTooLarge, ImageTooLarge, TooManyItems
    ├── 415  UnsupportedMediaType, UnsupportedImage
    ├── 422  InvalidImage, TruncatedImage, InvalidArray
    ├── 429  RateLimited
    ├── 431  HeadersTooLarge
    ├── 500  InternalError
    ├── 503  Overloaded, QueueTimeout, ModelRejected
    └── 504  DeadlineExceeded

A detail says what is wrong and how to fix it. It never repeats bytes of the request.
"""

from collections.abc import Iterator
from typing import ClassVar, Self


class Problem(Exception):
    """Base class of all problems. Responses are `application/problem+json` (RFC 9457).

    `detail` is cut to 1000 characters. `retry_after`: seconds of the header `Retry-After`, unless `headers` has it;
    every problem of status 429 or 503 has some.
    """

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]
    retry_after: ClassVar[int | None] = None

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail[:1000]
        self.headers = {"retry-after": str(self.retry_after)} if self.retry_after else {}
        self.headers.update(headers or {})

    def without_traceback(self) -> Self:
        """Drop the traceback and return the problem.

        A traceback keeps the request body alive, through a reference cycle, until the next garbage collection: 60 MB
        for each bad body.
        """
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self

    def to_dict(self, request_id: str) -> dict[str, str | int]:
        """Return the members of the problem document."""
        return {
            "type": f"/problems/{self.type}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": request_id,
        }


class MalformedRequest(Problem):
    """The request is not valid HTTP/1.1."""

    status, type, title = 400, "malformed-request", "Malformed HTTP request"


class MalformedBody(Problem):
    """The body cannot be parsed as its Content-Type, or has a field that is unknown."""

    status, type, title = 400, "malformed-body", "The body does not match its Content-Type"


class InvalidParameter(Problem):
    """A query parameter, form field or header is unknown, repeated, out of range or without effect."""

    status, type, title = 400, "invalid-parameter", "Invalid parameter"


class AmbiguousModel(Problem):
    """The request names no model, several support the operation, and none is the default."""

    status, type, title = 400, "ambiguous-model", "Several models support this operation and none is the default"


class Unauthorized(Problem):
    """The request has no valid API key."""

    status, type, title = 401, "unauthorized", "Authentication required"


class Forbidden(Problem):
    """The API key does not allow this path."""

    status, type, title = 403, "forbidden", "Insufficient permissions"


class NotFound(Problem):
    """The path does not exist."""

    status, type, title = 404, "not-found", "Not found"


class ModelNotFound(Problem):
    """There is no model of this name, or no such version of it."""

    status, type, title = 404, "model-not-found", "No such model or version"


class MethodNotAllowed(Problem):
    """The path exists, but not with this method. The header `Allow` lists its methods."""

    status, type, title = 405, "method-not-allowed", "Method not allowed"


class NotAcceptable(Problem):
    """No available media type matches `Accept` or `format`, or can hold the response."""

    status, type, title = 406, "not-acceptable", "Not acceptable"


class RequestTimeout(Problem):
    """The headers or the body arrived too slowly."""

    status, type, title = 408, "request-timeout", "The request was sent too slowly"


class OperationNotSupported(Problem):
    """The model has no graph for the operation."""

    status, type, title = 409, "operation-not-supported", "The model does not support this operation"


class BodyTooLarge(Problem):
    """The body has more bytes than `max_body_bytes`."""

    status, type, title = 413, "body-too-large", "The body exceeds the size limit"


class ImageTooLarge(Problem):
    """An image has more pixels than the limit."""

    status, type, title = 413, "image-too-large", "The image exceeds the pixel limit"


class TooManyItems(Problem):
    """The request has more items than `max_items`."""

    status, type, title = 413, "too-many-items", "The request exceeds the item limit"


class UnsupportedMediaType(Problem):
    """The Content-Type is not one that the operation takes."""

    status, type, title = 415, "unsupported-media-type", "Unsupported media type"


class UnsupportedImage(Problem):
    """The data are not an image, or one of a format that is not accepted."""

    status, type, title = 415, "unsupported-image", "Unsupported image format"


class InvalidImage(Problem):
    """The image is empty, corrupt or of an unsupported kind of its format."""

    status, type, title = 422, "invalid-image", "Invalid image"


class TruncatedImage(Problem):
    """An image file ends too early. `can_be_allowed` says whether the part before the end can be decoded."""

    status, type, title = 422, "truncated-image", "Truncated image"

    can_be_allowed = False


class InvalidArray(Problem):
    """An array has the wrong shape, data type or range for the model."""

    status, type, title = 422, "invalid-array", "The array does not fit the model"


class RateLimited(Problem):
    """The API key has used up its rate."""

    status, type, title = 429, "rate-limited", "Rate limit exceeded"
    retry_after = 1


class HeadersTooLarge(Problem):
    """The request line and headers have more bytes than `max_header_bytes`."""

    status, type, title = 431, "headers-too-large", "The request line and headers exceed the limit"


class InternalError(Problem):
    """A bug, or a run of the model that failed. The log has the details under the request id."""

    status, type, title = 500, "internal-error", "Internal server error"


class Overloaded(Problem):
    """The service has too much work, is loading or is shutting down. The client should try again later."""

    status, type, title = 503, "overloaded", "The service is overloaded"
    retry_after = 1


class QueueTimeout(Problem):
    """The request has waited longer in the queue of the model than its own timeout."""

    status, type, title = 503, "queue-timeout", "The request waited longer than its timeout"
    retry_after = 1


class ModelRejected(Problem):
    """The version exists, but it failed a check when it was loaded."""

    status, type, title = 503, "model-rejected", "The model version was rejected"
    retry_after = 60


class DeadlineExceeded(Problem):
    """The request was not finished within its timeout."""

    status, type, title = 504, "deadline-exceeded", "The request timed out"


def problem_types() -> Iterator[type[Problem]]:
    """Return every subclass of `Problem`, sorted by status."""
    return iter(sorted(Problem.__subclasses__(), key=lambda kind: kind.status))
