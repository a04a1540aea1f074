"""An ASGI endpoint for one operation: read the body, parse, admit, decode, run, encode, respond."""

from dataclasses import dataclass
from math import inf
from time import perf_counter

import structlog
from starlette.types import Receive, Scope, Send

from service.card import ImageInput, Operation
from service.codec import LazyPicture, is_fast_path, types_too_small
from service.engine.admission import BodyReservation
from service.engine.deadline import Deadline
from service.engine.images import image_media_type, output_size
from service.engine.model import LoadedModel
from service.engine.pipeline import LARGE_REQUEST_BYTES, Job, JobGuards, StageExecutor, admit, infer
from service.engine.strength import check_removal
from service.errors import (
    InternalError,
    ModelNotFound,
    ModelRejected,
    OperationNotSupported,
    Problem,
)
from service.http.body import ParsedBody, decode_inputs, parse_body
from service.http.context import RequestContext, create_context, get_state, send_response, trace_ids
from service.http.disconnect import INLINE_BODY_BYTES, ClientDisconnect, cancel_on_disconnect, read_body
from service.http.forms import Form, is_form, parse_form
from service.http.media_types import MULTIPART, NPY, URLENCODED
from service.http.negotiation import NegotiationInput, check_map, check_metadata, check_quality, response_type
from service.http.parameters import RequestParameters, client_timeout, merge_form_fields, parse_request
from service.http.problems import problem_response
from service.http.responses import ResponseParts, render
from service.repository.defaults import default_fault
from service.repository.suggestions import describe_missing, list_models
from service.state import State
from service.types import Headers

INLINE_ARRAY_BYTES = 1 << 20
"""Largest array used without conversion, and largest image of which only the header is parsed, on the event loop."""

log = structlog.get_logger()


@dataclass(slots=True)
class Call:
    """One call of an operation: what its stages share."""

    state: State
    context: RequestContext
    receive: Receive
    model: LoadedModel
    parameters: RequestParameters


