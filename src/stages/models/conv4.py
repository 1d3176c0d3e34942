"""The four-block convolutional network of few-shot learning (Vinyals et al. 2016), with
group instead of batch norm.

Batches of a few images have no statistics worth keeping, and running ones would drift
while weights are held.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, GroupNorm and ReLU, 2x2 max-pooling after the
    first three, and a cosine head.

    Args:
        image_size: side of the picture in pixels, 8 or more; the embedding has `width *
            (image_size // 8)**2` numbers.
        channels: of the picture.
        width: channels of every convolution.
        groups: of GroupNorm.
        classes: outputs of the head.
        scale: the head's initial factor.

    Raises:
        ValueError: the picture is too small, or groups do not share out the width.
    """

    def __init__(
        self,
        image_size: int = 20,
        channels: int = 1,
        width: int = 24,
        groups: int = 4,
        classes: int = 10,
        scale: float = 10.0,
    ):
        super().__init__()
        if image_size < 8 or width % groups:
            raise ValueError(
                f"image_size {image_size} must be 8 or more, and groups {groups} divide"
                f" the width {width}"
            )
        layers: list[nn.Module] = []
        for i in range(4):
            convolution = nn.Conv2d(
                width if i else channels, width, 3, padding=1, bias=False
            )  # the norm has a bias
            layers += [
                convolution,
                nn.GroupNorm(groups, width),
                nn.ReLU(),
                *([nn.MaxPool2d(2)] if i < 3 else []),
            ]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.prototypes = nn.Parameter(
            torch.randn(classes, width * (image_size // 8) ** 2)
        )
        self.scale = nn.Parameter(torch.tensor(scale))

    def features(
        self, images: Float[Tensor, "batch channels side side"]
    ) -> Float[Tensor, "batch features"]:
        """Return the embedding."""
        return self.layers(images)

    def forward(
        self, images: Float[Tensor, "batch channels side side"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of pictures, pixels in [0, 1]."""
        return cosine_logits(self.features(images), self.prototypes, self.scale)


def cosine_logits(
    features: Float[Tensor, "*batch n features"],
    prototypes: Float[Tensor, "*batch classes features"],
    scale: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, "*batch n classes"]:
    """Return `scale` times the cosine between each feature vector and each class's
    prototype.

    With the classes' mean features as prototypes, its arg-max is the nearest class mean
    on the sphere.
    """
    return scale * (F.normalize(features, dim=-1) @ F.normalize(prototypes, dim=-1).mT)
