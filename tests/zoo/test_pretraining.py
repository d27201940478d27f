"""MAE, BEiT and the discrete VAE: parity with transformers, masks, terms of the bound, layouts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segstudio_zoo import load_checkpoint
from segstudio_zoo.backbones.beit import trunk
from segstudio_zoo.layers.position import sine_cosine_table
from segstudio_zoo.pretraining import beit, discrete_vae, mae
from segstudio_zoo.pretraining.masking import blockwise_mask, draw_mask, hidden_count
from tests.zoo.reference import reference


def _tiny_mae(**options: object) -> mae.MaskedAutoencoder:
    torch.manual_seed(0)
    return mae.MaskedAutoencoder(
        64, 3, 4, patch=8, image_size=(64, 64), hidden=128,
        decoder_dim=48, decoder_depth=2, decoder_heads=4, decoder_hidden=96, **options,
    ).eval()  # fmt: skip


@pytest.mark.parametrize("name", ["tiny", "tiny_rawpix"])
def test_masked_autoencoder_equals_transformers(name: str) -> None:
    ref = reference(f"transformers_mae_pretraining_{name}")
    model = _tiny_mae(normalise_pixels=name == "tiny")
    ref.assert_close("initial.position_embeddings", model.encoder.pos_embed)
    ref.assert_close("initial.decoder_pos_embed", model.decoder_pos_embed)
    report = load_checkpoint(model, ref.state_dict())
    assert report.layout == "transformers" and not report.unused
    noise = torch.from_numpy(ref.arrays["noise"])
    ref.assert_close("noise", noise)
    with torch.no_grad():
        found = model(ref.image(), noise=noise)
    ref.assert_close("mask", found.mask)
    ref.assert_close("logits", found.prediction)
    ref.assert_close("loss", (found.loss.sum / found.loss.count).reshape(1))
    ref.assert_all_seen()


@pytest.mark.parametrize(("name", "position"), [("abs", "absolute"), ("shared", "shared")])
def test_masked_image_modelling_equals_transformers(name: str, position: str) -> None:
    ref = reference(f"transformers_beit_mim_tiny_{name}")
    encoder = trunk(
        64, 3, 4, hidden=128, patch=8, image_size=(64, 64), taps=(-1,), position=position
    )  # fmt: skip
    model = beit.MaskedImageModel(encoder, vocabulary=128).eval()
    report = load_checkpoint(model, ref.state_dict())
    assert report.layout == "transformers" and not report.unused
    mask = torch.from_numpy(ref.arrays["mask"]).bool()
    hidden = torch.from_numpy(ref.arrays["target"]).long()
    ref.assert_close("mask", mask.float())
    ref.assert_close("target", hidden.float())
    target = torch.zeros(1, 64, dtype=torch.int64).masked_scatter(mask, hidden)
    with torch.no_grad():
        ref.assert_close("logits", model(ref.image(), mask).logits)
        loss = model.losses(ref.image(), target, mask)["mim"]
    ref.assert_close("loss", (loss.sum / loss.count).reshape(1))
    ref.assert_all_seen()


def test_authors_mae_weights_load() -> None:
    model = _tiny_mae()
    names = (
        ("encoder.layers.", "blocks."), ("encoder.ln1.", "norm."),
        ("patch_embed.projection", "patch_embed.proj"), ("encoder.", ""),
        ("decoder_layers.", "decoder_blocks."), (".ln1.", ".norm1."), (".ln2.", ".norm2."),
        ("attn.attn.in_proj_", "attn.qkv."), ("attn.attn.out_proj", "attn.proj"),
        ("ffn.layers.0.0", "mlp.fc1"), ("ffn.layers.1", "mlp.fc2"),
    )  # fmt: skip
    state = {}
    for key, value in model.state_dict().items():
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        state[key] = value + 1
    other = _tiny_mae()
    report = load_checkpoint(other, state)
    assert report.layout == "authors" and not report.unused
    torch.testing.assert_close(
        other.state_dict()["decoder_layers.1.ffn.layers.1.weight"],
        model.state_dict()["decoder_layers.1.ffn.layers.1.weight"] + 1,
    )


@pytest.mark.parametrize("masking", ["random", "block", "grid"])
def test_autoencoder_learns_with_every_masking_and_shows_its_picture(masking: str) -> None:
    model = _tiny_mae(masking=masking, mask_ratio=0.5).train()
    image = torch.rand(2, 3, 64, 64)
    found = model(image)
    assert found.mask.sum(1).tolist() == [32.0, 32.0]
    (found.loss.sum / found.loss.count).backward()
    fixed = {"encoder.pos_embed", "decoder_pos_embed"}
    assert {name for name, p in model.named_parameters() if p.grad is None} == fixed
    picture = model.picture(image, found)
    shown = (found.mask[0] == 0).nonzero()[0].item()
    y, x = 8 * (shown // 8), 8 * (shown % 8)
    torch.testing.assert_close(picture[0, :, y : y + 8, x : x + 8], image[0, :, y : y + 8, x : x + 8])
    torch.testing.assert_close(mae.unpatchify(mae.patchify(image, 8), 8, (8, 8)), image)
    with pytest.raises(ValueError, match="4x8 patches"):
        model(torch.rand(1, 3, 32, 64))


def test_sine_cosine_positions_equal_the_formula() -> None:
    table = sine_cosine_table(8, (2, 3))[0].numpy()
    assert not table[0].any()
    for y in range(2):
        for x in range(3):
            rate = np.array([1.0, 10000.0**-0.5])
            expected = np.concatenate(
                [np.sin(x * rate), np.cos(x * rate), np.sin(y * rate), np.cos(y * rate)]
            )
            np.testing.assert_allclose(table[1 + y * 3 + x], expected, rtol=1e-6, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["random", "block", "grid"]),
    st.integers(4, 20),
    st.integers(4, 20),
    st.floats(0.1, 0.95),
    st.integers(0, 2**31),
)
def test_masks_hide_exactly_what_the_ratio_says(
    kind: str, rows: int, columns: int, ratio: float, seed: int
) -> None:
    mask = draw_mask(kind, (rows, columns), ratio, np.random.default_rng(seed))
    assert mask.shape == (rows, columns) and mask.dtype == np.bool_
    assert int(mask.sum()) == hidden_count((rows, columns), ratio)


def test_block_masks_are_made_of_blocks_and_differ() -> None:
    rng = np.random.default_rng(0)
    masks = [blockwise_mask((14, 14), 0.4, rng) for _ in range(20)]
    assert all(mask.mean() >= 0.4 for mask in masks)
    assert len({mask.tobytes() for mask in masks}) > 15
    blocky = np.mean([(mask[:, 1:] == mask[:, :-1]).mean() for mask in masks])
    scattered = np.mean([
        (mask[:, 1:] == mask[:, :-1]).mean()
        for mask in (draw_mask("random", (14, 14), 0.4, rng) for _ in range(20))
    ])  # fmt: skip
    assert blocky > 0.8 > scattered
    grid = draw_mask("grid", (14, 14), 0.75, rng)
    assert (~grid).sum() == 49 and not grid[::2, ::2].any()
    few = draw_mask("grid", (14, 14), 0.25, rng)
    assert few.sum() == 49 and few[::2, ::2].all()


@pytest.mark.parametrize("recover", ["masked", "all"])
def test_masked_image_modelling_counts_what_it_recovers(recover: str) -> None:
    torch.manual_seed(0)
    encoder = trunk(32, 2, 2, hidden=64, patch=8, image_size=(64, 64), taps=(-1,), position="shared")
    model = beit.MaskedImageModel(encoder, vocabulary=16, recover=recover)
    target = torch.randint(0, 16, (2, 64))
    loss = model.losses(torch.randn(2, 3, 64, 64), target)["mim"]
    with torch.no_grad():
        found = model(torch.randn(2, 3, 64, 64))
    done = model.completed(target, found)
    assert torch.equal(done[~found.mask], target[~found.mask])
    assert torch.equal(done[found.mask], found.logits.argmax(-1)[found.mask])
    assert float(loss.count) == (2 * 64 if recover == "all" else 2 * hidden_count((8, 8), 0.4))
    (loss.sum / loss.count).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    pixels = beit.MaskedImageModel(encoder, target="pixels")
    error = pixels.losses(torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 192))["mim"]
    assert float(error.sum.detach()) > 0
    with pytest.raises(ValueError, match="recover"):
        beit.MaskedImageModel(encoder, recover="some")


def _tiny_vae(**options: object) -> discrete_vae.DiscreteVAE:
    torch.manual_seed(0)
    return discrete_vae.DiscreteVAE(hidden=16, vocabulary=32, blocks=1, **options)


def _plain_tokenizer(state: dict[str, torch.Tensor], image: torch.Tensor, blocks: int) -> torch.Tensor:
    """The codebook network written out: convolutions, quarter-wide paths of gain 1 / layers squared."""
    x = F.conv2d(0.8 * image + 0.1, state["blocks.input.weight"], state["blocks.input.bias"], padding=3)
    for group in range(1, 5):
        for block in range(1, blocks + 1):
            name = f"blocks.group_{group}.group.block_{block}."
            y = x
            for conv in range(1, 5):
                key = f"{name}res_path.path.conv_{conv}."
                weight = state[key + "weight"]
                y = F.conv2d(y.clamp(min=0), weight, state[key + "bias"], padding=weight.shape[-1] // 2)
            if f"{name}id_path.weight" in state:
                x = F.conv2d(x, state[f"{name}id_path.weight"], state[f"{name}id_path.bias"])
            x = x + y / (4 * blocks) ** 2
        if group < 4:
            x = F.max_pool2d(x, 2)
    return F.conv2d(x.clamp(min=0), state["blocks.output.conv.weight"], state["blocks.output.conv.bias"])


def test_tokenizer_equals_the_written_out_network_and_loads_the_codebook_layout() -> None:
    torch.manual_seed(0)
    encoder = discrete_vae.TokenEncoder(hidden=8, vocabulary=20, blocks=2)
    image = torch.rand(1, 3, 32, 48)
    state = encoder.state_dict()
    with torch.no_grad():
        expected = _plain_tokenizer(state, image, 2)
        torch.testing.assert_close(encoder(image), expected)
        loaded = discrete_vae.tokenizer_from({f"image_codebook.{k}": v for k, v in state.items()})
        torch.testing.assert_close(loaded(image), expected)
    assert expected.shape == (1, 20, 4, 6)
    with pytest.raises(ValueError, match="no tokenizer"):
        discrete_vae.tokenizer_from({"weight": image})
    full = {k: tuple(v.shape) for k, v in discrete_vae.TokenEncoder().state_dict().items()}
    assert full["blocks.output.conv.weight"] == (8192, 2048, 1, 1)
    assert full["blocks.group_4.group.block_1.res_path.path.conv_1.weight"] == (512, 1024, 3, 3)
    assert full["blocks.group_2.group.block_1.id_path.weight"] == (512, 256, 1, 1)


def test_codebook_file_loads_into_the_encoder_of_a_vae() -> None:
    vae = _tiny_vae()
    state = {key: value + 1 for key, value in vae.encoder.state_dict().items()}
    report = load_checkpoint(vae, state, strict=False)
    assert report.layout == "flava-image-codebook" and len(report.loaded) == len(state)
    assert all(key.startswith("decoder.") for key in report.missing)


@pytest.mark.parametrize("reconstruction", ["squared", "laplace"])
def test_bound_terms_are_apart_and_every_parameter_learns(reconstruction: str) -> None:
    vae = _tiny_vae(reconstruction=reconstruction)
    image = torch.rand(2, 3, 32, 32)
    bound = vae(image)
    assert set(bound.losses) == {"reconstruction", "kl"} and bound.losses["kl"].weight == 6.6
    sum(loss.weight * loss.sum / loss.count for loss in bound.losses.values()).backward()
    assert [name for name, p in vae.named_parameters() if p.grad is None] == []
    tokens = vae.tokens(image)
    assert tokens.shape == (2, 4, 4) and int(tokens.max()) < 32
    with torch.no_grad():
        painted = vae.paint(tokens)
    assert painted.shape == image.shape and float(painted.min()) >= 0 and float(painted.max()) <= 1


def test_divergence_is_zero_for_uniform_and_log_of_the_vocabulary_for_certain_codes() -> None:
    assert float(discrete_vae.kl_from_uniform(torch.zeros(1, 8, 1, 1))) == pytest.approx(0.0, abs=1e-6)
    certain = torch.zeros(1, 8, 1, 1)
    certain[0, 3] = 100.0
    assert float(discrete_vae.kl_from_uniform(certain)) == pytest.approx(math.log(8), rel=1e-5)


def test_a_small_vae_learns_to_paint_a_picture() -> None:
    vae = _tiny_vae(beta=0.0, reconstruction="squared")
    image = torch.zeros(1, 3, 32, 32)
    image[:, 0, :, :16] = 1.0
    optimiser = torch.optim.Adam(vae.parameters(), lr=3e-3)
    errors = []
    for _ in range(40):
        loss = vae(image).losses["reconstruction"]
        optimiser.zero_grad()
        (loss.sum / loss.count).backward()
        optimiser.step()
        errors.append(float((loss.sum / loss.count).detach()))
    assert errors[-1] < 0.3 * errors[0]
