"""Segmenter: parity, linear decoder, the authors' layout, probes, switch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segstudio.plugin_api import Query
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.segmentors.segmenter import class_token_probe, mask_norm_switch, mask_product_probe
from tests.zoo.reference import check_reference, reference
from tests.zoo.renamed_gradients import shapes_of


def test_equals_mmsegmentation_in_outputs_losses_and_gradients() -> None:
    ref, _ = check_reference("segmenter_vit-t_mask")
    ref.assert_all_seen()


def test_identify_gives_the_published_name() -> None:
    found = identify(shapes_of(reference("segmenter_vit-t_mask")))
    assert (found[0].name, found[0].num_classes) == ("segmenter_vit-t_mask", 19)


@pytest.mark.parametrize("decoder", ["mask", "linear"])
def test_authors_weights_load(decoder: str) -> None:
    torch.manual_seed(0)
    model = create_model("segmenter_vit-t16", num_classes=5, decoder=decoder, image_size=(64, 64))
    state = {}
    names = (
        ("patch_embed.projection", "patch_embed.proj"), (".ln1.", ".norm1."), (".ln2.", ".norm2."),
        ("attn.attn.in_proj_", "attn.qkv."), ("attn.attn.out_proj", "attn.proj"),
        ("ffn.layers.0.0", "mlp.fc1"), ("ffn.layers.1", "mlp.fc2"), ("dec_proj", "proj_dec"),
    )  # fmt: skip
    for key, value in model.state_dict().items():
        part, _, rest = key.partition(".")
        if part == "backbone" and rest.startswith("ln1."):
            rest = rest.replace("ln1.", "norm.")
        rest = "." + rest
        for ours, theirs in names:
            rest = rest.replace(ours, theirs)
        rest = rest[1:].replace("layers.", "blocks.")
        if rest == "conv_seg.weight":
            rest, value = "head.weight", value[:, :, 0, 0]
        elif rest == "conv_seg.bias":
            rest = "head.bias"
        elif rest in ("patch_proj.weight", "classes_proj.weight"):
            rest, value = f"proj_{rest.split('_')[0]}", value.T
        state[f"{'encoder' if part == 'backbone' else 'decoder'}.{rest}"] = value
    found = identify(state)
    assert found and found[0].layout == "authors" and found[0].num_classes == 5
    other = create_model(found[0].name, num_classes=5, **found[0].options)
    report = load_checkpoint(other, state)
    assert not (report.missing or report.unexpected or report.mismatched)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other(image), model(image))


def test_class_token_probe_equals_the_decoders_own_attention() -> None:
    torch.manual_seed(0)
    model = create_model("segmenter_vit-t_mask", num_classes=5)
    layer = model.decode_head.layers[0]
    seen: list[torch.Tensor] = []
    layer.attn.attn.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    probe, products = class_token_probe(), mask_product_probe()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), probe.attach(model) as captured, products.attach(model) as kept:
        masks = model.scores(image).logits
    answer = probe.map(captured, Query("class", index=3), block=1, head=2)
    inner, x = layer.attn.attn, seen[0][0]
    with torch.no_grad():
        query, key, _ = (x @ inner.in_proj_weight.T + inner.in_proj_bias).chunk(3, dim=1)
        full = (query[:, 64:128] @ key[:, 64:128].T / 8).softmax(-1)
    np.testing.assert_allclose(answer.values.ravel(), full[24 + 3, :24].numpy(), atol=1e-5)
    np.testing.assert_allclose(answer.extras["class_tokens"], full[24 + 3, 24:].numpy(), atol=1e-5)
    assert answer.values.shape == (4, 6) and answer.stride == (16.0, 16.0)
    with pytest.raises(ValueError, match="no class 5"):
        probe.map(captured, Query("class", index=5))
    after = products.map(kept, Query("class", index=2), normed=True)
    np.testing.assert_allclose(after.values, masks[0, 2].numpy(), atol=1e-6)
    before = products.map(kept, Query("class", index=2))
    assert before.signed and np.abs(before.values).max() <= 1.0 + 1e-6


def test_norm_switch_gives_the_products_and_linear_decoder_has_no_class_tokens() -> None:
    torch.manual_seed(0)
    model = create_model("segmenter_vit-t_mask", num_classes=5)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        trained = model(image)
        with mask_norm_switch(model, "off"):
            bare = model.scores(image).logits
        assert float(bare.abs().max()) <= 1.0 + 1e-6
        assert torch.equal(model(image), trained)
    linear = create_model("segmenter_vit-t_mask", num_classes=5, decoder="linear")
    with pytest.raises(ValueError, match="linear decoder"), class_token_probe().attach(linear):
        pass


def test_any_size_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = create_model("segmenter_vit-t_mask", num_classes=3)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 1, 1)).shape == (1, 3, 1, 1)
        assert model(torch.randn(3, 3, 33, 47)).shape == (3, 3, 33, 47)
    model(torch.randn(1, 3, 129, 161)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    convolutional = create_model("segmenter", backbone="r18-d8", num_classes=3)
    with torch.no_grad():
        assert convolutional(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)
