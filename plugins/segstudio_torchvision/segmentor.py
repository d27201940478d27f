"""One torchvision segmentation network as a `Segmentor`: same modules, same key names."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import segmentation

from segstudio.plugin_api import Loss, Scores

_AUXILIARY_WEIGHT = 0.5  # torchvision's own training reference weighs its auxiliary head so


class TorchvisionSegmentor(nn.Module):
    """Holds the parts of the network under torchvision's names, so that its state dicts fit as they are."""

    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__()
        builder = getattr(segmentation, name)
        keywords: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": num_classes}
        self._takes_pyramid = name.startswith("lraspp")
        if not self._takes_pyramid:
            keywords["aux_loss"] = True  # the official weights have this head
        network = builder(**keywords)
        self.num_classes = num_classes
        self.backbone = network.backbone
        self.classifier = network.classifier
        self.aux_classifier = getattr(network, "aux_classifier", None)

    def scores(self, image: Tensor) -> Scores:
        """`image` (N, 3, H, W) normalised -> logits at the head's resolution."""
        return Scores(self._classify(self.backbone(image)), False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, K, H, W)."""
        return _resize(self.scores(image).logits, image.shape[2:])

    def losses(self, image: Tensor, target: Tensor, criterion: Any) -> dict[str, Loss]:
        features = self.backbone(image)
        size = image.shape[2:]
        losses = {"decode.loss": criterion(_resize(self._classify(features), size), target)}
        if self.aux_classifier is not None:
            auxiliary = criterion(_resize(self.aux_classifier(features["aux"]), size), target)
            losses["aux.loss"] = auxiliary._replace(weight=_AUXILIARY_WEIGHT)
        return losses

    def side_outputs(self, image: Tensor) -> dict[str, Scores]:
        """The auxiliary head's logits, where there is one."""
        if self.aux_classifier is None:
            return {}
        return {"auxiliary": Scores(self.aux_classifier(self.backbone(image)["aux"]), False)}

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """The backbone at `lr`, the heads at ten times as much."""
        heads = [p for name, p in self.named_parameters() if not name.startswith("backbone.")]
        return [
            {"params": list(self.backbone.parameters()), "lr": lr},
            {"params": heads, "lr": 10 * lr},
        ]

    def _classify(self, features: dict[str, Tensor]) -> Tensor:
        scores: Tensor = self.classifier(features if self._takes_pyramid else features["out"])
        return scores


def _resize(logits: Tensor, size: Any) -> Tensor:
    return functional.interpolate(logits, size, mode="bilinear", align_corners=False)
