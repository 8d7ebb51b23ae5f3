"""The driver of kcat: the librdkafka of the distribution, as people have it."""

import json
import re
import subprocess

from driver import BOOTSTRAP, CODECS, HOUR, Driver, check_interchange, equal, interchange_records, now, numbered, true

versions = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
driver = Driver("kcat", re.search(r"librdkafka ([0-9.]+)", versions)[1])
capability = driver.capability


def kcat(*args, stdin=b"", within=40):
    done = subprocess.run(["kcat", "-b", BOOTSTRAP, *args], input=stdin, capture_output=True, timeout=within)
    true(done.returncode == 0, f"kcat {' '.join(args)}: {done.stderr.decode()[-300:]}")
    return done.stdout, done.stderr.decode()


def send(topic, records, *args):
    """Keys and values of one line; a record is (key, value)."""
    kcat("-P", "-t", topic, "-p", "0", "-K", "\t", *args, stdin=b"".join(k + b"\t" + v + b"\n" for k, v in records))


def parse(out):
    return [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]


def read(topic, *args):
    return parse(kcat("-C", "-t", topic, "-e", "-q", "-J", *args)[0])


def plain(records):
    return [(r["key"].encode(), r["payload"].encode()) for r in records]


def round_trip(unique, n, *args):
    topic, records = unique(), numbered(n)
    kcat("-L", "-t", topic)
    send(topic, records, *args)
    got = read(topic, "-o", "beginning", "-p", "0")
    equal(plain(got), records, "records")
    return f"{n} records"


for setting, row in (("0", "acks-0"), ("1", "acks-1"), ("all", "acks-all")):
    capability(row)(lambda unique, setting=setting: round_trip(unique, 100, "-X", f"acks={setting}"))
for codec in CODECS[1:]:
    capability(codec)(lambda unique, codec=codec: round_trip(unique, 1000, "-z", codec))
capability("idempotence")(lambda unique: round_trip(unique, 500, "-X", "enable.idempotence=true", "-X", "batch.num.messages=7"))
capability("from-start")(lambda unique: round_trip(unique, 300))
capability("auto-create")(lambda unique: round_trip(unique, 3))


@capability("records")
def _(unique):
    topic = unique()
    kcat("-P", "-t", topic, "-p", "0", "-Z", "-K", ":", "-H", "twice=1", "-H", "twice=2", stdin=b":null key\nnull value:\nk:v\n")
    got = read(topic, "-o", "beginning", "-p", "0")
    equal([(r["key"], r["payload"]) for r in got], [(None, "null key"), ("null value", None), ("k", "v")], "records")
    equal(got[2]["headers"], ["twice", "1", "twice", "2"], "headers")
    return "null keys and values, headers in order"


@capability("no-missing-feature")
def _(unique):
    topic = unique()
    _, said = kcat("-P", "-t", topic, "-d", "feature", stdin=b"one\n")
    true("Feature" in said, "librdkafka says nothing of features")
    # Kafka 4 dropped the message formats before 2 and so do we; all else is there.
    missing = {m[1] for m in re.finditer(r"Feature (\w+): .*?NOT supported", said)} - {"MsgVer1", "ThrottleTime"}
    disabled = {m[1] for m in re.finditer(r"Disabling feature (\w+)", said)} - {"MsgVer1", "ThrottleTime"}
    equal(missing | disabled, set(), "missing")
    return "none but the message format that Kafka 4 dropped"


@capability("offsets-by-time")
def _(unique):
    topic = unique()
    before = now() - 1
    send(topic, numbered(10))
    def query(at):
        return kcat("-Q", "-t", f"{topic}:0:{at}")[0].decode().split()[-1]
    equal((query(-2), query(-1), query(before), query(now() + HOUR)), ("0", "10", "0", "-1"), "earliest, latest, before all, after all")
    return "earliest, latest, by time, none after the end"


@capability("from-time")
def _(unique):
    topic = unique()
    send(topic, numbered(5))
    first = max(r["ts"] for r in read(topic, "-o", "beginning", "-p", "0"))
    while now() <= first:
        pass
    at = now()
    send(topic, numbered(5, 5))
    equal(plain(read(topic, "-o", f"s@{at}", "-p", "0")), numbered(5, 5), "records")
    return "the second five of ten"


@capability("group-resume")
def _(unique):
    topic = unique()
    got = []
    for life in range(3):
        send(topic, numbered(10, 10 * life))
        out, _ = kcat("-G", topic, "-q", "-J", "-c", "10", "-X", "auto.offset.reset=earliest", topic)
        got += parse(out)
    equal(plain(got), numbered(30), "records")
    return "three lives, 10 records each, none twice"


@capability("describe-topic")
def _(unique):
    topic = unique()
    send(topic, numbered(1))
    described = json.loads(kcat("-L", "-J", "-t", topic)[0])
    [t] = described["topics"]
    true(t["topic"] == topic and all(p["leader"] >= 0 and p["isrs"] for p in t["partitions"]), f"{t}")
    return f"{len(t['partitions'])} partitions with leaders"


@capability("interchange-write")
def _(unique):
    for codec in CODECS:
        records = [(k, v) for k, v, _ in interchange_records("kcat")]
        args = ["-z", codec] if codec != "none" else []
        send("interchange-" + codec, records, "-H", "compat=kcat", *args)
    return ", ".join(CODECS)


@capability("interchange-read")
def _(unique):
    for codec in CODECS:
        got = read("interchange-" + codec, "-o", "beginning", "-p", "0")
        seen = check_interchange(
            (k, v, [(r["headers"][i], r["headers"][i + 1].encode()) for i in range(0, len(r["headers"]), 2)]) for r, (k, v) in zip(got, plain(got)))
    return "of " + ", ".join(seen)


driver.main()
