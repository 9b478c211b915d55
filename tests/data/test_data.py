"""What `sadajem_jax.data` promises: exact pixels, fixed splits, and errors that say what to do."""

from __future__ import annotations

import collections
import contextlib
import functools
import http.server
import io
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.io

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

from sadajem_jax.data import loading, specs, tfds_builders  # noqa: E402
from sadajem_jax.data import prepared as prepared_sets  # noqa: E402
from sadajem_jax.data.specs import DataError, get_spec  # noqa: E402
from tests import places  # noqa: E402

PER_FILE = 4  # images in each fake file
# Any change of it changes what every digits run was tested on.
DIGITS_TEST_CRC32 = 2743792747
BUILDERS: dict[str, Any] = {
    "cifar10": tfds_builders.Cifar10,
    "cifar100": tfds_builders.Cifar100,
    "svhn_cropped": tfds_builders.SvhnCropped,
}
ARCHIVES = {
    "cifar10": {"archive": "cifar-10-binary.tar.gz"},
    "cifar100": {"archive": "cifar-100-binary.tar.gz"},
    "svhn_cropped": {"train": "train_32x32.mat", "test": "test_32x32.mat"},
}


def fake_images(seed: int, num: int) -> np.ndarray:
    """Noise: uint8 [num, 32, 32, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (num, 32, 32, 3), np.uint8)


def cifar_bytes(images: np.ndarray, *labels: np.ndarray) -> bytes:
    """CIFAR's binary records: the label bytes, then the red, green and blue planes."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([np.stack(labels, 1).astype(np.uint8), planes], 1).tobytes()


def write_tar(path: pathlib.Path, folder: str, files: dict[str, bytes]) -> None:
    """Writes a .tar.gz of files in one folder, and a readme as the real archives have."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"readme.html": b"<html></html>", **files}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_cifar10(folder: pathlib.Path) -> dict[str, loading.Images]:
    """Writes a small archive in CIFAR-10's format; returns what is in it, as the others below."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    parts = [(fake_images(i, PER_FILE), np.arange(i, i + PER_FILE)) for i in range(6)]
    files = {n: cifar_bytes(*part) for n, part in zip(names, parts, strict=True)}
    files["batches.meta.txt"] = ("\n".join(get_spec("cifar10").class_names) + "\n\n").encode()
    write_tar(folder / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", files)
    train = loading.Images(*(np.concatenate(arrays) for arrays in zip(*parts[:5], strict=True)))
    return {"train": train, "test": loading.Images(*parts[5])}


def write_cifar100(folder: pathlib.Path) -> dict[str, loading.Images]:
    """Writes a small archive in CIFAR-100's format, its classes 0 and 99 included."""
    fine = np.array([0, 99, 50, 7])
    splits = {s: loading.Images(fake_images(i, 4), fine) for i, s in enumerate(("train", "test"))}
    files = {f"{s}.bin": cifar_bytes(x.images, fine // 5, fine) for s, x in splits.items()}
    files["fine_label_names.txt"] = "\n".join(get_spec("cifar100").class_names).encode()
    files["coarse_label_names.txt"] = "\n".join(f"coarse{i}" for i in range(20)).encode()
    write_tar(folder / "cifar-100-binary.tar.gz", "cifar-100-binary", files)
    return splits


def write_svhn(folder: pathlib.Path) -> dict[str, loading.Images]:
    """Writes small .mat files in SVHN's format, with each of the ten labels."""
    splits = {}
    for seed, split in enumerate(("train", "test")):
        images, y = fake_images(seed, 10), np.arange(1, 11, dtype=np.uint8)[:, None]
        mat = {"X": images.transpose(1, 2, 3, 0), "y": y}
        scipy.io.savemat(folder / f"{split}_32x32.mat", mat)
        splits[split] = loading.Images(images, np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 0]))
    return splits


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: pathlib.Path) -> Iterator[str]:
    """Serves a folder on localhost; gives its address."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def redirect(patch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Makes a builder download its archives from another address."""
    urls = {key: f"{address}/{file}" for key, file in ARCHIVES[name].items()}
    patch.setattr(BUILDERS[name], "urls", property(lambda self: urls))


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Neither a proxy nor the user's own data sets reach a test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default_data_dir"))


