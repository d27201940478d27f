import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe
from segstudio.training.criteria import CrossEntropy, frequency_weights
from segstudio.training.schedules import cosine_factor, poly_factor, schedule_of


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, 5, generator=generator, requires_grad=True)
    target = torch.randint(0, 4, (2, 6, 5), generator=generator)
    target[0, :4] = 255
    return logits, target


def test_sum_over_count_is_torchs_mean(batch):
    logits, target = batch
    loss = CrossEntropy(255)(logits, target)
    assert loss.count == (target != 255).sum()
    torch.testing.assert_close(loss.sum / loss.count, F.cross_entropy(logits, target, ignore_index=255))


def test_class_weights_weigh_sum_and_count(batch):
    logits, target = batch
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    loss = CrossEntropy(255, class_weights=weights)(logits, target)
    expected = F.cross_entropy(logits, target, weight=weights, ignore_index=255)
    torch.testing.assert_close(loss.sum / loss.count, expected)


def test_two_ranks_with_unequal_ignore_have_the_gradient_of_one(batch):
    logits, target = batch
    whole = CrossEntropy(255)(logits, target)
    (expected,) = torch.autograd.grad(whole.sum / whole.count, logits)
    parts = [CrossEntropy(255)(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    count = sum(part.count for part in parts)
    (together,) = torch.autograd.grad(sum(part.sum / count for part in parts), logits)
    torch.testing.assert_close(together, expected)
    means = [CrossEntropy(255)(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    (wrong,) = torch.autograd.grad(sum(part.sum / part.count for part in means) / 2, logits)
    assert (wrong - expected).norm() > 0.1 * expected.norm()


def test_hard_examples_are_the_least_probable_ones(batch):
    logits, target = batch
    keep = CrossEntropy(255, keep=0.25, threshold=0.0)(logits, target)
    pixel = F.cross_entropy(logits, target, ignore_index=255, reduction="none")[target != 255]
    hardest = pixel.sort(descending=True).values[: int(len(pixel) * 0.25)]
    assert keep.count == len(hardest)
    torch.testing.assert_close(keep.sum, hardest.sum())


def test_nothing_labelled_gives_zero_not_nan():
    logits = torch.randn(1, 3, 4, 4)
    loss = CrossEntropy(255, keep=0.5)(logits, torch.full((1, 4, 4), 255))
    assert loss.sum == 0 and loss.count == 0


def test_rare_classes_weigh_more_and_absent_ones_nothing_special():
    weights = frequency_weights(np.array([1000, 10, 0]))
    assert weights[1] > weights[0] and weights[2] == 1
    assert weights[:2].mean() == pytest.approx(1)


def test_the_rate_rises_then_falls_to_its_floor():
    values = [poly_factor(step, 100, power=0.9, warmup_steps=10) for step in range(101)]
    assert values[0] < values[5] < values[9]
    assert all(a >= b for a, b in itertools.pairwise(values[10:]))
    assert values[100] == 1e-4
    assert poly_factor(50, 100, power=0.9, warmup_steps=0) == pytest.approx(0.5**0.9)


def test_half_a_cosine_begins_where_the_rise_ends():
    values = [cosine_factor(step, 110, warmup_steps=10) for step in range(111)]
    assert values[0] < values[5] < values[9] == pytest.approx(1) and values[10] == 1
    assert all(a >= b for a, b in itertools.pairwise(values[10:]))
    assert values[60] == pytest.approx(0.5) and values[35] == pytest.approx((1 + 0.5**0.5) / 2)
    assert values[110] == 1e-4


def test_the_recipe_says_how_the_rate_falls():
    recipe = Recipe(model="any", classes=(), power=2.0)
    assert schedule_of(recipe, 100)(50) == pytest.approx(0.25)
    assert schedule_of(replace(recipe, schedule="cosine"), 100)(50) == pytest.approx(0.5)
    with pytest.raises(UserError, match="schedule is 'steps', expected one of poly, cosine"):
        replace(recipe, schedule="steps").checked()
