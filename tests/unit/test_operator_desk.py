"""Who drives, and when the signs of life of an operator's page are passed on."""

import random

import pytest

from manip_bringup.operator_desk import BEAT, PRESSES, QUIET_S, SILENT_S, OperatorDesk

ATTENDED, HIDDEN = {"beat": True}, {"beat": False}
ENGAGE = {"press": "engage"}


def names(wishes):
    return [wish.name for wish in wishes]


@pytest.fixture
def desk():
    made = OperatorDesk()
    for page in (1, 2):
        made.opened(page, 0.0)
    return made


def test_presses_are_passed_on(desk):
    for name in PRESSES:
        assert name in names(desk.hear(1, {"press": name}, 0.0))
    (wish,) = desk.hear(1, {"press": "start", "text": "cube " + "x" * 999}, 0.0)
    assert wish.text.startswith("cube ") and len(wish.text) == 200


@pytest.mark.parametrize(
    "said",
    [
        *(None, 3, [], {}, {"press": "fly"}, {"press": ["stop"]}, {"press": None}),
        *({"beat": 1}, {"hold": "down"}, {"press": "start", "text": 7}),
    ],
)
def test_what_says_nothing_known_is_counted(desk, said):
    assert desk.hear(1, said, 0.0) == []
    assert desk.refused == 1


def test_a_page_that_is_not_open_says_nothing(desk):
    desk.closed(1, 0.0)
    for said in (ENGAGE, ATTENDED, {"press": "stop"}, {"hold": True}):
        assert desk.hear(1, said, 0.0) == []
    assert desk.driver is None


def test_while_nobody_drives_every_attended_page_counts(desk):
    assert names(desk.hear(1, ATTENDED, 0.1)) == names(desk.hear(2, ATTENDED, 0.1)) == [BEAT]
    assert desk.hear(1, HIDDEN, 0.2) == []


def test_only_the_page_that_engaged_keeps_the_clutch(desk):
    assert names(desk.hear(1, ENGAGE, 0.0)) == [BEAT, "engage"]
    assert desk.driver == 1
    assert names(desk.hear(1, ATTENDED, 0.1)) == [BEAT]
    assert desk.hear(2, ATTENDED, 0.1) == []
    # Whoever engages last drives.
    desk.hear(2, ENGAGE, 0.2)
    assert desk.hear(1, ATTENDED, 0.3) == []
    assert names(desk.hear(2, ATTENDED, 0.3)) == [BEAT]


@pytest.mark.parametrize("end", ["closed", "silent", "hidden"])
def test_signs_of_life_end_with_the_operator_s_page(desk, end):
    desk.hear(1, ENGAGE, 0.0)
    lost = 0.0
    if end == "closed":
        desk.closed(1, 0.0)
    # The other page stays open and must not stand in for it until the clutch is surely released.
    passed = []
    for step in range(1, 60):
        now = 0.1 * step
        if end == "hidden":
            assert desk.hear(1, HIDDEN, now) == []
        if names(desk.hear(2, ATTENDED, now)):
            passed.append(now)
        desk.tick(now)
        lost = lost or (now if desk.driver is None else 0.0)
    assert lost <= SILENT_S + 0.2
    assert passed and passed[0] >= lost + QUIET_S - 0.11


def test_engaging_anew_ends_the_quiet(desk):
    desk.hear(1, ENGAGE, 0.0)
    desk.closed(1, 0.1)
    assert desk.hear(2, ATTENDED, 0.2) == []
    assert names(desk.hear(2, ENGAGE, 0.3)) == [BEAT, "engage"]
    assert names(desk.hear(2, ATTENDED, 0.4)) == [BEAT]


def test_hold_to_move_lasts_as_long_as_it_is_held(desk):
    assert names(desk.hear(1, {"hold": True}, 0.0)) == [BEAT, "engage"]
    assert desk.hear(1, {"hold": True}, 0.1) == []
    assert names(desk.hear(1, {"hold": False}, 0.2)) == ["release"]
    assert desk.hear(1, {"hold": False}, 0.3) == []


@pytest.mark.parametrize("end", ["closed", "silent"])
def test_hold_to_move_ends_with_its_page(desk, end):
    desk.hear(1, {"hold": True}, 0.0)
    desk.hear(2, ATTENDED, 0.0)
    if end == "closed":
        assert names(desk.closed(1, 0.1)) == ["release"]
    else:
        assert desk.tick(SILENT_S - 0.01) == []
        assert names(desk.tick(SILENT_S + 0.01)) == ["release"]
    assert desk.tick(9.0) == []


def test_a_stop_ends_the_hold(desk):
    desk.hear(1, {"hold": True}, 0.0)
    assert names(desk.hear(1, {"press": "stop"}, 0.1)) == ["stop"]
    assert desk.hear(1, {"hold": False}, 0.2) == []


def test_no_story_lets_another_page_keep_the_operator_s_clutch():
    """Whatever pages do: between a driver's loss and the quiet's end, nobody's beat is passed on
    but that of a page that has engaged."""
    rng = random.Random(0)
    for _ in range(200):
        desk, now, lost_at, before = OperatorDesk(), 0.0, -99.0, None
        for page in range(4):
            desk.opened(page, now)
        for _ in range(120):
            now += rng.uniform(0.0, 0.4)
            page = rng.randrange(4)
            what = rng.choice(["beat", "beat", "beat", "hide", "engage", "hold", "close", "tick"])
            said = {"beat": ATTENDED, "hide": HIDDEN, "engage": ENGAGE, "hold": {"hold": True}}
            if what == "tick":
                wishes = desk.tick(now)
            elif what == "close":
                wishes = desk.closed(page, now)
                desk.opened(page, now)
            else:
                wishes = desk.hear(page, said[what], now)
            if before is not None and desk.driver is None:
                lost_at = now
            if BEAT in names(wishes):
                assert desk.driver == page or (desk.driver is None and now - lost_at >= QUIET_S)
            before = desk.driver
