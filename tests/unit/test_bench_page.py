"""The bench in a real browser: fingers, keys, signs of life, and what it shows."""

import socket
import threading
import time

import pytest

from manip_bringup.bench_socket import BenchSocket
from manip_bringup.bench_state import bench_state, for_page
from manip_bringup.browser import Page, find_browser
from manip_bringup.operator_desk import OperatorDesk
from manip_bringup.page_server import serve_page
from manip_bringup.page_token import Gatekeeper
from manip_bringup.viewer_status import Monitor, News, Teleop

pytestmark = [
    pytest.mark.skipif(find_browser() is None, reason="no Chromium on the PATH"),
    # A browser without a graphics card, on cores that others use too.
    pytest.mark.timeout(300),
]
_WAIT_S = 60.0
_KEYS = {"Space": " ", "KeyG": "g", "KeyH": "h", "KeyX": "x", "Digit1": "1", "Digit2": "2"}
_HIDE = """Object.defineProperty(document, 'visibilityState', {{value: '{}', configurable: true}});
document.dispatchEvent(new Event('visibilitychange'))"""


class Desk:
    """Stands for the node: keeps what the page asks for and tells it the state."""

    def __init__(self):
        self.desk, self.monitor = OperatorDesk(), Monitor()
        self.wishes, self.beats, self.open = [], [], set()
        self.state = {"engaged": False}
        self.socket = BenchSocket(self)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell)
        self._thread.start()

    def opened(self, page):
        self.open.add(page)
        self.desk.opened(page, time.monotonic())

    def said(self, page, message):
        self._take(self.desk.hear(page, message, time.monotonic()))

    def closed(self, page):
        self.open.discard(page)
        self._take(self.desk.closed(page, time.monotonic()))

    def _take(self, wishes):
        for wish in wishes:
            if wish.name == "beat":
                self.beats.append(time.monotonic())
            else:
                self.wishes.append((wish.name, wish.text))

    def _tell(self):
        while not self._ended.wait(0.1):
            now = time.monotonic()
            self.monitor.on_robot(now)
            self.monitor.on_teleop(Teleop(received=now, **self.state))
            self.monitor.on_news("recorder_node", News("", {"bag": "b", "size [MB]": "1"}, now))
            state = bench_state(self.monitor, self.desk, now)
            self.socket.push(lambda page, state=state: for_page(state, page))

    def close(self):
        self._ended.set()
        self._thread.join()


class Operator:
    """The page, and hands on it."""

    def __init__(self):
        self.node = Desk()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        token = "a token for a test"
        gate = Gatekeeper(token, port)
        self.server = serve_page("127.0.0.1", port, gate, self.node.socket.handle, "test")
        self.page = Page(f"http://127.0.0.1:{port}/?token={token.replace(' ', '+')}", (1024, 768))
        self.wait(lambda: self.text(".word") == "HOLD", "the page")

    def wait(self, condition, what):
        until = time.monotonic() + _WAIT_S
        while not condition():
            assert time.monotonic() < until, f"{what} did not come about: {self.node.wishes}"
            time.sleep(0.05)

    def told(self, **state):
        """Tell the page a state and wait until it shows it."""
        self.node.state = {"engaged": False} | state
        stopped, engaged = state.get("stopped", False), state.get("engaged", False)
        word = "STOPPED" if stopped else "FOLLOWING" if engaged else "HOLD"
        self.wait(lambda: self.text(".word") == word, word)
        self.node.wishes.clear()

    def asked(self, *wishes):
        """Wait until the page has asked for just these."""
        expected = [wish if isinstance(wish, tuple) else (wish, "") for wish in wishes]
        self.wait(lambda: len(self.node.wishes) >= len(expected), expected)
        time.sleep(0.1)
        assert self.node.wishes == expected
        self.node.wishes.clear()

    def text(self, selector):
        return self.page.evaluate(f"document.querySelector('#bench {selector}')?.textContent")

    def hidden(self, selector):
        return self.page.evaluate(f"document.querySelector('#bench {selector}').hidden")

    def key(self, code, kind):
        key = _KEYS[code]
        typed = {"text": key} if kind == "keyDown" else {}
        self.page.call("Input.dispatchKeyEvent", type=kind, code=code, key=key, **typed)

    def press(self, code):
        self.key(code, "keyDown")
        self.key(code, "keyUp")

    def mouse(self, selector, *kinds):
        box = f"document.querySelector('#bench {selector}').getBoundingClientRect()"
        x = self.page.evaluate(f"{box}.x + {box}.width / 2")
        y = self.page.evaluate(f"{box}.y + {box}.height / 2")
        for kind in kinds:
            self.page.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    def click(self, selector):
        self.mouse(selector, "mousePressed", "mouseReleased")

    def close(self):
        self.page.close()
        self.server.stop()
        self.node.close()


@pytest.fixture(scope="module")
def operator():
    made = Operator()
    yield made
    made.close()


