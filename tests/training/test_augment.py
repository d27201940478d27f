import numpy as np
import pytest

from segstudio.core.recipe import Recipe, RunClass
from segstudio.training.augment import augment, change_color, sample_rng
from segstudio.training.data import epoch_order

FILL = np.array([1.0, 2.0, 3.0], np.float32)


def a_recipe(**changes):
    classes = tuple(RunClass(str(index), (index, 0, 0)) for index in range(4))
    settings = {"crop": (40, 32), "scale": (0.5, 2.0), "color": 0.0}
    return Recipe(model="m", classes=classes, **{**settings, **changes})


def blocks(height=60, width=80):
    """Labels in 20-pixel blocks, and an image whose red channel is 50 times the label."""
    y, x = np.mgrid[0:height, 0:width]
    labels = ((y // 20 + x // 20) % 4).astype(np.uint8)
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = labels * 50
    return image, labels


@pytest.mark.parametrize("seed", range(20))
def test_labels_stay_on_their_pixels(seed):
    image, labels = blocks()
    picture, target = augment(image, labels, a_recipe(), sample_rng(0, 0, seed), fill=FILL)
    assert picture.shape == (32, 40, 3) and target.shape == (32, 40)
    known = target != 255
    exact = np.abs(picture[..., 0] - 50 * target) < 12
    # Only pixels at the border of two blocks may be mixed by smooth scaling.
    assert exact[known].mean() > 0.8
    assert known.any()


def test_equal_numbers_give_equal_samples():
    image, labels = blocks()
    first = augment(image, labels, a_recipe(color=0.5), sample_rng(3, 4, 5), fill=FILL)
    again = augment(image, labels, a_recipe(color=0.5), sample_rng(3, 4, 5), fill=FILL)
    other = augment(image, labels, a_recipe(color=0.5), sample_rng(3, 5, 5), fill=FILL)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_what_lies_outside_is_ignored_and_has_the_fill_colour():
    image, labels = blocks(20, 20)
    picture, target = augment(
        image, labels, a_recipe(scale=(1.0, 1.0), flip=False), sample_rng(0, 0, 0), fill=FILL
    )
    assert (target[20:] == 255).all() and (target[:, 20:] == 255).all()
    assert (picture[25, 30] == FILL).all()
    assert np.array_equal(target[:20, :20], labels)


def test_colour_changes_keep_the_range_and_the_type():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    changed = [change_color(image, 1.0, np.random.default_rng(seed)) for seed in range(30)]
    assert all(one.dtype == np.float32 and one.min() >= 0 and one.max() <= 255 for one in changed)
    assert max(np.abs(one - image).max() for one in changed) > 20
    assert np.array_equal(change_color(image, 0.0, np.random.default_rng(0)), image)


@pytest.mark.parametrize("seed", range(8))
def test_the_colour_matrix_equals_one_change_after_the_other(seed):
    image = np.random.default_rng(1).integers(90, 160, (7, 5, 3), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    brightness, contrast, saturation = rng.uniform(0.8, 1.2, 3)
    use = rng.random(4) < 0.6
    balance = rng.uniform(0.94, 1.06, 3)
    expected = image.astype(float)
    if use[0]:
        expected = expected * brightness
    if use[1]:
        expected = (expected - expected.mean()) * contrast + expected.mean()
    if use[2]:
        grey = (expected @ [0.299, 0.587, 0.114])[..., None]
        expected = grey + (expected - grey) * saturation
    if use[3]:
        expected = expected * balance
    result = change_color(image, 0.4, np.random.default_rng(seed))
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_every_image_comes_once_before_any_comes_twice():
    order = epoch_order(0, 0, 7, 21)
    assert all(sorted(order[start : start + 7]) == list(range(7)) for start in (0, 7, 14))
    assert not np.array_equal(order, epoch_order(0, 1, 7, 21))
