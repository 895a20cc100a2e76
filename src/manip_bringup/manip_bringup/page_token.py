"""Who may use the operator page: its token, and what a request must bring. No network in it."""

import hashlib
import hmac
import ipaddress
import os
import secrets
from dataclasses import dataclass
from enum import Enum
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

# Names the token for all pages of a machine, where no parameter does.
VARIABLE = "MANIP_TOKEN"
# Short enough to be typed on a tablet, too long to be guessed.
SHORTEST = 12
_RANDOM_BYTES = 12


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def stored_token() -> Path:
    """The file that keeps a token made up here, so that a bookmark outlives a restart."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "manip" / "page_token"


def choose_token(host: str, given: str = "", store: Path | None = None) -> str:
    """The token that the page asks for; empty where it needs none.

    Args:
        host: Address that the page listens on.
        given: The user's own; empty: that of the environment, and for an address that others
            reach, one that is made up once and kept.
        store: Where it is kept; None for `stored_token`.

    Raises:
        ValueError: The user's own token is too short.
    """
    given = given or os.environ.get(VARIABLE, "")
    if given:
        if len(given) < SHORTEST:
            raise ValueError(
                f"the page's token must have at least {SHORTEST} characters, got {len(given)}"
            )
        return given
    return "" if is_loopback(host) else _kept(store or stored_token())


def _kept(store: Path) -> str:
    try:
        kept = store.read_text().strip()
        if len(kept) >= SHORTEST:
            return kept
    except OSError:
        pass
    made = secrets.token_urlsafe(_RANDOM_BYTES)
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        # Never readable by others, not even between making and changing its rights.
        store.unlink(missing_ok=True)
        with os.fdopen(os.open(store, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(made + "\n")
    except OSError:
        # A home that cannot be written to: this token lives as long as the page does.
        pass
    return made


class Verdict(Enum):
    """What becomes of a request."""

    ALLOW = "served"
    ENTER = "brings the right token: gets the cookie"
    ASK = "brings no token: is asked for it"
    WRONG = "brings a wrong token"
    FOREIGN = "comes from another site's page"


@dataclass(frozen=True)
class Asked:
    """What counts of a request: target of its first line, and the headers, empty where absent."""

    target: str
    host: str = ""
    origin: str = ""
    cookie: str = ""


class Gatekeeper:
    """Judges every request, pages and WebSockets alike.

    With a token, nothing is served to whoever does not bring it: in the address once
    (``/?token=…``), from then on as a cookie that scripts cannot read and that other sites' pages
    cannot send. Without one, the page listens on this machine alone; then requests must be made to
    a name of this machine, or any site that the operator happens to visit could press buttons
    through a name of its own that leads here (DNS rebinding).
    """

    def __init__(self, token: str, port: int):
        self._token = token
        # Cookies do not know ports: two pages on one machine must not take each other's.
        self._name = f"manip_page_{port}"
        key = hmac.new(token.encode(), b"operator page", hashlib.sha256)
        self._value = key.hexdigest()

    @property
    def cookie(self) -> str:
        """The header that lets a browser in."""
        return f"{self._name}={self._value}; Path=/; HttpOnly; SameSite=Strict"

    def judge(self, asked: Asked) -> Verdict:
        """What becomes of this request."""
        if asked.origin and _netloc(asked.origin) != asked.host.lower():
            return Verdict.FOREIGN
        if not self._token:
            return Verdict.ALLOW if is_loopback(_hostname(asked.host)) else Verdict.FOREIGN
        brought = parse_qs(urlsplit(asked.target).query).get("token")
        if brought:
            return Verdict.ENTER if _same(brought[0], self._token) else Verdict.WRONG
        return Verdict.ALLOW if self._knows(asked.cookie) else Verdict.ASK

    def _knows(self, cookie: str) -> bool:
        try:
            brought = SimpleCookie(cookie).get(self._name)
        except CookieError:
            return False
        return brought is not None and _same(brought.value, self._value)


def _same(brought: str, right: str) -> bool:
    # Takes as long for a token that is nearly right as for any other.
    return hmac.compare_digest(brought.encode(), right.encode())


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