def test_a_page_that_nobody_has_touched_is_not_the_operator_s(operator):
    """The first of this file. Whoever looks on only must not release the clutch by closing it."""
    time.sleep(1.0)
    assert operator.node.beats == []
    operator.mouse(".reason", "mousePressed", "mouseReleased")
    operator.wait(lambda: operator.node.beats, "signs of life")


def test_the_space_bar_stops(operator):
    operator.told(engaged=True)
    operator.press("Space")
    operator.asked("stop")
    # Wherever the focus is: on a button that space would press, or in a text field.
    for selector in (".engage", "input"):
        operator.page.evaluate(f"document.querySelector('#bench {selector}').focus()")
        operator.press("Space")
        operator.asked("stop")
    assert operator.page.evaluate("document.querySelector('#bench input').value") == ""
    # While the robot does not follow, a text may have blanks.
    operator.told()
    operator.press("Space")
    operator.press("KeyG")
    assert operator.page.evaluate("document.querySelector('#bench input').value") == " g"
    operator.page.evaluate("document.activeElement.blur()")
    operator.press("Space")
    operator.asked("stop")


def test_the_stop_is_sent_at_the_touch(operator):
    operator.told(engaged=True)
    operator.mouse(".stop", "mousePressed")
    operator.asked("stop")
    operator.mouse(".stop", "mouseReleased")
    operator.asked()


def test_clutch_by_finger_and_key(operator):
    operator.told()
    operator.click(".engage")
    operator.click(".release")
    operator.press("KeyG")
    operator.press("KeyX")
    operator.asked("engage", "release", "engage", "release")
    assert operator.text(".facts").endswith("this page drives")
    operator.mouse(".hold", "mousePressed")
    operator.asked("engage")
    operator.mouse(".hold", "mouseReleased")
    operator.asked("release")
    operator.key("KeyH", "keyDown")
    operator.key("KeyH", "keyDown")
    operator.asked("engage")
    operator.key("KeyH", "keyUp")
    operator.asked("release")


def test_a_stop_is_reset_by_a_long_press_alone(operator):
    operator.told(stopped=True)
    assert all(operator.hidden(name) for name in (".engage", ".hold", ".release"))
    operator.click(".confirm")
    time.sleep(1.0)
    operator.asked()
    operator.mouse(".confirm", "mousePressed")
    operator.asked("reset_stop")
    operator.mouse(".confirm", "mouseReleased")
    operator.told()
    assert operator.hidden(".confirm") and not operator.hidden(".engage")


def test_an_arm_that_is_not_ready_can_be_recovered_and_engaged(operator):
    operator.told(robot_ready=False, robot="the arm is in protective stop")
    operator.wait(lambda: not operator.hidden(".recover"), "the button")
    assert not operator.hidden(".engage")
    operator.mouse(".recover", "mousePressed")
    operator.asked("recover")
    operator.mouse(".recover", "mouseReleased")
    operator.told()
    operator.wait(lambda: operator.hidden(".recover"), "the button's end")


def test_episodes_are_marked(operator):
    operator.told()
    operator.page.evaluate("document.querySelector('#bench input').value = 'cube into bowl'")
    operator.click(".mark-start")
    operator.press("Digit2")
    operator.click(".mark-failure")
    operator.click(".mark-discard")
    operator.asked(("start", "cube into bowl"), "success", "failure", "discard")


def test_what_others_say_is_shown_as_text(operator):
    operator.told(engaged=True, warnings=("<img src=x>",), robot="<b>bad</b>")
    operator.wait(lambda: operator.text(".warning") == "<img src=x>.", "the warning")
    assert "<b>bad</b>" in operator.text(".facts")
    assert operator.page.evaluate("document.querySelectorAll('#bench img').length") == 0
    operator.told()


def test_signs_of_life_end_where_nobody_looks(operator):
    operator.told()
    operator.wait(lambda: time.monotonic() - operator.node.beats[-1] < 0.5, "signs of life")
    operator.mouse(".hold", "mousePressed")
    operator.asked("engage")
    operator.page.evaluate(_HIDE.format("hidden"))
    operator.asked("release")
    time.sleep(0.3)
    count = len(operator.node.beats)
    time.sleep(1.0)
    assert len(operator.node.beats) == count
    operator.mouse(".hold", "mouseReleased")
    operator.page.evaluate(_HIDE.format("visible"))
    operator.wait(lambda: len(operator.node.beats) > count, "signs of life")


def test_signs_of_life_end_with_the_page(operator):
    """The last of this file: the page is closed."""
    operator.press("KeyG")
    operator.asked("engage")
    operator.page.call("Page.navigate", url="about:blank")
    operator.wait(lambda: not operator.node.open, "the end of the page")
    assert operator.node.desk.driver is None
    count = len(operator.node.beats)
    time.sleep(0.5)
    assert len(operator.node.beats) == count
