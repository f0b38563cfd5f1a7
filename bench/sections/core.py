"""Core's own operations, beside what everybody knows."""

import json
import subprocess

from measure import OURS, Row, at_least, at_most
from stage import BIN, MeasurementFailed


def core_bench(scale, only="."):
    """core_bench's figures. `only`: a regular expression of benchmarks; memory comes always."""
    done = subprocess.run(
        [BIN / "core_bench", f"--benchmark_repetitions={scale.rounds}",
         f"--benchmark_filter={only}",
         f"--benchmark_min_time={0.002 if scale.quick else 0.03}"],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MeasurementFailed(f"core_bench: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout)


def operations(_stage, report, scale):
    figures = core_bench(scale)
    cpu, real = figures["cpu_ns"], figures["real_ns"]

    def times(name, ours, targets=(), **references):
        samples = {OURS: cpu[ours]}
        samples.update((label.replace("_", " "), cpu[what]) for label, what in references.items())
        report.add(Row(name, "ns", samples, targets))

    one, two = "/real_time/threads:1", "/real_time/threads:2"
    get_put, atomic = "tryget_live_put", "atomic_increment_decrement"
    times("tryget_live + put, one thread", get_put + one, (at_most(2, "increment"),),
          increment="increment", two_own_increments="increment_own_cell_twice",
          atomic_pair=atomic + one)
    times("tryget_live + put, a second one beside", get_put + two, alone=get_put + one,
          atomic_pair=atomic + two)

    def rates(name):  # millions a second, of all threads
        return [1e3 / ns for ns in real[name]]

    report.add(Row("throughput of two threads", "M/s",
                   {OURS: rates(get_put + two), "of one": rates(get_put + one)},
                   (at_least(1.9, "of one"),)))
    report.add(Row("throughput of two, std::atomic", "M/s",
                   {OURS: rates(atomic + two), "of one": rates(atomic + one)}))
    times("kill + resurrect", "kill_resurrect")
    times("get_dev_pagemap, of 1", "get_dev_pagemap/1", locked_map="locked_map/1")
    times("get_dev_pagemap, of 10^4", "get_dev_pagemap/10000", locked_map="locked_map/10000",
          of_1="get_dev_pagemap/1")
    times("get_dev_pagemap, the same as last", "get_dev_pagemap_cached/10000")
    times("a lease that is there, of 10^5", "lend_again/100000/1", of_1="lend_again/1/1")
    times("give back and lend, of 10^5", "give_back_and_lend/100000/1",
          of_1="give_back_and_lend/1/1")


PARTS = (operations,)
