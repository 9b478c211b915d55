"""The tables show planted numbers, beside every published one, and pass none off as another's."""

from __future__ import annotations

import pathlib

import pytest

from sadajem_jax.report import paper_numbers
from sadajem_jax.tables import contents, entries
from tests.tables import planted
from tests.tables.planted import ours, run, table, texts


def test_seeds_are_one_row_with_mean_and_deviation(tmp_path: pathlib.Path) -> None:
    """Of 90, 92 and 94% the row says 92.00 ± 2.00 (with n - 1), n = 3, and names all three."""
    made = [run(tmp_path / str(s), s, accuracy=0.9 + s / 50) for s in range(3)]
    (row,) = ours(table("table1", *made))
    assert row.name == "Ours: SADA-JEM, K = 10" and row.runs == (1, 2, 3)
    assert texts(row) == ["92.00 ± 2.00", "–", "–"]
    for workdir, value in zip(made, ("90", "92", "94"), strict=True):
        (source,) = [s for s in row.cells[0].sources if s.startswith(f"{workdir.path}: ")]
        assert f"{value} (test/accuracy, checkpoint last, step 200)" in source


def test_what_differs_in_more_than_the_seed_is_a_row_of_its_own(tmp_path: pathlib.Path) -> None:
    """Each row's name says K and what was overridden, in people's words."""
    made = [
        run(tmp_path / "a", accuracy=0.9),
        run(tmp_path / "b", 1, accuracy=0.9, sam__rho=0.1),
        run(tmp_path / "c", accuracy=0.9, sgld__num_steps=5, model__depth=10, model__width=1),
        run(tmp_path / "d", accuracy=0.9, train__num_steps=2000, train__weight_decay=1e-4),
    ]
    assert {row.name for row in ours(table("table1", *made))} == {
        "Ours: SADA-JEM, K = 10",
        "Ours: SADA-JEM, K = 10, rho = 0.1",
        "Ours: SADA-JEM, K = 5, WRN-10-1",
        "Ours: SADA-JEM, K = 10, 2,000 steps, train.weight_decay = 0.0001",
    }


def test_where_a_run_computes_makes_no_row(tmp_path: pathlib.Path) -> None:
    """Two seeds whose data folder, logging and evaluation differ are one row."""
    first = run(tmp_path / "a", accuracy=0.9)
    second = run(tmp_path / "b", 1, accuracy=0.9, data__data_dir="x", eval__num_bins=15)
    assert len(ours(table("table1", first, second))) == 1


def test_ours_stand_below_the_published_row_they_are_nearest_to(tmp_path: pathlib.Path) -> None:
    """K = 20 stands below K = 20, a K that nobody published below the system's first row."""
    made = [run(tmp_path / str(k), accuracy=0.9, sgld__num_steps=k) for k in (7, 20)]
    made.append(run(tmp_path / "jem", accuracy=0.9, system="jem", sgld__num_steps=20))
    names = [row.name for row in table("table1", *made).rows]
    for above, below in (
        ("SADA-JEM, K = 20", "Ours: SADA-JEM, K = 20"),
        ("SADA-JEM, K = 5", "Ours: SADA-JEM, K = 7"),
        ("JEM, K = 20", "Ours: JEM, K = 20"),
    ):
        assert names[names.index(above) + 1].startswith(below)


def test_classifiers_have_no_chain_and_stand_among_classifiers(tmp_path: pathlib.Path) -> None:
    """A softmax run's name says no K, and its row is below the published classifier's.

    With a weight of p(x) it runs chains: it has a K, and is the last of the hybrid models.
    """
    made = run(tmp_path / "a", accuracy=0.9, system="softmax", objective__px_weight=0.0)
    hybrid = run(tmp_path / "b", accuracy=0.9, system="softmax", objective__px_weight=0.5)
    names = [row.name for row in table("table1", made, hybrid).rows]
    place = names.index("Softmax")
    assert names[place + 1].startswith("Ours: Softmax") and "K =" not in names[place + 1]
    assert names[place - 1] == "Discriminative"
    assert names[names.index("Generative") - 1].startswith("Ours: Softmax, K = 10, ")


