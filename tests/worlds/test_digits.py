import gzip
import hashlib
import socket
import struct

import numpy as np
import pooch
import pytest
import requests
import torch

from stages.worlds import digits

NAMES = list(digits.MNIST_SHA256)


def idx(array, magic=0x0800):
    """Encode an array of bytes as IDX."""
    head = struct.pack(f">{1 + array.ndim}I", magic + array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0)


@pytest.fixture
def arrays():
    """Five training and three test images of 4x4, with their labels, in the order of the files."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (5, 4, 4)), np.arange(5), random.integers(0, 256, (3, 4, 4)), np.arange(7, 10)]


@pytest.fixture
def mnist(tmp_path, monkeypatch, arrays):
    """Return a function that fills a cache with these contents and pins their hashes; the network is cut off."""

    def refuse(*args, **kwargs):
        raise requests.exceptions.ConnectionError("no network")

    def fill(contents):
        for name, content in zip(NAMES, contents, strict=True):
            (tmp_path / name).write_bytes(content)
            monkeypatch.setitem(digits.MNIST_SHA256, name, hashlib.sha256(content).hexdigest())
        return tmp_path

    monkeypatch.setattr(requests, "get", refuse)
    pooch.get_logger().setLevel("ERROR")
    return fill


def test_the_split_is_fixed_and_disjoint():
    one, two = digits.load(), digits.load()
    assert one.train_images.shape == (1297, 64)
    assert one.test_images.shape == (500, 64)
    assert one.side == 8
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert one.train_labels[:10].tolist() == [2, 1, 2, 5, 1, 5, 9, 3, 0, 5]
    assert one.test_labels[:10].tolist() == [4, 8, 8, 3, 9, 0, 6, 3, 9, 8]
    train, test = ({tuple(image) for image in part.tolist()} for part in (one.train_images, one.test_images))
    assert not train & test


def test_images_are_in_the_unit_interval_and_classes_balanced():
    world = digits.load()
    assert (world.train_images.min(), world.train_images.max()) == (0, 1)
    assert world.train_images.dtype == torch.float32
    assert world.train_labels.dtype == torch.int64
    assert (world.test_labels.bincount() - 50).abs().max() <= 2


def test_fewer_training_images_are_the_first_of_all_and_the_test_stays():
    few, all_ = digits.load(train=100), digits.load()
    assert torch.equal(few.train_images, all_.train_images[:100])
    assert torch.equal(few.train_labels, all_.train_labels[:100])
    assert torch.equal(few.test_images, all_.test_images)


@pytest.mark.parametrize("train", [0, 1298])
def test_a_number_of_images_that_is_not_there_is_refused(train):
    with pytest.raises(ValueError, match=f"asked for {train} training images; digits has 1297"):
        digits.load(train=train)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match=r"no digits from 'cifar'; choose 'digits' .*, 'mnist5k' .* or 'mnist'"):
        digits.load("cifar")


@pytest.fixture(scope="module")
def mnist5k():
    """MNIST's small part, read while no connection can be opened."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", None)
        return digits.load("mnist5k")


def test_mnist5k_has_mnists_size_and_balanced_classes_without_a_network(mnist5k):
    assert mnist5k.train_images.shape == (4000, 784)
    assert mnist5k.test_images.shape == (1000, 784)
    assert mnist5k.side == 28
    for images in (mnist5k.train_images, mnist5k.test_images):
        assert images.dtype == torch.float32
        assert (images.min(), images.max()) == (0, 1)
    assert mnist5k.train_labels.dtype == torch.int64
    assert mnist5k.train_labels.bincount().tolist() == [400] * 10
    assert mnist5k.test_labels.bincount().tolist() == [100] * 10


def test_the_split_of_mnist5k_is_fixed_and_disjoint(mnist5k):
    assert mnist5k.train_labels[:10].tolist() == [6, 0, 5, 4, 9, 9, 8, 3, 1, 2]
    assert mnist5k.test_labels[:10].tolist() == [6, 3, 0, 8, 8, 3, 0, 0, 7, 8]
    parts = (mnist5k.train_images, mnist5k.test_images)
    train, test = ({image.numpy().tobytes() for image in part} for part in parts)
    assert (len(train), len(test)) == (4000, 1000)
    assert not train & test
    few = digits.load("mnist5k", train=300)
    assert torch.equal(few.train_images, mnist5k.train_images[:300])
    assert torch.equal(few.train_labels, mnist5k.train_labels[:300])
    assert torch.equal(few.test_images, mnist5k.test_images)


