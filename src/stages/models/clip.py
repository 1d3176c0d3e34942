"""A small CLIP (Radford et al. 2021): a tower for images and one for texts, whose
outputs meet on a sphere, and a classifier that knows classes by their names alone.

The image tower is any network that maps pictures to `size` numbers: `ConvTower`, or a
`stages.models.ViT` with `classes=size`, whose head is then the projection. A text is a
row of tokens with pads anywhere. Prompts are vectors that are learnt: textual ones
stand before a text's tokens, visual ones between the class token and the patches.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.gpt import CausalBlock
from stages.models.vit import ViT

MOST = 100.0  # the largest scale, 1 / temperature
AT_ONCE = 1_000  # pictures that are encoded together, so that they fit into memory

Images = Float[Tensor, "n channels side side"]
Texts = Int[Tensor, "m length"]
Vectors = Float[Tensor, "vectors width"]
Prompts = Vectors | Float[Tensor, "m vectors width"]  # one for all texts, or one each


class ConvTower(nn.Module):
    """3x3 convolutions with GroupNorm and ReLU, then a linear map of all that is left.

    Args:
        image_size: side of the picture in pixels.
        channels: of the picture.
        widths: channels of the convolutions; multiples of 8, the groups of the norm.
        strides: of the convolutions. A first stride of 2 makes an update three times
            as fast as 1.
        size: outputs.

    Raises:
        ValueError: the strides do not divide the side, or are not one a convolution.
    """

    def __init__(
        self,
        image_size: int = 16,
        channels: int = 3,
        widths: tuple[int, ...] = (32, 64, 64, 128),
        strides: tuple[int, ...] = (2, 2, 1, 2),
        size: int = 64,
    ):
        super().__init__()
        smaller = math.prod(strides)
        if len(strides) != len(widths) or image_size % smaller:
            raise ValueError(
                f"image_size {image_size}, widths {widths}, strides {strides}: give as"
                " many strides as widths, and an image_size that their product divides"
            )
        layers: list[nn.Module] = []
        sizes = pairwise((channels, *widths))
        for stride, (before, after) in zip(strides, sizes, strict=True):
            layers += [
                nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
                nn.GroupNorm(8, after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.project = nn.Linear(widths[-1] * (image_size // smaller) ** 2, size)

    def forward(self, images: Images) -> Float[Tensor, "n size"]:
        """Return the outputs of pictures, pixels in [0, 1]."""
        return self.project(self.layers(images))


class TextTower(nn.Module):
    """Token embeddings, blocks in which all words of a text see one another, the mean
    over words, and a linear map.

    Args:
        vocabulary: number of tokens.
        width, depth, heads: of a token, of the network in blocks, of an attention.
            Without blocks a text is a bag of words, and positions have no say.
        length: the most tokens of a text, prompt included.
        size: outputs.
        pad: the token that is none.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 64,
        depth: int = 1,
        heads: int = 4,
        length: int = 24,
        size: int = 64,
        pad: int = 0,
    ):
        super().__init__()
        self.pad = pad
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(
            CausalBlock(width, heads, ratio=4, dropout=0.0) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, size)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(
        self, texts: Texts, prompt: Prompts | None = None
    ) -> Float[Tensor, "m size"]:
        """Return the outputs of texts.

        Args:
            prompt: vectors that stand before every text in the place of words (Zhou et
                al. 2022), the same for all texts or own ones for each; gradients flow
                to them.

        Raises:
            ValueError: there are not positions enough.
        """
        states, present = self.embedding(texts), texts != self.pad
        if prompt is not None:
            states = torch.cat([prompt.expand(len(texts), -1, -1), states], 1)
            present = F.pad(present, (prompt.shape[-2], 0), value=True)
        if (length := states.shape[1]) > len(self.positions):
            raise ValueError(
                f"{length} tokens to read, prompt included; there are positions for"
                f" {len(self.positions)}"
            )
        if self.blocks:
            places = (present.cumsum(1) - 1).clamp(min=0)
            states = states + self.positions[places]
        for block in self.blocks:
            states, _ = block(states, attends=present[:, None, None])
        total = (states * present[..., None]).sum(1)
        mean = total / present.sum(1, keepdim=True)
        return self.project(self.norm(mean))


