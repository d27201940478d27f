"""Encoders of pre-training as start weights: every layout, into bare backbones and segmentors on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from segstudio.plugin_api import LoadReport
from segstudio_zoo import create_model, identify, load_checkpoint
from segstudio_zoo.backbones.beit import trunk
from segstudio_zoo.layers.patch_transformer import PatchTransformer
from segstudio_zoo.layers.position import bias_table_for, position_for, relations, sine_cosine_table
from segstudio_zoo.pretraining.beit import MaskedImageModel
from segstudio_zoo.pretraining.mae import MaskedAutoencoder
from tests.zoo.reference import reference

SIDE = 64
State = dict[str, Tensor]


@pytest.fixture(scope="module", autouse=True)
def _repeatable() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _autoencoder(size: tuple[int, int] = (SIDE, SIDE)) -> MaskedAutoencoder:
    model = MaskedAutoencoder(
        192, 12, 3, patch=16, image_size=size, decoder_dim=32, decoder_depth=1, decoder_heads=2
    )
    return _shaken(model).eval()


def _shaken(model: nn.Module) -> nn.Module:
    """Every trained tensor moved, so that one left out shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


_TIMM = (
    ("patch_embed.projection", "patch_embed.proj"), ("layers.", "blocks."), (".ln1.", ".norm1."),
    (".ln2.", ".norm2."), ("attn.attn.in_proj_", "attn.qkv."), ("attn.attn.out_proj", "attn.proj"),
    ("ffn.layers.0.0", "mlp.fc1"), ("ffn.blocks.0.0", "mlp.fc1"), ("ffn.layers.1", "mlp.fc2"),
    ("ffn.blocks.1", "mlp.fc2"), ("ln1.", "norm."),
)  # fmt: skip


def _own(model: nn.Module) -> State:
    return dict(model.state_dict())


def _authors(model: nn.Module) -> State:
    state = {}
    for key, value in model.state_dict().items():
        for ours, theirs in (("encoder.", ""), *_TIMM):
            key = key.replace(ours, theirs)
        state[key] = value
    return state


def _timm(model: nn.Module) -> State:
    return {k: v for k, v in _authors(model).items() if not k.startswith(("decoder_", "mask_token"))}


def _transformers(model: nn.Module) -> State:
    names = (
        ("encoder.layers.", "vit.encoder.layer."), ("decoder_layers.", "decoder.decoder_layers."),
        ("encoder.cls_token", "vit.embeddings.cls_token"),
        ("encoder.pos_embed", "vit.embeddings.position_embeddings"),
        ("encoder.patch_embed.", "vit.embeddings.patch_embeddings."), ("encoder.ln1.", "vit.layernorm."),
        (".ln1.", ".layernorm_before."), (".ln2.", ".layernorm_after."),
        ("attn.attn.out_proj", "attention.output.dense"), ("ffn.layers.0.0", "intermediate.dense"),
        ("ffn.layers.1", "output.dense"),
    )  # fmt: skip
    state = {}
    for key, value in model.state_dict().items():
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        if key.startswith(("decoder_", "mask_token")):
            key = f"decoder.{key}"
        if "attn.attn.in_proj_" in key:
            for part, name in zip(value.chunk(3), ("query", "key", "value"), strict=True):
                state[key.replace("attn.attn.in_proj_", f"attention.attention.{name}.")] = part
        else:
            state[key] = value
    return state


def _transformers_trunk(model: nn.Module) -> State:
    """What the bare `ViTMAEModel` saves: no prefix, no decoder."""
    return {k.removeprefix("vit."): v for k, v in _transformers(model).items() if k.startswith("vit.")}


LAYOUTS: list[Callable[[nn.Module], State]] = [_own, _authors, _timm, _transformers, _transformers_trunk]


def _features(encoder: PatchTransformer, image: Tensor) -> Tensor:
    """The last block's output (N, D, h, w), without the norm behind it."""
    tokens, size = encoder.embed(image)
    for block in encoder.layers:
        tokens = block(tokens, size)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, size)


def _plain(backbone: nn.Module) -> nn.Module:
    """MAE's backbone without what the encoder has not: bias tables at zero, layer scales at one."""
    with torch.no_grad():
        for key, parameter in backbone.named_parameters():
            if key.endswith("relative_position_bias_table"):
                parameter.zero_()
    return backbone


