import json
import math
import warnings

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from elfw_helpers.data.labels import BEARD, HAIR, MOUTH_MASK, PIXEL_CLASSES
from elfw_helpers.evaluation.classification import f1_by_class
from elfw_helpers.evaluation.segmentation import (
    MissingClassWarning,
    SegmentationScores,
    compare_matrices,
    confusion_matrices,
    iou_by_class,
    median_frequency_weights,
    score_masks,
    score_matrices,
)

NAN = float("nan")
# Two images of four pixels. Truth: 4 background, 3 skin, 1 hair; one pixel of each of the first two is wrong.
TARGETS = np.array([[[0, 0], [1, 1]], [[0, 0], [1, 2]]], np.uint8)
PREDICTIONS = np.array([[[0, 1], [1, 1]], [[0, 0], [5, 2]]], np.uint8)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # torchmetrics' own business.
        warnings.filterwarnings("ignore", module="torchmetrics")
        yield


def draw_masks(seed: int, classes: int = 7, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, (count, 8, 8), dtype=np.uint8)
    wrong = generator.random(targets.shape) < 0.3
    return targets, np.where(wrong, generator.integers(0, classes, targets.shape, dtype=np.uint8), targets)


def test_scores_counted_by_hand():
    scores = score_masks(TARGETS, PREDICTIONS)
    assert scores.images == 2
    assert scores.pixel_accuracy == 6 / 8
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)
    # Wearable is predicted and nowhere there: 0. Nobody says beard, eyewear or mouth-mask: NaN.
    assert scores.class_iou == pytest.approx((3 / 4, 2 / 4, 1, NAN, NAN, 0, NAN), nan_ok=True)
    assert scores.mean_iou == pytest.approx((3 / 4 + 2 / 4 + 1 + 0) / 4)
    assert scores.frequency_weighted_iou == pytest.approx((4 * 3 / 4 + 3 * 2 / 4 + 1 * 1) / 8)
    assert scores.mean_f1 == pytest.approx((6 / 7 + 4 / 6 + 1 + 0) / 4)


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_torchmetrics_where_both_are_defined(seed):
    targets, predictions = draw_masks(seed)
    scores = score_masks(targets, predictions)
    pair = torch.from_numpy(predictions).long(), torch.from_numpy(targets).long()
    iou = multiclass_jaccard_index(*pair, num_classes=7, average=None)
    assert scores.class_iou == pytest.approx(iou.tolist(), abs=1e-6)
    assert scores.mean_iou == pytest.approx(iou.mean().item(), abs=1e-6)
    f1 = multiclass_f1_score(*pair, num_classes=7, average=None)
    assert f1_by_class(confusion_matrices(targets, predictions).sum(0)) == pytest.approx(
        f1.tolist(), abs=1e-6
    )
    assert scores.mean_f1 == pytest.approx(f1.mean().item(), abs=1e-6)
    for average, ours in (("micro", scores.pixel_accuracy), ("macro", scores.mean_accuracy)):
        assert ours == pytest.approx(multiclass_accuracy(*pair, num_classes=7, average=average).item())
    weighted = multiclass_jaccard_index(*pair, num_classes=7, average="weighted")
    assert scores.frequency_weighted_iou == pytest.approx(weighted.item(), abs=1e-6)


def test_iou_is_hits_over_union_and_nan_for_an_absent_class():
    # Class 0: 3 hits, 1 missed, 2 wrongly said; class 1: 4 hits; class 2: never there, never said.
    matrix = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    np.testing.assert_allclose(iou_by_class(matrix), [3 / 6, 4 / 7, np.nan])


