"""PointRend: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import NamedModel, Paper, SegmentorEntry

_PROBES = "segstudio_zoo.probes.pointrend"
_STEP = Option("step", "int", 0, "subdivision step, from 1; 0 is the last", minimum=0)

ENTRY = SegmentorEntry(
    id="pointrend",
    title="PointRend",
    paper=Paper(
        title="PointRend: Image Segmentation as Rendering",
        authors="Kirillov, Wu, He, Girshick",
        venue="CVPR",
        year=2020,
        arxiv="1912.08193",
    ),
    build="segstudio_zoo.segmentors.pointrend:build",
    backbones=("r50", "r101"),
    aliases=("point_rend",),
    models=(
        NamedModel("pointrend_r50", backbone="r50"),
        NamedModel("pointrend_r101", backbone="r101"),
        NamedModel(
            "pointrend_deeplabv3_r50-d16",
            backbone="r50-d16",
            settings=(("coarse", "deeplabv3"),),
            aliases=("pointrend_r50-d16_deeplabv3",),
        ),
    ),
    options=(
        Option(
            "coarse",
            "choice",
            "semantic_fpn",
            "where the coarse map comes from",
            choices=("semantic_fpn", "deeplabv3"),
        ),
        Option(
            "coarse_norm",
            "choice",
            "batch",
            "norm of SemanticFPN's head; the paper has group",
            choices=("batch", "group"),
        ),
        Option(
            "subdivision_steps",
            "choice",
            "auto",
            "doublings in inference; auto goes on to the picture's size, 0 gives the coarse map",
            choices=("auto", 0, 1, 2, 3, 4, 5, 6),
        ),
        Option("subdivision_points", "int", 8196, "points a step; the paper has 8096", minimum=1),
        Option("training_points", "int", 2048, "points of the point loss", minimum=1),
        Option("point_channels", "int", 256, "channels of the perceptron", minimum=1),
        Option("point_layers", "int", 3, "hidden layers of the perceptron", minimum=1, maximum=8),
    ),
    probes=(
        ProbeSpec(
            "uncertainty",
            "Uncertainty",
            f"{_PROBES}:uncertainty_probe",
            query="global",
            kind="map",
            options=(_STEP,),
            group="Subdivision",
            help="minus the gap between the best two classes, before the step",
            signed=True,
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            "points",
            "Points chosen",
            f"{_PROBES}:points_probe",
            query="global",
            kind="points",
            options=(_STEP,),
            group="Subdivision",
            help="the points that one step predicts anew, each with its uncertainty",
            signed=True,
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            "box",
            "Box, 7 to 224 a side",
            f"{_PROBES}:box_probe",
            query="pixel",
            kind="images",
            options=(
                Option("height", "int", 64, "height of the box in pixels", minimum=7, maximum=9999),
                Option("width", "int", 64, "width of the box in pixels", minimum=7, maximum=9999),
                Option("show", "choice", "class", "what is shown", choices=("class", "uncertainty")),
            ),
            group="Subdivision",
            help="a box drawn on the picture, rendered as the paper renders one object",
            rows_sum_to_one=False,
        ),
    ),
    switches=(
        SwitchSpec(
            "subdivision",
            "Subdivision steps",
            f"{_PROBES}:set_steps",
            choices=(-1, 0, 1, 2, 3, 4),
            trained=-1,
            help="0: the coarse map; -1: as built",
        ),
    ),
    side_outputs=("decode.0",),
    parts=(
        "coarse map from SemanticFPN or DeepLabV3's pyramid",
        "perceptron on fine features and coarse prediction of single points",
        "importance sampling in training, adaptive subdivision in inference",
    ),
    look_at=(
        "uncertainty and points a step",
        "a box from 7x7 to 224x224",
        "edges of the mask at 0 to 4 subdivision steps, in two panes of Compare",
    ),
    deviations=("8196 points a step as in published configurations; the paper has 8096.",),
    expects="features from stride 4 on",
    search_aliases=("PointNet", "rendering", "point head"),
    reference_checked=True,
)
