"""Reading a program line by line, on small ones made up here."""

from __future__ import annotations

import pytest

from sadajem_jax.gpu_program import hlo, kernels
from sadajem_jax.gpu_program.kernels import Kernel
from sadajem_jax.gpu_program.traffic import Traffic

PROGRAM = """\
HloModule made_up, is_scheduled=true

%picked (p0: f32[1000,8], p1: s32[4]) -> f32[4,8] {
  %p0 = f32[1000,8]{1,0} parameter(0)
  %p1 = s32[4]{0} parameter(1)
  ROOT %gather.1 = f32[4,8]{1,0} gather(%p0, %p1), offset_dims={1}, slice_sizes={1,8}
}

%updated (q0: f32[1000,8], q1: f32[1,8], q2: s32[]) -> f32[1000,8] {
  %q2 = s32[] parameter(2)
  %q1 = f32[1,8]{1,0} parameter(1)
  %q0 = f32[1000,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %dus = f32[1000,8]{1,0} dynamic-update-slice(%q0, %q1, %q2, %zero)
  ROOT %same = f32[1000,8]{1,0} bitcast(%dus)
}

%turned (t0: f32[4,8]) -> bf16[8,4] {
  %t0 = f32[4,8]{1,0} parameter(0)
  %half = bf16[4,8]{1,0} convert(%t0)
  ROOT %turn = bf16[8,4]{1,0} transpose(%half), dimensions={1,0}
}

%inner (i: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %i = (s32[], f32[4,8]{1,0}) parameter(0)
  %i1 = f32[4,8]{1,0} get-tuple-element(%i), index=1
  %i0 = s32[] get-tuple-element(%i), index=0
  %reduced = f32[4,8]{1,0} all-reduce(%i1), replica_groups={{0,1}}, to_apply=%sum
  ROOT %ituple = (s32[], f32[4,8]{1,0}) tuple(%i0, %reduced)
}

%outer (o: (s32[], f32[1000,8], f32[4,8], s32[4])) -> (s32[], f32[1000,8], f32[4,8], s32[4]) {
  %o = (s32[], f32[1000,8]{1,0}, f32[4,8]{1,0}, s32[4]{0}) parameter(0)
  %o0 = s32[] get-tuple-element(%o), index=0
  %o1 = f32[1000,8]{1,0} get-tuple-element(%o), index=1
  %o3 = s32[4]{0} get-tuple-element(%o), index=3
  %pick = f32[4,8]{1,0} fusion(%o1, %o3), kind=kLoop, calls=%picked, metadata={op_name="g"}
  %turn.1 = bf16[8,4]{1,0} fusion(%pick), kind=kInput, calls=%turned
  %start = (s32[], f32[4,8]{1,0}) tuple(%o0, %pick)
  %chain = (s32[], f32[4,8]{1,0}) while(%start), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"7"}}
  %row = f32[1,8]{1,0} copy(%pick)
  %update = f32[1000,8]{1,0} fusion(%o1, %row, %o0), kind=kLoop, calls=%updated
  ROOT %otuple = (s32[], f32[1000,8]{1,0}, f32[4,8]{1,0}, s32[4]{0}) tuple(%o0, %update, %pick, %o3)
}

ENTRY %main (a: (s32[], f32[1000,8], f32[4,8], s32[4])) -> (s32[], f32[1000,8], f32[4,8], s32[4]) {
  %a = (s32[], f32[1000,8]{1,0}, f32[4,8]{1,0}, /*index=3*/s32[4]{0}) parameter(0)
  ROOT %steps = (s32[], f32[1000,8]{1,0}, f32[4,8]{1,0}, s32[4]{0}) while(%a), condition=%c, body=%outer
}
"""  # noqa: E501
ROW, ARRAY = 4 * 8, 4 * 8000


def launched(program: str = PROGRAM) -> dict[str, Kernel]:
    """The kernels by name."""
    return {kernel.name: kernel for kernel in kernels.of(hlo.parse(program))}


def test_kernels_are_what_is_launched() -> None:
    """Fusions, copies and messages launch; tuples, parameters, bitcasts and loops do not."""
    assert list(launched()) == ["pick", "turn.1", "reduced", "row", "update"]


def test_a_gather_reads_its_rows_and_an_update_in_place_writes_them() -> None:
    """The whole array is an operand of either; touched are four rows, and one."""
    found = launched()
    assert found["pick"].traffic == Traffic(ARRAY + 16 + 4 * ROW, 4 * ROW + 16 + 4 * ROW)
    assert found["update"].traffic == Traffic(2 * ARRAY + ROW + 4, ROW + 4 + ROW)


def test_a_message_in_a_loop_counts_its_trips_and_bytes() -> None:
    """The loop over the chain has 7 trips; an all-reduce of four rows is one message of them."""
    found = launched()["reduced"]
    assert (found.collective, found.depth, found.trips) == ("all-reduce", 2, 7)
    assert found.message_bytes == 4 * ROW


def test_casts_and_transposes_alone_are_moves() -> None:
    """A fusion that only casts and transposes is a move, as a copy is; a gather is none."""
    assert [k.name for k in launched().values() if k.is_move] == ["turn.1", "row"]


@pytest.mark.parametrize(
    "start, size",
    [
        ("all-gather-start(%i1)", 8 * ROW),
        ("all-reduce-start(%i1)", 4 * ROW),
    ],
)
def test_an_asynchronous_message_is_counted_once(start: str, size: int) -> None:
    """Its start is the launch, and its done none; a gather's message is what all have then."""
    kind = start.partition("(")[0]
    result = "f32[4,8]" if "reduce" in kind else "((f32[4,8]{1,0}), f32[8,8]{1,0})"
    old = "%reduced = f32[4,8]{1,0} all-reduce(%i1), replica_groups={{0,1}}, to_apply=%sum"
    done = f"%reduced = f32[4,8]{{1,0}} {kind.removesuffix('start')}done(%begun)"
    program = PROGRAM.replace(old, f"%begun = {result} {start}\n  {done}")
    found = [k for k in launched(program).values() if k.collective]
    assert [(k.name, k.message_bytes) for k in found] == [("begun", size)]


def test_a_loop_of_unknown_length_in_a_step_is_refused() -> None:
    """Nothing is guessed where XLA knows no trip count."""
    unknown = PROGRAM.replace('backend_config={"known_trip_count":{"n":"7"}}', "x=1")
    with pytest.raises(ValueError, match="known length inside a step, found chain"):
        launched(unknown)


def test_a_text_that_is_no_program_is_refused() -> None:
    """A text without an entry is no compiled program."""
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("HloModule empty\n")