def test_an_absent_class_is_nan_where_torchmetrics_says_zero():
    pair = draw_masks(0, classes=6)
    scores = score_masks(*pair)
    assert math.isnan(scores.class_iou[MOUTH_MASK])
    assert all(math.isnan(end) for end in scores.class_iou_intervals[MOUTH_MASK])
    theirs = multiclass_jaccard_index(
        *(torch.from_numpy(masks).long() for masks in reversed(pair)), num_classes=7, average=None
    )
    assert theirs[MOUTH_MASK] == 0
    assert scores.class_iou[:6] == pytest.approx(theirs[:6].tolist(), abs=1e-6)
    assert scores.mean_iou == pytest.approx(theirs[:6].mean().item(), abs=1e-6)


def test_six_classes_are_scored_from_the_same_matrices():
    targets, predictions = draw_masks(1)
    scores = score_masks(targets, predictions, ignore=(MOUTH_MASK,))
    kept = targets != MOUTH_MASK
    assert scores.pixel_accuracy == pytest.approx((targets == predictions)[kept].mean())
    # A face taken for a mouth-mask stays a mistake of its own class.
    union = ((targets == BEARD) | (predictions == BEARD)) & kept
    expected = ((targets == BEARD) & (predictions == BEARD)).sum() / union.sum()
    assert scores.class_iou[BEARD] == pytest.approx(expected)
    assert math.isnan(scores.class_iou[MOUTH_MASK])
    assert scores.mean_iou == pytest.approx(np.mean(scores.class_iou[:6]))
    recalls = [(predictions == label)[targets == label].mean() for label in range(6)]
    assert scores.mean_accuracy == pytest.approx(np.mean(recalls))


def test_scoring_leaves_the_matrices_as_they_are_and_portions_add_up():
    targets, predictions = draw_masks(2)
    matrices = confusion_matrices(targets, predictions)
    before = matrices.copy()
    whole = score_matrices(matrices, ignore=(MOUTH_MASK,))
    assert np.array_equal(matrices, before)
    portions = [confusion_matrices(targets[cut], predictions[cut]) for cut in (slice(4), slice(4, 6))]
    assert repr(score_matrices(np.concatenate(portions), ignore=(MOUTH_MASK,))) == repr(whole)


def test_intervals_are_those_of_drawing_images_one_by_one():
    targets, predictions = draw_masks(3, count=12)
    # Images of unequal quality, or drawing them anew would change little.
    predictions[:4] = targets[:4]
    scores = score_masks(targets, predictions)
    generator = np.random.default_rng(1)
    drawn = generator.integers(0, 12, (2000, 12))
    rows = [score_matrices_of(targets[chosen], predictions[chosen]) for chosen in drawn]
    expected = np.quantile(np.array(rows), (0.025, 0.975), axis=0).T
    assert np.array(scores.class_iou_intervals) == pytest.approx(expected, abs=0.015)
    assert scores.mean_iou_interval == pytest.approx(np.quantile(np.mean(rows, 1), (0.025, 0.975)), abs=0.015)
    assert scores.mean_iou_interval[0] < scores.mean_iou < scores.mean_iou_interval[1]
    assert score_masks(targets, predictions, seed=1) != scores


def score_matrices_of(targets, predictions):
    hits = [((targets == label) & (predictions == label)).sum() for label in range(7)]
    unions = [((targets == label) | (predictions == label)).sum() for label in range(7)]
    return np.divide(hits, unions)


def test_a_class_of_one_image_has_an_interval_from_the_draws_that_show_it():
    targets, predictions = np.zeros((5, 4, 4), np.uint8), np.zeros((5, 4, 4), np.uint8)
    targets[0, :2], predictions[0, :1] = BEARD, BEARD
    scores = score_masks(targets, predictions)
    assert scores.class_iou[BEARD] == pytest.approx(0.5)
    assert scores.class_iou_intervals[BEARD] == pytest.approx((0.5, 0.5))