Prepared = tuple[pathlib.Path, dict[str, dict[str, loading.Images]]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A folder `load` downloaded and prepared all three sets into, and what should be in it."""
    source, root = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("data")
    truth = {
        "cifar10": write_cifar10(source),
        "cifar100": write_cifar100(source),
        "svhn_cropped": write_svhn(source),
    }
    with serving(source) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        for name in truth:
            redirect(patch, name, address)
            loading.load(get_spec(name), "train", str(root))
    return root, truth


@pytest.fixture
def copied(prepared: Prepared, tmp_path: pathlib.Path) -> pathlib.Path:
    """A prepared CIFAR-10 that a test may spoil: its version folder, in tmp_path/data."""
    found = prepared[0] / "cifar10"
    shutil.copytree(found, tmp_path / "data" / "cifar10")
    return next((tmp_path / "data" / "cifar10").iterdir())


def refusal(action: functools.partial) -> str:
    """Runs what should be refused; returns the message, which must be a single line."""
    with pytest.raises(DataError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def pairs(split: loading.Images) -> collections.Counter:
    """The split as a multiset of (pixels, label)."""
    return collections.Counter(
        (image.tobytes(), int(label)) for image, label in zip(*split, strict=True)
    )


def test_digits_are_split_without_overlap_or_loss() -> None:
    """Train and test together are scikit-learn's 1,797 digits, each image exactly once."""
    from sklearn.datasets import load_digits

    train, test = (
        loading.load(get_spec("digits"), "train"),
        loading.load(get_spec("digits"), "test"),
    )
    bunch = load_digits()
    scaled = np.floor(bunch.images * 255 / 16 + 0.5).astype(np.uint8)[..., None]
    assert pairs(train) + pairs(test) == pairs(loading.Images(scaled, bunch.target))
    assert not pairs(train).keys() & pairs(test).keys()
    spec = get_spec("digits")
    assert (len(train.labels), len(test.labels)) == (spec.num_train, spec.num_test)


def test_digits_split_never_changes() -> None:
    """The held-out digits are these ones, in every process and for every version of NumPy."""
    test = loading.load(get_spec("digits"), "test")
    assert zlib.crc32(test.images.tobytes()) == DIGITS_TEST_CRC32
    again = loading.load(get_spec("digits"), "test")
    np.testing.assert_array_equal(test.images, again.images)


def test_digits_hold_out_every_class_alike() -> None:
    """Each class gives its share of the 297 held-out digits, to within one image."""
    train, test = (
        loading.load(get_spec("digits"), "train"),
        loading.load(get_spec("digits"), "test"),
    )
    held_out = np.bincount(test.labels)
    share = 297 / 1797 * (held_out + np.bincount(train.labels))
    assert np.all(np.abs(held_out - share) <= 1)


def test_digits_have_the_promised_types_and_range() -> None:
    """Digits are uint8 [N, 8, 8, 1] over the whole of 0..255, and labels int32 [N]."""
    images, labels = loading.load(get_spec("digits"), "train")
    assert images.shape == (1500, 8, 8, 1) and images.dtype == np.uint8
    assert labels.shape == (1500,) and labels.dtype == np.int32
    assert images.min() == 0 and images.max() == 255
    assert set(np.unique(labels)) == set(range(10))


@pytest.mark.parametrize("name", specs.NAMES)
def test_every_class_has_a_name(name: str) -> None:
    """A spec names each of its classes, once."""
    spec = get_spec(name)
    assert len(set(spec.class_names)) == len(spec.class_names) == spec.num_classes


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", BUILDERS)
def test_prepared_sets_keep_every_pixel(prepared: Prepared, name: str, split: str) -> None:
    """What was in the archive is what `load` returns: each image once, exact, with its label."""
    root, truth = prepared
    loaded = loading.load(get_spec(name), split, str(root))
    assert loaded.images.dtype == np.uint8 and loaded.labels.dtype == np.int32
    assert pairs(loaded) == pairs(truth[name][split])


@pytest.mark.parametrize("name", BUILDERS)
def test_stock_builder_finds_what_ours_prepared(prepared: Prepared, name: str) -> None:
    """tensorflow-datasets' own builder takes our folder for prepared and reads the same images."""
    root, truth = prepared
    source = tfds.builder(name, file_format="array_record", data_dir=root).as_data_source("train")
    found = [(example["image"], int(example["label"])) for example in source]
    images, labels = (np.array(column) for column in zip(*found, strict=True))
    assert pairs(loading.Images(images, labels)) == pairs(truth[name]["train"])
    loaded = loading.load(get_spec(name), "train", str(root))
    np.testing.assert_array_equal(loaded.images, images)
    np.testing.assert_array_equal(loaded.labels, labels)


def test_smaller_splits_are_returned_and_said_to_be_smaller(
    prepared: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    """A split with fewer images than the official one is read as it is, and the log says so."""
    loaded = loading.load(get_spec("svhn_cropped"), "test", str(prepared[0]))
    assert len(loaded.labels) == 10
    assert "10 images (the official split has 26,032)" in capsys.readouterr().err


def test_default_folder_is_that_of_tensorflow_datasets(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a data_dir the sets are looked for in TFDS_DATA_DIR."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared[0]))
    assert len(loading.load(get_spec("cifar10"), "test").labels) == PER_FILE


def test_unfinished_and_older_versions_are_passed_over(copied: pathlib.Path) -> None:
    """The newest finished version is read, whatever else lies beside it."""
    info = json.loads((copied / "dataset_info.json").read_text())
    for name in ("incomplete.ABC_9.0.0", "1.10.0"):
        other = copied.parent / name
        other.mkdir()
        (other / "dataset_info.json").write_text(json.dumps(info | {"splits": []}))
    assert len(loading.load(get_spec("cifar10"), "test", str(copied.parents[1])).labels) == PER_FILE


def test_cifar_records_are_decoded_exactly() -> None:
    """A CIFAR record is its labels in order, then whole planes of red, green and blue."""
    images, coarse, fine = fake_images(0, 3), np.array([19, 0, 4]), np.array([99, 1, 30])
    decoded, labels = tfds_builders.decode_cifar(cifar_bytes(images, coarse, fine), 2)
    np.testing.assert_array_equal(decoded, images)
    np.testing.assert_array_equal(labels, np.stack([coarse, fine], 1))


def test_cut_cifar_records_are_refused() -> None:
    """A CIFAR file that ends inside a record is an error, never a shifted image."""
    whole = cifar_bytes(fake_images(0, 2), np.array([1, 2]))
    with pytest.raises(ValueError):
        tfds_builders.decode_cifar(whole[:-1], 1)


def test_svhn_writes_zero_as_ten(tmp_path: pathlib.Path) -> None:
    """SVHN's label 10 is the digit 0, and its images are indexed by their last axis."""
    truth = write_svhn(tmp_path)["train"]
    images, labels = tfds_builders.decode_svhn(tmp_path / "train_32x32.mat")
    np.testing.assert_array_equal(images, truth.images)
    np.testing.assert_array_equal(labels, truth.labels)


@pytest.mark.parametrize("name", BUILDERS)
def test_addresses_and_checksums_are_the_stock_builders(name: str, tmp_path: pathlib.Path) -> None:
    """Every file we would download has a checksum on record with tensorflow-datasets."""
    known = {**tfds.core.download.checksums.get_all_url_infos(), **(BUILDERS[name].url_infos or {})}
    urls = tfds_builders.urls(name, tmp_path)
    assert [url.rpartition("/")[2] for url in urls] == list(ARCHIVES[name].values())
    assert set(urls) <= set(known)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    """A misspelt data set is refused with the known names and the likeliest of them."""
    message = refusal(functools.partial(get_spec, "cifar-10"))
    assert "did you mean cifar10?" in message and "svhn_cropped" in message
    assert "digits" in refusal(functools.partial(get_spec, "imagenet21k"))


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_unknown_splits_are_refused(name: str) -> None:
    """A split is train or test, for every data set."""
    assert "'train' or 'test'" in refusal(
        functools.partial(loading.load, get_spec(name), "validation")
    )


def test_a_data_dir_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    """An explicit data_dir that does not exist is refused by its flag and value, not created."""
    missing = tmp_path / "missing"
    message = refusal(functools.partial(loading.check_available, get_spec("cifar10"), str(missing)))
    assert "data.data_dir" in message and str(missing) in message
    assert not missing.exists()


@pytest.mark.parametrize("explicit", [True, False])
def test_an_unreachable_source_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, explicit: bool
) -> None:
    """With no prepared set and no source, the error names set, folder, host and both ways on."""
    redirect(monkeypatch, "cifar10", "http://127.0.0.1:1")  # a port nobody listens on
    folder = tmp_path if explicit else tmp_path / "default_data_dir"
    start = time.monotonic()
    check = functools.partial(
        loading.check_available, get_spec("cifar10"), str(tmp_path) if explicit else None
    )
    message = refusal(check)
    assert time.monotonic() - start < 3
    assert message.startswith("cifar10:") and str(folder) in message and "127.0.0.1:1" in message
    assert "--config.data.data_dir=FOLDER" in message and "--config=configs/digits.py" in message
    assert (
        refusal(functools.partial(loading.load, get_spec("cifar10"), "train", check.args[1]))
        == message
    )


def test_a_silent_source_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """A host that takes the connection and never answers costs REACH_SECONDS and no more."""
    monkeypatch.setattr(prepared_sets, "REACH_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        redirect(monkeypatch, "cifar100", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = time.monotonic()
        message = refusal(
            functools.partial(loading.check_available, get_spec("cifar100"), str(tmp_path))
        )
    assert time.monotonic() - start < 2
    assert "cannot be reached" in message


def test_a_source_without_the_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """A host that answers, but not with the archive, counts as out of reach and says its status."""
    with serving(tmp_path) as address:
        redirect(monkeypatch, "svhn_cropped", address)
        message = refusal(
            functools.partial(loading.check_available, get_spec("svhn_cropped"), str(tmp_path))
        )
    assert "HTTP 404" in message


def test_checking_downloads_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """A reachable source is enough for the check, which leaves the data folder as it was."""
    source, root = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    root.mkdir()
    write_svhn(source)
    with serving(source) as address:
        redirect(monkeypatch, "svhn_cropped", address)
        loading.check_available(get_spec("svhn_cropped"), str(root), "train")
    assert not list(root.iterdir())


def test_archives_brought_by_hand_need_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """Archives in downloads/manual are taken for available, but only with the right checksum."""
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    write_cifar10(manual)
    monkeypatch.setattr(
        prepared_sets, "_why_unreachable", lambda url: pytest.fail("asked the network")
    )
    loading.check_available(get_spec("cifar10"), str(tmp_path), "train")
    message = refusal(functools.partial(loading.load, get_spec("cifar10"), "train", str(tmp_path)))
    assert "checksum" in message and str(tmp_path / "downloads") in message


def test_a_missing_split_is_refused(copied: pathlib.Path) -> None:
    """A prepared set without the split asked for is refused with the splits it does have."""
    info = json.loads((copied / "dataset_info.json").read_text())
    info["splits"] = [s for s in info["splits"] if s["name"] == "test"]
    (copied / "dataset_info.json").write_text(json.dumps(info))
    root = str(copied.parents[1])
    for action in (loading.load, lambda spec, s, d: loading.check_available(spec, d, s)):
        message = refusal(functools.partial(action, get_spec("cifar10"), "train", root))
        assert "'train'" in message and "only test" in message and "data_dir" in message
    loading.check_available(get_spec("cifar10"), root, "test")
    assert len(loading.load(get_spec("cifar10"), "test", root).labels) == PER_FILE


def test_a_folder_only_tensorflow_reads_is_refused(copied: pathlib.Path) -> None:
    """A set prepared as tfrecord is refused by that name, rather than taken for missing."""
    info = json.loads((copied / "dataset_info.json").read_text())
    (copied / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    check = functools.partial(loading.check_available, get_spec("cifar10"), str(copied.parents[1]))
    message = refusal(check)
    assert "tfrecord" in message and "array_record" in message and "data_dir" in message


def garble(folder: pathlib.Path) -> None:
    """Flips the bits of one byte of the train images."""
    shard = next(folder.glob("*train.array_record*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 4] ^= 0xFF
    shard.write_bytes(content)


DAMAGE = {
    "no shard": lambda folder: next(folder.glob("*train.array_record*")).unlink(),
    "a flipped byte": garble,
    "no json": lambda folder: (folder / "dataset_info.json").write_text("{"),
    "no features": lambda folder: (folder / "features.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused(copied: pathlib.Path, damage: str) -> None:
    """A prepared folder that cannot be read is named, with the two ways out."""
    DAMAGE[damage](copied)
    message = refusal(
        functools.partial(loading.load, get_spec("cifar10"), "train", str(copied.parents[1]))
    )
    assert str(copied) in message and "damaged" in message
    assert "remove that folder" in message and "--config.data.data_dir=FOLDER" in message


def test_images_of_another_shape_are_refused(
    copied: pathlib.Path,
) -> None:
    """A folder whose images or classes are not those of the spec is an error, never a cast."""
    root = str(copied.parents[1])
    spec = get_spec("cifar10")
    for wrong in (spec._replace(image_size=28), spec._replace(num_classes=5)):
        message = refusal(functools.partial(loading.load, wrong, "train", root))
        assert "(32, 32, 3)" in message


def test_importing_and_reading_need_no_tensorflow(prepared: Prepared) -> None:
    """Importing `data` loads none of the heavy libraries, and reading a set loads no TensorFlow."""
    script = (
        "import sys; from sadajem_jax.data import loading, specs\n"
        "heavy = {'tensorflow_datasets', 'tensorflow', 'sklearn', 'jax', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        f"loading.load(specs.get_spec('cifar10'), 'test', {str(prepared[0])!r})\n"
        "assert not {'tensorflow', 'jax'} & set(sys.modules)\n"
    )
    root = places.ROOT
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
