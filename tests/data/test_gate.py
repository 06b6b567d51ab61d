"""The gate finds what would waste a night of training. One broken data set a rule."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molmoact_ros.data import gate
from molmoact_ros.data.dataset import QUARANTINE, DataSet
from molmoact_ros.data.depth_labels import DepthLabeller
from molmoact_ros.data.finding import Finding
from molmoact_ros.data.lengths import check_lengths, token_lengths
from molmoact_ros.data.report import codec_of, write_report
from molmoact_ros.data.rows import PICTURES
from molmoact_ros.model.codebook import PACKAGE_WEIGHTS
from molmoact_ros.model.depth_weights import load_depth_vqvae, save_depth_vqvae
from molmoact_ros.model.nano import save_random_nano
from molmoact_ros.reasoning import answer

sys.path.insert(0, str(Path(__file__).parent))
from data_helpers import make_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"), 4, 40)


@pytest.fixture
def data(folder: Path) -> DataSet:
    return DataSet(folder, "")


def test_a_sound_data_set_fails_nothing(data: DataSet) -> None:
    findings = {finding.rule: finding for finding in gate.run_gate(data, simulate=False)}
    assert [f for f in findings.values() if f.level == gate.FAIL] == []
    for rule in ("replay", "answers", "pictures", "statistics", "traces", "idle", "lengths"):
        assert findings[rule].level == gate.OK, findings[rule]


def test_an_empty_data_set_is_found(data: DataSet) -> None:
    data.episodes = []
    assert [f.level for f in gate.run_gate(data)] == [gate.FAIL]


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_a_split_with_one_side_only_is_found(data: DataSet, split: str) -> None:
    data.listed = [{**entry, "split": split} for entry in data.listed]
    found = gate.check_split(data)
    assert found.level == gate.FAIL and "held out" in found.words


def test_recordings_that_could_not_be_used_are_told(folder: Path, data: DataSet) -> None:
    path = folder / QUARANTINE
    before = path.read_text()
    path.write_text(json.dumps({f"bag {i}": "no depth topic" for i in range(3)}))
    found = gate.check_quarantine(data)
    path.write_text(before)
    assert found.level == gate.WARN and "3 recordings (43 %)" in found.words
    assert "no depth topic" in found.words
    assert gate.check_quarantine(data).level == gate.OK


def test_pictures_that_are_gone_are_found(tmp_path: Path) -> None:
    data = DataSet(make_data(tmp_path, 2, 12), "")
    next((tmp_path / PICTURES).glob("*.wrist.pack")).unlink()
    found = gate.check_pictures(data)
    assert found.level == gate.FAIL and "pack" in found.words


def test_pictures_of_another_size_are_found(data: DataSet) -> None:
    data.card = replace(data.card, image_size=(64, 64))
    found = gate.check_pictures(data)
    assert found.level == gate.FAIL and "64x48" in found.words


def test_answers_that_the_parser_refuses_are_found(data: DataSet) -> None:
    """Depth codes that are no ten by ten picture: the robot's parser would refuse every thought."""
    data.episodes = [replace(r, depth=r.depth[:, :99]) for r in data.episodes]
    found = gate.check_answers(data)
    assert found.level == gate.FAIL and "depth" in found.words