def test_tensors_are_accepted_and_metrics_have_the_names_of_the_classes():
    scores = score_masks(torch.from_numpy(TARGETS).long(), torch.from_numpy(PREDICTIONS))
    metrics = scores.as_metrics()
    assert repr(scores) == repr(score_masks(TARGETS, PREDICTIONS))
    assert metrics["images"] == 2 and metrics["pixel_accuracy"] == 0.75
    assert metrics["iou_hair"] == 1 and math.isnan(metrics["iou_beard_mustache"])
    assert metrics["iou_skin_interval"] == scores.class_iou_intervals[1]
    assert [name for name in metrics if name.startswith("iou_") and not name.endswith("_interval")] == [
        f"iou_{name.replace('-', '_')}" for name in PIXEL_CLASSES
    ]


def test_scores_come_back_from_stored_metrics():
    scores = score_masks(TARGETS, PREDICTIONS)
    stored = json.loads(json.dumps(scores.as_metrics()))
    assert repr(SegmentationScores.from_metrics(stored)) == repr(scores)
    with pytest.raises(KeyError, match="iou_hair"):
        SegmentationScores.from_metrics({name: one for name, one in stored.items() if name != "iou_hair"})


@pytest.mark.parametrize("wrong", [7, 255])
def test_an_unknown_id_is_refused_and_its_image_named(wrong):
    targets = TARGETS.copy()
    targets[1, 0, 0] = wrong
    with pytest.raises(ValueError, match=r"image 1 of 2: targets must be class indices 0..6"):
        score_masks(targets, PREDICTIONS)
    with pytest.raises(ValueError, match=r"class ids 0..6"):
        median_frequency_weights(targets)


@pytest.mark.parametrize(
    "pair", [(TARGETS, PREDICTIONS[:1]), (TARGETS[0], PREDICTIONS[0]), (TARGETS[:0],) * 2]
)
def test_unpaired_masks_are_refused(pair):
    with pytest.raises(ValueError, match=r"expected targets and predictions \[N, H, W\]"):
        score_masks(*pair)


def test_nothing_left_to_score_is_refused():
    masks = np.full((2, 4, 4), MOUTH_MASK, np.uint8)
    with pytest.raises(ValueError, match="no pixel to score"):
        score_masks(masks, masks, ignore=(MOUTH_MASK,))


def test_weights_are_median_frequency_over_frequency():
    masks = np.zeros((2, 2, 4), np.uint8)
    masks[0, 0] = 1
    masks[1, 1, :2] = 2
    # Background 10 of 16 pixels; skin 4 and hair 2 of the 8 pixels of the one image that shows them.
    expected = [0.5 / (10 / 16), 1, 0.5 / (2 / 8)]
    weights = median_frequency_weights(masks, classes=3)
    assert weights.dtype == torch.float32
    assert weights.tolist() == pytest.approx(expected)
    assert median_frequency_weights(torch.from_numpy(masks), classes=3).tolist() == pytest.approx(expected)
    more = np.concatenate([masks[:1], np.ones_like(masks[:1]), masks[1:]])
    chosen = median_frequency_weights(more, classes=3, chosen=torch.tensor([0, 2]))
    assert torch.equal(chosen, weights)


def test_a_class_without_a_pixel_is_named_and_gets_weight_0():
    masks = draw_masks(0, classes=6)[0]
    with pytest.warns(MissingClassWarning, match="no image shows mouth-mask"):
        weights = median_frequency_weights(masks)
    assert weights[MOUTH_MASK] == 0
    # Nor does it take part in the median.
    assert torch.equal(weights[:6], median_frequency_weights(masks, classes=6))


