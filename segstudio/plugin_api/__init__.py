"""What a plugin imports: the specs it declares and the protocols its objects follow.

Standard library and numpy only, so that reading a plugin's facts never loads a network library.
"""

from segstudio.plugin_api.predicting import (
    Backbone,
    FeatureInfo,
    Interactive,
    LoadReport,
    Loss,
    Prediction,
    Predictor,
    Scores,
    Segmentor,
)
from segstudio.plugin_api.pretraining import Pictures, PretrainingModel
from segstudio.plugin_api.probing import Captured, Probe, ProbeMap, Query
from segstudio.plugin_api.specs import (
    Checkpoint,
    ModelSpec,
    Option,
    Plugin,
    Preprocess,
    PretrainingSpec,
    ProbeSpec,
    SwitchSpec,
    plugin_from_json,
    plugin_to_json,
)
from segstudio.plugin_api.taxonomy import Taxonomy, TaxonomyClass

API_VERSION = 1

__all__ = [
    "API_VERSION",
    "Backbone",
    "Captured",
    "Checkpoint",
    "FeatureInfo",
    "Interactive",
    "LoadReport",
    "Loss",
    "ModelSpec",
    "Option",
    "Pictures",
    "Plugin",
    "Prediction",
    "Predictor",
    "Preprocess",
    "PretrainingModel",
    "PretrainingSpec",
    "Probe",
    "ProbeMap",
    "ProbeSpec",
    "Query",
    "Scores",
    "Segmentor",
    "SwitchSpec",
    "Taxonomy",
    "TaxonomyClass",
    "plugin_from_json",
    "plugin_to_json",
]
