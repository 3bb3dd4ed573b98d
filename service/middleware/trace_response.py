"""Adds the id of a request's trace to the headers of the answer, and the request id and the refusal to its span."""

from asgi_correlation_id import correlation_id
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.runtime import tracing


class TraceResponseMiddleware:
    """Adds the header `traceresponse` of W3C Trace Context to the answers of requests that are traced.

    FastAPI opens their spans, outside of all middlewares, and reads `traceparent`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_trace(message: Message) -> None:
            # The span ends with the last byte: this is the time to add to it.
            if message["type"] == "http.response.start" and (parent := tracing.traceparent()):
                MutableHeaders(scope=message)["traceresponse"] = parent
                tracing.annotate("genre.request_id", correlation_id.get() or "")
                tracing.annotate("genre.problem", problems.refusal(scope) or "")
            await send(message)

        await self.app(scope, receive, send_with_trace)