class Endpoint:
    """One operation as an ASGI callable."""

    def __init__(self, operation: Operation) -> None:
        self.operation: Operation = operation
        self.route = f"/{operation}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope.get("context") or create_context(scope)
        context.route, context.status = self.route, 499  # the status if the client disconnects
        try:
            body, headers = await self.handle(scope, receive, context)
            context.status = 200
        except ClientDisconnect:
            return
        except Problem as problem:
            context.rejection = problem.type
            context.status, body, headers = problem_response(problem.without_traceback(), context.id)
        except Exception:  # clients learn nothing about internal errors but the request id
            log.exception("request_failed", id=context.id, path=context.route, **trace_ids(context))
            problem = InternalError("quote the id when reporting this")
            context.rejection = problem.type
            context.status, body, headers = problem_response(problem, context.id)
        await send_response(context, send, body, headers)

    async def handle(self, scope: Scope, receive: Receive, context: RequestContext) -> tuple[bytes, Headers]:
        """Return the body and headers of the response. Raises a Problem or ClientDisconnect."""
        state, parameters = get_state(scope), parse_request(scope, context.headers, self.operation)
        settings = state.settings
        timeout = client_timeout(context.headers)
        model = None if parameters.media_type in (MULTIPART, URLENCODED) else await self._model(state, parameters)
        with BodyReservation(state.admission) as reservation:
            body: bytes | Form = await read_body(receive, context.headers, settings.max_body_bytes, reservation)
            with Deadline(state.timer, settings.request_timeout, timeout) as deadline:
                limits = JobGuards(state.admission, deadline, settings.request_timeout_per_megapixel, state.metrics)
                if model is None and is_form(body, parameters.media_type):
                    body = await self._parse_form(state, body, parameters.content_type)
                    parameters = merge_form_fields(parameters, body.fields, self.operation)
                model = model or await self._model(state, parameters)
                context.model = model.card.name
                return await self.process(Call(state, context, receive, model, parameters), body, limits)

    async def _model(self, state: State, parameters: RequestParameters) -> LoadedModel:
        """Return the model that the parameters choose. Raises a Problem if it does not support the operation."""
        name = parameters.model or state.store.default_for(self.operation, state.settings)
        version = parameters.version or (None if parameters.model else state.settings.default_version(self.operation))
        try:
            model = await state.store.get(name, version or state.store.choose_version(name))
            if self.operation not in model.runners:
                raise OperationNotSupported(
                    f"model: {model.card.name} does not support {self.operation}, only {', '.join(model.runners)}; "
                    f"{list_models(state.store, self.operation)}"
                )
        except (ModelNotFound, ModelRejected, OperationNotSupported) as problem:
            fault = default_fault(state.store.snapshot, state.settings, self.operation)
            if parameters.model and isinstance(problem, ModelNotFound) and name not in state.store.snapshot.versions:
                raise ModelNotFound(describe_missing(state.store, name, self.operation)) from problem
            if parameters.model or not fault:
                raise
            raise type(problem)(
                f"model: the default model of the service cannot be used: {fault}; name a model"
            ) from problem
        return model

    async def _parse_form(self, state: State, data: bytes, content_type: str) -> Form:
        executor = StageExecutor(state.pool, inline=len(data) <= INLINE_BODY_BYTES)
        return await executor.run(parse_form, data, content_type, self.operation, state.settings.max_items)

    async def process(self, call: Call, source: bytes | Form, limits: JobGuards) -> tuple[bytes, Headers]:
        """Parse the body, run the model on it and encode the results. Return the body and headers of the response."""
        started_at = perf_counter()
        card, settings, parameters = call.model.card, call.state.settings, call.parameters
        media_type = parameters.media_type
        check_removal(parameters.removal, card)
        executor = StageExecutor(call.state.pool, inline=is_cheap_to_parse(source, media_type))
        body = await executor.run(parse_body, source, media_type, card, self.operation, settings)
        if body.decoded_bytes > (inf if media_type == NPY else 3 * INLINE_BODY_BYTES):
            executor.inline = False
        job = Job(call.model, self.operation, len(body), body.decoded_bytes, parameters.removal, started_at=started_at)
        response_media_type = self._media_type(call, body)
        with admit(job, limits):
            inputs = await executor.run(decode_inputs, body, card, self.operation, settings, parameters)
            executor.max_output_bytes = INLINE_ARRAY_BYTES if response_media_type == NPY else 3 * INLINE_BODY_BYTES
            inference = infer(job, inputs.arrays, executor)
            large = job.decoded_bytes > LARGE_REQUEST_BYTES
            result = await (cancel_on_disconnect(call.receive, inference) if large else inference)
            keep_metadata = (parameters.metadata or settings.metadata) == "keep"
            parts = ResponseParts(
                card=card,
                operation=self.operation,
                inputs=inputs,
                result=result,
                request_id=call.context.id,
                image_quality=settings.image_quality,
                keep_metadata=keep_metadata,
                quality=parameters.quality,
                map=parameters.map,
                on_figures=call.state.metrics.observe_figures,
            )
            payload, headers = await executor.run(render, parts, response_media_type)
        call.context.record_job(job)
        if job.timings:
            headers.append((b"server-timing", job.timings.header()))
        return payload, headers

    def _media_type(self, call: Call, body: ParsedBody) -> str:
        """Choose the media type of the response, before anything is decoded.

        Raises NotAcceptable, and InvalidParameter if `quality` or `metadata` has no effect.
        """
        card = call.model.card
        first = next((image for image in body.images if isinstance(image, LazyPicture)), None)
        size = output_size(first, body.array, card, self.operation)
        answer = NegotiationInput(
            images=self.operation != "encode" and isinstance(card.input, ImageInput),
            body_kind=body.kind,
            many=len(body) > 1,
            image_type="image/png" if call.parameters.map else image_media_type(first),
            accept=call.parameters.accept,
            format=call.parameters.format,
            too_small=types_too_small(size),
            bitstream=self.operation == "encode" and card.bitstream is not None,
        )
        media_type = response_type(answer)
        parameters = call.parameters
        check_map(parameters.map, media_type, card)
        if parameters.quality is not None and (first or not body.images):  # else an image has a problem
            images = (image for image in body.images if isinstance(image, LazyPicture))
            check_quality(media_type, {image_media_type(image) for image in images})
        if parameters.metadata is not None:
            check_metadata(media_type, has_image=answer.images and bool(body.images))
        return media_type


def is_cheap_to_parse(source: bytes | Form, media_type: str) -> bool:
    """Return whether parsing the body takes less than a millisecond, whatever it contains."""
    if isinstance(source, Form):
        return sum(len(image) for image in source.images if isinstance(image, bytes)) <= INLINE_BODY_BYTES
    if len(source) <= INLINE_BODY_BYTES:
        return True
    unconverted = media_type == NPY or (media_type.startswith("image/") and is_fast_path(source))
    return unconverted and len(source) <= INLINE_ARRAY_BYTES