def _only_heads_miss(report: LoadReport) -> None:
    new = ("gamma_1", "gamma_2", "relative_position_bias_table")
    heads = ("decode_head.", "auxiliary_head.", "neck.")
    assert not report.unexpected and not report.mismatched
    assert all(key.endswith(new) or key.startswith(heads) for key in report.missing), report.missing


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["vit-t16", "mae-tiny", "segmenter_vit-t_mask", "upernet_mae-tiny"])
def test_an_autoencoders_encoder_gives_the_same_features_in_every_backbone(
    layout: Callable[[nn.Module], State], name: str
) -> None:
    source = _autoencoder()
    state = layout(source)
    model = create_model(name, num_classes=3, image_size=(SIDE, SIDE)).eval()
    report = load_checkpoint(model, state, strict=False)
    _only_heads_miss(report)
    decoder = [key for key in state if "decoder" in key or key.endswith("mask_token")]
    assert set(decoder) <= set(report.unused)
    assert set(report.loaded) | set(report.unused) == set(state)
    backbone = _plain(getattr(model, "backbone", model))
    image = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = _features(source.encoder, image)
        torch.testing.assert_close(_features(backbone, image), expected, rtol=1e-4, atol=1e-4)
        if name.startswith("segmenter"):
            torch.testing.assert_close(backbone.ln1.weight, source.encoder.ln1.weight)


def test_bias_tables_and_layer_scales_are_told_as_missing() -> None:
    report = load_checkpoint(
        create_model("mae-tiny", image_size=(SIDE, SIDE)), _autoencoder().state_dict(), strict=False
    )
    assert len(report.missing) == 12 * 3
    assert len(report.loaded) == 12 * 12 + 4


@pytest.mark.parametrize("name", ["vit-t16", "mae-tiny"])
def test_fixed_positions_of_an_oblong_pretraining_are_resized_to_the_networks_grid(name: str) -> None:
    source = _autoencoder((SIDE, 2 * SIDE))
    model = create_model(name, image_size=(96, 96))
    load_checkpoint(model, source.state_dict(), strict=False)
    expected = position_for(sine_cosine_table(192, (4, 8)), (6, 6), (4, 8))
    torch.testing.assert_close(model.pos_embed.data, expected)
    square = create_model(name, image_size=(96, 96))
    load_checkpoint(square, _autoencoder().state_dict(), strict=False)
    with torch.no_grad():
        assert _features(square, torch.randn(1, 3, 80, 112)).shape == (1, 192, 5, 7)


def test_a_reference_autoencoder_of_transformers_loads_into_a_trunk_of_its_size() -> None:
    ref = reference("transformers_mae_pretraining_tiny")
    state = ref.state_dict()
    own = MaskedAutoencoder(
        64, 3, 4, patch=8, image_size=(64, 64), hidden=128,
        decoder_dim=48, decoder_depth=2, decoder_heads=4, decoder_hidden=96,
    ).eval()  # fmt: skip
    load_checkpoint(own, state)
    trunk_of_it = MaskedAutoencoder(64, 3, 4, patch=8, image_size=(64, 64), hidden=128).encoder.eval()
    trunk_of_it.network_files = ("", "segstudio_zoo.backbones.vit")
    report = load_checkpoint(trunk_of_it, state)
    assert report.layout == "transformers" and len(report.unused) == sum("decoder" in key for key in state)
    with torch.no_grad():
        torch.testing.assert_close(
            _features(trunk_of_it, ref.image()), _features(own.encoder, ref.image()), rtol=1e-5, atol=1e-5
        )


def _masked_image_model(position: str = "shared", size: tuple[int, int] = (SIDE, SIDE)) -> MaskedImageModel:
    encoder = trunk(192, 12, 3, hidden=768, patch=16, image_size=size, taps=(-1,), position=position)
    return _shaken(MaskedImageModel(encoder, vocabulary=16)).eval()


def _authors_beit(model: nn.Module) -> State:
    state = {}
    for key, value in model.state_dict().items():
        for ours, theirs in (("encoder.", ""), *_TIMM):
            key = key.replace(ours, theirs)
        state[key] = value
    return state


def _beit_features(encoder: PatchTransformer, image: Tensor) -> Tensor:
    tokens, size = encoder.embed(image)
    shared = () if encoder.rel_pos_bias is None else (encoder.rel_pos_bias(size),)
    for block in encoder.layers:
        tokens = block(tokens, size, *shared)
    return tokens


