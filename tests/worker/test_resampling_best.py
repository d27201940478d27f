"""The best class of every pixel: that of torch's own arg max, ties and odd values included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segstudio.worker.resampling import Maps, write_strip


@pytest.mark.parametrize("number", [2, 19, 150, 255, 256, 300])
def test_the_first_of_the_largest_scores_wins(number: int) -> None:
    torch.manual_seed(0)
    scores = torch.randint(-3, 4, (number, 5, 33)).float()  # many ties
    labels = np.zeros((9, 33), np.uint8 if number <= 256 else np.uint16)
    write_strip(scores, Maps(labels), 2)
    expected = np.argmax(scores.numpy(), axis=0)
    assert (labels[2:7] == expected).all()
    assert not labels[:2].any() and not labels[7:].any()


def test_scores_that_are_no_numbers_give_a_class_all_the_same() -> None:
    scores = torch.zeros(4, 1, 3)
    scores[1, 0, 0], scores[2, 0, 1] = float("nan"), float("inf")
    labels = np.full((1, 3), 9, np.uint8)
    write_strip(scores, Maps(labels), 0)
    assert labels[0, 0] < 4 and labels[0, 1:].tolist() == [2, 0]
