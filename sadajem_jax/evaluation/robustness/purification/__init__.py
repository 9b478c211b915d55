"""A classifier behind its own Langevin chain, and attacks that go through that chain.

`attack.run` is the whole of it for any pure (variables, images) -> logits; docs/purification.md
says what is measured, and why so.
"""