def test_the_buffer_of_a_classifier_has_no_score(tmp_path: pathlib.Path) -> None:
    """Where no chain ran, IS and FID of the buffer's first starts are dashes that say why."""
    numbers = {"samples/fid": 12.0, "samples/inception_score": 2.0}
    for system, px_weight, cells in (
        ("softmax", 0.0, ["90.00", "–", "–"]),
        ("sadajem", 0.0, ["90.00", "–", "–"]),
        ("sadajem", 1.0, ["90.00", "2.00", "12.00"]),
    ):
        path = tmp_path / f"{system}{px_weight}"
        made = run(path, accuracy=0.9, system=system, objective__px_weight=px_weight)
        (row,) = ours(table("table1", made.piece("samples", numbers).save()))
        assert texts(row) == cells
        assert ("ran no chains" in row.cells[2].sources[0]) == (px_weight == 0)


@pytest.mark.parametrize("key", ["table1", "table5"])
def test_jem_s_accuracy_under_noise_is_a_note_of_the_clean_one(
    tmp_path: pathlib.Path, key: str
) -> None:
    """The seeds' mean under noise, its strength and whence; the published rows' noise is said."""
    made = [run(tmp_path / str(s), s, accuracy=0.9, system="jem") for s in range(2)]
    for workdir, accuracy in zip(made, (0.88, 0.9), strict=True):
        settings = {"noise_std": 0.03}
        workdir.piece("accuracy/noisy", {"test/accuracy_noisy": accuracy}, settings=settings).save()
    found = table(key, *made)
    (row,) = ours(found)
    assert row.cells[0].text == "90.00 ± 0.00"
    assert row.cells[0].notes == ("89.00 ± 1.41% under noise of 0.03 on the test images",)
    assert any("88 (test/accuracy_noisy" in source for source in row.cells[0].sources)
    assert any("JEM's code" in note for note in found.notes)
    one = run(tmp_path / "without", accuracy=0.9)
    assert ours(table(key, one))[0].cells[0].notes == ()


def test_a_system_without_its_chains_is_not_that_system(tmp_path: pathlib.Path) -> None:
    """SADA-JEM with px_weight = 0 is the last classifier, and in neither study of SADA-JEM."""
    made = run(tmp_path / "a", accuracy=0.9, objective__px_weight=0.0)
    name = "Ours: SADA-JEM, objective.px_weight = 0"
    assert table("table1", made).rows[-1].name == name
    assert not ours(table("table5", made)) and not ours(table("table6", made))


def test_every_published_row_is_there_without_any_run_of_its_kind(tmp_path: pathlib.Path) -> None:
    """With one digits run all published rows of Tables 1, 2, 3, 5 and 6 are written, in order."""
    made = run(tmp_path / "a", data="digits", accuracy=0.9)
    found = {t.key: t for t in contents.tables(planted.rows_of(made))}
    assert list(found) == [
        *("table1_digits", "trainings_digits", "table1", "table3", "table5", "table6", "table2")
    ]
    published = {
        "table1": paper_numbers.GENERATION["cifar10"],
        "table2": paper_numbers.GENERATION["cifar100"],
        "table5": paper_numbers.ABLATION["cifar10"],
        "table6": paper_numbers.RHO["cifar10"],
    }
    for key, rows in published.items():
        assert {row.system for row in rows} <= {row.name for row in found[key].rows}, key
    names = [row.name for row in found["table3"].rows]
    assert all(names.count(s) == 2 for s in paper_numbers.OOD_AUROC["cifar10"]["max_prob"])


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("SADA-JEM, K = 5", ["95.5", "8.77", "9.41"]),
        ("StyleGAN2-ADA", ["–", "9.74", "2.92"]),
        ("Softmax + SAM", ["97.2", "–", "–"]),
    ],
)
def test_published_numbers_are_as_published(name: str, cells: list[str]) -> None:
    """Each with the paper's decimals, and a dash where it gives none."""
    (row,) = [row for row in contents.tables([])[0].rows if row.name == name]
    assert texts(row) == cells


