"""bench/measure.py: the arithmetic, and what is shown of it."""

import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "bench"))

import against
import measure
from measure import OURS, Growth, Report, Row, at_least, at_most


class Arithmetic(unittest.TestCase):
    def test_percentile_lies_between_samples(self):
        self.assertEqual(measure.percentile([4, 1, 3, 2], 0.5), 2.5)
        self.assertEqual(measure.percentile([1, 2, 3, 4, 5], 0.25), 2)
        self.assertEqual(measure.percentile([7], 0.75), 7)

    def test_spread_is_the_middle_half_by_the_median(self):
        self.assertEqual(measure.spread([1, 2, 3, 4, 5]), 2 / 3)
        self.assertEqual(measure.spread([8, 8, 8]), 0)
        self.assertEqual(measure.spread([0, 0, 1]), 0)  # no division by the median
        self.assertEqual(measure.spread([10, 10, 10, 10, 1000]), 0)  # one outlier moves nothing

    def test_exponent_of_powers(self):
        for power in (0, 0.5, 1, 2):
            points = [(x, 3 * x**power) for x in (10, 100, 1000, 10**6)]
            self.assertAlmostEqual(measure.exponent(points), power)

    def test_exponent_is_the_least_squares_one(self):
        # ln y - ln x by hand: slopes 0 and 1 on two equal steps.
        self.assertAlmostEqual(measure.exponent([(1, 1), (10, 1), (100, 10)]), 0.5)

    def test_one_size_has_no_exponent(self):
        with self.assertRaises(ValueError):
            measure.exponent([(10, 1), (10, 2)])

    def test_ratio_is_of_rounds_not_of_medians(self):
        # Each round both are slowed down alike, by something else.
        row = Row("r", "ns", {OURS: [2, 20, 200], "reference": [1, 10, 100]})
        self.assertEqual(row.ratio("reference"), 2)
        row = Row("r", "ns", {OURS: [1, 30, 2], "reference": [1, 10, 4]})
        self.assertEqual(row.ratio("reference"), 1)  # of 1, 3 and 0.5; medians would say 0.5

    def test_a_ratio_wants_pairs(self):
        with self.assertRaises(ValueError):
            Row("r", "ns", {OURS: [1, 2], "reference": [1]}).ratio("reference")

    def test_bounds_are_inside(self):
        self.assertTrue(at_most(2).met(2))
        self.assertFalse(at_most(2).met(2.01))
        self.assertTrue(at_least(0.95).met(0.95))
        self.assertFalse(at_least(0.95).met(0.94))

    def test_targets_of_the_value_and_of_the_ratio(self):
        row = Row("r", "ns", {OURS: [30], "reference": [10]}, (at_most(2, "reference"), at_most(30)))
        self.assertEqual([row.met(target) for target in row.targets], [False, True])


class Turns(unittest.TestCase):
    def test_each_subject_begins_in_its_turn(self):
        calls = []
        subjects = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}
        samples = measure.alternate(3, subjects)
        self.assertEqual("".join(calls), "abcbcacab")
        self.assertEqual(samples, {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]})


class Text(unittest.TestCase):
    def test_values_find_their_scale(self):
        shown = {
            (0.5, "ns"): "0.5 ns", (999.6, "ns"): "1000 ns", (1500, "ns"): "1.5 µs",
            (2e6, "ns"): "2 ms", (123e9, "ns"): "123 s", (0, "ns"): "0 ns",
            (64 * 2**20, "bytes"): "64 MiB", (400, "bytes"): "400 B",
            (15000, "/s"): "15 k/s", (2.5e6, "/s"): "2.5 M/s",
            (38.456, "GB/s"): "38.5 GB/s", (1.006, ""): "1.01",
        }
        for (value, unit), text in shown.items():
            self.assertEqual(measure.show(value, unit), text)

    def test_ratios_fit(self):
        shown = {0: "0", 1.004: "1", 0.95: "0.95", 0.01: "0.01", 0.001: "1/1000", 3e-9: "1/3e+08",
                 1103: "1103", 12345678: "1e+07"}
        for value, text in shown.items():
            self.assertEqual(measure.show_ratio(value), text)
            self.assertLessEqual(len(text), 7)

    def test_sizes(self):
        self.assertEqual(measure.show_count(10**6), "10^6")
        self.assertEqual(measure.show_count(2**40), "1 TiB")
        self.assertEqual(measure.show_count(256), "256")
        self.assertEqual(measure.show_count(100), "100")

    def test_long_names_are_clipped(self):
        self.assertEqual(measure.clip("abcdef", 6), "abcdef")
        self.assertEqual(measure.clip("abcdefg", 6), "abcde…")


