"""Tables 1, 2, 3, 5 and 6, the calibration of Figure 4, and how the trainings went."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from sadajem_jax.report import names, paper_numbers
from sadajem_jax.tables import cells, published, systems, trainings
from sadajem_jax.tables.cells import Cell, Found
from sadajem_jax.tables.entries import Entry, Member
from sadajem_jax.tables.published import DISCRIMINATIVE, HYBRID, KINDS
from sadajem_jax.tables.table import Column, Published, Row, Table, beside, ours

NUMBERED = {"cifar10": "1", "cifar100": "2"}
ABLATED = ("jem", "jem_sam", "jempp", "jempp_sam", "jempp_no_da", "jempp_no_da_l2", "sadajem")
WITH_RHO = ("sadajem", "asam")
DETECTED = ("log_density", "max_prob")  # the scores of Table 3
NO_KINDS = {"": ""}
NOISY_ROWS = (
    "JEM's code takes the accuracy under noise of 0.03 on the test images: those published of JEM "
    "are such. Ours is clean; the one under noise, where the run has it, stands in a note.",
)


def _metric(head: str, *keys: str, form: str = "{:.2f}", scale: float = 1.0) -> Column:
    measure = cells.metric(*keys, scale=scale)
    return head, lambda entry: cells.cell(entry, measure, form)


def _of_buffer(head: str, *keys: str) -> Column:
    """A number of the replay buffer's images, which are no work of a model that ran no chains."""
    measure = cells.metric(*keys)

    def of_chains(member: Member) -> Found | str:
        found = measure(member)
        if isinstance(found, Found) and not systems.has_chain(member.settings):
            return "the training ran no chains: the buffer holds the starts it was filled with"
        return found

    return head, lambda entry: cells.cell(entry, of_chains, "{:.2f}")


def _accuracy(entry: Entry) -> Cell:
    """Of the test images as they are; that under noise, as JEM's is published, is a note of it."""
    clean, noisy = (
        cells.cell(entry, cells.metric(key, scale=100), "{:.2f}")
        for key in ("test/accuracy", names.UNDER_NOISE)
    )
    if noisy.text == cells.MISSING:
        return clean
    note = f"{noisy.text}% under noise of {_noise(entry)} on the test images"
    also = [f"under noise {of}" for of in noisy.notes]
    sources, notes = clean.sources + noisy.sources, (*clean.notes, ", ".join([note, *also]))
    return clean._replace(sources=sources, notes=notes)


def _noise(entry: Entry) -> str:
    """The deviation of the noise on images in [-1, 1], as recorded."""
    named = [(m.run, m.run.name_of(m.subject, names.UNDER_NOISE)) for m in entry.members]
    found = dict.fromkeys(names.noise_of(run.behind(name)) for run, name in named if name)
    return " and ".join(found)


ACCURACY: Column = ("accuracy, %", _accuracy)
SCORE = _of_buffer("Inception Score", *names.INCEPTION_SCORE)
FID = _of_buffer("FID", *names.FID)
ECE = _metric("ECE, %", "calibration/ece", scale=100)
NLL = _metric("test nll, nats", "test/nll", form="{:.3f}")


def tables(entries: Sequence[Entry]) -> list[Table]:
    """All tables of the data sets that there are runs of, then the paper's others.

    Args:
      entries: rows of ours.
    """
    data = dict.fromkeys(entry.data for entry in entries)
    of_ours = [table for name in data for table in of_data(name, entries)]
    others = [name for name in NUMBERED if name not in data]
    return of_ours + [table for name in others for table in of_data(name, ())]


def of_data(data: str, entries: Sequence[Entry]) -> Iterator[Table]:
    """The tables of a data set; those that the paper lacks only where there are rows of ours."""
    own = [entry for entry in entries if entry.data == data]
    for make in (generation, detection, ablation, radius, calibration):
        table = make(data, own)
        if table is not None:
            yield table


def generation(data: str, entries: Sequence[Entry]) -> Table | None:
    """Table 1 or 2: accuracy, Inception Score and FID."""
    columns = (ACCURACY, SCORE, FID)
    theirs = [
        Published(r.system, _values(r), _keys_of(r.system), published.kind_of(r))
        for r in paper_numbers.GENERATION.get(data, ())
    ]
    rows = beside(theirs, ours(entries, columns, _keys, _kind), KINDS)
    number = NUMBERED.get(data, "1")
    title = "accuracy, Inception Score and FID"
    notes = _protocol(entries) + (NOISY_ROWS if theirs else ())
    return _table(number, data, title, columns, rows, is_papers=bool(theirs), notes=notes)


def detection(data: str, entries: Sequence[Entry]) -> Table | None:
    """Table 3: AUROC of the test set against others, both scores one below the other."""
    is_papers = data in paper_numbers.OOD_AUROC
    labels = list(paper_numbers.OOD_SETS if is_papers else ())
    found = dict.fromkeys(label for entry in entries for label in _labels(entry))
    labels += [label for label in found if label not in labels]
    if not labels:
        return None
    rows = [row for score in DETECTED for row in _detected(data, entries, labels, score)]
    heads = [(names.data_set(label), cells.nothing) for label in labels]
    title = "AUROC of out-of-distribution detection"
    return _table("3", data, title, heads, rows, is_papers=is_papers)


