"""Probes that several backbones offer, for the catalog; torch-free."""

from __future__ import annotations

from segstudio.plugin_api import Option, ProbeSpec

HEAD = Option("head", "int", 0, "head, counted from 1; 0 is the mean of all", minimum=0)
BLOCK = Option("block", "int", 0, "block, counted from 1; 0 is the last", minimum=0)
VIEW = Option(
    "view",
    "choice",
    "row",
    "row: where the pixel looks; column: who looks at it",
    choices=("row", "column"),
)

RECEPTIVE_FIELD = ProbeSpec(
    id="receptive_field",
    title="Effective receptive field",
    build="segstudio_zoo.layers.receptive_field:receptive_field_probe",
    options=(Option("stage", "int", 0, "stage, counted from 1; 0 is the last", minimum=0, maximum=4),),
    group="Receptive field",
    help="Gradient of what is above zero in the clicked cell by the input, largest value 1 "
    "(Luo et al., 1701.04128).",
    rows_sum_to_one=False,
)
"""For comparing pyramids: ConvNeXt's stages beside ResNet's."""


def token_probes(module: str) -> tuple[ProbeSpec, ...]:
    """Attention per layer and head, the class token's, and rollout; built in `module`."""
    return (
        ProbeSpec(
            id="attention",
            title="Attention of one layer",
            build=f"{module}:attention_probe",
            options=(BLOCK, HEAD, VIEW),
            group="Self-attention",
            help="Attention between patches; what goes to the class token is given beside the map.",
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            id="class_token",
            title="Attention of the class token",
            build=f"{module}:attention_probe",
            query="global",
            options=(BLOCK, HEAD),
            group="Self-attention",
            help="How much the class token looks at each patch, in one block.",
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            id="rollout",
            title="Attention rollout",
            build=f"{module}:rollout_probe",
            options=(BLOCK,),
            group="Self-attention",
            help="Attention composed over the layers with the residual (Abnar and Zuidema, 2005.00928).",
            rows_sum_to_one=False,
        ),
    )
