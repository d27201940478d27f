"""OCRNet: facts."""

from segstudio.plugin_api import Option, ProbeSpec, SwitchSpec
from segstudio_zoo.catalog.entry import Paper, SegmentorEntry

ENTRY = SegmentorEntry(
    id="ocrnet",
    title="OCRNet",
    paper=Paper(
        title="Object-Contextual Representations for Semantic Segmentation",
        authors="Yuan, Chen, Wang",
        venue="ECCV",
        year=2020,
        arxiv="1909.11065",
    ),
    build="segstudio_zoo.segmentors.ocrnet:build",
    backbones=("hr18", "hr18s", "hr48", "r101-d8", "r50-d8"),
    aliases=("ocr", "hrnet-ocr"),
    options=(
        Option(
            "levels",
            "choice",
            "auto",
            "what the heads read: all levels joined at the finest stride (HRNet), or the last (ResNet)",
            choices=("auto", "all", "last"),
        ),
        Option("channels", "int", 512, "channels of pixel and region representations", minimum=1),
        Option("ocr_channels", "int", 256, "channels of the pixel-region relation", minimum=1),
        Option("region_channels", "int", None, "channels of the coarse head", minimum=1),
    ),
    probes=(
        ProbeSpec(
            "relation",
            "Pixel to classes",
            "segstudio_zoo.probes.ocrnet:relation_probe",
            query="pixel",
            kind="vector",
            group="Object context",
            help="how much the pixel takes from each class's region (Eq. 3)",
        ),
        ProbeSpec(
            "relation_map",
            "Class to pixels",
            "segstudio_zoo.probes.ocrnet:relation_map_probe",
            query="class",
            kind="map",
            group="Object context",
            help="how much every pixel takes from one class's region",
            rows_sum_to_one=False,
        ),
        ProbeSpec(
            "region",
            "Soft object region",
            "segstudio_zoo.probes.ocrnet:region_probe",
            query="class",
            kind="map",
            group="Object context",
            help="softmax of the coarse prediction over the pixels (Eq. 2)",
        ),
    ),
    switches=(
        SwitchSpec(
            "ocr_regions",
            "Object regions",
            "segstudio_zoo.probes.ocrnet:use_true_regions",
            choices=("predicted", "truth"),
            trained="predicted",
            from_labels=("truth",),
            help="truth (GT-OCR): regions and relations from the picture's labels, the paper's upper bound",
        ),
    ),
    side_outputs=("decode.0",),
    parts=(
        "soft object regions: a supervised coarse prediction",
        "region representations: features weighted by a softmax over the pixels",
        "pixel-region relation, each transform 1x1, batch norm, ReLU",
    ),
    look_at=("soft regions", "pixel to class bars", "GT-OCR"),
    expects="any backbone; HRNet's levels are joined, else the last two features are read",
    search_aliases=("object context", "GT-OCR", "HRNet OCR"),
    reference_checked=True,
)
