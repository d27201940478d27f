"""What the plugin offers for pre-training: the protocol, losses, masks, pictures and files of every spec."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segstudio.plugin_api import PretrainingModel, PretrainingSpec, plugin_from_json, plugin_to_json
from segstudio_zoo import create_model, load_checkpoint
from segstudio_zoo.building import builder
from segstudio_zoo.catalog.losses import PRETRAINING
from segstudio_zoo.names import resolve
from segstudio_zoo.plugin import PLUGIN
from segstudio_zoo.pretraining import discrete_vae, mae, visual_tokens
from segstudio_zoo.pretraining.masking import hidden_count

SPECS = {spec.name: spec for spec in PLUGIN.pretraining}
SMALL = ("mae-pretraining-tiny", "beit-pretraining-tiny", "dvae-tiny")


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _vae(**options: Any) -> discrete_vae.DiscreteVAE:
    return discrete_vae.build_named("dvae-tiny", hidden=16, vocabulary=32, image_size=(48, 48), **options)


def _built(name: str, side: int = 96, **options: Any) -> Any:
    if name.startswith("beit") and options.get("target") != "pixels":
        options.setdefault("tokenizer", _vae().state_dict())
    return builder(SPECS[name].build)(name, image_size=(side, side), **options)


def _scene(count: int = 2, side: int = 96) -> Tensor:
    """Pictures in [0, 1] with something to learn: a sky, a ground and a disc, shifted each time."""
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    pictures = []
    for index in range(count):
        sky = (y < 0.5 + 0.1 * index).float()
        disc = ((y - 0.4) ** 2 + (x - 0.3 - 0.2 * index) ** 2 < 0.04).float()
        pictures.append(torch.stack([0.2 + 0.6 * disc, 0.3 + 0.3 * sky, 0.2 + 0.5 * sky * y]))
    return torch.stack(pictures)


def _image(spec: PretrainingSpec, count: int = 2, side: int = 96) -> Tensor:
    """The scene as `spec` wants it."""
    mean, deviation = (
        torch.tensor(v).view(3, 1, 1) / 255 for v in (spec.preprocess.mean, spec.preprocess.std)
    )
    return (_scene(count, side) - mean) / deviation


def _total(losses: dict[str, Any]) -> Tensor:
    return sum(loss.weight * loss.sum / loss.count for loss in losses.values())  # type: ignore[return-value]


def test_ways_of_pretraining_are_listed_with_facts_and_survive_json() -> None:
    assert list(SPECS) == [
        "mae-pretraining-tiny", "mae-pretraining-base", "mae-pretraining-large", "mae-pretraining-huge",
        "beit-pretraining-tiny", "beit-pretraining-base", "beit-pretraining-large", "dvae-tiny", "dvae",
    ]  # fmt: skip
    assert plugin_from_json(plugin_to_json(PLUGIN)).pretraining == PLUGIN.pretraining
    models = {spec.id for spec in PLUGIN.models}
    for spec in SPECS.values():
        assert spec.id == f"segstudio_zoo/{spec.name}" and spec.id not in models
        assert spec.paper and spec.parts and spec.authors and spec.year > 2020
        size = next(option for option in spec.options if option.name == "image_size")
        assert all(side % spec.size_divisor == 0 for side in size.default)
        for backbone in spec.backbones:
            assert resolve(backbone).segmentor is None


@pytest.mark.parametrize("name", SMALL)
def test_every_way_keeps_the_protocol_and_its_options_defaults(name: str) -> None:
    spec = SPECS[name]
    options = {option.name: option.default for option in spec.options}
    if "tokenizer" in options:
        options["tokenizer"] = _vae().state_dict()
    model = builder(spec.build)(name, **{**options, "image_size": (96, 112)})
    assert isinstance(model, PretrainingModel)
    assert model.image_size == (96, 112) and 96 % model.cell == 0
    assert model.pictures(_image(spec)[:, :, :, :1].expand(-1, -1, -1, 112)).views


@pytest.mark.parametrize("name", list(SPECS))
def test_declared_options_are_those_of_the_builder_with_its_defaults(name: str) -> None:
    spec = SPECS[name]
    parameters = inspect.signature(builder(spec.build)).parameters
    assert {option.name for option in spec.options} == {key for key in parameters if key != "name"}
    for option in spec.options:
        default = parameters[option.name].default
        if option.name in ("decoder_dim", "decoder_depth", "hidden", "vocabulary"):
            assert default is None and option.default  # the size decides
        else:
            assert option.default == default


@pytest.mark.parametrize("name", SMALL)
def test_the_pages_losses_have_the_weights_in_effect(name: str) -> None:
    losses = _built(name, **({} if name != "dvae-tiny" else {"hidden": 16})).losses(_image(SPECS[name]))
    facts = {fact.name: fact.weight for fact in PRETRAINING["mae" if name.startswith("mae") else "beit"]}
    assert {key: loss.weight for key, loss in losses.items()}.items() <= facts.items()


@pytest.mark.parametrize("name", SMALL)
def test_losses_are_finite_and_every_trained_tensor_learns(name: str) -> None:
    model = _built(name).train()
    losses = model.losses(_image(SPECS[name]))
    expected = {"mae": {"reconstruction"}, "beit": {"mim"}, "dvae": {"reconstruction", "kl"}}
    assert set(losses) == expected[name.partition("-")[0]]
    total = _total(losses)
    assert torch.isfinite(total)
    total.backward()
    grouped = {id(p) for group in model.param_groups(1e-3) for p in group["params"]}
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad == (id(parameter) in grouped), key
        assert parameter.requires_grad == (parameter.grad is not None), key
        assert not key.startswith("tokenizer.") or not parameter.requires_grad
    rates = {group["lr"] for group in model.param_groups(1e-3)}
    decays = {group.get("weight_decay") for group in model.param_groups(1e-3)}
    assert rates == {1e-3} and decays == {None, 0.0}


@pytest.mark.parametrize("name", SMALL)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    model = (_vae(beta=0.3, reconstruction="squared") if name == "dvae-tiny" else _built(name)).train()
    image = _image(SPECS[name], 2)
    optimiser = torch.optim.AdamW(model.param_groups(1e-3))
    found = []
    for step in range(12):
        model.advance(step / 12)
        total = _total(model.losses(image))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        found.append(float(total.detach()))
    assert sum(found[-3:]) < 0.97 * sum(found[:3]), found


@pytest.mark.parametrize("name", ["mae-pretraining-tiny", "beit-pretraining-tiny"])
def test_pictures_hide_what_the_ratio_says_and_the_seed_decides_where(name: str) -> None:
    model, image = _built(name), _image(SPECS[name])
    for masking in ("random", "block", "grid"):
        for ratio in (0.1, 0.5, 0.95):
            found = model.pictures(image, ratio=ratio, masking=masking, seed=5)
            assert found.hidden is not None and found.error is not None
            assert found.hidden.shape == found.error.shape == (2, 6, 6)
            assert found.hidden.sum(dim=(1, 2)).tolist() == [hidden_count((6, 6), ratio)] * 2
            assert next(iter(found.views)) == "masked"
            assert all(view.shape == image.shape and view.isfinite().all() for view in found.views.values())
    again = [model.pictures(image, seed=seed) for seed in (5, 5, 6)]
    assert torch.equal(again[0].hidden, again[1].hidden) and not torch.equal(again[0].hidden, again[2].hidden)
    for key, view in again[0].views.items():
        assert torch.equal(view, again[1].views[key])
    own = SPECS[name]
    trained = next(option.default for option in own.options if option.name == "mask_ratio")
    assert again[0].hidden.sum(dim=(1, 2)).tolist() == [hidden_count((6, 6), trained)] * 2


@pytest.mark.parametrize("name", ["mae-pretraining-tiny", "beit-pretraining-tiny"])
@pytest.mark.parametrize("number", [0, 1, 17, 36])
def test_any_number_of_cells_can_be_hidden_by_hand(name: str, number: int) -> None:
    options = {"target": "pixels"} if name.startswith("beit") else {}
    model, image = _built(name, **options).train(), _image(SPECS[name], 1)
    hidden = (torch.randperm(36) < number).view(1, 6, 6)
    found = model.pictures(image, hidden)
    assert torch.equal(found.hidden, hidden) and model.training
    pixels = hidden.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None].expand_as(image)
    assert torch.equal(found.views["reconstruction"][~pixels], image[~pixels])
    assert torch.equal(found.views["masked"][~pixels], image[~pixels])
    assert not found.views["masked"][pixels].any()
    assert ((found.error > 0) == hidden).all()
    if number:
        assert not torch.equal(found.views["reconstruction"][pixels], image[pixels])
    with pytest.raises(ValueError, match="not 1x6x6"):
        model.pictures(image, hidden[:, :3])


def test_an_autoencoders_error_is_its_loss_and_does_not_see_what_is_hidden() -> None:
    model, image = _built("mae-pretraining-tiny").eval(), _image(SPECS["mae-pretraining-tiny"], 1)
    hidden = torch.zeros(1, 6, 6, dtype=torch.bool)
    hidden[0, 2:4, 1:5] = True
    found = model.pictures(image, hidden)
    with torch.no_grad():
        loss = model(image, hidden=hidden.flatten(1)).loss
    assert float(found.error[hidden].mean()) == pytest.approx(float(loss.sum / loss.count), rel=1e-5)
    changed = image.clone()
    changed[:, :, 32:64, 16:80] += 3.0  # as bright a change as one likes, behind the mask
    prediction = [model(x, hidden=hidden.flatten(1)).prediction.detach() for x in (image, changed)]
    torch.testing.assert_close(*prediction)
    assert "mean and contrast" in found.notes[0]
    with pytest.raises(ValueError, match="it is one number"):
        model(torch.cat([image, image]), hidden=torch.cat([hidden, ~hidden]).flatten(1))


def test_raw_pixels_are_painted_as_predicted() -> None:
    model = _built("mae-pretraining-tiny", normalise_pixels=False, decoder_dim=64, decoder_depth=1).eval()
    image = _image(SPECS["mae-pretraining-tiny"], 1)
    found = model.pictures(image, torch.ones(1, 6, 6, dtype=torch.bool))
    with torch.no_grad():
        prediction = model(image, hidden=torch.ones(1, 36, dtype=torch.bool)).prediction
    torch.testing.assert_close(found.views["reconstruction"], mae.unpatchify(prediction, 16, (6, 6)))
    assert not found.notes and len(model.decoder_layers) == 1
    with pytest.raises(ValueError, match="multiple of 32"):
        _built("mae-pretraining-tiny", decoder_dim=40)
    with pytest.raises(ValueError, match="do not divide into patches of 16"):
        _built("mae-pretraining-tiny", side=100)


def test_tokens_are_those_of_the_picture_at_half_its_size() -> None:
    vae = _vae()
    model = _built("beit-pretraining-tiny", tokenizer=vae.state_dict())
    spec = SPECS["beit-pretraining-tiny"]
    half = torch.nn.functional.avg_pool2d(_scene(), 2)
    tokens = model.tokens(_image(spec))
    assert tokens.shape == (2, 36) and torch.equal(tokens, vae.tokens(half).flatten(1))
    found = model.pictures(_image(spec), seed=1)
    assert list(found.views) == ["masked", "predicted", "tokenizer"]
    mean, deviation = (
        torch.tensor(v).view(3, 1, 1) / 255 for v in (spec.preprocess.mean, spec.preprocess.std)
    )
    with torch.no_grad():
        large = torch.nn.functional.interpolate(
            vae.paint(tokens.view(2, 6, 6)), scale_factor=2, mode="bilinear", align_corners=False
        )
    torch.testing.assert_close(found.views["tokenizer"] * deviation + mean, large)
    none = model.pictures(_image(spec), torch.zeros(2, 6, 6, dtype=torch.bool))
    torch.testing.assert_close(none.views["predicted"], none.views["tokenizer"])
    with torch.no_grad():
        loss = model.model.losses(_image(spec), tokens, found.hidden.flatten(1))["mim"]
    assert float(found.error[found.hidden].mean()) == pytest.approx(float(loss.sum / loss.count), rel=1e-5)
    assert f"of {2 * hidden_count((6, 6), 0.4)} hidden tokens" in found.notes[0]


def test_a_codebook_without_decoder_trains_but_cannot_paint() -> None:
    codebook = {f"image_codebook.{key}": value for key, value in _vae().encoder.state_dict().items()}
    model = _built("beit-pretraining-tiny", tokenizer=codebook)
    image = _image(SPECS["beit-pretraining-tiny"])
    assert torch.isfinite(_total(model.losses(image)))
    found = model.pictures(image)
    assert list(found.views) == ["masked"] and any("no decoder" in note for note in found.notes)
    assert float(found.error[found.hidden].min()) > 0


def test_without_a_tokenizer_it_says_what_to_choose_before_the_first_step() -> None:
    model = visual_tokens.build_named("beit-pretraining-tiny", image_size=(96, 96))
    with pytest.raises(ValueError, match="has no tokenizer: choose a file"):
        model.param_groups(1e-3)
    with pytest.raises(ValueError, match="has no tokenizer"):
        model.losses(_image(SPECS["beit-pretraining-tiny"]))
    with pytest.raises(ValueError, match="holds no tokenizer"):
        _built("beit-pretraining-tiny", tokenizer={"weight": torch.zeros(1)})


@pytest.mark.parametrize("options", [{}, {"target": "pixels"}, {"recover": "all", "masking": "random"}])
def test_a_file_of_weights_is_whole_without_the_tokenizers_file(options: dict[str, Any]) -> None:
    source = _built("beit-pretraining-tiny", **options).eval()
    state = source.state_dict()
    assert ("tokenizer.decoder.blocks.input.weight" in state) == ("target" not in options)
    other = visual_tokens.build_named("beit-pretraining-tiny", image_size=(96, 96)).eval()
    other.load_state_dict(state)
    image = _image(SPECS["beit-pretraining-tiny"])
    first, second = (model.pictures(image, seed=3, masking="block") for model in (source, other))
    assert list(first.views) == list(second.views)
    for key, view in first.views.items():
        torch.testing.assert_close(view, second.views[key])
    assert other.param_groups(1e-3)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("mae-pretraining-tiny", "vit-t16"),
        ("mae-pretraining-tiny", "mae-tiny"),
        ("beit-pretraining-tiny", "beit-tiny"),
    ],
)
def test_what_was_learned_starts_the_listed_backbones(name: str, backbone: str) -> None:
    assert backbone in SPECS[name].backbones
    state = _built(name).state_dict()
    model = create_model(backbone)
    report = load_checkpoint(model, state, strict=False)
    tables = {"gamma_1", "gamma_2", "relative_position_bias_table"} if backbone == "mae-tiny" else set()
    assert {key.rpartition(".")[2] for key in report.missing} == tables
    assert not report.unexpected and not report.mismatched
    for key in ("layers.11.ln2.weight", "patch_embed.projection.weight"):
        prefix = "model.encoder." if name.startswith("beit") else "encoder."
        torch.testing.assert_close(model.state_dict()[key], state[prefix + key])


def test_a_masked_image_model_of_another_publisher_goes_on_with_a_tokenizer_of_ones_own() -> None:
    source = _built("beit-pretraining-tiny").model.state_dict()
    names = (("encoder.layers.", "blocks."), ("encoder.", ""), (".ln1.", ".norm1."), (".ln2.", ".norm2."),
             ("patch_embed.projection", "patch_embed.proj"), ("ffn.layers.0.0", "mlp.fc1"),
             ("ffn.layers.1", "mlp.fc2"))  # fmt: skip
    theirs = {}
    for key, value in source.items():
        for ours, other in names:
            key = key.replace(ours, other)
        theirs[key] = value + 1
    model = _built("beit-pretraining-tiny")
    report = load_checkpoint(model, theirs, strict=False)
    assert report.layout == "authors" and all(key.startswith("tokenizer.") for key in report.missing)
    for key, value in source.items():
        torch.testing.assert_close(model.model.state_dict()[key], value + 1)


def test_first_weights_of_a_masked_image_model_are_the_papers() -> None:
    encoder = _built("beit-pretraining-tiny").model.encoder
    for place, block in enumerate(encoder.layers, start=1):
        for weight, divided in (
            (block.attn.proj.weight, True), (block.ffn.layers[1].weight, True),
            (block.attn.qkv.weight, False), (block.ffn.layers[0][0].weight, False),
        ):  # fmt: skip
            bound = 0.02 / math.sqrt(2 * place) if divided else 0.02
            largest = float(weight.detach().abs().max())
            assert 0.98 * bound < largest <= bound * (1 + 1e-6)
    assert not encoder.rel_pos_bias.relative_position_bias_table.any()


def test_the_temperature_of_a_discrete_vae_falls_from_one_to_a_sixteenth() -> None:
    vae = _vae()
    seen = []
    for fraction in (0.0, 0.25, 0.5, 1.0):
        vae.advance(fraction)
        seen.append(vae.temperature)
    assert seen == pytest.approx([1.0, (1 + 1 / 16) / 2, 1 / 16, 1 / 16])
    soft = _vae().train()
    torch.manual_seed(1)
    softest = soft.losses(_scene(side=48))["reconstruction"].sum
    soft.advance(1.0)
    torch.manual_seed(1)
    assert not torch.equal(softest, soft.losses(_scene(side=48))["reconstruction"].sum)


def test_a_discrete_vae_shows_what_it_paints_and_counts_its_codes() -> None:
    vae = _vae()
    found = vae.pictures(_scene(side=48))
    assert list(found.views) == ["reconstruction"] and found.hidden is None and found.error is None
    view = found.views["reconstruction"]
    assert view.shape == (2, 3, 48, 48) and float(view.min()) >= 0 and float(view.max()) <= 1
    used = len(vae.tokens(_scene(side=48)).unique())
    assert found.notes == (f"{used} of 32 codes are in use here.",)


def test_frozen_parts_stay_as_they_are_while_training() -> None:
    model = _built("beit-pretraining-tiny").train()
    assert isinstance(model.tokenizer, nn.Module) and not model.tokenizer.training
    before = {key: value.clone() for key, value in model.tokenizer.state_dict().items()}
    optimiser = torch.optim.AdamW(model.param_groups(1e-2), weight_decay=0.1)
    _total(model.losses(_image(SPECS["beit-pretraining-tiny"]))).backward()
    optimiser.step()
    for key, value in model.tokenizer.state_dict().items():
        assert torch.equal(value, before[key])
