"""How a classifier stands up to attacks: PGD, AutoAttack, and purification by its own chain."""