def test_a_paired_comparison_finds_the_class_that_changed():
    drawn = np.random.default_rng(0)
    targets = drawn.integers(0, 3, (40, 8, 8))
    noise = drawn.random(targets.shape) < 0.3
    before = np.where(noise, 0, targets)
    # Class 2 is found more often, class 1 exactly as before.
    after = np.where(targets == 2, 2, before)
    gains = compare_matrices(confusion_matrices(targets, before), confusion_matrices(targets, after))
    assert list(gains.index) == [*PIXEL_CLASSES, "mean"]
    expected = score_masks(targets, after).class_iou[2] - score_masks(targets, before).class_iou[2]
    assert gains.difference.iloc[2] == pytest.approx(expected)
    assert 0 < gains.low.iloc[2] < gains.difference.iloc[2] < gains.high.iloc[2]
    assert gains.iloc[1].tolist() == [0, 0, 0]
    assert gains.iloc[3:7].isna().all(axis=None)
    assert gains.difference["mean"] == pytest.approx(gains.difference.iloc[:3].mean())


def test_a_class_that_only_one_side_shows_is_compared():
    truth = np.repeat([[[0, 0, 0, 0, 1, 1, 1, 1]]], 3, axis=0)
    invented = truth.copy()
    # A quarter of each is called hair, which no image has: mean IoU falls from 1 to (3/4 + 3/4 + 0) / 3.
    invented[:, 0, [3, 7]] = HAIR
    right, wrong = confusion_matrices(truth, truth), confusion_matrices(truth, invented)
    for pair, sign in (((right, wrong), -1), ((wrong, right), 1)):
        gains = compare_matrices(*pair)
        assert gains.difference["mean"] == gains.low["mean"] == gains.high["mean"] == sign * 0.5
        assert gains.difference[:3].tolist() == [sign * 0.25, sign * 0.25, sign * 1]
        assert gains.iloc[3:7].isna().all(axis=None)


@pytest.mark.parametrize("ignore", [(), (HAIR,)])
def test_a_comparison_s_mean_is_the_difference_of_the_mean_ious(ignore):
    targets, first = draw_masks(0, classes=5)
    _, second = draw_masks(1, classes=7)
    pair = confusion_matrices(targets, first), confusion_matrices(targets, second)
    scores = [score_matrices(matrices, ignore=ignore).mean_iou for matrices in pair]
    gains = compare_matrices(*pair, ignore=ignore)
    assert gains.difference["mean"] == pytest.approx(scores[1] - scores[0])
    assert gains.low["mean"] < gains.difference["mean"] < gains.high["mean"]


def test_bootstrap_samples_without_a_class_are_not_compared_for_it():
    # Two images of eight show hair. The second network invents some elsewhere: a draw without those two must
    # not count that as if all hair had been lost.
    truth = np.zeros((8, 4, 4), int)
    truth[:2, :2] = HAIR
    before, after = truth.copy(), truth.copy()
    after[4:, 0, 0] = HAIR
    gains = compare_matrices(confusion_matrices(truth, before), confusion_matrices(truth, after))
    assert -1 < gains.low["hair"] < gains.difference["hair"] == pytest.approx(16 / 20 - 1)


def test_a_paired_comparison_of_other_images_is_refused():
    targets = np.random.default_rng(0).integers(0, 3, (4, 8, 8))
    first, second = (confusion_matrices(masks, masks) for masks in (targets, targets[::-1]))
    with pytest.raises(ValueError, match="same images"):
        compare_matrices(first, second)
    assert compare_matrices(first, 3 * first).difference["mean"] == 0


def test_an_ignored_class_has_no_part_in_a_comparison():
    truth = np.array([[[0, 0, 1, 1]], [[0, 1, 1, 1]]])
    before, after = truth.copy(), truth.copy()
    before[0, 0, :2] = after[0, 0, 0] = MOUTH_MASK
    pair = [confusion_matrices(truth, answer) for answer in (before, after)]
    everything, without = compare_matrices(*pair), compare_matrices(*pair, ignore=[MOUTH_MASK])
    assert everything.difference["mouth-mask"] == 0 and np.isnan(without.difference["mouth-mask"])
    # Background: 1 of 3 pixels, then 2 of 3. Skin is right in both.
    assert everything.difference["mean"] == pytest.approx(1 / 9)
    assert without.difference["mean"] == pytest.approx(1 / 6)
