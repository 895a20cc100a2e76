"""Pictures of a web page, by a headless Chromium driven over its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    # WebGL without a graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)


def find_browser() -> str | None:
    """Path of a Chromium or Chrome on this machine."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


# Software rendering on a busy machine takes its time.
_PATIENCE_S = 180.0


class Page:
    """A page in a browser of its own.

    Args:
        url: What to open.
        size: Width and height of the view in [px].

    Raises:
        FileNotFoundError: There is no Chromium.
        RuntimeError: It does not start.
    """

    def __init__(self, url: str, size: tuple[int, int]):
        browser = find_browser()
        if browser is None:
            raise FileNotFoundError(
                f"no browser: none of {', '.join(_NAMES)} is on the PATH (apt install chromium)"
            )
        self._profile = tempfile.TemporaryDirectory(
            prefix="manip-browser-", ignore_cleanup_errors=True
        )
        self._process = subprocess.Popen(
            [browser, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._calls = 0
        try:
            target = self._request(f"http://127.0.0.1:{self._port()}/json/new?about:blank")
            self._socket = connect(target["webSocketDebuggerUrl"], max_size=None)
            width, height = size
            self.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=False,
            )
            self.call("Page.navigate", url=url)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def call(self, method: str, **parameters) -> dict:
        """Send a DevTools command and return its result."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=_PATIENCE_S))
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def evaluate(self, script: str):
        """Value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
            "value"
        )

    def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()

    def _port(self) -> int:
        file = Path(self._profile.name) / "DevToolsActivePort"
        for _ in range(300):
            if file.exists() and (lines := file.read_text().split()):
                return int(lines[0])
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError("the browser did not start")

    @staticmethod
    def _request(url: str) -> dict:
        request = urllib.request.Request(url, method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