def test_a_number_that_a_seed_lacks_says_of_how_many_it_is(tmp_path: pathlib.Path) -> None:
    """FID of one seed of two stands without a deviation, marked as of 1 of 2 runs."""
    made = [run(tmp_path / str(s), s, accuracy=0.9) for s in range(2)]
    made[0].piece("samples", {"samples/fid": 12.0}).save()
    (row,) = ours(table("table1", *made))
    assert texts(row) == ["90.00 ± 0.00", "–", "12.00"]
    assert row.cells[2].notes == ("of 1 of the 2 runs",) and not row.cells[0].notes


def test_numbers_of_two_kinds_are_not_averaged_in_silence(tmp_path: pathlib.Path) -> None:
    """ECEs of 15 and of 20 bins in one mean are marked, of equal bins they are not."""
    made = [run(tmp_path / str(s), s, accuracy=0.9) for s in range(3)]
    for workdir, bins in zip(made, (20, 20, 15), strict=True):
        settings = {"num_bins": bins, "checksum": str(workdir.path)}
        workdir.piece("calibration", {"calibration/ece": 0.02}, settings=settings).save()
    (alike,) = ours(table("trainings_cifar10", *made[:2]))
    (mixed,) = ours(table("trainings_cifar10", *made))
    assert not alike.cells[0].notes and "measured differently" in mixed.cells[0].notes[0]


def test_a_part_of_the_test_set_is_said(tmp_path: pathlib.Path) -> None:
    """An AUROC against 10,000 of SVHN's 26,032 images has a note."""
    size = {"images": 10_000, "official": 26_032}
    made = run(tmp_path / "a", accuracy=0.9).ood("svhn_cropped", 0.9, size=size).save()
    row = ours(table("table3", made))[0]
    assert texts(row) == ["0.900", "–", "–", "–"]
    assert row.cells[0].notes == ("of 10,000 of 26,032 official images",)


def test_an_older_checkpoint_is_named(tmp_path: pathlib.Path) -> None:
    """FID of step 100 and accuracy of step 200 stand in two rows, the older one marked."""
    made = run(tmp_path / "a", accuracy=0.9).piece("samples", {"samples/fid": 50.0}, step=100)
    new, old = ours(table("table1", made.save()))
    assert texts(new) == ["90.00", "–", "–"] and new.kind == "ours"
    assert texts(old) == ["–", "–", "50.00"] and old.kind == "ours older"
    assert old.name == "Ours: SADA-JEM, K = 10, step 100, older"


def test_an_unfinished_run_is_not_averaged_with_finished_ones(tmp_path: pathlib.Path) -> None:
    """A seed evaluated at step 100 of a training that goes on has a row that says its step."""
    done = run(tmp_path / "a", accuracy=0.9)
    going = run(tmp_path / "b", 1).piece("accuracy", {"test/accuracy": 0.5}, step=100).save()
    names = [row.name for row in ours(table("table1", done, going))]
    assert names == ["Ours: SADA-JEM, K = 10", "Ours: SADA-JEM, K = 10, step 100"]


def test_the_best_models_of_seeds_are_one_row(tmp_path: pathlib.Path) -> None:
    """Each seed's best is of another step; their row says that they are the best."""
    made = [run(tmp_path / str(s), s, accuracy=0.9) for s in range(2)]
    for seed, workdir in enumerate(made):
        workdir.piece("accuracy", {"test/accuracy": 0.9 + seed / 10}, "best/", step=50 + seed)
        workdir.save()
    last, best = ours(table("table1", *made))
    assert best.name == "Ours: SADA-JEM, K = 10, best on validation"
    assert texts(best)[0] == "95.00 ± 7.07" and texts(last)[0] == "90.00 ± 0.00"


def test_a_seed_counts_once(tmp_path: pathlib.Path) -> None:
    """A copy of a run, and a run given twice, add nothing to n; the copy is named."""
    made = [run(tmp_path / "a", accuracy=0.9), run(tmp_path / "b", accuracy=0.7)]
    rows = planted.rows_of(made[0], made[0], *made)
    assert [member.run.workdir for member in rows[0].members] == [made[0].path]
    assert [member.run.workdir for member in rows[0].repeats] == [made[1].path]


