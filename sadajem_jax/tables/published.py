"""Which of our systems a published row is of, and what kind of model it is."""

from __future__ import annotations

from collections.abc import Hashable

from sadajem_jax.report.paper_numbers import Row

HYBRID, GENERATIVE, DISCRIMINATIVE = "hybrid", "generative", "discriminative"
KINDS = {
    HYBRID: "Hybrid: classify and generate",
    GENERATIVE: "Generative",
    DISCRIMINATIVE: "Discriminative",
}
WORDS = {  # of our systems; IGEBM's own sampler, SAM's partners and others' systems have none
    "SADA-JEM": "sadajem",
    "JEM": "jem",
    "JEM + SAM": "jem_sam",
    "JEM++": "jempp",
    "JEM++ + SAM": "jempp_sam",
    "JEM++ w/o DA": "jempp_no_da",
    "JEM++ w/o DA + energy L2 (fails after epoch 110)": "jempp_no_da_l2",
    "IGEBM": "igebm",
    "Softmax": "softmax",
    "Softmax + SAM": "softmax_sam",
    "Softmax without BatchNorm": "softmax_no_bn",
    "WideResNet": "softmax",  # as Table 3 calls it
}


def word_of(system: str) -> str:
    """Our word for a published system, "" where we have none.

    Examples:
      >>> word_of("JEM++, M = 10"), word_of("VERA, alpha = 100")
      ('jempp', '')
    """
    return WORDS.get(system.partition(", ")[0], "")


def num_steps_of(system: str) -> int | None:
    """K of a published row's name; JEM++'s M is the same K.

    Examples:
      >>> num_steps_of("JEM++, M = 10"), num_steps_of("Softmax"), num_steps_of("VERA, alpha = 1")
      (10, None, None)
    """
    letter, _, number = system.partition(", ")[2].partition(" = ")
    return int(number) if letter in ("K", "M") else None


def kind_of(row: Row) -> str:
    """What a system does, from what is published of it."""
    if row.accuracy is None:
        return GENERATIVE
    return DISCRIMINATIVE if row.inception_score is None and row.fid is None else HYBRID


def rho_key(system: str) -> Hashable:
    """Of a row of Table 6: whether the norm is adaptive, and the radius.

    Examples:
      >>> rho_key("SAM, rho = 0.2"), rho_key("ASAM, rho = 8 (diverged after epoch 2)")
      ((False, 0.2), (True, 8.0))
    """
    norm, _, rest = system.partition(", rho = ")
    return norm == "ASAM", float(rest.split()[0])
