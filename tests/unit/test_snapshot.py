"""``manip snapshot``: the robot's picture follows its joints, and missing parts are said."""

import numpy as np
import pytest

from manip_bringup import browser, snapshot
from manip_core.robot_model import JOINT_NAMES, home


@pytest.fixture(scope="module")
def at_home():
    try:
        return snapshot.render("right", (), (), {})
    except RuntimeError as error:
        pytest.skip(str(error))


def test_picture_shows_the_robot(at_home):
    assert at_home.shape == (900, 1440, 3) and at_home.dtype == np.uint8
    assert at_home.std() > 20


def test_picture_follows_joints_and_objects(at_home):
    turned = home("right")
    turned[0] += 0.8
    arm = snapshot.render("right", JOINT_NAMES, turned, {})
    assert (arm != at_home).any(axis=2).mean() > 0.02
    moved = {"cube": np.array([0.3, 0.3, 0.4, 1.0, 0.0, 0.0, 0.0]), "unknown": np.zeros(7)}
    changed = (snapshot.render("right", ["no_such_joint"], [1.0], moved) != at_home).any(axis=2)
    assert 0.0005 < changed.mean() < 0.02


def test_without_a_page_the_robot_alone_is_shown(tmp_path, capsys, at_home):
    url = "http://127.0.0.1:9"
    assert not snapshot.page_answers(url)
    assert snapshot.main(["--out", str(tmp_path / "shots"), "--url", url]) == 1
    assert [path.name for path in (tmp_path / "shots").iterdir()] == ["robot.png"]
    assert "nothing answers at" in capsys.readouterr().out


def test_missing_browser_is_said(monkeypatch):
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    assert browser.find_browser() is None
    with pytest.raises(FileNotFoundError, match="apt install chromium"):
        browser.Page("about:blank", (100, 100))
