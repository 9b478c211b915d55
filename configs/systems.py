"""The systems that the paper compares, each a change of a config; docs/systems.md has a table.

  python main.py --config=configs/cifar10.py:jem
  python main.py --config=configs/cifar10.py:jem --config.sgld.num_steps=10       (Table 5's)

A docstring's first line is what --mode=systems prints. Then: what the source fixed, and, after
"Ours", what it left open and we chose. What a function does not set stays as the data set's config
says: network, buffer, gamma, epochs, and for systems on SGD the learning rate.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

System = Callable[[ConfigDict], None]
"""Changes a data set's config, in place."""
Maker = Callable[[], ConfigDict]


def sadajem(config: ConfigDict) -> None:
    """SADA-JEM: sharpness-aware, and no augmentation of p(x) (Yang et al. 2023)."""


def asam(config: ConfigDict) -> None:
    """SADA-JEM with ASAM in SAM's place (Table 6).

    Table 6 has rho from 0.5 to 8. Ours: 2, which is what the released command trains; the others
    by --config.sam.rho.
    """
    config.sam.adaptive = True
    config.sam.rho = 2.0


def jempp(config: ConfigDict) -> None:
    """JEM++: batch norm and the informative start, p(x) augmented, no SAM (Yang and Ji 2021).

    Its released code: M = 10 outer steps of N = 5 inner ones of 0.2, which are 10 SGLD steps of 1;
    batches 64 and 64, 150 epochs of the p(x) stream, weight decay 4e-4, x0.2 at epochs 50, 100 and
    125; crops, flips and noise of 0.03 on both streams; 5,000 images held out. Ours: CIFAR-100's
    rate is SADA-JEM's.
    """
    _plain_by_steps(config)
    _augment_px(config)
    _hold_out(config)
    config.train.batch_size_label = config.train.batch_size_px
    config.train.num_epochs = 150
    config.train.epoch_of = "px"
    config.train.milestones = "1/3,2/3,5/6"
    config.train.weight_decay = 4e-4


def jempp_sam(config: ConfigDict) -> None:
    """JEM++ with SAM (Table 5).

    Ours: rho = 0.2, SADA-JEM's.
    """
    jempp(config)
    config.sam.rho = 0.2


def jempp_no_da(config: ConfigDict) -> None:
    """JEM++ without data augmentation of p(x) (Table 5).

    Ours: its noise goes with its crops and flips; the labelled stream keeps all three.
    """
    jempp(config)
    config.data.px_pad = 0
    config.data.px_flip = False
    config.data.px_noise_std = 0.0


def jempp_no_da_l2(config: ConfigDict) -> None:
    """JEM++ without data augmentation of p(x), its energies penalised (Table 5).

    Ours: the weight 0.01, which the paper does not say, on the squares of the batches' means, as in
    the released code.
    """
    jempp_no_da(config)
    config.objective.l2_coeff = 0.01


def jem(config: ConfigDict) -> None:
    """JEM: no norm, uniform starts, Adam, K = 20, noise on all images (Grathwohl et al. 2020).

    Its released code: Adam 1e-4 without weight decay, batches 64 and 64, 200 epochs of the p(x)
    stream, x0.3 at 160 and 180; SGLD with noise 0.01, and no clip of gradients or of images, the
    network in evaluation mode; crops, flips and noise of 0.03 on both streams, and the noise in
    evaluation; 5,000 images held out. Ours: the best on these is chosen by their clean accuracy,
    there by that under the noise. K is 20 as in Tables 1 to 3; Table 5 has 10.
    """
    _adam(config)
    _no_norm(config)
    _augment_px(config)
    _hold_out(config)
    config.sgld.num_steps = 20
    config.sgld.noise_std = 0.01
    config.sgld.grad_clip = float("inf")
    config.sgld.clip_images = False
    config.sgld.init = "uniform"
    config.eval.noise_std = 0.03
    config.train.batch_size_label = config.train.batch_size_px
    config.train.epoch_of = "px"


def jem_sam(config: ConfigDict) -> None:
    """JEM with SAM, K = 10 (Table 5).

    Ours: rho = 0.2, SADA-JEM's; Adam takes the gradient that SAM gives.
    """
    jem(config)
    config.sam.rho = 0.2
    config.sgld.num_steps = 10


