"""Exported demonstrations: the files of each format, and LeRobot itself reading its own."""

import json

import cv2
import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader

import lerobot_python
from manip_bringup import cli, demonstrations_command
from manip_bringup.bag_arrays import jpegs, read_bag
from manip_bringup.demonstration import demonstrate
from manip_bringup.episodes import episodes
from manip_core.interfaces import ROBOT_DESCRIPTION
from manip_core.robot_model import JOINT_NAMES
from recorded_bag import motion, number_in, read_jpeg, record

MARKS = [
    (0.30, "start lift the cube"),
    (1.31, "success"),
    (1.50, "start"),
    (2.02, "failure"),
    (2.20, "start"),
    (2.60, "discard"),
    (2.70, "start pour"),
    (3.30, "failure"),
    # The operator thought again.
    (3.40, "success"),
]
OUTCOMES, LENGTHS = ["success", "failure", "success"], [31, 16, 19]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bags") / "bag", 3.6, marks=MARKS, missing=(50,))


def export(bag, out, *words) -> int:
    return demonstrations_command.main([str(bag), "--out", str(out), *words])


@pytest.fixture(scope="module")
def dataset(bag, tmp_path_factory):
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    out = tmp_path_factory.mktemp("out") / "dataset"
    assert export(bag, out, "--format", "lerobot", "--only", "success", "--only", "failure") == 0
    return out


@pytest.fixture(scope="module")
def demos(bag):
    arrays = read_bag(bag)
    chosen = [e for e in episodes(arrays.marks, 0.0, arrays.end)[0] if e.outcome != "discard"]
    return [demonstrate(arrays, episode, 30) for episode in chosen]


def table(path):
    import pyarrow.parquet as pq

    return pq.read_table(path)


def test_rows_are_those_of_the_episodes(dataset, demos):
    rows = table(dataset / "data/chunk-000/file-000.parquet").to_pydict()
    assert [len(demo) for demo in demos] == LENGTHS
    for name, wanted in (
        ("observation.state", [d.state for d in demos]),
        ("action", [d.action for d in demos]),
        ("commands", [d.commands.reshape(len(d), -1) for d in demos]),
        ("commands.time", [d.command_times for d in demos]),
        ("operator.keypoints", [d.keypoints.reshape(len(d), -1) for d in demos]),
        ("timestamp", [np.arange(len(d)) / 30 for d in demos]),
    ):
        np.testing.assert_allclose(rows[name], np.concatenate(wanted), rtol=1e-6, atol=1e-6)
    assert rows["index"] == list(range(sum(LENGTHS)))
    assert rows["episode_index"] == np.repeat(range(3), LENGTHS).tolist()
    ends = np.cumsum(LENGTHS) - 1
    assert np.flatnonzero(rows["next.done"]).tolist() == ends.tolist()
    assert np.flatnonzero(rows["next.success"]).tolist() == [ends[0], ends[2]]


