"""SemanticFPN: pyramid and head against their sums written out, key names, switch, gradients.

Its numbers are compared with a reference as the coarse head of PointRend (test_pointrend.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from segstudio_zoo import create_model
from segstudio_zoo.segmentors.sem_fpn import infer_options, mute_level


def small(name: str = "sem_fpn_r18") -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(name, num_classes=3, channels=8, pyramid_channels=16)


def test_pyramid_is_the_top_down_sum_of_laterals() -> None:
    model = small()
    neck = model.neck
    with torch.no_grad():
        features = model.backbone(torch.randn(1, 3, 65, 97))
        laterals = [conv(x) for conv, x in zip(neck.lateral_convs, features, strict=True)]
        running = laterals[3]
        expected = [neck.fpn_convs[3](running)]
        for level in (2, 1, 0):
            rows = torch.arange(laterals[level].shape[2]) * running.shape[2] // laterals[level].shape[2]
            columns = torch.arange(laterals[level].shape[3]) * running.shape[3] // laterals[level].shape[3]
            running = laterals[level] + running[:, :, rows][:, :, :, columns]
            expected.insert(0, neck.fpn_convs[level](running))
        for got, value in zip(neck(features), expected, strict=True):
            assert torch.allclose(got, value, atol=1e-5)


def test_head_has_the_published_names_and_adds_up() -> None:
    model = small()
    head = model.decode_head
    assert [len(level) for level in head.scale_heads] == [1, 2, 4, 6]
    with torch.no_grad():
        features = model.extract(torch.randn(1, 3, 64, 96))
        total = head.scale_heads[0](features[0])
        for level in (1, 2, 3):
            x = features[level]
            for index in range(level):
                x = head.scale_heads[level][2 * index](x)
                x = F.interpolate(x, scale_factor=2, mode="bilinear")
            total = total + x
        assert torch.allclose(head(features), head.conv_seg(total), atol=1e-5)


def test_a_dilated_backbone_suits_too() -> None:
    model = small("sem_fpn_r18-d8")
    with torch.no_grad():
        assert model(torch.randn(1, 3, 65, 81)).shape == (1, 3, 65, 81)


def test_muting_a_level_changes_the_output_and_is_put_back() -> None:
    model, image = small(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        normal = model(image)
        with mute_level(model, "without 8"):
            assert not torch.equal(model(image), normal)
        assert torch.equal(model(image), normal)


def test_every_parameter_gets_a_gradient_and_options_are_inferred() -> None:
    model = small().train()
    model.scores(torch.randn(3, 3, 65, 81)).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    found = infer_options({key: tuple(value.shape) for key, value in model.state_dict().items()})
    assert found == {"channels": 8, "pyramid_channels": 16}
