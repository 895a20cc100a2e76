"""Who drives, what was pressed, and whether an operator is there: the page's side of the clutch."""

from dataclasses import dataclass

# What a page may ask for.
PRESSES = (
    "stop",
    "engage",
    "release",
    "reset_stop",
    "recover",
    "reset",
    "calibrate",
    "start",
    "success",
    "failure",
    "discard",
)
BEAT = "beat"
_LONGEST_TEXT = 200
# Pages send a sign of life five times a second.
SILENT_S = 0.8
# Without its operator's page the safety core releases the clutch, by default after 1 s. No other
# page's signs of life are passed on before that has surely happened.
QUIET_S = 2.0


@dataclass(frozen=True)
class Wish:
    """What is to be done: a name of ``PRESSES``, or ``BEAT``: an operator is there."""

    name: str
    text: str = ""


@dataclass
class _Page:
    beat_at: float
    held: bool = False


class OperatorDesk:
    """Turns what all open pages say into wishes; times in [s] by one clock, as arguments.

    The page that engaged last drives. Only its signs of life are passed on, so that a second page,
    which somebody else looks at, does not stand in for the operator's own. While none drives,
    those of every page are that somebody is at.

    Attributes:
        driver: Number of the page that drives; None while none does.
        refused: Messages that said nothing known.
    """

    def __init__(self):
        self.driver: int | None = None
        self.refused = 0
        self._pages: dict[int, _Page] = {}
        self._quiet_until = -float("inf")

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    def opened(self, page: int, now: float) -> None:
        """A page is open from now on."""
        self._pages[page] = _Page(now)

    def closed(self, page: int, now: float) -> list[Wish]:
        """A page is gone, whatever the reason."""
        gone = self._pages.pop(page, None)
        if page == self.driver:
            self._lose_driver(now)
        return [Wish("release")] if gone is not None and gone.held else []

    def hear(self, page: int, message: object, now: float) -> list[Wish]:
        """What a page's message asks for.

        Args:
            page: Its number.
            message: ``{"beat": attended}``, ``{"press": name, "text": ...}`` or
                ``{"hold": down}``; anything else is counted and passed over. A page is attended
                while it is visible and somebody has touched it.
            now: [s].
        """
        known = self._pages.get(page)
        if known is None or not isinstance(message, dict):
            self.refused += 1
            return []
        attended, name, down = (message.get(key) for key in ("beat", "press", "hold"))
        if isinstance(attended, bool):
            return self._beat(page, known, attended, now)
        if isinstance(down, bool):
            return self._hold(page, known, down, now)
        text = message.get("text", "")
        if name in PRESSES and isinstance(text, str):
            if name == "engage":
                return self._engage(page, known, now)
            if name in ("release", "stop"):
                known.held = False
            return [Wish(name, text[:_LONGEST_TEXT])]
        self.refused += 1
        return []

    def tick(self, now: float) -> list[Wish]:
        """What follows from silence; to be called often."""
        wishes = []
        for number, page in self._pages.items():
            if now - page.beat_at <= SILENT_S:
                continue
            if page.held:
                page.held = False
                wishes.append(Wish("release"))
            if number == self.driver:
                self._lose_driver(now)
        return wishes

    def _beat(self, number: int, page: _Page, attended: bool, now: float) -> list[Wish]:
        if not attended:
            return []
        page.beat_at = now
        drives = number == self.driver
        free = self.driver is None and now >= self._quiet_until
        return [Wish(BEAT)] if drives or free else []

    def _engage(self, number: int, page: _Page, now: float) -> list[Wish]:
        self.driver = number
        self._quiet_until = -float("inf")
        page.beat_at = now
        return [Wish(BEAT), Wish("engage")]

    def _hold(self, number: int, page: _Page, down: bool, now: float) -> list[Wish]:
        if down == page.held:
            return []
        page.held = down
        return self._engage(number, page, now) if down else [Wish("release")]

    def _lose_driver(self, now: float) -> None:
        self.driver = None
        self._quiet_until = now + QUIET_S
