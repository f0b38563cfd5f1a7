"""script/bench, end to end, with sizes that take no time: what it prints and leaves behind. Never how
fast anything is."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

RUN = pathlib.Path(__file__).resolve().parents[2] / "bench/run.py"
SKIPPED = 77


def processes_and_mounts(text):
    """Command lines and mounts that name it."""
    mounts = pathlib.Path("/proc/mounts").read_text(encoding="utf-8")
    found = [line for line in mounts.splitlines() if text in line]
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path] if text.encode() in path.read_bytes() else []
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


class Bench(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="pmemd-bench-test.")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-B", RUN, "--quick", *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(self.directory)})

    def test_a_section_has_a_table_and_json_and_leaves_nothing(self):
        path = self.directory / "figures"
        bench = self.start("files", "--rounds", "2", "--json", str(path))
        table, progress = bench.communicate(timeout=100)
        self.assertEqual(bench.returncode, 0, progress)
        lines = table.splitlines()
        self.assertRegex(lines[0], r"pmemd +± reference +RATIO +target")
        self.assertIn("bench: files: write of 4 KiB", progress.splitlines())

        figures = json.loads(path.read_text(encoding="utf-8"))
        self.assertEqual(figures["failed"], [])
        rows = figures["sections"]["files"]["rows"]
        self.assertEqual(len(rows), 7)
        for row in rows:
            for samples in row["samples"].values():
                self.assertEqual(len(samples), 2)
                self.assertGreater(min(samples), 0)
        self.assertEqual(set(rows[0]["samples"]), {"pmemd", "tmpfs", "plain FUSE"})
        self.assertEqual([entry.name for entry in self.directory.iterdir()], ["figures"])
        self.assertEqual(processes_and_mounts(str(self.directory)), [])

    def test_naive_removals_are_timed(self):
        path = self.directory / "figures"
        bench = self.start("removal", "--part", "untouched", "--part", "dirty", "--json", str(path))
        _, progress = bench.communicate(timeout=100)
        self.assertEqual(bench.returncode, 0, progress)
        rows = json.loads(path.read_text(encoding="utf-8"))["sections"]["removal"]["rows"]
        self.assertEqual(len(rows), 3)
        self.assertLess(rows[1]["ratio"]["page by page"], 1)

    def test_interrupted_it_leaves_nothing(self):
        bench = self.start("files", "--rounds", "1000")
        self.assertIn("read of 4 KiB", bench.stderr.readline())  # in the middle of it
        bench.send_signal(signal.SIGINT)
        bench.communicate(timeout=60)
        self.assertEqual(bench.returncode, 130)
        deadline = time.monotonic() + 10
        while processes_and_mounts(str(self.directory)) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(processes_and_mounts(str(self.directory)), [])
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_a_measurement_that_fails_is_told(self):
        bin_dir = self.directory / "bin"
        bin_dir.mkdir()
        bench = subprocess.run(
            [sys.executable, "-B", RUN, "--quick", "core"], text=True, capture_output=True,
            env={**os.environ, "PMEMD_BIN_DIR": str(bin_dir)}, timeout=100, check=False)
        self.assertEqual(bench.returncode, 1)
        self.assertIn("FAILED: core: operations: ", bench.stdout)

    def test_there_is_no_such_section(self):
        bench = self.start("disk")
        _, message = bench.communicate(timeout=100)
        self.assertEqual(bench.returncode, 2)
        self.assertIn("no section disk; there are core, memory", message)


if __name__ == "__main__":
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("no /dev/fuse")
        sys.exit(SKIPPED)
    unittest.main()