def test_answers_that_read_back_as_other_actions_are_found(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(text: str, contract: answer.AnswerContract) -> answer.Answer:
        found = answer.read_answer(text, contract)
        return replace(found, bins=np.roll(found.bins, 1, axis=1))

    monkeypatch.setattr(gate, "read_answer", wrong)
    found = gate.check_answers(data)
    assert found.level == gate.FAIL and "other actions" in found.words


def test_short_episodes_are_mostly_padding(data: DataSet) -> None:
    """Of chunks of 8, four ticks invent 7 + 6 + 5 + 4 of 32 rows."""
    assert gate.check_padding(data).level == gate.OK
    data.episodes = [replace(r, actions=r.actions[:4]) for r in data.episodes]
    found = gate.check_padding(data)
    assert found.level == gate.WARN and "68.8 %" in found.words


def test_samples_beyond_the_limit_are_found(data: DataSet) -> None:
    lengths = token_lengths(data)
    assert len(lengths) == len(data) and lengths.max() < 2304
    # spec/data.md, section 11: two small pictures and a whole thought take about 1429 tokens.
    assert lengths.max() == pytest.approx(1429, abs=60)
    found = check_lengths(data, limit=int(np.quantile(lengths, 0.5)))
    assert found.level == gate.FAIL and "shorter chunk" in found.words
    assert check_lengths(data, limit=int(lengths.max())).level == gate.OK


def test_the_vocabulary_of_a_checkpoint_counts(data: DataSet, tmp_path: Path) -> None:
    save_random_nano(tmp_path / "nano", seed=0)
    small = token_lengths(data, tmp_path / "nano")
    assert small.max() < 0.7 * token_lengths(data).max()
    assert "nano" in check_lengths(data, tmp_path / "nano").words


def test_ticks_that_rest_for_no_reason_are_found(data: DataSet) -> None:
    data.card = replace(data.card, keep_after_grip=0.0, keep_at_end=0.0)
    for rows in data.episodes:
        rows.actions[:10, :6] = 0.0
    found = gate.check_idle(data)
    assert found.level == gate.FAIL and "rest for no reason" in found.words


def test_saturated_bins_are_found(data: DataSet) -> None:
    rows = data.episodes[0]
    assert rows.bins is not None
    rows.bins[:, 0] = 255
    data.episodes = [rows]
    assert "dimension 0" in gate.check_bins(data).words
    assert gate.check_bins(data).level == gate.FAIL


def test_a_dimension_with_few_bins_is_found(data: DataSet) -> None:
    for rows in data.episodes:
        assert rows.bins is not None
        rows.bins[:, 1] = np.where(rows.bins[:, 1] > 128, 140, 100)
    assert "uses 2 bins only" in gate.check_bins(data).words


def test_motion_in_one_direction_only_is_noticed(data: DataSet) -> None:
    """Without zero between the quantiles no symbol means: stand still."""
    q01 = data.statistics.q01.copy()
    q01[0] = 0.5 * data.statistics.q99[0]
    data.statistics = replace(data.statistics, q01=q01)
    found = gate.check_bins(data)
    assert found.level == gate.WARN and "[0]" in found.words


def test_a_gripper_of_another_convention_is_found(data: DataSet) -> None:
    for rows in data.episodes:
        rows.actions[:, 6] = 2 * rows.actions[:, 6] - 1
    assert gate.check_gripper(data).level == gate.FAIL


def test_an_inverted_gripper_is_noticed(data: DataSet) -> None:
    for rows in data.episodes:
        rows.actions[:, 6] = 1 - rows.actions[:, 6]
    assert gate.check_gripper(data).level == gate.WARN


def test_missing_traces_are_found(data: DataSet) -> None:
    data.episodes = [replace(r, traces=[None] * len(r)) for r in data.episodes]
    assert gate.check_traces(data).level == gate.FAIL


def test_statistics_of_other_rows_are_found(data: DataSet) -> None:
    for rows in data.episodes:
        rows.actions[:, 2] *= 3.0
    assert gate.check_statistics(data).level == gate.FAIL


def test_traces_that_begin_elsewhere_are_found(data: DataSet) -> None:
    """A failed pointing that is dropped leaves the next tick's point in front."""
    data.episodes = [replace(r, traces=[*r.traces[1:], r.traces[-1]]) for r in data.episodes]
    found = gate.check_traces(data)
    assert found.level == gate.FAIL and "begin at the tool" in found.words


def test_traces_in_pixels_are_found(data: DataSet) -> None:
    """Clipped to 0..255, most of a picture of 640 pixels lies on the border."""
    data.episodes = [
        replace(r, traces=[None if t is None else np.full_like(t, 255) for t in r.traces])
        for r in data.episodes
    ]
    found = gate.check_traces(data)
    assert found.level == gate.FAIL and "border" in found.words


def test_traces_that_do_not_follow_the_crop_are_told(data: DataSet) -> None:
    assert gate.check_crop(data).level == gate.OK
    data.card = replace(data.card, center_crop=0.9, crop_moves_trace=False)
    assert gate.check_crop(data).level == gate.WARN


def test_a_gripper_that_is_scaled_is_found(data: DataSet) -> None:
    data.card = replace(data.card, gripper_dims=(5, 6))
    assert "gripper_dims" in gate.check_gripper(data).words


def test_depth_of_some_episodes_only_is_found(data: DataSet) -> None:
    data.episodes = [replace(data.episodes[0], depth=np.zeros((40, 0), np.uint8)), *data.episodes]
    found = gate.check_depth(data)
    assert found.level == gate.FAIL and "has 0 depth codes" in found.words


def test_constant_depth_is_found(data: DataSet) -> None:
    for rows in data.episodes:
        rows.depth[:] = 5
    assert gate.check_depth(data).level == gate.FAIL


def test_the_report_shows_findings_pictures_and_histograms(data: DataSet, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    data.card = replace(data.card, depth_codebook=DepthLabeller().codebook)
    write_report(page, data, [Finding(gate.FAIL, "bins", "a < b")], pictures=2)
    text = page.read_text()
    assert "do not train yet" in text and "a &lt; b" in text
    assert text.count("data:image/jpeg") == 6
    assert text.count("<svg") == 7


def test_depth_is_shown_with_the_codebook_of_its_labels_or_not_at_all(
    data: DataSet, tmp_path: Path
) -> None:
    page, others = tmp_path / "report.html", tmp_path / "mine.safetensors"
    save_depth_vqvae(load_depth_vqvae(PACKAGE_WEIGHTS), others, {"note": "another"})
    mine = replace(data.card, depth_codebook=DepthLabeller(others).codebook)
    assert codec_of(mine, None)[0] is None
    codec, _ = codec_of(mine, others)
    assert codec is not None and codec.origin == others
    data.card = mine
    write_report(page, data, [], pictures=2)
    text = page.read_text()
    assert text.count("data:image/jpeg") == 4 and "--depth-weights" in text
    write_report(page, data, [], pictures=2, depth_weights=others)
    assert page.read_text().count("data:image/jpeg") == 6
