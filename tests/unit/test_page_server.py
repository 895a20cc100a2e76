"""The operator page as it is served: nothing without the token, and the bench's own line."""

import asyncio
import http.client
import json
import socket
import time

import pytest
import viser
import websockets.asyncio.server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from manip_bringup import page_server
from manip_bringup.bench_socket import BenchSocket
from manip_bringup.page_server import BENCH_PATH, serve_page
from manip_bringup.page_token import Gatekeeper

TOKEN = "correct horse battery"


class Listener:
    """Keeps what pages say."""

    def __init__(self):
        self.heard = []

    def opened(self, page):
        self.heard.append((page, "opened"))

    def said(self, page, message):
        self.heard.append((page, message))

    def closed(self, page):
        self.heard.append((page, "closed"))

    def wait(self, what):
        until = time.monotonic() + 10.0
        while what not in self.heard:
            assert time.monotonic() < until, f"{what} is not in {self.heard}"
            time.sleep(0.01)


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """A page that is served, and requests to it."""

    def __init__(self, token):
        self.listener = Listener()
        self.bench = BenchSocket(self.listener)
        self.port = unused_port()
        self.gate = Gatekeeper(token, self.port)
        self.server = serve_page("127.0.0.1", self.port, self.gate, self.bench.handle, "test")
        self.host = f"127.0.0.1:{self.port}"
        self.cookie = self.gate.cookie.partition(";")[0]

    def get(self, target="/", **headers):
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        line.request("GET", target, headers=headers)
        answer = line.getresponse()
        return answer, answer.read()

    def connect(self, path, **headers):
        protocols = [f"viser-v{viser.__version__}"] if path == "/" else None
        return connect(
            f"ws://{self.host}{path}", additional_headers=headers, subprotocols=protocols
        )


@pytest.fixture(scope="module")
def guarded():
    served = Served(TOKEN)
    yield served
    served.server.stop()


@pytest.fixture(scope="module")
def local():
    served = Served("")
    yield served
    served.server.stop()


def test_without_the_token_nothing_is_shown(guarded):
    for target in ("/", "/index.html", "/anything", "//", "/?token=", "/..%2f"):
        for headers in ({}, {"Cookie": "manip_page=1"}, {"Upgrade": "WebSocket"}):
            answer, body = guarded.get(target, **headers)
            assert answer.status == 401, (target, headers)
            assert b"Operator page" in body and b"iser" not in body and len(body) < 5000
            assert answer.getheader("Set-Cookie") is None


@pytest.mark.parametrize("path", ["/", BENCH_PATH, f"{BENCH_PATH}?token=wrong", "/x"])
def test_without_the_token_nothing_can_be_sent(guarded, path):
    before = list(guarded.listener.heard)
    with pytest.raises(InvalidStatus) as refused:
        guarded.connect(path)
    assert refused.value.response.status_code == 401
    assert guarded.listener.heard == before and not guarded.server.get_clients()


def test_a_wrong_token_takes_its_time_and_a_right_one_opens(guarded):
    started = time.monotonic()
    answer, body = guarded.get("/?token=wrong")
    assert answer.status == 401 and b"not the token" in body
    assert time.monotonic() - started >= page_server._WRONG_PAUSE_S
    answer, body = guarded.get("/?token=correct+horse+battery")
    assert answer.status == 200 and answer.getheader("Set-Cookie").startswith(guarded.cookie)
    assert b"iser" not in body and b"location.replace" in body
    answer, body = guarded.get("/", Cookie=guarded.cookie)
    assert answer.status == 200 and len(body) > 100_000


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_bench_is_in_the_page(guarded, encoding):
    import gzip

    answer, body = guarded.get("/", Cookie=guarded.cookie, **{"Accept-Encoding": encoding})
    assert int(answer.getheader("Content-Length")) == len(body)
    page = gzip.decompress(body) if encoding == "gzip" else body
    head = page.partition(b"</head>")[0]
    script = (page_server._PAGE / "bench.js").read_bytes()
    assert page.count(script) == 1 and script in head
    # What would end the script, or the style, early.
    assert b"</script" not in script


def test_with_the_token_both_lines_are_open(guarded):
    with guarded.connect("/", Cookie=guarded.cookie) as viser_s:
        assert viser_s.recv(timeout=10)
    with guarded.connect(BENCH_PATH, Cookie=guarded.cookie) as line:
        line.send(json.dumps({"press": "stop"}))
        guarded.listener.wait((1, {"press": "stop"}))
        guarded.bench.push(lambda page: {"you": page})
        assert json.loads(line.recv(timeout=10)) == {"you": 1}
    guarded.listener.wait((1, "closed"))


@pytest.mark.parametrize("path", ["/", BENCH_PATH])
def test_other_sites_pages_cannot_connect(local, guarded, path):
    for served in (local, guarded):
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"}):
            with pytest.raises(InvalidStatus) as refused:
                served.connect(path, Cookie=served.cookie, **headers)
            assert refused.value.response.status_code == 403
    answer, _ = local.get("/", Host=f"evil.example:{local.port}")
    assert answer.status == 403
    answer, body = local.get("/")
    assert answer.status == 200 and len(body) > 100_000


def test_pages_that_misbehave_lose_their_line_alone(local):
    with local.connect(BENCH_PATH) as calm, local.connect(BENCH_PATH) as rude:
        for raw in ("{", "[" * 1500, b"\xff\xfe", "7"):
            rude.send(raw)
        rude.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            rude.recv(timeout=10)
        calm.send(json.dumps({"beat": True}))
        said = {"beat": True}
        until = time.monotonic() + 10.0
        while not any(message == said for _, message in local.listener.heard):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_slow_page_gets_the_last_state_alone(local):
    with local.connect(BENCH_PATH) as line:
        line.send("0")
        until = time.monotonic() + 10.0
        while not local.bench._lines and time.monotonic() < until:
            time.sleep(0.01)

        async def burst():
            for number in range(50):
                local.bench._push(lambda page, number=number: {"number": number})

        loop = local.server.get_event_loop()
        asyncio.run_coroutine_threadsafe(burst(), loop).result(10)
        assert json.loads(line.recv(timeout=10)) == {"number": 49}


def test_a_port_that_is_taken_is_said(local):
    serve = websockets.asyncio.server.serve
    with pytest.raises(RuntimeError, match=f"cannot serve on 127.0.0.1:{local.port}"):
        serve_page("127.0.0.1", local.port, local.gate, local.bench.handle, "test")
    assert websockets.asyncio.server.serve is serve


def test_a_viser_that_cannot_be_guarded_is_not_used(monkeypatch):
    """If a later version serves in another way, the page must not stand open."""
    monkeypatch.setattr(page_server._Guard, "wrap", lambda self, serve: serve)
    port = unused_port()
    with pytest.raises(RuntimeError, match="cannot be guarded"):
        serve_page("127.0.0.1", port, Gatekeeper(TOKEN, port), None, "test")
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
