"""Serves the operator page: viser's page and socket, our own beside it, one gate before both."""

import asyncio
import gzip
import http
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files

import viser
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

from manip_bringup.page_token import Asked, Gatekeeper, Verdict

# The page's own line to the node, beside viser's.
BENCH_PATH = "/bench"
# Guessing a token is slow for everybody together, not for each who guesses.
_WRONG_PAUSE_S = 0.5
_PAGE = files("manip_bringup") / "page"
_HTML = "text/html; charset=utf-8"
# Sent by a page of our own: a redirect that began on another site would not carry the cookie.
_ENTERED = "<!doctype html><script>location.replace('/')</script>"
_FOREIGN = (
    "403: this request came from another site's page, or to a name that is not this machine's"
)

Handler = Callable[[ServerConnection], Awaitable[None]]


def serve_page(
    host: str, port: int, gate: Gatekeeper, bench: Handler, label: str
) -> viser.ViserServer:
    """Serve viser's page with ours in it; ``bench`` handles connections to ``BENCH_PATH``.

    Raises:
        RuntimeError: The port is taken, or this viser cannot be guarded.
    """
    guard = _Guard(gate, bench)
    with _guarded(guard):
        server = viser.ViserServer(host=host, port=port, label=label, verbose=False)
    if guard.guarded and server.get_port() == port:
        return server
    server.stop()
    if guard.guarded:
        # viser takes the next free one, at which nobody would look.
        raise RuntimeError(f"cannot serve on {host}:{port}: the port is taken")
    raise RuntimeError(f"viser {viser.__version__} serves in a way that cannot be guarded")


class _Guard:
    """Stands between the network and viser's two handlers.

    Attributes:
        guarded: viser serves through it.
    """

    def __init__(self, gate: Gatekeeper, bench: Handler):
        self.guarded = False
        self._gate = gate
        self._bench = bench
        self._guesses = asyncio.Lock()
        self._index: bytes | None = None

    def wrap(self, serve):
        """``serve`` of websockets, with the gate before what it is given."""

        def guarded(handler, *where, process_request, **options):
            self.guarded = True

            async def request(connection: ServerConnection, asked: Request) -> Response | None:
                return await self._refusal(asked) or self._page(process_request, connection, asked)

            async def handle(connection: ServerConnection) -> None:
                ours = connection.request.path.partition("?")[0] == BENCH_PATH
                await (self._bench if ours else handler)(connection)

            return serve(handle, *where, process_request=request, **options)

        return guarded

    async def _refusal(self, asked: Request) -> Response | None:
        """What is answered instead; None where the request may go on."""
        try:
            headers = {name: asked.headers.get(name, "") for name in ("Host", "Origin", "Cookie")}
        except MultipleValuesError:
            return _answer(http.HTTPStatus.BAD_REQUEST, "400: a header came twice")
        verdict = self._gate.judge(
            Asked(asked.path, headers["Host"], headers["Origin"], headers["Cookie"])
        )
        if verdict is Verdict.ALLOW:
            return None
        if verdict is Verdict.ENTER:
            return _answer(http.HTTPStatus.OK, _ENTERED, cookie=self._gate.cookie)
        if verdict is Verdict.FOREIGN:
            return _answer(http.HTTPStatus.FORBIDDEN, _FOREIGN)
        wrong = verdict is Verdict.WRONG
        if wrong:
            async with self._guesses:
                await asyncio.sleep(_WRONG_PAUSE_S)
        form = (_PAGE / "token.html").read_text()
        said = "That is not the token." if wrong else ""
        return _answer(http.HTTPStatus.UNAUTHORIZED, form.replace("{said}", said))

    def _page(self, process_request, connection, asked: Request) -> Response | None:
        """viser's answer, with our part put into its page."""
        answer = process_request(connection, asked)
        if answer is None or not answer.headers.get("Content-Type", "").startswith("text/html"):
            return answer
        zipped = answer.headers.get("Content-Encoding") == "gzip"
        if self._index is None:
            page = gzip.decompress(answer.body) if zipped else answer.body
            self._index = gzip.compress(_with_bench(page))
        body = self._index if zipped else gzip.decompress(self._index)
        answer.body = body
        del answer.headers["Content-Length"]
        answer.headers["Content-Length"] = str(len(body))
        answer.headers["Cache-Control"] = "no-store"
        return answer


@contextmanager
def _guarded(guard: _Guard) -> Iterator[None]:
    """viser has no place for a gate of its own: its server is made with ours around it.

    It listens before its constructor returns, so that nothing else is served through the gate.
    """
    module = websockets.asyncio.server
    serve = module.serve
    module.serve = guard.wrap(serve)
    try:
        yield
    finally:
        module.serve = serve


def _with_bench(page: bytes) -> bytes:
    style, script = ((_PAGE / name).read_bytes() for name in ("bench.css", "bench.js"))
    ours = b"<style>" + style + b"</style><script>" + script + b"</script></head>"
    before, end, after = page.partition(b"</head>")
    if not end:
        raise RuntimeError("viser's page has no </head> to put the operator's bench before")
    return (before + ours + after).replace(b"<title>Viser</title>", b"<title>manip</title>", 1)


def _answer(status: http.HTTPStatus, body: str, cookie: str = "") -> Response:
    content = body.encode()
    headers = Headers()
    headers["Content-Type"] = _HTML
    headers["Content-Length"] = str(len(content))
    headers["Cache-Control"] = "no-store"
    headers["Referrer-Policy"] = "no-referrer"
    if cookie:
        headers["Set-Cookie"] = cookie
    return Response(status.value, status.phrase, headers, content)