def test_task_zero_is_the_identity_and_every_order_a_permutation():
    orders = digits.permutations(5, 64, seed=3)
    assert torch.equal(orders[0], torch.arange(64))
    assert all(torch.equal(order.sort().values, torch.arange(64)) for order in orders)
    assert len({tuple(order) for order in orders.tolist()}) == 5


def test_a_task_is_the_same_however_many_follow():
    assert torch.equal(digits.permutations(3, 64, seed=0), digits.permutations(20, 64, seed=0)[:3])


def test_seeds_draw_other_permutations():
    assert not (digits.permutations(4, 64, seed=0) == digits.permutations(4, 64, seed=1))[1:].all(1).any()


def test_a_permuted_image_has_the_same_pixels_in_the_tasks_order():
    images, orders = digits.load().test_images[:20], digits.permutations(4, 64, seed=0)
    tasks = digits.permuted(images, orders)
    assert tasks.shape == (4, 20, 64)
    assert torch.equal(tasks[0], images)
    assert torch.equal(tasks.sort(-1).values, images.sort(-1).values.expand(4, -1, -1))
    assert tasks[2, 7, 11] == images[7, orders[2, 11]]


def test_mnist_comes_from_its_files(mnist, arrays):
    world = digits.load("mnist", cache=mnist(map(idx, arrays)), train=4)
    assert world.side == 4
    assert torch.equal(world.train_images, torch.from_numpy(arrays[0][:4].reshape(4, 16) / 255).float())
    assert torch.equal(world.test_images, torch.from_numpy(arrays[2].reshape(3, 16) / 255).float())
    assert (world.train_labels.tolist(), world.test_labels.tolist()) == ([0, 1, 2, 3], [7, 8, 9])
    assert world.train_labels.dtype == torch.int64


def test_without_a_network_the_error_names_the_offline_default(mnist, tmp_path):
    with pytest.raises(
        ConnectionError, match=f"{NAMES[0]} is not in .*'mnist5k' or the offline default source='digits'"
    ):
        digits.load("mnist", cache=tmp_path / "empty")


def test_a_download_with_other_content_is_refused_and_not_kept(mnist, monkeypatch, tmp_path):
    def download(url, path, _):
        with open(path, "wb") as file:
            file.write(b"a login page")

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *args, **kwargs: download)
    with pytest.raises(ValueError, match=rf"{NAMES[0]} does not have MNIST's content \(wrong SHA-256\)"):
        digits.load("mnist", cache=tmp_path)
    assert not (tmp_path / NAMES[0]).exists()


def test_a_cached_file_with_other_content_is_named_and_left_alone(mnist, arrays):
    cache = mnist(map(idx, arrays))
    (cache / NAMES[1]).write_bytes(b"other")
    with pytest.raises(ValueError, match=f"{NAMES[1]} does not have .* delete it from .* source='digits'"):
        digits.load("mnist", cache=cache)
    assert (cache / NAMES[1]).read_bytes() == b"other"


ZEROS = idx(np.zeros((5, 4, 4)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a login page", "is not gzip, or cut short"),
        (ZEROS[:-12], "is not gzip, or cut short"),
        (gzip.compress(gzip.decompress(ZEROS)[:9]), "is not gzip, or cut short"),
        (gzip.compress(gzip.decompress(ZEROS)[:-7]), r"is cut short: 73 bytes of data for the shape \(5, 4, 4\)"),
        (idx(np.zeros((5, 4, 4)), magic=0x0D00), r"is not an IDX file of bytes \(magic number 0x00000d03\)"),
    ],
    ids=["no gzip", "gzip", "shape", "data", "floats"],
)
def test_a_broken_file_is_named(mnist, arrays, content, message):
    with pytest.raises(ValueError, match=f"{NAMES[0]} {message}"):
        digits.load("mnist", cache=mnist([content, *map(idx, arrays[1:])]))