def _detected(
    data: str, entries: Sequence[Entry], labels: Sequence[str], score: str
) -> tuple[Row, ...]:
    """The rows of a score; the paper's have nothing of the sets after its own."""
    blanks = (None,) * (len(labels) - len(paper_numbers.OOD_SETS))
    theirs = [
        Published(
            system, (*(_number(v, "{:.2f}") for v in values), *blanks), _keys_of(system), score
        )
        for system, values in paper_numbers.OOD_AUROC.get(data, {}).get(score, {}).items()
    ]
    columns = [_metric(label, f"ood/{label}/{score}/auroc", form="{:.3f}") for label in labels]
    made = ours(entries, columns, _keys, lambda _: score)
    return beside(theirs, made, {score: f"Score: {names.SCORES[score]}"})


def ablation(data: str, entries: Sequence[Entry]) -> Table | None:
    """Table 5: from JEM and JEM++ to SADA-JEM, accuracy and FID."""
    theirs = paper_numbers.ABLATION.get(data, ())
    own = [
        entry for entry in entries if entry.system in ABLATED and systems.is_whole(entry.settings)
    ]
    if not theirs and len({entry.system for entry in own}) < 2:
        return None
    rows = beside(
        [Published(r.system, _two(r), _keys_of(r.system)) for r in theirs],
        ours(own, (ACCURACY, FID), lambda entry: (entry.system,)),
        NO_KINDS,
    )
    notes = ("The paper's rows have K = 10.", *NOISY_ROWS) if theirs else ()
    title = "the ablation, accuracy and FID"
    return _table("5", data, title, (ACCURACY, FID), rows, is_papers=bool(theirs), notes=notes)


def radius(data: str, entries: Sequence[Entry]) -> Table | None:
    """Table 6: the radius rho of SAM and ASAM, accuracy and FID."""
    theirs = paper_numbers.RHO.get(data, ())
    own = [
        entry for entry in entries if entry.system in WITH_RHO and systems.is_whole(entry.settings)
    ]
    if not theirs and len({systems.sam_of(entry.settings) for entry in own}) < 2:
        return None
    rows = beside(
        [Published(r.system, _two(r), (published.rho_key(r.system),)) for r in theirs],
        ours(own, (ACCURACY, FID), _rho, always=("sam.rho",)),
        NO_KINDS,
    )
    notes = ("The paper's rows are of SADA-JEM, K = 10.",) if theirs else ()
    title = "the radius rho, accuracy and FID"
    return _table("6", data, title, (ACCURACY, FID), rows, is_papers=bool(theirs), notes=notes)


def calibration(data: str, entries: Sequence[Entry]) -> Table | None:
    """The ECE of Figure 4 beside the paper's, and how each training went."""
    if not entries:
        return None
    columns = (ECE, NLL, *trainings.COLUMNS)
    blanks = (None,) * (len(columns) - 1)
    theirs = [
        Published(system, (f"{value:.2f}", *blanks), _keys_of(system))
        for system, value in paper_numbers.ECE.get(data, {}).items()
    ]
    rows = beside(theirs, ours(entries, columns, _keys), NO_KINDS)
    title = f"{_capital(data)}: calibration (the paper's Figure 4), and how the trainings went"
    heads = ("", *(head for head, _ in columns))
    return Table(f"trainings_{data}", title, heads, rows, trainings.NOTES)


def _table(
    number: str,
    data: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    is_papers: bool,
    notes: Sequence[str] = (),
) -> Table | None:
    """A numbered one; "as the paper's Table 3" for data that the paper has no such table of."""
    if not rows:
        return None
    paper = f"the paper's Table {number}" if is_papers else f"as the paper's Table {number}"
    heads = ("", *(head for head, _ in columns))
    key = f"table{number}" if is_papers else f"table{number}_{data}"
    return Table(key, f"{_capital(data)}: {title} ({paper})", heads, tuple(rows), tuple(notes))


def _capital(data: str) -> str:
    name = names.data_set(data)
    return name[0].upper() + name[1:]


def _keys(entry: Entry) -> tuple[Hashable, ...]:
    """System and K, then the system alone; without its chains a hybrid model is none of these."""
    if not systems.is_whole(entry.settings):
        return ()
    return (entry.system, entry.num_sgld_steps), entry.system


def _keys_of(system: str) -> tuple[Hashable, ...]:
    word = published.word_of(system)
    return ((word, published.num_steps_of(system)), word) if word else ()


def _kind(entry: Entry) -> str:
    return HYBRID if systems.has_chain(entry.settings) else DISCRIMINATIVE


def _rho(entry: Entry) -> tuple[Hashable, ...]:
    return ((entry.settings["sam.adaptive"], float(entry.settings["sam.rho"])),)


def _labels(entry: Entry) -> list[str]:
    return [label for m in entry.members for label in m.run.ood_labels(m.subject.prefix)]


def _protocol(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Which of the two protocols our scores of generated images are of."""
    named = [
        member.run.name_of(member.subject, *names.INCEPTION_SCORE, *names.FID)
        for entry in entries
        for member in entry.members
    ]
    if not any(named):
        return ()
    return (
        "Ours: the released protocol (the most confident images of each class) where the run has "
        "it, else the plain one; each number's source says which.",
    )


def _values(row: paper_numbers.Row) -> tuple[str | None, ...]:
    return _number(row.accuracy, "{:.1f}"), _number(row.inception_score, "{:.2f}"), _fid(row.fid)


def _two(row: paper_numbers.Row) -> tuple[str | None, ...]:
    return _number(row.accuracy, "{:.1f}"), _fid(row.fid)


def _fid(value: float | None) -> str | None:
    """With the paper's decimals: two below 10, one above."""
    return _number(value, "{:.1f}" if value and value >= 10 else "{:.2f}")


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)
