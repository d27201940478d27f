"""SegFormer: facts."""

from segstudio.plugin_api import Option
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_PAPERS_WAY = (("projection", "linear"), ("fusion_order", "coarse_to_fine"))

ENTRY = SegmentorEntry(
    id="segformer",
    title="SegFormer",
    paper=Paper(
        title="SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
        authors="Xie, Wang, Yu, Anandkumar, Alvarez, Luo",
        venue="NeurIPS",
        year=2021,
        arxiv="2105.15203",
    ),
    build="segstudio_zoo.segmentors.segformer:build",
    backbones=tuple(f"mit-b{n}" for n in range(6)),
    models=(
        *(
            NamedModel(f"segformer_mit-b{n}", backbone=f"mit-b{n}", aliases=(f"segformer_b{n}",))
            for n in range(6)
        ),
        *(
            NamedModel(
                f"transformers_segformer_b{n}",
                backbone=f"mit-b{n}",
                settings=(*_PAPERS_WAY, ("channels", 256 if n < 2 else 768)),
                listed=False,
            )
            for n in range(6)
        ),
    ),
    options=(
        Option("channels", "int", 256, "width of the decoder; the paper has 768 for B2 to B5", minimum=1),
        Option(
            "projection",
            "choice",
            "conv",
            "step 1: linear as in the paper, or 1x1 convolution, batch norm and ReLU",
            choices=("conv", "linear"),
        ),
        Option(
            "fusion_order",
            "choice",
            "fine_to_coarse",
            "order in which the four levels are concatenated",
            choices=("fine_to_coarse", "coarse_to_fine"),
        ),
        Option("dropout", "float", 0.1, "dropout before the classifier", minimum=0, maximum=1),
    ),
    parts=(
        "a 1x1 layer to C channels for each of the four levels",
        "levels enlarged to stride 4, concatenated, fused by a linear layer with batch norm and ReLU",
        "linear classifier at stride 4",
    ),
    look_at=(
        "masks of small and large pictures beside Segmenter's in Compare: there are no position embeddings "
        "to resize",
    ),
    deviations=(
        "mmsegmentation's weights have batch norm and ReLU after each level's linear layer; the paper has "
        "neither.",
        "mmsegmentation's decoder has 256 channels for every size; the paper has 768 for B2 to B5.",
    ),
    expects="features at strides 4, 8, 16 and 32",
    reference_checked=True,
)