class CLIP(nn.Module):
    """Two towers and a learnt temperature.

    Attributes:
        log_scale: log of 1 / temperature, which `clip_scale` keeps at log 100 or below.

    Args:
        image, text: the towers, with equally many outputs.
        temperature: at the start.
    """

    def __init__(self, image: nn.Module, text: nn.Module, temperature: float = 0.07):
        super().__init__()
        self.image = image
        self.text = text
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def encode_images(self, images: Images) -> Float[Tensor, "n size"]:
        """Return a vector of length 1 for each picture."""
        return F.normalize(self.image(images), dim=-1)

    def encode_texts(
        self, texts: Texts, prompt: Prompts | None = None
    ) -> Float[Tensor, "m size"]:
        """Return a vector of length 1 for each text, read after a prompt if given."""
        return F.normalize(self.text(texts, prompt), dim=-1)

    def forward(self, images: Images, texts: Texts) -> Float[Tensor, "n m"]:
        """Return the cosine of each picture with each text over the temperature."""
        return self.compare(self.encode_images(images), self.encode_texts(texts))

    def compare(
        self, images: Float[Tensor, "n size"], texts: Float[Tensor, "m size"]
    ) -> Float[Tensor, "n m"]:
        """Return `forward` for what is encoded already."""
        return self.log_scale.exp() * images @ texts.mT

    @torch.no_grad()
    def clip_scale(self) -> None:
        """Bring the scale down to 100; to be called after each update."""
        self.log_scale.clamp_(max=math.log(MOST))


# ---------------------------------------------------------------------------- zero-shot


def class_vectors(
    model: CLIP,
    names: Int[Tensor, "templates classes length"],
    prompt: Vectors | None = None,
) -> Float[Tensor, "classes size"]:
    """Turn names into a classifier: the mean, over templates, of each class's encoded
    name, brought back to length 1. Gradients flow.

    Args:
        names: the tokens of each class's name in each template.
        prompt: vectors before all of them.
    """
    each = model.encode_texts(names.flatten(0, 1), prompt)
    return F.normalize(each.unflatten(0, names.shape[:2]).mean(0), dim=-1)


@torch.no_grad()
def classify(
    model: CLIP, images: Images, classes: Float[Tensor, "classes size"]
) -> Float[Tensor, "n classes"]:
    """Return each picture's logits, in batches on the model's device."""
    device = model.log_scale.device
    parts = [
        model.compare(model.encode_images(part.to(device)), classes).cpu()
        for part in images.split(AT_ONCE)
    ]
    return torch.cat(parts)


@torch.no_grad()
def zero_shot(
    model: CLIP, images: Images, names: Int[Tensor, "templates classes length"]
) -> Float[Tensor, "n classes"]:
    """Return each picture's logits for classes that are known by their names alone;
    pictures and names are moved to the model's device.
    """
    device = model.log_scale.device
    return classify(model, images, class_vectors(model, names.to(device)))


def accuracy_by_class(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]
) -> Float[Tensor, " classes"]:
    """Return how many pictures of each class are named rightly, in %; not a number for
    a class that has none. The mean over classes is the class-wise accuracy.
    """
    right = (logits.argmax(1) == labels).to(torch.float64)
    count = logits.shape[1]
    hits = torch.bincount(labels, right, minlength=count)
    return 100 * hits / torch.bincount(labels, minlength=count)


def prompted(vit: ViT, images: Images, prompt: Vectors) -> Float[Tensor, "n size"]:
    """Return a transformer's outputs with vectors between the class token and the
    patches, before the first block ("shallow": Jia et al. 2022).
    """
    tokens = vit.embed(images)
    beside = prompt.expand(len(images), -1, -1)
    return vit.forward_from(torch.cat([tokens[:, :1], beside, tokens[:, 1:]], 1), 0)
