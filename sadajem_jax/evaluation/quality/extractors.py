"""The networks that judge, as an evaluation asks for them: each loaded once, when first needed."""

from __future__ import annotations

import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence

from sadajem_jax.console import processes
from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.quality import classifier, efficientnet, inception
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.labels import label_of
from sadajem_jax.inference import load
from sadajem_jax.inference.model import Model


class Network:
    """A network by name.

    Args:
      label: in the names of pieces.
      identify: () -> what its features depend on, found without loading it where that can be.
      read: () -> the extractor.
      note: what to know of it.

    Attributes:
      label, note: as given.
    """

    def __init__(
        self,
        label: str,
        identify: Callable[[], str],
        read: Callable[[], Extractor],
        note: str = "",
    ) -> None:
        self.label, self.note, self._identify, self._read = label, note, identify, read

    @functools.cached_property
    def checksum(self) -> str:
        """Of its version and weights; raises UserError if they are not there."""
        return self._identify()

    @functools.cached_property
    def extractor(self) -> Extractor:
        """The network; raises UserError if its weights cannot be read."""
        return self._read()

    @property
    def is_inception(self) -> bool:
        """Whether its distance is called FID."""
        return self.label == inception.NAME

    @property
    def word(self) -> str:
        """In the names of numbers: a run may be called as a set is, and the two must not meet."""
        if self.is_inception:
            return ""
        return self.label if self.label == efficientnet.NAME else f"by_{self.label}"


def of_inception(path: str, batch_size: int) -> Network:
    """Inception on the weights in a file or folder; "" is none, which is said when it is needed."""

    def identify() -> str:
        return _of_file(inception.VERSION, inception.file(path or None))

    return Network(
        inception.NAME,
        identify,
        lambda: inception.extractor(path or None, batch_size=batch_size),
    )


def of_efficientnet(batch_size: int) -> Network:
    """EfficientNet-Lite0 on the weights that its package ships."""
    return Network(
        efficientnet.NAME,
        lambda: _of_file(efficientnet.VERSION, efficientnet.file()),
        lambda: efficientnet.extractor(batch_size=batch_size),
    )


def of_run(
    workdir: str, image_shape: tuple[int, ...], batch_size: int, taken: Sequence[str] = ()
) -> Network:
    """The classifier that this program trained in a folder.

    Args:
      workdir: of its run; the last checkpoint is taken.
      image_shape: (H, W, channels) of what it is to judge.
      batch_size: images a device takes at a time.
      taken: labels that others have.
    """
    label = label_of(workdir, taken)

    @functools.cache
    def read() -> Extractor:
        with processes.apart():  # needed by the first before the others
            model = load.load(workdir)
        _require_shape(workdir, model, image_shape)
        return classifier.extractor(
            model.network, model.variables, name=label, batch_size=batch_size
        )

    return Network(
        label,
        lambda: read().fingerprint,
        read,
        f"{label} is the classifier trained in {workdir}: its distances are on a scale of its own.",
    )


def _require_shape(workdir: str, model: Model, image_shape: tuple[int, ...]) -> None:
    if model.image_shape != image_shape:
        raise UserError(
            f"{workdir}: expected a classifier of images {list(image_shape)}, found one of "
            f"{model.spec.name}, {list(model.image_shape)}; name another"
        )


def _of_file(version: str, file: pathlib.Path) -> str:
    with open(file, "rb") as data:
        return f"{version}-{hashlib.file_digest(data, 'sha256').hexdigest()}"