def igebm(config: ConfigDict) -> None:
    """IGEBM's objective and sampler on our network: p(x | y) alone, K = 60 (Du and Mordatch 2019).

    Its paper and code: p(x | y), each chain with a class; Adam 3e-4 with beta1 = 0, batch 128;
    images dequantised; 60 steps of 10, the gradient clipped to 0.01, noise 0.005 before it, images
    in [0, 1], which on [-1, 1] is 40, 0.005 and 0.01; the energies' mean squares penalised with
    weight 1; uniform starts, a buffer of 10,000. Ours, so that it is IGEBM's training and not its
    model: the Wide-ResNet without norm and not its own ResNet with spectral norms; a class is the
    buffer slot's for good and not kept beside the image; warm-up, a constant rate, 200 epochs of
    the p(x) stream, no labelled term (its batch is looked at alone).
    """
    _no_norm(config)
    config.sam.rho = 0.0
    config.train.optimizer = "adam"
    config.train.beta1 = 0.0
    config.train.learning_rate = 3e-4
    config.train.weight_decay = 0.0
    config.train.schedule = "constant"
    config.train.batch_size_px = 128
    config.train.epoch_of = "px"
    config.data.px_dequantise = True
    config.objective.class_conditional = True
    config.objective.pyx_weight = 0.0
    config.objective.l2_coeff = 1.0
    config.objective.l2_form = "mean_square"
    config.sgld.num_steps = 60
    config.sgld.step_size = 40.0
    config.sgld.grad_clip = 0.005
    config.sgld.noise_std = 0.01
    config.sgld.noise_first = True
    config.sgld.init = "uniform"


def softmax(config: ConfigDict) -> None:
    """A classifier alone: no p(x) term, no chain, no SAM.

    Ours: SADA-JEM's optimizer, by steps; the paper says nothing of it.
    """
    _plain_by_steps(config)
    config.objective.px_weight = 0.0


def softmax_sam(config: ConfigDict) -> None:
    """A classifier with SAM.

    Ours: rho = 0.2, SADA-JEM's.
    """
    softmax(config)
    config.sam.rho = 0.2


def softmax_no_bn(config: ConfigDict) -> None:
    """A classifier without batch norm (Figure 4).

    Ours: Adam as in JEM, which has no norm either; the paper says nothing of it.
    """
    softmax(config)
    _adam(config)
    config.model.norm = "none"


def _plain_by_steps(config: ConfigDict) -> None:
    """Without SAM, and the rate by steps: only SADA-JEM is stable with a cosine (App. A)."""
    config.sam.rho = 0.0
    config.train.schedule = "steps"


def _adam(config: ConfigDict) -> None:
    """JEM's optimizer and schedule, without SAM."""
    _plain_by_steps(config)
    config.train.optimizer = "adam"
    config.train.learning_rate = 1e-4
    config.train.weight_decay = 0.0
    config.train.milestones = "0.8,0.9"
    config.train.decay = 0.3


def _no_norm(config: ConfigDict) -> None:
    """A network without norm, in evaluation mode in the chain, as in JEM's code: the same here."""
    config.model.norm = "none"
    config.sgld.batch_norm = "eval"


def _augment_px(config: ConfigDict) -> None:
    """The p(x) stream as the labelled one, and noise on both."""
    config.data.px_pad, config.data.px_flip = config.data.pad, config.data.flip
    config.data.noise_std = config.data.px_noise_std = 0.03


def _hold_out(config: ConfigDict) -> None:
    """Validation images, and the best model on them kept."""
    config.data.val_size = 5000
    config.eval.every_epochs = 1


SYSTEMS: dict[str, System] = {
    system.__name__: system
    for system in (
        sadajem,
        asam,
        jempp,
        jempp_sam,
        jempp_no_da,
        jempp_no_da_l2,
        jem,
        jem_sam,
        igebm,
        softmax,
        softmax_sam,
        softmax_no_bn,
    )
}


def variants(get_config: Maker, then: System = sadajem) -> dict[str, Maker]:
    """Every system on a data set's config: {name: () -> config}.

    Args:
      get_config: of the data set.
      then: what the data set keeps whatever the system, its sizes; by default nothing.
    """
    return {name: _made(get_config, name, then) for name in SYSTEMS}


def _made(
    get_config: Callable[[], ConfigDict], name: str, then: System
) -> Callable[[], ConfigDict]:
    def made() -> ConfigDict:
        config = get_config()
        SYSTEMS[name](config)
        then(config)
        config.system = name
        return config

    return made
