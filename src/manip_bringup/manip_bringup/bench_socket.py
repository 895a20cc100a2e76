"""The page's own line to the node: presses and signs of life in, the state out."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

_LONGEST = 2000


class Listener(Protocol):
    """Who is told what pages say; called on the server's own thread."""

    def opened(self, page: int) -> None: ...
    def said(self, page: int, message: object) -> None: ...
    def closed(self, page: int) -> None: ...


class BenchSocket:
    """Connections of all open pages, numbered from 1 in the order in which they came."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._numbers = itertools.count(1)
        self._lines: dict[int, _Line] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one page until it goes."""
        self._loop = asyncio.get_running_loop()
        page = next(self._numbers)
        line = self._lines[page] = _Line()
        sender = asyncio.create_task(line.send(connection))
        self._listener.opened(page)
        try:
            async for raw in connection:
                if len(raw) > _LONGEST:
                    await connection.close(1009)
                    break
                self._listener.said(page, _parsed(raw))
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            del self._lines[page]
            self._listener.closed(page)

    def push(self, state: Callable[[int], dict]) -> None:
        """Send each page its state; a slow page gets the last one only. From any thread."""
        if self._loop is not None and self._lines:
            self._loop.call_soon_threadsafe(self._push, state)

    def _push(self, state: Callable[[int], dict]) -> None:
        for page, line in self._lines.items():
            line.put(json.dumps(state(page)))


class _Line:
    """The way to one page."""

    def __init__(self):
        self._text = ""
        self._new = asyncio.Event()

    def put(self, text: str) -> None:
        self._text = text
        self._new.set()

    async def send(self, connection: ServerConnection) -> None:
        try:
            while True:
                await self._new.wait()
                self._new.clear()
                await connection.send(self._text)
        except ConnectionClosed:
            pass


def _parsed(raw: str | bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
