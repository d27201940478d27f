"""What every segmentation system trains with, as plain data: the names of its losses, weights and meanings.

A loss is called as the network's `losses` names it, the head in front: "decode.loss_ce". A test builds every
network and compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from segstudio.plugin_api.specs import OptionValue


@dataclass(frozen=True, slots=True)
class LossFact:
    """One loss. `needs`: the option and value without which the network does not have it."""

    name: str
    weight: float
    meaning: str
    needs: tuple[str, OptionValue] | None = None


_CROSS_ENTROPY = "cross-entropy of the final scores, enlarged to the picture"
_FINAL = LossFact("decode.loss_ce", 1.0, _CROSS_ENTROPY)
_AUXILIARY = LossFact("aux.loss_ce", 0.4, "cross-entropy of the auxiliary head", ("auxiliary", True))
_PLAIN = (_FINAL,)
_WITH_AUXILIARY = (_FINAL, _AUXILIARY)
_ALWAYS_AUXILIARY = (_FINAL, LossFact("aux.loss_ce", 0.4, "cross-entropy of the auxiliary head"))

LOSSES: dict[str, tuple[LossFact, ...]] = {
    "ann": _ALWAYS_AUXILIARY,
    "bisenetv1": (
        _FINAL,
        LossFact("aux_0.loss_ce", 1.0, "cross-entropy on the context path, stride 8", ("auxiliary", True)),
        LossFact("aux_1.loss_ce", 1.0, "cross-entropy on the context path, stride 16", ("auxiliary", True)),
    ),
    "bisenetv2": (
        _FINAL,
        *(
            LossFact(
                f"aux_{index}.loss_ce",
                1.0,
                f"booster: cross-entropy on the semantic branch at stride {stride}",
                ("boosters", True),
            )
            for index, stride in enumerate((4, 8, 16, 32))
        ),
    ),
    "ccnet": (
        _FINAL,
        LossFact(
            "decode.loss_ccl",
            1.0,
            "category consistent loss: features of one class drawn together, class means apart",
            ("category_consistent", True),
        ),
        _AUXILIARY,
    ),
    "danet": (
        LossFact("decode.pam_cam.loss_ce", 1.0, "cross-entropy of the sum of both branches"),
        LossFact("decode.pam.loss_ce", 1.0, "cross-entropy of the position branch alone"),
        LossFact("decode.cam.loss_ce", 1.0, "cross-entropy of the channel branch alone"),
        _AUXILIARY,
    ),
    "deeplabv3": _WITH_AUXILIARY,
    "deeplabv3plus": _WITH_AUXILIARY,
    "dpt": (
        _FINAL,
        LossFact("decode.loss_aux", 0.2, "cross-entropy of the auxiliary head", ("auxiliary", True)),
    ),
    "encnet": (
        _FINAL,
        LossFact(
            "decode.loss_se",
            0.2,
            "SE-loss: which classes the picture has, binary cross-entropy from the encoding",
            ("se_loss", True),
        ),
        LossFact(
            "decode.loss_se_stage3",
            0.2,
            "SE-loss of the second encoding module, on stage 3",
            ("second_encoding", True),
        ),
        _AUXILIARY,
    ),
    "fcn": _WITH_AUXILIARY,
    "gcnet": _ALWAYS_AUXILIARY,
    "icnet": (
        LossFact("decode.loss_ce", 1.0, "cross-entropy of the finest prediction"),
        LossFact("aux_0.loss_ce", 0.4, "label guidance of the quarter picture", ("auxiliary", True)),
        LossFact("aux_1.loss_ce", 0.4, "label guidance of the half picture", ("auxiliary", True)),
    ),
    "lraspp": _PLAIN,
    "nonlocal": _WITH_AUXILIARY,
    "ocrnet": (
        LossFact("decode_0.loss_ce", 0.4, "cross-entropy of the soft object regions"),
        LossFact("decode_1.loss_ce", 1.0, _CROSS_ENTROPY),
    ),
    "pointrend": (
        LossFact("decode_0.loss_ce", 1.0, "cross-entropy of the coarse map"),
        LossFact("decode_1.pointloss_ce", 1.0, "cross-entropy of points, three of four in doubt"),
    ),
    "psanet": _WITH_AUXILIARY,
    "pspnet": _ALWAYS_AUXILIARY,
    "segformer": _PLAIN,
    "segmenter": _PLAIN,
    "segnext": _PLAIN,
    "sem_fpn": _PLAIN,
    "upernet": _WITH_AUXILIARY,
}
"""By the id of the catalog's entry, with the weights that the defaults of the options give."""

PRETRAINING: dict[str, tuple[LossFact, ...]] = {
    "mae": (LossFact("reconstruction", 1.0, "mean squared error of the pixels of masked patches"),),
    "beit": (
        LossFact("mim", 1.0, "cross-entropy of the visual tokens of masked patches"),
        LossFact("reconstruction", 1.0, "of the discrete VAE: its pictures against the given ones"),
        LossFact("kl", 6.6, "of the discrete VAE: its codes against an even use of all, weighed by beta"),
    ),
}
"""What backbones are pre-trained with."""


@dataclass(frozen=True, slots=True)
class RecipeFact:
    """A way of training that a publication of the system names. `values` are fields of a run's recipe that
    differ from a new one's; `segstudio train` has a flag of each name."""

    title: str
    values: tuple[tuple[str, float], ...]
    meaning: str


RECIPES: dict[str, tuple[RecipeFact, ...]] = {
    "bisenetv2": (
        RecipeFact(
            "OHEM",
            (("ohem", 0.01),),
            "online hard example mining in the final loss and the boosters, as in the published "
            "configuration of that name: pixels whose class gets less than 0.7, at least 10,000 of a crop "
            "of 1024x1024 (1 %)",
        ),
    ),
}
"""By the id of the catalog's entry."""
