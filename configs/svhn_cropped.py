"""SADA-JEM on SVHN's cropped house numbers: what differs from configs/cifar10.py.

  python main.py --config=configs/svhn_cropped.py --workdir=runs/svhn_cropped

The released code mirrors no house numbers; the paper has no table for them. Not run in full by us.
"""

import ml_collections

from configs import cifar10, systems


def get_config() -> ml_collections.ConfigDict:
    """The config."""
    config = cifar10.get_config()
    config.data.name = "svhn_cropped"
    config.data.flip = False  # a mirrored house number is another, or none
    config.eval.ood = "cifar10,cifar100,uniform_noise,gaussian_noise"
    return config


VARIANTS = systems.variants(get_config)
