"""Names of the documented HTTP headers, from which the CORS lists and the documentation are made."""

FIGURE_HEADERS = {
    "mse": "X-MSE",
    "psnr": "X-PSNR",
    "error_percentile": "X-Error-Percentile",
    "unusual": "X-Unusual",
    "noise_sigma": "X-Noise-Sigma",
}
"""Figures of an image response, by their JSON field."""

INPUT_CHANGE_HEADERS = {
    "original_size": "X-Original-Size",
    "original_bit_depth": "X-Original-Bit-Depth",
    "truncated": "X-Truncated",
}
"""Differences between the image sent and the model's input, by their JSON field."""

METADATA_HEADERS = {"metadata_dropped": "X-Metadata-Dropped"}
"""What the response does not carry of the image sent, by its JSON field."""

MODEL_HEADERS = ("X-Model", "X-Model-Version")
COMMON_RESPONSE_HEADERS = ("X-Request-ID", "Server-Timing", "Retry-After")
PROBLEM_HEADERS = ("Accept-Encoding", "Allow", "WWW-Authenticate")
"""Headers of 415, 405 and 401 responses."""

REQUEST_HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "X-Request-Timeout", "traceparent")
"""Request headers that the service reads and that browsers send to other origins only when allowed."""

TRACING_HEADERS = ("tracestate", "baggage")
"""Request headers that tracing libraries send along with `traceparent`."""

TRACE_RESPONSE = "traceresponse"
"""Response header with the trace of the request, if it is traced."""

OPEN_INFERENCE_HEADERS = ("Inference-Header-Content-Length",)
"""Header of requests and responses of the Open Inference Protocol: the bytes of their JSON part."""

CORS_ALLOWED_HEADERS = [*REQUEST_HEADERS, *OPEN_INFERENCE_HEADERS, "Content-Encoding", *TRACING_HEADERS]
CORS_EXPOSED_HEADERS = [
    *COMMON_RESPONSE_HEADERS,
    *PROBLEM_HEADERS,
    *MODEL_HEADERS,
    *FIGURE_HEADERS.values(),
    *INPUT_CHANGE_HEADERS.values(),
    *METADATA_HEADERS.values(),
    *OPEN_INFERENCE_HEADERS,
    TRACE_RESPONSE,
]
"""Response headers that pages of the origins in `cors_origins` may read."""
