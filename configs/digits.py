"""SADA-JEM on scikit-learn's digits, 8x8 pixels: for a laptop, no download.

  make demo        or        python main.py --config=configs/digits.py --workdir=runs/demo

1,797 real scans, 297 of them held out. What it takes and reaches stands in RESULTS.md.
"""

import ml_collections

from configs import cifar10, systems


def get_config() -> ml_collections.ConfigDict:
    """The config: a small network, a small buffer, a short run."""
    config = cifar10.get_config()
    config.data.name = "digits"
    config.data.pad = 1
    config.data.flip = False  # a mirrored digit is no digit
    config.model.dtype = "float32"
    config.model.depth = 10
    config.model.width = 2
    config.buffer.size = 1000
    config.sgld.num_steps = 5
    config.train.num_steps = 500
    config.checkpoint.every_steps = 250
    config.log.samples_every_steps = 250
    # What takes longest, AutoAttack for one, is left out: --config.eval.only= (nothing) does all.
    config.eval.only = (
        "accuracy,calibration,ood,samples,robustness/l_inf,robustness/l_2,"
        "landscape/lines,landscape/plane,curves"
    )
    config.eval.ood = "photographs,inverted_digits,uniform_noise,gaussian_noise"
    config.eval.attack_images = 8
    config.eval.purification.images = 2
    config.eval.landscape.images = 128
    config.eval.landscape.directions = 3
    config.eval.landscape.points = 9
    config.eval.landscape.grid = 7
    config.eval.landscape.eigenvalues = 2
    config.eval.landscape.lanczos_steps = 6
    config.eval.landscape.trace_probes = 4
    keep_small(config)
    return config


def keep_small(config: ml_collections.ConfigDict) -> None:
    """Sizes that a system changes on CIFAR-10 and that stay small here, whatever the system."""
    config.train.batch_size_px = 32
    config.train.batch_size_label = 64
    config.data.val_size = 0  # of 1,500 images there are none to spare
    config.eval.every_epochs = 0


VARIANTS = systems.variants(get_config, keep_small)
