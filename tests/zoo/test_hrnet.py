"""HRNet: parity with mmsegmentation and timm, transitions, V1 and V2, probe and switch."""

from __future__ import annotations

import pytest
import torch

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.hrnet import branch_probe, mute_branch
from tests.zoo.reference import check_backbone, reference


@pytest.mark.parametrize("name", ["backbone_hrnet-w18", "backbone_hrnet-w32"])
def test_pyramid_equals_the_reference(name: str) -> None:
    ref, _ = check_backbone(name)
    ref.assert_all_seen()


def test_timm_weights_load_with_their_head_unused_and_nearest_upsampling() -> None:
    ref = reference("timm_hrnet_w18")
    found = next(item for item in identify(ref.state_dict()) if item.name == "hrnet-w18")
    model = create_model(found.name, **found.options)
    report = load_checkpoint(model, ref.state_dict())
    assert report.layout == "timm"
    assert not report.missing
    heads = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")
    assert all(key.startswith(heads) for key in report.unused)
    with torch.no_grad():
        for index, value in enumerate(model(ref.image())):
            ref.assert_close(f"feature.{index}", value)


def test_mmsegmentations_small_backbone_is_timms_second() -> None:
    with torch.device("meta"):
        theirs, ours = create_model("backbone_hrnet-w18-small"), create_model("hrnet-w18-small-v2")
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {
        k: v.shape for k, v in ours.state_dict().items()
    }


def test_small_variants_have_the_published_stage_tables() -> None:
    small = create_model("hr18s")
    first = create_model("hrnet-w18-small")
    assert [len(small.get_submodule(f"stage{n}")) for n in (2, 3, 4)] == [1, 3, 2]
    assert [len(first.get_submodule(f"stage{n}")) for n in (2, 3, 4)] == [1, 1, 1]
    assert [info.channels for info in first.features] == [16, 32, 64, 128]


def test_transition_from_all_scales_adds_to_the_published_one() -> None:
    torch.manual_seed(0)
    every = create_model("hrnet-w18-small", transition="all")
    nearest = create_model("hrnet-w18-small")
    published = set(nearest.state_dict())
    assert published < set(every.state_dict())
    extra = {key.split(".")[2] for key in set(every.state_dict()) - published}
    assert extra == {"from_0", "from_1"}
    branches = [torch.randn(1, c, 16 // 2**b, 16 // 2**b) for b, c in enumerate((16, 32, 64))]
    new = every.transition3[3]
    with torch.no_grad():
        expected = new.get_submodule("0")(branches[2])
        expected = expected + new.get_submodule("from_0")(branches[0])
        expected = expected + new.get_submodule("from_1")(branches[1])
        assert torch.equal(new(branches), expected)


def test_a_muted_branch_is_missing_from_the_top_one() -> None:
    model = create_model("hrnet-w18-small", representation="top")
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        (whole,) = model(image)
        for value in ("without 8", "without 16", "without 32"):
            with mute_branch(model, value):
                assert not torch.equal(model(image)[0], whole), value
        assert torch.equal(model(image)[0], whole)


def test_top_representation_is_the_first_branch_of_all() -> None:
    every = create_model("hrnet-w18-small")
    top = create_model("hrnet-w18-small", representation="top")
    report = load_checkpoint(top, every.state_dict(), strict=False)
    assert not report.missing
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        (only,) = top(image)
        assert torch.equal(only, every(image)[0])
    assert top.features == every.features[:1]


@pytest.mark.parametrize("options", [{}, {"transition": "all"}, {"representation": "top"}])
def test_every_parameter_gets_a_gradient(options: dict[str, str]) -> None:
    model = create_model("hrnet-w18-small", **options).train()
    sum(value.square().mean() for value in model(torch.randn(3, 3, 65, 97))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_stride_is_refused_with_the_strides_there_are() -> None:
    with pytest.raises(ValueError, match="32"):
        create_model("hrnet-w18-d8")


def test_probe_shows_each_branch_after_each_stage_and_the_switch_zeroes_one() -> None:
    model = create_model("nonlocal", backbone="hrnet-w18-small", num_classes=3)
    probe = branch_probe()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), probe.attach(model) as captured:
        model.scores(image)
        shown = probe.map(captured, Query(kind="global"))
        features = model.backbone(image)
        with mute_branch(model, "without 16"):
            muted = model.backbone(image)
        again = model.backbone(image)
    assert shown.values.shape == (2 + 3 + 4, 16, 24)
    assert shown.labels[-1].startswith("stage 4 /32: ") and shown.labels[-1].endswith(" G")
    units = model.backbone.stage4
    weights = sum(
        m.weight.numel() for u in units for m in u.branches[0].modules() if hasattr(m, "kernel_size")
    )
    assert shown.labels[-4] == f"stage 4 /4: {2 * weights * 16 * 24 / 1e9:.2f} G"
    assert torch.allclose(torch.from_numpy(shown.values[-4]), features[0][0].abs().mean(0), atol=1e-6)
    assert set(shown.extras["flops"]) == {"stride 4", "stride 8", "stride 16", "stride 32"}
    assert not muted[2].any()
    assert torch.equal(muted[1], features[1])
    assert torch.equal(again[2], features[2])
