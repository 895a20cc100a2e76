"""The operator page's gate: who is let in, and how a token comes about."""

import stat
from urllib.parse import quote

import pytest

from manip_bringup import page_token
from manip_bringup.page_token import Asked, Gatekeeper, Verdict, choose_token, is_loopback

TOKEN = "correct horse battery"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(page_token.VARIABLE, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host, tmp_path):
    assert is_loopback(host)
    assert choose_token(host, store=tmp_path / "token") == ""
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "robot.lab", ""])
def test_an_address_that_others_reach_gets_one_that_lasts(host, tmp_path):
    store = tmp_path / "config" / "token"
    token = choose_token(host, store=store)
    assert len(token) >= page_token.SHORTEST
    assert choose_token(host, store=store) == token
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert choose_token(host, store=tmp_path / "other") != token


def test_a_home_that_cannot_be_written_to_still_gets_one(tmp_path):
    (tmp_path / "file").write_text("")
    assert len(choose_token("0.0.0.0", store=tmp_path / "file" / "token")) >= page_token.SHORTEST


def test_the_user_s_own_token(monkeypatch, tmp_path):
    assert choose_token("0.0.0.0", TOKEN, tmp_path / "token") == TOKEN
    # Also on this machine alone: somebody else may be logged in.
    assert choose_token("127.0.0.1", TOKEN) == TOKEN
    monkeypatch.setenv(page_token.VARIABLE, "from the environment")
    assert choose_token("127.0.0.1") == "from the environment"
    with pytest.raises(ValueError, match="at least 12 characters, got 5"):
        choose_token("0.0.0.0", "short")


def test_the_token_is_asked_for_once():
    gate = Gatekeeper(TOKEN, 8080)
    host = "10.0.0.7:8080"
    assert gate.judge(Asked("/", host)) is Verdict.ASK
    entered = gate.judge(Asked("/?token=correct%20horse+battery", host))
    assert entered is Verdict.ENTER
    cookie = gate.cookie.partition(";")[0]
    assert gate.judge(Asked("/", host, cookie=f"other=1; {cookie}")) is Verdict.ALLOW
    # Neither readable for scripts nor sent by other sites' pages, and not the token itself.
    assert "HttpOnly" in gate.cookie and "SameSite=Strict" in gate.cookie
    assert TOKEN not in gate.cookie


@pytest.mark.parametrize(
    "wrong", ["correct horse batterx", "correct", "x", TOKEN + "x", "\N{SNOWMAN}"]
)
def test_a_wrong_token_is_refused(wrong):
    gate = Gatekeeper(TOKEN, 8080)
    assert gate.judge(Asked(f"/?token={quote(wrong)}", "h:8080")) is Verdict.WRONG
    name = gate.cookie.partition("=")[0]
    for cookie in (f"{name}={quote(wrong)}", f"{name}=", f"{name}={TOKEN}", "=;=", "\x00"):
        assert gate.judge(Asked("/", "h:8080", cookie=cookie)) is Verdict.ASK


def test_another_page_s_cookie_is_no_good():
    first, other = Gatekeeper(TOKEN, 8080), Gatekeeper(TOKEN + "!", 8080)
    cookie = other.cookie.partition(";")[0]
    assert first.judge(Asked("/", "h:8080", cookie=cookie)) is Verdict.ASK


@pytest.mark.parametrize("token", ["", TOKEN])
def test_other_sites_pages_are_refused(token):
    gate = Gatekeeper(token, 8080)
    cookie = gate.cookie.partition(";")[0]
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null", "http://[", "https://x"):
        asked = Asked("/bench", "127.0.0.1:8080", origin, cookie)
        assert gate.judge(asked) is Verdict.FOREIGN
    own = Asked("/bench", "127.0.0.1:8080", "http://127.0.0.1:8080", cookie)
    assert gate.judge(own) is Verdict.ALLOW


def test_without_a_token_only_names_of_this_machine_are_answered():
    gate = Gatekeeper("", 8080)
    for host in ("127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.0.0.1:9000"):
        assert gate.judge(Asked("/", host)) is Verdict.ALLOW
    # What a name that an attacker points at 127.0.0.1 looks like; and no name at all.
    for host in ("evil.example:8080", "127.0.0.1.evil.example", "", "[", "10.0.0.7:8080"):
        assert gate.judge(Asked("/", host)) is Verdict.FOREIGN
