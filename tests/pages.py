"""Whether the trainings of tests draw a page of their own: a second each, and few look at one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from sadajem_jax.training import own_page

MADE = own_page.made


@contextlib.contextmanager
def left_out() -> Iterator[None]:
    """No page is drawn, as if that had gone well."""
    with mock.patch.object(own_page, "made", lambda workdir: ""):
        yield


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Pages are drawn again."""
    with mock.patch.object(own_page, "made", MADE):
        yield