@pytest.mark.parametrize("layout", [_own, _authors_beit])
@pytest.mark.parametrize("position", ["relative", "shared"])
@pytest.mark.parametrize("name", ["beit-tiny", "upernet_beit-tiny"])
def test_a_masked_image_models_encoder_gives_the_same_features(
    layout: Callable[[nn.Module], State], name: str, position: str
) -> None:
    source = _masked_image_model()
    state = layout(source)
    model = create_model(name, num_classes=3, image_size=(SIDE, SIDE), position=position).eval()
    report = load_checkpoint(model, state, strict=False)
    _only_heads_miss(report)
    assert not [key for key in report.missing if key.startswith(("layers.", "backbone."))]
    assert {"mask_token", "lm_head.weight", "lm_head.bias"} <= set(report.unused)
    assert any(key.endswith("rel_pos_bias.relative_position_bias_table") for key in report.loaded)
    backbone = getattr(model, "backbone", model)
    image = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(
            _beit_features(backbone, image), _beit_features(source.encoder, image), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", ["transformers_beit_mim_tiny_shared", "transformers_beit_mim_tiny_abs"])
def test_a_reference_masked_image_model_of_transformers_loads_into_a_trunk_of_its_size(name: str) -> None:
    ref = reference(name)
    state = ref.state_dict()
    position = "shared" if name.endswith("shared") else "absolute"
    arguments = {"hidden": 128, "patch": 8, "image_size": (64, 64), "taps": (-1,)}
    own = MaskedImageModel(trunk(64, 3, 4, position=position, **arguments), vocabulary=128).eval()
    load_checkpoint(own, state)
    for wanted in {"relative", "shared"} if position == "shared" else {"absolute"}:
        other = trunk(64, 3, 4, position=wanted, **arguments).eval()
        other.network_files = ("", "segstudio_zoo.backbones.beit")
        report = load_checkpoint(other, state)
        assert set(report.unused) == {
            "beit.embeddings.mask_token", "layernorm.weight", "layernorm.bias",
            "lm_head.weight", "lm_head.bias",
        }  # fmt: skip
        with torch.no_grad():
            torch.testing.assert_close(
                _beit_features(other, ref.image()),
                _beit_features(own.encoder, ref.image()),
                rtol=1e-5,
                atol=1e-5,
            )


def test_bias_tables_of_an_oblong_pretraining_are_resized_to_the_networks_grid() -> None:
    source = _masked_image_model(size=(SIDE, 2 * SIDE))
    state = {**{f"model.{k}": v for k, v in source.state_dict().items()}, "grid": torch.tensor([4, 8])}
    model = create_model("beit-tiny", image_size=(SIDE, SIDE))
    report = load_checkpoint(model, state)
    table = source.encoder.rel_pos_bias.relative_position_bias_table
    assert table.shape[0] == relations((4, 8)) and "grid" in report.unused
    for block in model.layers:
        torch.testing.assert_close(
            block.attn.relative_position_bias_table, bias_table_for(table, (4, 4), (4, 8))
        )


def test_files_of_whole_networks_load_into_a_bare_backbone_and_are_told_apart() -> None:
    source = create_model("vit-t16")
    _shaken(source)
    state = {f"backbone.{key}": value for key, value in source.state_dict().items()}
    found = identify(state)
    assert [item.name for item in found][:1] == ["vit-t16"]
    with_head = {**state, "decode_head.conv_seg.bias": torch.zeros(3), "ema_steps": torch.zeros(1)}
    other = create_model("vit-t16")
    report = load_checkpoint(other, with_head, strict=False)
    assert report.unused == ("decode_head.conv_seg.bias",) and report.unexpected == ("ema_steps",)
    assert set(report.loaded) == set(state)
    for key, value in source.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pretrained_encoder_is_identified_as_the_plain_transformer_it_fits(
    layout: Callable[[nn.Module], State],
) -> None:
    found = identify(layout(_autoencoder()))
    assert found and found[0].name == "vit-t16" and "patch_bias" not in found[0].options


def test_a_masked_image_model_is_identified_with_its_shared_table() -> None:
    found = identify(_masked_image_model().state_dict())
    assert found[0].name == "beit-tiny" and found[0].options["position"] == "shared"


@pytest.mark.parametrize("name", ["transformers_dpt_base", "timm_vit_base_patch16_224_mae"])
def test_a_last_norm_that_others_do_not_apply_to_features_is_not_read_into_a_function(name: str) -> None:
    found = identify(reference(name).state_dict())
    assert found and all("final_norm" not in item.options for item in found)
