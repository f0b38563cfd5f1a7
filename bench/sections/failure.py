"""Poison: one range against page by page."""

import time

from measure import OURS, Row, alternate, at_most
from sections import GIB, TIB
from stage import PAGE


def call_ns(pool, method, **parameters):
    begin = time.perf_counter_ns()
    pool.call(method, **parameters)
    return time.perf_counter_ns() - begin


def ranges(stage, report, scale):
    pool = stage.pool()
    spaces = {size: pool.create(size) for size in (GIB, TIB)}
    for space in spaces.values():
        stage.workload("processes", pool.mount / space["chardev"])

    def sample(size):
        space = spaces[size]
        whole = {"namespace": space["dev"], "offset": 0, "length": space["size"]}
        page = {"namespace": space["dev"], "offset": 2 * PAGE, "length": PAGE}
        times = {"poison": call_ns(pool, "InjectError", **whole),
                 "clear": call_ns(pool, "ClearErrors", **whole),
                 "page": call_ns(pool, "InjectError", **page)}
        pool.call("ClearErrors", **page)
        return times

    times = alternate(scale.rounds, {size: lambda size=size: sample(size) for size in spaces})
    pages = spaces[TIB]["size"] // PAGE

    def of(size, what):
        return [one[what] for one in times[size]]

    report.add(Row("poison of 1 TiB, one range", "ns", {
        OURS: of(TIB, "poison"), "1 GiB": of(GIB, "poison"),
        "page by page": [ns * pages for ns in of(TIB, "page")]},
        (at_most(1.5, "1 GiB"),), "page by page is one page's time, extrapolated"))
    report.add(Row("clear of 1 TiB", "ns", {OURS: of(TIB, "clear"), "1 GiB": of(GIB, "clear")},
                   (at_most(1.5, "1 GiB"),)))


PARTS = (ranges,)