def test_the_description_agrees_with_the_files(dataset):
    info = json.loads((dataset / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 30
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 66, 2)
    assert info["splits"] == {"train": "0:3"}
    rows = table(dataset / info["data_path"].format(chunk_index=0, file_index=0))
    features = dict(info["features"])
    video = features.pop("observation.images.operator")
    assert set(features) == set(rows.column_names)
    for name, feature in features.items():
        kind = rows.schema.field(name).type
        (size,) = feature["shape"]
        assert feature["names"] is None or len(feature["names"]) == size
        value = kind.value_type if size > 1 else kind
        assert size == 1 or kind.list_size == size
        assert (
            str(value) == {"float32": "float", "int64": "int64", "bool": "bool"}[feature["dtype"]]
        )
    assert features["action"]["names"] == list(JOINT_NAMES)
    path = info["video_path"].format(
        video_key="observation.images.operator", chunk_index=0, file_index=0
    )
    film = cv2.VideoCapture(str(dataset / path))
    assert [video["shape"][1], video["shape"][0]] == [film.get(3), film.get(4)]
    assert film.get(cv2.CAP_PROP_FPS) == 30 and film.get(cv2.CAP_PROP_FRAME_COUNT) == 66


def test_each_row_has_its_picture(dataset, demos):
    path = dataset / "videos/observation.images.operator/chunk-000/file-000.mp4"
    film = cv2.VideoCapture(str(path))
    shown = []
    while (read := film.read())[0]:
        shown.append(number_in(read[1]))
    exposures = np.concatenate([d.start + d.exposure for d in demos])
    assert shown == (np.round(exposures * 30).astype(int) % 16).tolist()


def test_episodes_say_where_they_are(dataset):
    about = table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    starts = np.cumsum([0, *LENGTHS])
    for i, episode in enumerate(about):
        assert (episode["dataset_from_index"], episode["dataset_to_index"]) == tuple(
            starts[i : i + 2]
        )
        assert (episode["episode_index"], episode["length"]) == (i, LENGTHS[i])
        video = "videos/observation.images.operator"
        assert episode[f"{video}/from_timestamp"] == pytest.approx(starts[i] / 30)
        assert episode[f"{video}/to_timestamp"] == pytest.approx(starts[i + 1] / 30)
    assert [e["outcome"] for e in about] == OUTCOMES
    assert [e["tasks"] for e in about] == [["lift the cube"], ["lift the cube"], ["pour"]]
    tasks = table(dataset / "meta/tasks.parquet")
    assert tasks.column("task_index").to_pylist() == [0, 1]
    assert tasks.column("__index_level_0__").to_pylist() == ["lift the cube", "pour"]


def test_statistics_are_those_of_all_rows(dataset, demos):
    stats = json.loads((dataset / "meta/stats.json").read_text())
    actions = np.concatenate([d.action for d in demos])
    for name, wanted in (
        ("min", actions.min(0)),
        ("max", actions.max(0)),
        ("mean", actions.mean(0)),
        ("std", actions.std(0)),
        ("count", [66]),
    ):
        np.testing.assert_allclose(stats["action"][name], wanted, atol=1e-6)
    quantiles = np.array([stats["action"][f"q{q:02d}"] for q in (1, 10, 50, 90, 99)])
    assert (np.diff(quantiles, axis=0) >= 0).all()
    assert (quantiles[0] >= stats["action"]["min"]).all()
    picture = np.array(stats["observation.images.operator"]["mean"])
    assert picture.shape == (3, 1, 1) and (picture > 0.05).all() and (picture < 1).all()


@pytest.mark.skipif(not lerobot_python.find(), reason="no LeRobot: scripts/setup_lerobot.sh")
def test_lerobot_itself_loads_it(dataset, demos, tmp_path):
    loaded = lerobot_python.load(dataset, tmp_path / "loaded.npz")
    actions = np.concatenate([d.action for d in demos])
    np.testing.assert_allclose(loaded["action"], actions, atol=1e-6)
    np.testing.assert_allclose(
        loaded["observation.state"], np.concatenate([d.state for d in demos]), atol=1e-6
    )
    commands = np.concatenate([d.commands.reshape(len(d), -1) for d in demos])
    np.testing.assert_allclose(loaded["commands"], commands, atol=1e-6)
    exposures = np.concatenate([d.start + d.exposure for d in demos])
    numbers = np.round(exposures * 30).astype(int)
    grey = (10 + 15 * (numbers % 16)) / 255
    np.testing.assert_allclose(
        loaded["observation.images.operator"], np.repeat(grey[:, None], 3, axis=1), atol=0.02
    )
    assert (
        loaded["task"].tolist()
        == np.repeat(["lift the cube", "lift the cube", "pour"], LENGTHS).tolist()
    )
    assert loaded["outcomes"].tolist() == OUTCOMES
    np.testing.assert_allclose(loaded["chunk_of_first_row"], actions[:3], atol=1e-6)
    np.testing.assert_allclose(loaded["action_mean"], actions.mean(0), atol=1e-6)


def test_numpy_archives(bag, demos, tmp_path):
    export(bag, tmp_path / "npz", "--format", "npz")
    files = sorted((tmp_path / "npz").iterdir())
    assert [f.name for f in files] == [f"episode_{i:06d}.npz" for i in range(3)]
    recorded = dict(jpegs(read_bag(bag), 0.0, 10.0))
    for file, demo in zip(files, demos, strict=True):
        with np.load(file) as arrays:
            np.testing.assert_array_equal(arrays["commands"], demo.commands)
            np.testing.assert_array_equal(arrays["keypoints_px"], demo.keypoints_px)
            assert arrays["joints"].tolist() == list(JOINT_NAMES)
            assert arrays["outcome"] == demo.episode.outcome
            starts = arrays["jpeg_start"]
            for row, exposure in zip(arrays["picture"], demo.exposure, strict=True):
                data = arrays["jpeg"][starts[row] : starts[row + 1]]
                number = round((demo.start + exposure) * 30)
                assert number_in(read_jpeg(data)) == number % 16
                assert data.tobytes() in recorded.values()


def test_bags_of_episodes_give_the_same_rows_again(bag, demos, tmp_path):
    export(bag, tmp_path / "cut", "--format", "mcap")
    folders = sorted((tmp_path / "cut").iterdir())
    assert len(folders) == 3
    for folder, demo in zip(folders, demos, strict=True):
        with Reader(folder) as reader:
            latched = [c for c in reader.connections if c.topic == ROBOT_DESCRIPTION.name]
            assert len(list(reader.messages(latched))) == 1
        described = yaml.safe_load((folder / "metadata.yaml").read_text())
        custom = described["rosbag2_bagfile_information"]["custom_data"]
        assert custom == {"outcome": demo.episode.outcome, "task": demo.episode.task}
        again = read_bag(folder)
        (episode,), problems = episodes(again.marks, 0.0, again.end)
        assert (episode.outcome, episode.task) == (demo.episode.outcome, demo.episode.task)
        assert not problems
        rows = demonstrate(again, episode, 30)
        for name in ("state", "action", "exposure", "keypoints", "tracked"):
            np.testing.assert_allclose(getattr(rows, name), getattr(demo, name), atol=1e-6)


def test_only_what_is_asked_for(bag, tmp_path, capsys):
    export(bag, tmp_path / "a", "--format", "npz", "--only", "discard")
    assert len(list((tmp_path / "a").iterdir())) == 1
    assert "1 episodes" in capsys.readouterr().out
    export(bag, tmp_path / "b", "--format", "npz", "--no-video", "--fps", "10")
    with np.load(tmp_path / "b/episode_000000.npz") as arrays:
        assert "jpeg" not in arrays and arrays["fps"] == 10
        np.testing.assert_allclose(arrays["state"], motion(0.3 + arrays["timestamp"]), atol=5e-4)


def test_a_bag_without_marks_is_one_episode_with_the_given_task(tmp_path):
    bag = record(tmp_path / "bag", 0.5)
    export(bag, tmp_path / "out", "--format", "npz", "--task", "wave")
    with np.load(tmp_path / "out/episode_000000.npz") as arrays:
        assert (arrays["outcome"], arrays["task"]) == ("unmarked", "wave")


def test_says_what_is_wrong(bag, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no bag at"):
        export(tmp_path / "none", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(ValueError, match="is there already"):
        export(bag, tmp_path / "full")
    with pytest.raises(ValueError, match="no episode of open"):
        export(bag, tmp_path / "out", "--format", "npz", "--only", "open")
    monkeypatch.setattr(demonstrations_command, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs pyarrow and av, not installed here"):
        export(bag, tmp_path / "out")


def test_one_word_exports_bags_and_models(bag, tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(cli, "_train", lambda *words: trained.append(words) or 0)
    model = tmp_path / "run"
    (model / "checkpoints").mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(model), "--out", str(tmp_path / "model")])
    assert ended.value.code == 0
    assert trained == [("export", [str(model), "--out", str(tmp_path / "model")])]
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(bag), "--format", "npz", "--out", str(tmp_path / "out")])
    assert ended.value.code == 0 and len(trained) == 1
    assert "3 episodes" in capsys.readouterr().out
    assert demonstrations_command.means_bags([str(next(bag.glob("*.mcap"))), "--out", "x"])