def report_of_everything():
    report = Report(2, progress=io.StringIO())
    report.begin("first")
    long = "a name that goes on and on, so that no table of a hundred columns holds it " * 2
    report.add(Row(long, "ns", {OURS: [1e12, 3e12], long + "1": [1, 2], "tmpfs": [5e11, 1e12]},
                   (at_most(2.5, "tmpfs"), at_most(1e9)), "a note"))
    report.add(Row("no target, no reference", "GB/s", {OURS: [1.0, 1.0]}))
    report.begin("second")
    report.add(Growth(long, "ns", {10**power: [10.0**power] for power in range(1, 12)},
                      at_most(0.5)))
    report.add(Growth("flat", "ns", {1: [5], 10: [5]}, at_most(0.1)))
    report.fail("something", ValueError("why"))
    return report


class Reports(unittest.TestCase):
    def test_no_line_is_wider_than_the_table(self):
        lines = list(report_of_everything().table())
        own = [line for line in lines if not line.startswith(("first:", "FAILED:"))]
        self.assertTrue(own)
        for line in own:
            self.assertLessEqual(len(line), measure.WIDTH, line)

    def test_a_verdict_stands_beside_its_target(self):
        lines = list(report_of_everything().table())
        with_tmpfs = [line for line in lines if " tmpfs " in line]
        self.assertEqual(len(with_tmpfs), 1)
        self.assertRegex(with_tmpfs[0], r"2\.5 +≤ 2\.5 yes$")
        self.assertTrue(any(line.endswith("≤ 1 s NO") for line in lines))
        self.assertTrue(any(line.endswith("exponent  1.00  ≤ 0.5 NO") for line in lines))
        self.assertTrue(any(line.endswith("exponent  0.00  ≤ 0.1 yes") for line in lines))

    def test_references_with_a_target_come_first(self):
        row = Row("r", "ns", {OURS: [4], "alone": [1], "limit": [2]}, (at_most(2, "limit"),))
        self.assertEqual([cells[3] for cells in row.lines()], ["limit", "alone"])

    def test_what_failed_and_what_is_missed_is_told(self):
        report = report_of_everything()
        self.assertIn("FAILED: second: something: why", list(report.table()))
        self.assertEqual([name[:6] for name in report.missed()], ["a name", "a name"])

    def test_json_keeps_every_sample(self):
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
            report_of_everything().write_json(file.name)
            read = json.load(file)
        self.assertEqual(read["rounds"], 2)
        self.assertEqual(list(read["sections"]), ["first", "second"])
        row = read["sections"]["first"]["rows"][0]
        self.assertEqual(row["samples"][OURS], [1e12, 3e12])
        self.assertEqual(row["ratio"]["tmpfs"], 2.5)
        self.assertEqual(row["targets"], [
            {"of": "tmpfs", "bound": 2.5, "at_most": True, "met": True},
            {"of": OURS, "bound": 1e9, "at_most": True, "met": False}])
        growth = read["sections"]["second"]["growth"][1]
        self.assertEqual(growth["exponent"], 0)
        self.assertEqual(growth["points"][0], {"size": 1, "median": 5, "samples": [5]})
        self.assertEqual(len(read["failed"]), 1)


class Against(unittest.TestCase):
    """Two builds: what both have in all rounds is compared, round by round."""

    def rounds(self, *pairs):
        return [{OURS: ours, "abc": theirs} for ours, theirs in pairs]

    def test_a_round_finds_medians_and_each_size_of_a_growth(self):
        found = against.values([Row("r", "ns", {OURS: [1, 9, 2], "tmpfs": [7, 7, 7]}),
                                Growth("g", "bytes", {10: [3], 1000: [4, 6]})])
        self.assertEqual(found, {"r": ("ns", 2), "g: 10": ("bytes", 3), "g: 10^3": ("bytes", 5)})

    def test_the_same_is_within_three_percent_whichever_way_is_better(self):
        def met(unit, ours, theirs):
            row, = against.rows(self.rounds(({"r": (unit, ours)}, {"r": (unit, theirs)})), "abc")
            return row.met(row.targets[0])
        self.assertTrue(met("ns", 103, 100))
        self.assertFalse(met("ns", 104, 100))
        self.assertTrue(met("ns", 50, 100))
        self.assertTrue(met("GB/s", 97, 100))
        self.assertFalse(met("GB/s", 96, 100))
        self.assertTrue(met("/s", 200, 100))

    def test_what_a_build_or_a_round_lacks_is_left_out(self):
        both = {"r": ("ns", 1), "new": ("ns", 1)}
        found = list(against.rows(self.rounds((both, {"r": ("ns", 2)}), (both, both)), "abc"))
        self.assertEqual([row.name for row in found], ["r"])
        self.assertEqual(found[0].samples, {OURS: [1, 1], "abc": [2, 1]})


if __name__ == "__main__":
    unittest.main()
