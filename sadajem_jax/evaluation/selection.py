"""The released protocol's choice of images: the most confident ones of each predicted class.

The paper never mentions it: its IS is taken on the most confident 10% of the replay buffer a class,
its FID on the most confident 90%. Numbers made with it are to be named "released protocol".
"""

from __future__ import annotations

import numpy as np
import scipy.special


def most_confident(logits: np.ndarray, ratio: float) -> np.ndarray:
    """Indices of the most confident share of each predicted class.

    Args:
      logits: [N, C] of the classifier.
      ratio: from 0 to 1; of the n images predicted as a class, floor(ratio * n) are kept, so a
        class with few images may lose them all.

    Returns:
      [M] int indices, class by class, the most confident first; ties in the order of the rows.

    Raises:
      ValueError: if ratio is not from 0 to 1.

    Source: the released evaluation code (its eval_wrn_ebm.py); not in the paper.

    Examples:
      >>> logits = np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 4.0]])
      >>> most_confident(logits, 0.5).tolist()
      [1, 3]
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must be from 0 to 1, found {ratio}")
    confidence = scipy.special.softmax(np.asarray(logits, np.float64), axis=-1).max(axis=-1)
    predicted = np.argmax(logits, axis=-1)
    kept = []
    for label in range(logits.shape[-1]):
        rows = np.flatnonzero(predicted == label)
        ranked = rows[np.argsort(-confidence[rows], kind="stable")]
        kept.append(ranked[: int(ratio * len(rows))])
    return np.concatenate(kept)
