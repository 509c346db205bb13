# SPDX-License-Identifier: MIT
"""A snapshot's services by the words of px-status(7) alone, a second time and in another way than lib does it."""
import datetime
import re
import zoneinfo

TYPES = "System Process File Fifo Directory Filesystem Remote_Host Network Program".replace("_", " ")
TYPES = ["Remote Host"] + [name for name in TYPES.split() if name not in ("Remote", "Host")]
FINE = {"ok", "running", "accessible", "online with all services", "status ok", "up"}
OTHERS = {"not monitored": "unmonitored", "initializing": "initializing", "waiting": "waiting"}
STATES = ("ok", "failed", "unmonitored", "initializing", "waiting")
STRINGS = {"last_output", "permission", "security_attribute", "content_match", "filesystem_type", "filesystem_flags"}
ARRAYS = {"port_response_time", "unix_socket_response_time"}

NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?"
UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB"]
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
SHARE = r"(%s)%%([a-z]+)" % NUMBER
SHARES = {"us": "user", "usr": "user", "sy": "system", "sys": "system", "wa": "iowait"}


def number(text):
    return float(text) if "." in text else int(text)


def size(text):
    amount, unit = re.fullmatch("(%s) {0,2}(.*)" % NUMBER, text).groups()
    scaled = number(amount) * 1024 ** UNITS.index(unit)
    whole = int(abs(scaled) + 0.5) if abs(scaled) < 2 ** 52 else int(abs(scaled))
    return whole if scaled >= 0 else -whole


def milliseconds(text):
    amount, unit = re.fullmatch("(%s) {0,2}(ms|s)" % NUMBER, text).groups()
    return number(amount) if unit == "ms" else round(number(amount) * 1000, 9)


# How a form is written here: N{key} a number, S{key} a size, T{key} a time, W{key} a word, X{key} any text; a blank may be
# missing or doubled.
KINDS = {"N": (NUMBER, number), "S": (r"%s {0,2}(?:%s)" % (NUMBER, "|".join(UNITS)), size),
         "T": (r"%s {0,2}(?:ms|s)" % NUMBER, milliseconds), "W": (r"[^ \t\[\]()]+?", str), "X": (r"\S(?:.*\S)?", str)}
FORMS = [
    "N{percent}%", "S{bytes}", "S{bytes_per_second}/s", "S{bytes_per_second}/s [S{total_bytes} total]",
    "S{bytes_per_second}/s (N{saturation_percent}% link saturation)", "N{megabits_per_second} Mb/s W{duplex}-duplex",
    "N{per_second} reads/s [N{total} reads total]", "N{per_second} writes/s [N{total} writes total]", "N{per_second} per second",
    "S{bytes} [N{percent}%]", "N{percent}% [S{bytes}]", "N{value} [N{percent}%]", "N{value} [N{percent}% of N{limit} limit]",
    "S{bytes} (of which N{reserved_percent}% is reserved for root user)", "T{milliseconds}",
    "T{milliseconds} to X{target} type W{type} protocol W{protocol}",
    "T{milliseconds} to X{target} type W{type} using TLS (certificate valid for N{certificate_days} days) protocol W{protocol}",
    "FAILED to X{target} type W{type} protocol W{protocol}", "FAILED to X{target} type W{type} using TLS protocol W{protocol}",
    "T{milliseconds} to X{target} [W{protocol} via W{type}]", "T{milliseconds} to X{target} [W{protocol}]",
    "T{milliseconds} [W{protocol}]", "T{milliseconds}/operation (of which read T{read_milliseconds}, write T{write_milliseconds})",
    "T{milliseconds}/operation (of which queue T{queue_milliseconds}, active T{active_milliseconds})",
    "W{hash} (W{algorithm})", "N{errors} errors", "S{bytes_per_second}/s [N{packets_per_second} packets/s] [N{errors} errors]",
    "N{value} [S{bytes}]", "N{value} [S{bytes}] [N{percent}%]",
    "S{bytes_per_second}/s [S{total_bytes} total], N{per_second} reads/s [N{total} reads total]",
    "S{bytes_per_second}/s [S{total_bytes} total], N{per_second} writes/s [N{total} writes total]",
]


def compiled(form):
    pattern, kinds = "", {}
    for part in re.split(r"([NSTWX]\{\w+\})", form):
        if re.fullmatch(r"[NSTWX]\{\w+\}", part):
            kinds[part[2:-1]] = KINDS[part[0]][1]
            pattern += "(?P<%s>%s)" % (part[2:-1], KINDS[part[0]][0])
        else:
            pattern += " {0,2}".join(map(re.escape, part.split(" ")))
    return re.compile(pattern + " {0,2}"), kinds


