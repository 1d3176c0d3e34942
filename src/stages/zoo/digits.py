"""Base models of digits in 8x8: one that reads them, one that draws them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.denoiser import Denoiser, Preconditioned
from stages.progress import bar
from stages.seeding import torch_rng
from stages.training import cosine, diffusion, fit, optimiser
from stages.training.quality import frechet_distance
from stages.worlds import digits
from stages.zoo.recipe import Recipe


def scaled(images: Float[Tensor, "n pixels"]) -> Float[Tensor, "n pixels"]:
    """Carry pixels from [0, 1] to [-1, 1], the range of all models here."""
    return 2 * images - 1


# ------------------------------------------------------------------------ who reads


@dataclass(frozen=True)
class ReaderSettings:
    """A perceptron of one hidden layer more than its features, and its training."""

    width: int = 128
    features: int = 32
    steps: int = 1_500
    batch: int = 128
    lr: float = 2e-3
    decay: float = 0.05
    noise: float = 0.2


class Reader(nn.Module):
    """A perceptron that names digits; `features` is what its last layer reads.

    Features are tanh units, so that no unit is dead and none runs away.
    """

    def __init__(self, pixels: int = 64, width: int = 128, features: int = 32):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(pixels, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, features),
            nn.Tanh(),
        )
        self.head = nn.Linear(features, 10)

    def features(
        self, images: Float[Tensor, "n pixels"]
    ) -> Float[Tensor, "n features"]:
        """Return what the last layer reads, of images in [-1, 1]."""
        return self.hidden(images)

    def forward(self, images: Float[Tensor, "n pixels"]) -> Float[Tensor, "n classes"]:
        """Return ten logits an image, in [-1, 1]."""
        return self.head(self.features(images))


def build_reader(settings: ReaderSettings) -> Reader:
    """Make the perceptron."""
    return Reader(width=settings.width, features=settings.features)


def fit_reader(model: Reader, settings: ReaderSettings, seed: int) -> None:
    """Train on the training images, a little noise added to each."""
    world = digits.load()
    device = model.head.weight.device
    images = scaled(world.train_images).to(device)
    labels = world.train_labels.to(device)
    chance = torch_rng(seed, "zoo", "batches")
    shape = settings.steps, settings.batch
    rows = torch.randint(len(images), shape, generator=chance)
    decay = settings.decay
    adam = optimiser(model.parameters(), "adamw", settings.lr, weight_decay=decay)

    def loss(step: int) -> Tensor:
        chosen = rows[step].to(device)
        noise = torch.randn(settings.batch, images.shape[1], generator=chance)
        noisy = images[chosen] + settings.noise * noise.to(device)
        return F.cross_entropy(model(noisy), labels[chosen])

    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=cosine(settings.steps, 50),
    )


def measure_reader(
    model: Reader, settings: ReaderSettings, seed: int
) -> dict[str, float]:
    """Measure accuracy on test images, and the Fréchet distance between training and
    test images in its features: the noise floor of that distance.
    """
    world = digits.load()
    train, test = scaled(world.train_images), scaled(world.test_images)
    right = model(test).argmax(1) == world.test_labels
    floor = frechet_distance(model.features(train), model.features(test))
    return {
        "test accuracy": 100 * right.float().mean().item(),
        "Fréchet distance of training to test images": floor,
    }


# ------------------------------------------------------------------------- who draws


@dataclass(frozen=True)
class EDMSettings:
    """A denoiser of digits: its size, its noise levels and its training.

    `mean` and `deviation` are those of ln σ in training; sampling runs from `most` to
    `least`. The rate is constant, and falls linearly to 0 over the share `tail`.
    """

    width: int = 192
    blocks: int = 3
    data: float = 0.75
    mean: float = -0.6
    deviation: float = 1.2
    steps: int = 6_000
    batch: int = 128
    lr: float = 1e-3
    tail: float = 0.3
    keep: float = 0.999
    least: float = 0.02
    most: float = 20.0


def build_edm(settings: EDMSettings) -> Preconditioned:
    """Make the denoiser."""
    network = Denoiser(64, settings.width, settings.blocks)
    return Preconditioned(network, settings.data)


def fit_edm(model: Preconditioned, settings: EDMSettings, seed: int) -> None:
    """Train with EDM's loss; what is kept is the moving average."""
    device = next(model.parameters()).device
    images = scaled(digits.load().train_images).to(device)
    chance = torch_rng(seed, "zoo", "batches")
    average = diffusion.average(model, settings.keep)
    adam = optimiser(model.parameters(), "adamw", settings.lr)

    def rate(step: int) -> float:
        return min(1.0, (1 - step / settings.steps) / settings.tail)

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(images), (settings.batch,), generator=chance)
        drawn = torch.randn(settings.batch, generator=chance)
        sigma = (settings.mean + settings.deviation * drawn).exp().to(device)
        noise = torch.randn(settings.batch, images.shape[1], generator=chance)
        losses = diffusion.edm_loss(
            model, images[rows.to(device)], sigma, noise.to(device), settings.data
        )
        return losses.mean()

    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=rate,
        after_step=lambda _: average.update_parameters(model),
    )
    model.load_state_dict(average.module.state_dict())


def draw(
    model: Preconditioned,
    noise: Float[Tensor, "n pixels"],
    levels: int,
    settings: EDMSettings,
) -> Float[Tensor, "n pixels"]:
    """Sample digits from noise with Heun's method at so many noise levels."""
    sigmas = diffusion.karras_sigmas(levels, settings.least, settings.most)
    return diffusion.heun(model, noise, sigmas.to(noise.device))


def measure_edm(
    model: Preconditioned, settings: EDMSettings, seed: int
) -> dict[str, float]:
    """Measure the Fréchet distance of 2,000 samples to the test images, by the features
    of `digits_clf`, at several numbers of network calls.
    """
    # the reader is another base model: imported here, for the store imports recipes
    from stages.zoo.store import load

    reader = load("digits_clf")
    device = next(model.parameters()).device
    real = reader.features(scaled(digits.load().test_images))
    noise = torch.randn(2_000, 64, generator=torch_rng(seed, "zoo", "samples"))
    found = {}
    for levels in (3, 5, 10, 18):
        samples = draw(model, noise.to(device), levels, settings).cpu()
        name = f"Fréchet distance at {2 * levels - 1} calls"
        found[name] = frechet_distance(reader.features(samples), real)
    return found


# ------------------------------------------------------------------------ the recipes

CLASSIFIER = Recipe(
    "digits_clf",
    "a perceptron that reads 8x8 digits; samples are judged by its 32 features",
    "1,297 training images of scikit-learn's digits",
    ReaderSettings(),
    build_reader,
    fit_reader,
    measure_reader,
)
EDM = Recipe(
    "digits_edm",
    "a residual perceptron that denoises 8x8 digits at every noise level, "
    "preconditioned as in EDM",
    "1,297 training images of scikit-learn's digits",
    EDMSettings(),
    build_edm,
    fit_edm,
    measure_edm,
)