def test_a_run_without_numbers_has_a_row_of_dashes(tmp_path: pathlib.Path) -> None:
    """A training that has written nothing yet is there, and said to have no numbers."""
    (row,) = ours(table("table1", run(tmp_path / "a")))
    assert row.name == "Ours: SADA-JEM, K = 10, no numbers yet" and set(texts(row)) == {"–"}


def test_why_a_number_is_missing_stands_behind_its_dash(tmp_path: pathlib.Path) -> None:
    """The record's reason is the dash's source."""
    made = run(tmp_path / "a", accuracy=0.9).ood("cifar100", 0.9)
    made.pieces["ood/celeb_a"] = {"part": "ood", "step": 200, "not_computed": "no copy at hand"}
    row = ours(table("table3", made.save()))[0]
    assert row.cells[3].text == "–"
    assert row.cells[3].sources == (f"{made.path}: not computed, because no copy at hand",)


def test_k_that_a_training_doubled_is_said(tmp_path: pathlib.Path) -> None:
    """A run of K = 10 whose model was made with 20 is a row of K = 20, and says both."""
    made = run(tmp_path / "a", accuracy=0.9)
    made.piece("accuracy", {"test/accuracy": 0.9}, num_sgld_steps=20).save()
    (row,) = ours(table("table1", made))
    assert row.name == "Ours: SADA-JEM, K = 20 (began with 10)"


def test_table_6_says_rho_of_every_row(tmp_path: pathlib.Path) -> None:
    """SAM and ASAM stand below the published rows of the same norm and radius."""
    made = [run(tmp_path / str(rho), accuracy=0.9, sam__rho=rho) for rho in (0.2, 0.05)]
    made.append(run(tmp_path / "asam", accuracy=0.9, sam__rho=2.0, sam__adaptive=True))
    names = [row.name for row in table("table6", *made).rows]
    for above, below in (
        ("SAM, rho = 0.2", "rho = 0.2"),
        ("SAM, rho = 0.05", "rho = 0.05"),
        ("ASAM, rho = 2", "ASAM, rho = 2"),
    ):
        assert names[names.index(above) + 1] == f"Ours: SADA-JEM, K = 10, {below}"


def test_how_a_training_went(tmp_path: pathlib.Path) -> None:
    """Gap of the log's last line, restarts, and minutes from steps and speed."""
    made = run(tmp_path / "a", accuracy=0.9).training({"train/images_per_second": 128.0}, step=200)
    planted.log(made.save(), {"step": 1, "epoch": 1.0, "log_density_gap": 9.0},
                {"step": 200, "epoch": 2.0, "log_density_gap": -0.25})  # fmt: skip
    (made.path / "restarts.json").write_text('{"restarts": 2, "num_sgld_steps": 10, "start": 5}')
    (row,) = ours(table("trainings_cifar10", made))
    assert texts(row) == ["–", "–", "-0.25", "2", "3.3"]


def test_data_sets_the_paper_lacks_have_tables_of_their_own(tmp_path: pathlib.Path) -> None:
    """Two digits runs of two systems and radii have tables like 1, 3, 5 and 6, of ours alone."""
    first = run(tmp_path / "a", data="digits", accuracy=0.9).ood("photographs", 0.8).save()
    second = run(tmp_path / "b", data="digits", accuracy=0.8, system="jem", sam__rho=0.0)
    third = run(tmp_path / "c", data="digits", accuracy=0.8, sam__rho=0.1)
    made = [t for t in contents.tables(planted.rows_of(first, second, third)) if t.has_ours]
    assert [t.key for t in made] == [
        f"{key}_digits" for key in ("table1", "table3", "table5", "table6", "trainings")
    ]
    assert all(row.runs or row.kind == "group" for t in made for row in t.rows)


def test_a_run_given_by_two_names_is_one(tmp_path: pathlib.Path) -> None:
    """A link to a run is that run."""
    made = run(tmp_path / "a", accuracy=0.9)
    (tmp_path / "link").symlink_to(made.path)
    assert {m.number for m in entries.read([made.path, tmp_path / "link"])} == {1}
