"""The same training with one thing changed: names, table, files."""

import json
from types import SimpleNamespace

import pytest
import yaml

from manip_training.compare import VARIANTS, compare, table
from manip_training.config import compose, differences
from manip_training.train import train
from micro_training import MICRO, micro


@pytest.fixture
def trained():
    """Stands in for the training: keeps the configs, answers with figures made from them."""

    def train(config):
        train.configs.append(config)
        first = config.model.generation == "first_generation"
        figures = {"pa_mpjpe_mm": 20.0 + 5 * first + config.train.seed, "spread_ratio": 0.9}
        return SimpleNamespace(status=train.status, figures=figures)

    train.configs, train.status = [], 0
    return train


def test_every_variant_is_a_config_of_its_own():
    plain = compose(["preset=tiny"])
    changed = [compose(["preset=tiny", *words]) for words in VARIANTS.values()]
    assert changed[0] == plain
    assert len({str(config) for config in changed}) == len(VARIANTS)


def test_each_variant_runs_with_each_seed_and_one_thing_changed(trained, tmp_path):
    made = {"command": "manip compare", "device": "cpu"}
    names = ["transformer", "first_generation", "no_positions"]
    text = compare(names, tmp_path, 2, ["preset=tiny", "optim.lr=2e-3"], trained, made)
    assert [(c.model.generation, c.train.seed) for c in trained.configs] == [
        ("transformer", 0),
        ("transformer", 1),
        *[("first_generation", 0), ("first_generation", 1)] * 2,
    ]
    assert [c.model.position_embedding for c in trained.configs] == [True] * 4 + [False] * 2
    assert all(c.optim.lr == 2e-3 for c in trained.configs)
    assert len({c.run.folder for c in trained.configs}) == 6
    # Mean of 20 and 21, and the deviation between two seeds.
    assert "20.50 ± 0.71" in text and "25.50 ± 0.71" in text
    assert (tmp_path / "comparison.txt").read_text() == text + "\n"
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["compare_transformer_pa_mpjpe_mm"] == {
        "value": 20.5,
        **made,
    }
    deviation = figures["compare_transformer_deviation_pa_mpjpe_mm"]["value"]
    assert deviation == pytest.approx(0.5**0.5)


def test_real_trainings_differ_by_their_variant_alone(tmp_path):
    def really(config):
        return train(config, parts=micro(config))

    words = [*MICRO, "train.steps=1"]
    rows = compare(["transformer", "no_refinement"], tmp_path, 1, words, really).splitlines()
    assert rows[0].split()[:2] == ["variant", "mpjpe_root_mm"] and len(rows) == 3
    first, second = (
        yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        for name in ("transformer-0", "no_refinement-0")
    )
    assert differences(first, second) == ["model.refine_steps: 1 → 0"]
    figures = json.loads((tmp_path / "figures.json").read_text())
    for row in rows[1:]:
        name, shown = row.split()[:2]
        assert f"{figures[f'compare_{name}_mpjpe_root_mm']['value']:.2f}" == shown


def test_a_run_that_was_interrupted_ends_the_comparison(trained, tmp_path):
    trained.status = 130
    with pytest.raises(KeyboardInterrupt):
        compare(["transformer", "no_refinement"], tmp_path, 1, ["preset=tiny"], trained)
    assert len(trained.configs) == 1 and not (tmp_path / "figures.json").exists()


def test_what_was_not_measured_is_left_out_of_the_table():
    text = table({"a": [{"pa_mpjpe_mm": 1.0}], "b": [{"contact_f1": 0.5, "other": 3.0}]})
    head, a, b = text.splitlines()
    assert head.split() == ["variant", "pa_mpjpe_mm", "contact_f1"]
    assert a.split() == ["a", "1.00", "-"] and b.split() == ["b", "-", "0.50"]


@pytest.mark.parametrize(
    ("names", "seeds", "said"),
    [
        (["transformers"], 1, "no variants .*transformers.*there are transformer,"),
        (["transformer"], 0, "1 or more"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(trained, tmp_path, names, seeds, said):
    with pytest.raises(ValueError, match=said):
        compare(names, tmp_path, seeds, [], trained)
    assert not trained.configs


def test_runs_that_ended_are_not_made_again(trained, tmp_path):
    words = ["preset=tiny"]
    first = compare(["transformer", "no_refinement"], tmp_path, 2, words, trained)
    assert compare(["transformer", "no_refinement"], tmp_path, 2, words, trained) == first
    assert len(trained.configs) == 4
    compare(
        ["transformer", "no_refinement"], tmp_path, 2, ["preset=tiny", "optim.lr=2e-3"], trained
    )
    assert len(trained.configs) == 8