COMPILED = [(form, *compiled(form)) for form in FORMS]


def by_form(text):
    for form, pattern, kinds in COMPILED:
        found = pattern.fullmatch(text)
        if found is None or ("algorithm" in kinds and not re.match("MD5$|SHA", found["algorithm"])):
            continue
        value = {key: kind(found[key]) for key, kind in kinds.items()}
        if form.startswith("FAILED"):
            value["failed"] = True
        if "using TLS" in form:
            value["tls"] = True
        return value
    return None


def date(text, zone):
    found = re.fullmatch(r"%s, {0,2}(?P<d>\d\d?) {0,2}(?P<b>\w{3}) {0,2}(?P<y>\d{4}) {0,2}(?P<t>[\d:]+) {0,2}" % DAY, text) or \
        re.fullmatch(r"%s {0,2}(?P<b>\w{3}) {0,2}(?P<d>\d\d?) {0,2}(?P<t>[\d:]+) {0,2}(?P<y>\d{4}) {0,2}" % DAY, text)
    if found is None or found["b"] not in MONTHS:
        return None
    try:
        clock = [int(part) for part in found["t"].split(":")]
        local = datetime.datetime(int(found["y"]), MONTHS.index(found["b"]) + 1, int(found["d"]), *clock, tzinfo=zone)
        return local.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, TypeError):
        return None


def value(key, text, zone):
    """The typed value of one line."""
    if key in STRINGS:
        return None if text == "-" else text
    if re.fullmatch("(?:-|N/A|N/A for this link type) {0,2}", text):
        return None
    plain = re.fullmatch("(%s) {0,2}" % NUMBER, text)
    if plain:
        return number(plain[1])
    triple = re.fullmatch(r"\[(%s)\] {0,2}\[(%s)\] {0,2}\[(%s)\] {0,2}" % (NUMBER, NUMBER, NUMBER), text)
    if triple:
        return [number(one) for one in triple.groups()]
    if re.fullmatch("%s(?: {0,2}%s)* {0,2}" % (SHARE, SHARE), text):
        shares = [(SHARES.get(name, name) + "_percent", number(share)) for share, name in re.findall(SHARE, text)]
        return dict(shares) if len(dict(shares)) == len(shares) else text
    uptime = re.fullmatch(r"(?:(\d+)d {0,2})?(?:(\d+)h {0,2})?(\d+)m {0,2}", text)
    if uptime:
        days, hours, minutes = (int(part or 0) for part in uptime.groups())
        return {"seconds": (days * 24 + hours) * 3600 + minutes * 60}
    for typed in (date(text, zone), by_form(text)):
        if typed is not None:
            return typed
    return text


def state_of(status):
    """(state, pending, failures) of a service's status."""
    found = re.fullmatch(r"(.*) - (\w+) pending", status)
    words, pending = found.groups() if found else (status, None)
    state = "ok" if words.lower() in FINE else OTHERS.get(words.lower(), "failed")
    return state, pending, words.split(" | ") if state == "failed" else None


def services(data, zone="UTC"):
    """Every service of Monit's status, as a snapshot has them; what is not UTF-8 is U+FFFD."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", data.decode("utf-8", "replace"))
    zone = zoneinfo.ZoneInfo(zone)
    column = 36 if re.search("^  status {28}\\S", text, re.M) else 31
    found, lines = [], []
    for line in text.split("\n"):
        line = line.rstrip("\r")
        header = re.fullmatch("(%s) '(.*)'" % "|".join(TYPES), line)
        if header is not None:
            lines = []
            found.append((header, lines))
        elif line.startswith(" " * column):
            lines[-1][1] += "\n" + line[column:]
        elif re.match("  [^ ]", line) and found:
            lines.append([line[2:column].strip(" "), line[column:]])
    return [service(header, lines, zone) for header, lines in found]


def service(header, lines, zone):
    status = lines[0][1].strip()
    assert lines[0][0] == "status"
    state, pending, failures = state_of(status)
    said = {"type": header[1].lower().replace(" ", "_"), "name": header[2], "state": state, "status": status, "values": {}}
    if pending is not None:
        said["pending"] = pending
    if failures is not None:
        said["failures"] = failures
    several = {}
    for label, text in lines[1:]:
        key = label.lower().replace(" ", "_")
        several.setdefault(key, []).append(value(key, text, zone) if "\n" not in text or key in STRINGS else text)
    for key, values in several.items():
        said["values"][key] = values if len(values) > 1 or key in ARRAYS else values[0]
    return said


def summary(found):
    states = [one["state"] for one in found]
    return {"total": len(states), **{state: states.count(state) for state in STATES}}
