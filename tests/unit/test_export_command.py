"""``manip export``: which file is meant, and what it calls."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("hydra")

from manip_model.build import build_model  # noqa: E402
from manip_model.checkpoint import save_model  # noqa: E402
from manip_model.config import preset  # noqa: E402
from manip_model.export import Exported  # noqa: E402
from manip_model.hand_model import HandModel  # noqa: E402
from manip_training import export_command  # noqa: E402

CONFIG = preset("tiny", image_size=112)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    model = build_model(CONFIG, HandModel.open())
    for name, value in (("best.pt", 1.0), ("last.pt", 2.0)):
        torch.nn.init.constant_(model.hand_head.place.bias, value)
        save_model(folder / name, model.state_dict(), CONFIG, hand="open")
    return tmp_path / "run"


@pytest.fixture
def called(monkeypatch):
    calls = []

    def export(model, pictures, folder, *, budget_mm, say):
        calls.append((float(model.hand_head.place.bias[0]), pictures, folder, budget_mm))
        figures = {"layers": 1, "rounded": 1, "error_mm": 1, "weights_mm": 1, "total_mm": 1}
        return Exported(folder=folder, megabytes=1.0, **figures)

    monkeypatch.setattr(export_command, "export", export)
    monkeypatch.setattr(
        export_command, "rendered_pictures", lambda size, count, seed: (size, count, seed)
    )
    return calls


def test_of_a_run_folder_the_best_is_meant_and_else_the_last(run, called, tmp_path, capsys):
    words = ["--out", str(tmp_path / "out"), "--pictures", "9", "--seed", "5", "--budget-mm", "0.1"]
    assert export_command.main([str(run), *words]) == 0
    assert called[-1] == (1.0, (112, 9, 5), tmp_path / "out", 0.1)
    assert str(tmp_path / "out") in capsys.readouterr().out
    (run / "checkpoints" / "best.pt").unlink()
    export_command.main([str(run), *words])
    assert called[-1][0] == 2.0
    export_command.main([str(run / "checkpoints" / "last.pt"), *words])
    assert called[-1][0] == 2.0


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"best\.pt"):
        export_command.main([str(tmp_path), "--out", str(tmp_path / "out")])


def test_rendered_pictures_are_what_export_takes():
    pictures = export_command.rendered_pictures(112, count=3)
    assert tuple(pictures.image.shape) == (3, 3, 112, 112)
    assert pictures.image.dtype == torch.uint8
    again = export_command.rendered_pictures(112, count=3)
    assert torch.equal(pictures.image, again.image)
