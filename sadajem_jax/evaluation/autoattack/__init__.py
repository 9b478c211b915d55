"""AutoAttack (Croce and Hein 2020): the share of images that no perturbation of a given size turns.

`run` is the whole of it and needs nothing else of this package's programs.
"""

from sadajem_jax.evaluation.autoattack.driver import run as run
