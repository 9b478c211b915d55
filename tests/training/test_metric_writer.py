"""Tests of the event files, read back record by record."""

import importlib.util
import io
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2, plugin_hparams_pb2

from sadajem_jax.training import metric_writer
from tests.events import read_events, read_folder, scalars


@pytest.fixture(autouse=True)
def _without_tensorflow(monkeypatch):
    """The light writer, whatever else is installed."""
    monkeypatch.setattr(metric_writer, "_tensorflow_is_installed", lambda: False)


def test_scalars_are_read_back_with_their_steps(tmp_path):
    """Python, NumPy and JAX scalars come back under their names and steps, in order."""
    writer = metric_writer.create(tmp_path / "new" / "folder")
    writer.write_scalars(3, {"train/loss": 0.5, "train/accuracy": np.float32(0.25)})
    writer.write_scalars(7, {"train/loss": jnp.float32(-2.0)})
    writer.close()
    expected = [(3, "train/loss", 0.5), (3, "train/accuracy", 0.25), (7, "train/loss", -2.0)]
    assert scalars(read_folder(tmp_path / "new" / "folder")) == expected


def test_a_file_opens_with_its_version(tmp_path):
    """Each file's first event names version 2 of the format, without which no step is purged."""
    for _ in range(2):
        metric_writer.create(tmp_path).close()
    files = sorted(tmp_path.iterdir())
    assert [read_events(path)[0].file_version for path in files] == ["brain.Event:2"] * 2


def test_only_the_first_writer_marks_a_start_unasked(tmp_path):
    """TensorBoard purges from a folder's second start on, so a new folder gets one, an old none."""
    for _ in range(2):
        metric_writer.create(tmp_path).close()
    starts = [e.step for e in read_folder(tmp_path) if e.HasField("session_log")]
    assert starts == [0]


def test_flush_puts_everything_on_the_disk(tmp_path):
    """After a flush all that was written can be read, while the writer is still open."""
    writer = metric_writer.create(tmp_path)
    for step in range(50):
        writer.write_scalars(step, {"loss": step})
    writer.flush()
    assert [step for step, _, _ in scalars(read_folder(tmp_path))] == list(range(50))
    writer.close()


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_read_back_bit_for_bit(tmp_path, channels):
    """Each image of an array comes back as a PNG of the same pixels, numbered under its name."""
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, channels), np.uint8)
    writer = metric_writer.create(tmp_path)
    writer.write_images(9, {"samples": images, "grid": images[0]})
    writer.close()
    event = read_folder(tmp_path)[-1]
    assert event.step == 9
    assert [v.tag for v in event.summary.value] == ["samples/0", "samples/1", "grid/0"]
    for value, image in zip(event.summary.value, [*images, images[0]], strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
        np.testing.assert_array_equal(pixels, np.broadcast_to(image, (5, 4, 3)))


@pytest.mark.parametrize(
    "images", [np.zeros((1, 4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8)]
)
def test_images_of_another_kind_are_an_error(tmp_path, images):
    """Floats and other shapes raise an error that names the image, instead of a wrong picture."""
    writer = metric_writer.create(tmp_path)
    with pytest.raises(ValueError, match="images 'samples': expected uint8"):
        writer.write_images(0, {"samples": images})
    writer.close()


def test_hparams_are_read_back(tmp_path):
    """Numbers, booleans and strings keep their type, and everything else keeps its text."""
    writer = metric_writer.create(tmp_path)
    writer.write_hparams({"rho": 0.2, "adaptive": True, "norm": "batch", "only": (), "seed": None})
    writer.close()
    (value,) = [
        v for v in read_folder(tmp_path)[-1].summary.value if v.tag.endswith("session_start_info")
    ]
    assert value.metadata.plugin_data.plugin_name == "hparams"
    content = value.metadata.plugin_data.content
    found = plugin_hparams_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert (found["rho"].number_value, found["adaptive"].bool_value) == (0.2, True)
    texts = {name: found[name].string_value for name in ("norm", "only", "seed")}
    assert texts == {"norm": "batch", "only": "()", "seed": "None"}


def test_texts_are_read_back(tmp_path):
    """A text stands under its very name, as a string tensor of TensorBoard's text plugin."""
    writer = metric_writer.create(tmp_path)
    writer.write_texts(4, {"config": "| a |\n|---|"})
    writer.close()
    event = read_folder(tmp_path)[-1]
    (value,) = event.summary.value
    assert (event.step, value.tag, value.metadata.plugin_data.plugin_name) == (4, "config", "text")
    assert list(value.tensor.string_val) == [b"| a |\n|---|"]


def test_a_resumed_run_appends_and_marks_where_it_starts(tmp_path):
    """Writers opened in the same second keep each their file, in order, the restart between."""
    for purge_step in None, 3, 5:
        writer = metric_writer.create(tmp_path, purge_step)
        writer.write_scalars(purge_step or 1, {"loss": 1.0})
        writer.close()
    start = event_pb2.SessionLog.START
    kinds = [
        (e.step, "start" if e.session_log.status == start else "loss")
        for e in read_folder(tmp_path)
        if not e.file_version
    ]
    assert kinds == [
        (0, "start"),
        (1, "loss"),
        (3, "start"),
        (3, "loss"),
        (5, "start"),
        (5, "loss"),
    ]


def test_tensorflow_is_not_imported():
    """Asking whether TensorFlow is there does not import it."""
    before = "tensorflow" in sys.modules
    metric_writer._tensorflow_is_installed()
    assert ("tensorflow" in sys.modules) == before


@pytest.mark.parametrize("present", [(), ("tensorflow",), ("tensorboard",)])
def test_clu_needs_both_tensorflow_and_tensorboard(monkeypatch, present):
    """With either of the two missing the light writer is chosen, with both clu's."""
    monkeypatch.undo()
    for found, expected in (present, False), (("tensorflow", "tensorboard"), True):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, found=found: name in found or None
        )
        assert metric_writer._tensorflow_is_installed() is expected
