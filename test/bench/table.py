# SPDX-License-Identifier: MIT
"""The figures, as lines for people and as JSON."""
import json

from lab import Missing


class Table:
    """
    A figure may have an aim, and a limit that decides how a run ends. Only what is counted has a limit: what is timed is for
    the reader, since machines are noisy.
    """

    def __init__(self, machine):
        self.machine = machine
        self.rows = []

    def head(self):
        for name, value in self.machine.items():
            print("%-12s %s" % (name, value), flush=True)

    def section(self, title):
        print("\n%s" % title, flush=True)

    def add(self, what, value, unit="", at_most=None, at_least=None, limit=None, note=""):
        within = limit is None or value <= limit
        holds = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
        self.rows.append({"what": what, "value": value, "unit": unit, "at_most": at_most, "at_least": at_least,
                          "holds": holds if (at_most, at_least) != (None, None) else None, "limit": limit, "within": within,
                          "note": note})
        bound = "<= %s" % number(at_most) if at_most is not None else ">= %s" % number(at_least) if at_least is not None else ""
        bound += " (%s)" % number(limit) if limit not in (None, at_most) else ""
        verdict = "" if not bound else "OVER" if not within else "ok" if holds else "over" if at_most is not None else "less"
        print(("  %-66s %10s %-8s %-18s %-4s %s" % (what, number(value), unit, bound, verdict, note)).rstrip(), flush=True)

    def missing(self, what, reason):
        self.rows.append({"what": what, "missing": reason})
        print("  %-66s %10s %s" % (what, "missing", reason), flush=True)

    def attempt(self, what, measure, *arguments):
        """Figures that may not be had here are said to be missing."""
        try:
            measure(*arguments)
        except (Missing, OSError) as reason:
            self.missing(what, str(reason))

    def write(self, path):
        path.write_text(json.dumps({"machine": self.machine, "figures": self.rows}, indent=1) + "\n", encoding="utf-8")

    def is_well(self):
        return all(row.get("within", True) for row in self.rows)


def number(value):
    if isinstance(value, int):
        return "{:,}".format(value)
    return "%.2f" % value if abs(value) < 1000 else "{:,.0f}".format(value)
