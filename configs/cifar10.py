"""SADA-JEM on CIFAR-10, K = 10: the paper's main model (Table 1).

  python main.py --config=configs/cifar10.py --workdir=runs/cifar10
  python main.py --config=configs/cifar10.py --config.sgld.num_steps=5      (or 20)
  python main.py --config=configs/cifar10.py:jem     (any system that --mode=systems lists)

The paper reports 96.0% accuracy, IS 8.63 and FID 11.4 for K = 10, and 95.5 / 8.77 / 9.41 for
K = 5. Our own measurements, with their hardware and hours, are in RESULTS.md; the full run has not
been made by us yet. Every field of a run is here; the other configs say only what differs.
"""

import ml_collections

from configs import systems


def get_config() -> ml_collections.ConfigDict:
    """The config; sadajem_jax/cli/rules.py says what each field may be."""
    config = ml_collections.ConfigDict()

    config.system = "sadajem"  # a label: what FILE:NAME set the fields below to
    config.seed = 0
    config.deterministic = False  # on a GPU: bit-equal resuming, slower (always so on a CPU)
    config.keep_compiled = True  # compiled programs in the user's cache folder, for later starts
    config.init_from = ""  # a workdir whose last model to start from

    config.data = data = ml_collections.ConfigDict()
    data.name = "cifar10"  # cifar10, cifar100, svhn_cropped or digits
    data.data_dir = ""  # folder of prepared tensorflow-datasets; "": ~/tensorflow_datasets
    data.val_size = 0  # training images held out; 0 as in the paper
    data.pad = 4  # pixels of reflect padding before the random crop of the labelled stream
    data.flip = True  # mirror half of the labelled stream
    data.noise_std = 0.0  # of Gaussian noise on the labelled stream, images in [-1, 1]
    data.px_pad = 0  # these four are the p(x) stream's own: SADA-JEM does nothing to it
    data.px_flip = False
    data.px_noise_std = 0.0
    data.px_dequantise = False  # bytes become draws from their 256th part of the range (IGEBM)

    config.model = model = ml_collections.ConfigDict()
    model.depth = 28
    model.width = 10
    model.norm = "batch"  # batch or none
    model.norm_groups = 1  # equal parts of every batch that are normalised apart, on any devices
    model.dtype = "bfloat16"  # of the convolutions, or float32, which a CPU is faster in

    config.sgld = sgld = ml_collections.ConfigDict()
    sgld.num_steps = 10  # K; the paper has 5, 10 and 20
    sgld.step_size = 1.0  # alpha
    sgld.noise_std = 0.0  # sigma
    sgld.noise_first = False  # True: before the gradient is taken (IGEBM)
    sgld.grad_clip = 1.0  # JEM++'s proximal clip of the score, value by value
    sgld.clip_images = True  # to [-1, 1] after each step; False: they may leave it (JEM)
    sgld.init = "informative"  # informative (a Gaussian per class) or uniform
    sgld.batch_norm = "train"  # of the chain's forwards in training: train or eval

    config.buffer = buffer = ml_collections.ConfigDict()
    buffer.size = 10_000
    buffer.num_shards = 8  # strata; part of the run's law, whatever the devices
    buffer.reinit_prob = 0.05  # gamma

    config.objective = objective = ml_collections.ConfigDict()
    objective.px_weight = 1.0
    objective.pyx_weight = 1.0
    objective.l2_coeff = 0.0
    objective.l2_form = "squared_mean"  # of the batches' log-densities, or mean_square (IGEBM)
    objective.class_conditional = False  # True: log p(x | y) takes the place of log p(x) (IGEBM)
    objective.further = ""  # names of terms that you have added, see docs/extending.md
    objective.further_weight = 1.0

    config.sam = sam = ml_collections.ConfigDict()
    sam.rho = 0.2  # Table 7; the released command's default is ASAM with rho = 2
    sam.adaptive = False  # True: ASAM

    config.train = train = ml_collections.ConfigDict()
    train.num_epochs = 200  # passes of one of the streams:
    train.epoch_of = "label"  # label or px
    train.num_steps = 0  # above 0: the length of the run in steps, instead of num_epochs
    train.batch_size_px = 64  # the p(x) stream, not augmented
    train.batch_size_label = 128  # the p(y|x) stream, augmented
    train.learning_rate = 0.1
    train.schedule = "cosine"  # better for SADA-JEM on CIFAR-10 (App. A); else steps
    train.milestones = "0.3,0.6,0.9"  # of "steps": shares of the run; 60, 120 and 180 of 200 epochs
    train.decay = 0.2  # of "steps": what the rate is multiplied with there
    train.optimizer = "sgd"  # or adam
    train.momentum = 0.9  # of sgd
    train.beta1 = 0.9  # of adam
    train.beta2 = 0.999
    train.weight_decay = 5e-4
    train.micro_batches = (
        1  # parts of a batch done in turn, for small cards; each its own BatchNorm
    )
    train.ema_decay = 0.0  # above 0: averages of parameters and statistics are kept beside
    train.max_restarts = 2  # after a divergence, from ever earlier checkpoints
    train.on_divergence = "retry"  # or double_steps: K doubles each time

    config.checkpoint = checkpoint = ml_collections.ConfigDict()
    checkpoint.every_steps = 1000
    checkpoint.keep = 3

    config.log = log = ml_collections.ConfigDict()
    log.every_steps = 50
    log.samples_every_steps = 1000  # a grid of the buffer's first 100 images

    config.eval = evaluation = ml_collections.ConfigDict()
    evaluation.batch_size = 500  # images a device takes at a time
    evaluation.every_epochs = 0  # above 0: evaluates while training, on data.val_size images
    evaluation.checkpoint = "last"  # last, best, ema or a step
    evaluation.only = ""  # parts that --help lists, or pieces of them; "": all under an hour each
    evaluation.force = False  # True: also what was evaluated before
    evaluation.noise_std = 0.0  # above 0: accuracy also under this noise on the test images (JEM)
    evaluation.num_bins = 20  # of the expected calibration error, as released
    # Out-of-distribution sets: of ours, of tensorflow-datasets (prepared), folders or .npz files;
    # the paper's CelebA must be prepared first, see docs/evaluation.md.
    evaluation.ood = "svhn_cropped,cifar10_interpolated,cifar100,uniform_noise,gaussian_noise"
    evaluation.inception = ""  # file of Inception's weights, see docs/quality.md
    # Further networks that judge samples: efficientnet_lite0, or W of any classifier trained here.
    evaluation.features = ""
    evaluation.images = "buffer"  # what is judged: buffer, fresh, folders or .npz files
    evaluation.against = ""  # a folder or .npz; "": the training images
    evaluation.fresh_images = 1000  # that "fresh" draws
    evaluation.attack_images = 1000  # test images that are attacked, as in the paper
    evaluation.attack_dtype = "float32"  # or bfloat16: attacks search in it, float32 verifies

    evaluation.purification = purification = ml_collections.ConfigDict()
    # short (as the fields below) or hill (1,500 steps, 15 and 150 chains); "": the fields below
    purification.preset = ""
    purification.images = 0  # 0: the preset's, 500 for hill, else 20; the one field beside a preset
    purification.num_steps = 10
    purification.noise_std = 0.0  # as trained; then all chains of an image are one
    purification.clip = True  # clips of score and values as trained; False: none
    purification.attack_chains = 4
    purification.verify_chains = 20
    purification.attack_steps = 50

    evaluation.landscape = landscape = ml_collections.ConfigDict()
    landscape.images = 5000  # of the training images, the paper's 10%
    landscape.directions = 10  # lines through the parameters
    landscape.points = 21  # on a line
    landscape.grid = 21  # points along each side of the plane
    landscape.span = 1.0  # how far a line goes either way, in lengths of the filters
    landscape.eigenvalues = 5  # the largest of the Hessian
    landscape.lanczos_steps = 30
    landscape.trace_probes = 30

    return config


VARIANTS = systems.variants(get_config)
