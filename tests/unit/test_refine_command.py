"""``manip refine``: which Python it takes, what it asks of it, and what it writes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from manip_bringup import cli, physics_process, refine_command
from manip_bringup.bag_arrays import read_bag
from manip_bringup.demonstration import demonstrate
from manip_bringup.episodes import UNMARKED, Episode
from manip_core.scene import PROPS
from recorded_bag import record


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "bag", 0.6)


def fake_physics(tmp_path: Path, body: str) -> str:
    """An interpreter that runs ``body`` on IN and OUT instead of the physics."""
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\nimport json, sys\nimport numpy as np\n"
        f"source, target = sys.argv[3:]\narrays = dict(np.load(source))\n{body}\n"
    )
    script.chmod(0o755)
    return str(script)


def test_without_jax_it_says_what_to_run(capsys, monkeypatch, bag, tmp_path):
    monkeypatch.setattr(physics_process, "find_spec", lambda name: None)
    monkeypatch.delenv("MANIP_PHYSICS", raising=False)
    monkeypatch.setattr(
        physics_process.resources, "share_folders", lambda: [tmp_path / "nothing here"]
    )
    for words in (["refine", str(bag), "--out", str(tmp_path / "out")], ["train", "physics=mjx"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        said = capsys.readouterr().err
        assert ended.value.code == 2 and said.count("\n") == 1
        assert "run scripts/setup_physics.sh" in said and not (tmp_path / "out").exists()


def test_episodes_are_written_with_other_actions(monkeypatch, bag, tmp_path, capsys):
    """All is handed over and back; the stand-in moves every action by a hundredth."""
    figures = {"before_follow_rad_rms": 0.03, "after_follow_rad_rms": 0.002}
    python = fake_physics(
        tmp_path,
        "asked = json.loads(str(arrays['options']))\n"
        "assert asked['thing']['kind'] == 'sphere' and asked['lift'] == 0.1, asked\n"
        f"np.savez(target, action=arrays['action'] + 0.01, figures=json.dumps({figures}))",
    )
    monkeypatch.setattr(refine_command, "interpreter", lambda: python)
    out = tmp_path / "out"
    words = [str(bag), "--out", str(out), "--thing", "ball", "--lift", "0.1"]
    assert refine_command.main(words) == 0
    arrays = read_bag(bag)
    demo = demonstrate(arrays, Episode(0.0, arrays.end, UNMARKED), 30)
    with np.load(out / "episode_000000.npz") as written:
        np.testing.assert_allclose(written["action"], demo.action + 0.01)
        np.testing.assert_array_equal(written["commands"][:, 0], written["action"])
        np.testing.assert_array_equal(written["state"], demo.state)
    assert json.loads((out / "episode_000000.json").read_text()) == figures
    assert "30.0 mrad from what was asked, now 2.0" in capsys.readouterr().out


def test_what_the_physics_refuses_is_passed_on(bag, tmp_path):
    arrays = read_bag(bag)
    demo = demonstrate(arrays, Episode(0.0, arrays.end, UNMARKED), 30)
    python = fake_physics(tmp_path, "sys.exit('no such object')")
    with pytest.raises(ValueError, match="no such object"):
        refine_command.refined(demo, {}, python)


def test_things_are_those_of_the_scene_mirrored_for_the_left_hand():
    parser = refine_command._parser()
    for prop in PROPS:
        if prop.name not in refine_command.THINGS:
            continue
        places = {}
        for side in ("right", "left"):
            words = ["bag", "--out", "x", "--thing", prop.name, "--hand", side]
            thing = refine_command.asked(parser.parse_args(words))["thing"]
            assert thing["mass"] == prop.mass and thing["place"][2] == prop.height
            places[side] = thing["place"]
        assert places["right"][:2] == prop.place and places["left"][1] == -prop.place[1]
