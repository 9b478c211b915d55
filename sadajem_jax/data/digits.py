"""scikit-learn's 1,797 handwritten digits: no download, and every image in one split alone.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from __future__ import annotations

import numpy as np

NUM_HELD_OUT = 297


def read(split: str) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 [N, 8, 8, 1], labels int32 [N]) of "train" or "test".

    The held-out 297 are taken at even steps from the images sorted by class, so each class has its
    share of them, and no random number generator decides what they are.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 0..16 to 0..255; rint is exact here, as the one tie (8, 127.5) goes to the even 128.
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    by_class = np.argsort(labels, kind="stable")
    held_out = np.zeros(len(labels), bool)
    held_out[by_class[np.arange(NUM_HELD_OUT) * len(labels) // NUM_HELD_OUT]] = True
    chosen = held_out if split == "test" else ~held_out
    return images[chosen], labels[chosen]
