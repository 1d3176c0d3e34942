"""Networks that more than one paper uses, each in one short file."""

from stages.models.conv4 import Conv4, cosine_logits
from stages.models.denoiser import Denoiser, Preconditioned, sinusoids
from stages.models.gpt import GPT, Cache
from stages.models.image_text import ImageTextGPT
from stages.models.initial import seeded
from stages.models.unet import UNet
from stages.models.vit import Prefix, ViT, masked_logits

__all__ = [
    "GPT",
    "Cache",
    "Conv4",
    "Denoiser",
    "ImageTextGPT",
    "Preconditioned",
    "Prefix",
    "UNet",
    "ViT",
    "cosine_logits",
    "masked_logits",
    "seeded",
    "sinusoids",
]
