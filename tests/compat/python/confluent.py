"""The driver of confluent-kafka, librdkafka in Python."""

import concurrent.futures
import importlib.metadata
import os
import queue
import threading
import time

import confluent_kafka
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions,
    ElectionType, IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec,
)

from driver import BOOTSTRAP, CODECS, HOUR, Driver, check_interchange, equal, interchange_records, now, numbered, true, until

driver = Driver("confluent-kafka", importlib.metadata.version("confluent-kafka"))
capability = driver.capability
BASE = {"bootstrap.servers": BOOTSTRAP, "client.id": "compat-confluent"}
admin = AdminClient(BASE)


def refused(call, *codes):
    """call raises a KafkaException or KafkaError with one of these codes."""
    try:
        call()
    except KafkaException as e:
        error = e.args[0]
        true(error.code() in codes, f"{error.name()}: {error.str()}, want code {codes}")
        return error
    raise AssertionError(f"no error, want {codes}")


def topic(name, partitions=1, **config):
    config = {k.replace("_", "."): v for k, v in config.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(10)
    return name


def send(name, records, config=None, partitions=1):
    """records: (key, value[, headers[, timestamp]]), round robin."""
    failed = []
    p = Producer({**BASE, **(config or {})})
    for i, r in enumerate(records):
        extra = {}
        if len(r) > 2 and r[2]:
            extra["headers"] = r[2]
        if len(r) > 3:
            extra["timestamp"] = r[3]
        if partitions:
            extra["partition"] = i % partitions
        p.produce(name, key=r[0], value=r[1], on_delivery=lambda e, m: failed.append(e) if e else None, **extra)
        p.poll(0)
    left = p.flush(30)
    if failed:
        raise KafkaException(failed[0])
    equal(left, 0, "records not delivered")


def filled(name, partitions, n):
    """A topic with n records, a second of time apart."""
    topic(name, partitions)
    start = now() - HOUR
    records = [(k, v, None, start + i * 1000) for i, (k, v) in enumerate(numbered(n))]
    send(name, records, partitions=partitions)
    return records


def collect(c, n):
    got, deadline = [], time.monotonic() + 60
    while len(got) < n:
        m = c.poll(0.5)
        if m is not None:
            if m.error():
                raise KafkaException(m.error())
            got.append(m)
        true(time.monotonic() < deadline, f"{len(got)} of {n} records after 60 s")
    return got


def read(name, n, partitions=1, offset=confluent_kafka.OFFSET_BEGINNING, config=None):
    c = Consumer({**BASE, "group.id": "unused-" + name, "enable.auto.commit": False, **(config or {})})
    try:
        c.assign([TopicPartition(name, p, offset) for p in range(partitions)])
        return collect(c, n)
    finally:
        c.close()


def plain(messages):
    return [(m.key(), m.value()) for m in messages]


def round_trip(name, records, config=None):
    topic(name)
    send(name, records, config)
    got = read(name, len(records))
    equal(plain(got), [(r[0], r[1]) for r in records], "records")
    return got


def acks(n):
    def check(unique):
        round_trip(unique(), numbered(100), {"acks": n})
        return "100 records"

    return check


for n, row in ((0, "acks-0"), (1, "acks-1"), ("all", "acks-all")):
    capability(row)(acks(n))


def codec(name):
    def check(unique):
        round_trip(unique(), numbered(1000), {"compression.type": name, "linger.ms": 50})
        return "1000 records"

    return check


for name in CODECS[1:]:
    capability(name)(codec(name))


@capability("idempotence")
def _(unique):
    round_trip(unique(), numbered(500), {"enable.idempotence": True, "batch.num.messages": 7})
    return "500 records"


@capability("records")
def _(unique):
    records = [
        (None, b"null key"), (b"", b"empty key"), (b"null value", None), (b"empty value", b""), (None, None),
        (b"headers", bytes([0, 255, 13, 10]), [("twice", b"1"), ("null", None), ("twice", b"2"), ("empty", b"")]),
        ("ключ".encode(), "日本".encode()),
    ]
    got = round_trip(unique(), records)
    equal(got[5].headers(), records[5][2], "headers")
    return "null and empty kept apart, headers in order"


@capability("timestamps")
def _(unique):
    at = now() - HOUR
    records = [(k, v, None, at + after) for (k, v), after in zip(numbered(3), (0, -60_000, 1234))]
    equal([m.timestamp() for m in round_trip(unique(), records)], [(TIMESTAMP_CREATE_TIME, r[3]) for r in records], "timestamps")
    name = topic(unique(), message_timestamp_type="LogAppendTime")
    send(name, records)
    for m in read(name, 3):
        kind, t = m.timestamp()
        true(kind == TIMESTAMP_LOG_APPEND_TIME and t > at + HOUR - 10_000, f"LogAppendTime: {m.timestamp()}")
    return "kept to the millisecond; LogAppendTime is the broker's"


@capability("too-large")
def _(unique):
    name = topic(unique(), max_message_bytes="2000")
    refused(lambda: send(name, [(None, bytes(5000))]), KafkaError.MSG_SIZE_TOO_LARGE)
    send(name, numbered(1))
    equal(plain(read(name, 1)), numbered(1), "records")
    return "MESSAGE_TOO_LARGE, and it goes on"


@capability("auto-create")
def _(unique):
    name = unique()
    send(name, numbered(1), partitions=None)
    partitions = len(admin.list_topics(name).topics[name].partitions)
    equal(plain(read(name, 1, partitions)), numbered(1), "records")
    c = Consumer({**BASE, "group.id": unique()})
    absent = unique()
    c.subscribe([absent])
    c.poll(2)
    c.close()
    true(absent not in admin.list_topics().topics, "subscribing made a topic")
    return "by the first produce, not by a subscription"


@capability("transactional-refused")
def _(unique):
    p = Producer({**BASE, "transactional.id": unique()})
    try:
        p.init_transactions(10)
    except KafkaException as e:
        true(e.args[0].code() != KafkaError._TIMED_OUT, "it waits until it times out")
        return e.args[0].str()
    raise AssertionError("a transactional id was taken")


@capability("no-missing-feature")
def _(unique):
    lines = []

    class Log:
        def log(self, level, fmt, *args):
            lines.append(fmt % args)

    c = Consumer({**BASE, "group.id": unique(), "debug": "feature"}, logger=Log())
    c.subscribe([topic(unique())])
    until(lambda: not c.assignment() and not c.poll(0.1) and not c.assignment() and "no assignment")
    c.poll(0)
    c.close()
    true(any("Feature" in line for line in lines), "librdkafka says nothing of features")
    missing = [line for line in lines if "NOT supported" in line or "Disabling feature" in line]
    equal(missing, [], "missing")
    return f"{len([line for line in lines if 'Feature' in line])} checks"


@capability("interchange-write")
def _(unique):
    for name in CODECS:
        send("interchange-" + name, interchange_records(driver.client), {"compression.type": name, "linger.ms": 50})
    return ", ".join(CODECS)


@capability("interchange-read")
def _(unique):
    for name in CODECS:
        t = "interchange-" + name
        c = Consumer({**BASE, "group.id": unique()})
        _, high = c.get_watermark_offsets(TopicPartition(t, 0), 10)
        c.close()
        seen = check_interchange((m.key(), m.value(), m.headers()) for m in read(t, high - int(os.environ.get("COMPAT_GONE", 0))))
    return "of " + ", ".join(seen)


@capability("from-start")
def _(unique):
    name = unique()
    records = filled(name, 3, 300)
    got = read(name, 300, 3)
    following = {}
    for m in got:
        equal(m.offset(), following.get(m.partition(), 0), f"offset in partition {m.partition()}")
        following[m.partition()] = m.offset() + 1
    equal(sorted(plain(got)), sorted((k, v) for k, v, *_ in records), "records")
    return "300 records of 3 partitions, offsets dense"


@capability("from-time")
def _(unique):
    name = unique()
    records = filled(name, 1, 100)
    c = Consumer({**BASE, "group.id": name})
    [at] = c.offsets_for_times([TopicPartition(name, 0, records[60][3] - 1)], 10)
    c.close()
    equal(plain(read(name, 40, offset=at.offset)), [(k, v) for k, v, *_ in records[60:]], "records")
    return "record 60 of 100 by its time"


@capability("offsets-by-time")
def _(unique):
    name = unique()
    records = filled(name, 1, 100)
    tp = TopicPartition(name, 0)
    for what, spec, want in (
        ("earliest", OffsetSpec.earliest(), 0), ("latest", OffsetSpec.latest(), 100), ("max timestamp", OffsetSpec.max_timestamp(), 99),
        ("just before record 50", OffsetSpec.for_timestamp(records[50][3] - 1), 50), ("at record 50", OffsetSpec.for_timestamp(records[50][3]), 50),
        ("after all", OffsetSpec.for_timestamp(records[99][3] + 1), -1),
    ):
        got = admin.list_offsets({tp: spec}, isolation_level=IsolationLevel.READ_COMMITTED)[tp].result(10)
        equal(got.offset, want, what)
    return "earliest, latest, max timestamp, exact by time, none after the last"


class Member:
    """A consumer in a group, polled by a thread of its own."""

    def __init__(self, group, topics, **config):
        self.owned, self.read, self.revoked, self.lost, self.failed = set(), [], 0, 0, None
        self.topics, self.going = topics, True
        base = {"group.id": group, "auto.offset.reset": "earliest", "heartbeat.interval.ms": 500, "session.timeout.ms": 10_000}
        if config.get("group.protocol") == "consumer":
            del base["heartbeat.interval.ms"], base["session.timeout.ms"]
        self.c = Consumer({**BASE, **base, **config})
        self.cooperative = config.get("partition.assignment.strategy") == "cooperative-sticky" or config.get("group.protocol") == "consumer"
        self.todo = queue.SimpleQueue()
        self.start()

    def do(self, call):
        """call(consumer) in the thread that polls: confluent-kafka's own calls
        wait for each other when they come from two."""
        done = concurrent.futures.Future()
        self.todo.put((call, done))
        return done.result(30)

    def start(self):
        self.going = True
        self.c.subscribe(self.topics, on_assign=self.assigned, on_revoke=self.taken, on_lost=self.was_lost)
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def assigned(self, c, partitions):
        if not self.cooperative:
            self.owned = set()
        self.owned |= {(p.topic, p.partition) for p in partitions}

    def taken(self, c, partitions):
        self.revoked += len(partitions)
        self.owned -= {(p.topic, p.partition) for p in partitions}

    def was_lost(self, c, partitions):
        self.lost += len(partitions)
        self.owned -= {(p.topic, p.partition) for p in partitions}

    def poll(self):
        while self.going:
            while not self.todo.empty():
                call, done = self.todo.get()
                try:
                    done.set_result(call(self.c))
                except Exception as e:
                    done.set_exception(e)
            m = self.c.poll(0.1)
            if m is not None:
                if m.error():
                    self.failed = m.error()
                else:
                    self.read.append(m)

    def owns(self, n):
        until(lambda: len(self.owned) != n and f"owns {sorted(self.owned)}, want {n} ({self.failed})")

    def has(self, n):
        until(lambda: len(self.read) < n and f"{len(self.read)} of {n} records ({self.failed})")

    def pause(self):
        """Leaves the group, keeps the consumer."""
        self.going = False
        self.thread.join()
        try:
            self.c.commit(asynchronous=False)
        except KafkaException as e:
            if e.args[0].code() != KafkaError._NO_OFFSET:
                raise
        self.c.unsubscribe()
        self.owned = set()

    def close(self):
        self.going = False
        self.thread.join()
        self.c.close()


def shared(n, *members):
    def wrong():
        owned = [set(m.owned) for m in members]
        if any(len(o) != n for o in owned) or len(set().union(*owned)) != n * len(members):
            return f"owned are {[sorted(o) for o in owned]}, want {n} each ({[m.failed for m in members]})"

    until(wrong)


@capability("group-resume")
def _(unique):
    name = unique()
    records = filled(name, 1, 30)
    got = []
    for _ in range(3):
        c = Consumer({**BASE, "group.id": name, "auto.offset.reset": "earliest", "enable.auto.commit": False})
        c.subscribe([name])
        some = collect(c, 10)[:10]
        got += some
        c.commit(message=some[-1], asynchronous=False)
        c.close()
    equal(plain(got), [(k, v) for k, v, *_ in records], "records")
    c = Consumer({**BASE, "group.id": name})
    equal(c.committed([TopicPartition(name, 0)], 10)[0].offset, 30, "committed")
    c.close()
    return "three lives, 10 records each, none twice"


@capability("no-offset")
def _(unique):
    name = topic(unique())
    c = Consumer({**BASE, "group.id": name})
    [p] = c.committed([TopicPartition(name, 0)], 10)
    c.close()
    equal((p.offset, p.error), (confluent_kafka.OFFSET_INVALID, None), "committed")
    return "none, no error"


def rebalance(unique, **config):
    name = unique()
    records = filled(name, 4, 100)
    first = Member(name, [name], **config)
    first.owns(4)
    first.has(100)
    first.do(lambda c: c.commit(asynchronous=False))
    second = Member(name, [name], **config)
    shared(2, first, second)
    first.close()
    second.owns(4)
    more = numbered(20, 100)
    send(name, more, partitions=4)
    second.has(20)
    second.close()
    equal(sorted(plain(first.read + second.read)), sorted([(k, v) for k, v, *_ in records] + more), "records")
    return name


@capability("group-rebalance")
def _(unique):
    rebalance(unique)
    return "4 partitions: alone 4, two 2+2, after the leave 4; every record once"


@capability("consumer-protocol")
def _(unique):
    name = rebalance(unique, **{"group.protocol": "consumer"})
    m = Member(name, [name], **{"group.protocol": "consumer", "group.remote.assignor": "range"})
    m.owns(4)
    d = admin.describe_consumer_groups([name])[name].result(10)
    equal((d.state, len(d.members), d.partition_assignor, str(d.type).rpartition(".")[2].upper()), (ConsumerGroupState.STABLE, 1, "range", "CONSUMER"), "described")
    m.close()
    pattern = Member(unique(), [f"^{name}$"], **{"group.protocol": "consumer"})
    pattern.owns(4)
    pattern.close()
    return "shares, leaves, every record once; described; by pattern"


@capability("group-rejoin")
def _(unique):
    name = unique()
    records = filled(name, 2, 40)
    stays = Member(name, [name])
    stays.has(40)
    stays.do(lambda c: c.commit(asynchronous=False))
    other = Member(name, [name])
    for _ in range(3):
        shared(1, stays, other)
        other.pause()
        stays.owns(2)
        other.start()
    shared(1, stays, other)
    other.close()
    stays.close()
    equal(sorted(plain(stays.read + other.read)), sorted((k, v) for k, v, *_ in records), "records")
    return "unsubscribed and subscribed again three times; every record once"


@capability("static-member")
def _(unique):
    name = unique()
    filled(name, 4, 4)
    one = Member(name, [name], **{"group.instance.id": "one"})
    two = Member(name, [name], **{"group.instance.id": "two", "session.timeout.ms": 45_000})
    shared(2, one, two)
    had, revoked, id = set(two.owned), one.revoked, two.do(lambda c: c.memberid())
    two.close()
    again = Member(name, [name], **{"group.instance.id": "two", "session.timeout.ms": 45_000})
    again.owns(2)
    equal((again.owned, one.revoked), (had, revoked), "partitions of the new life, revocations of the other")
    true(again.do(lambda c: c.memberid()) != id, "the member id is the old one")
    again.close()
    one.close()
    return "restart without rebalance, same partitions"


@capability("cooperative")
def _(unique):
    name = unique()
    filled(name, 6, 6)
    config = {"partition.assignment.strategy": "cooperative-sticky"}
    first = Member(name, [name], **config)
    first.owns(6)
    second = Member(name, [name], **config)
    shared(3, first, second)
    equal((first.revoked, first.lost), (3, 0), "revoked and lost")
    second.close()
    first.owns(6)
    first.close()
    return "only the 3 partitions that moved were revoked"


@capability("regex-subscription")
def _(unique):
    prefix = unique()
    for suffix in ("-a", "-b", "-other"):
        send(topic(prefix + suffix), [(None, suffix.encode())])
    m = Member(prefix, [f"^{prefix}-[ab]$"])
    m.has(2)
    m.close()
    equal(sorted(r.value() for r in m.read), [b"-a", b"-b"], "values")
    return "two of three topics match"


@capability("list-groups")
def _(unique):
    name = unique()
    filled(name, 1, 1)
    m = Member(name, [name])
    m.owns(1)
    listed = admin.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(10)
    equal(listed.errors, [], "errors")
    equal([(g.state, g.is_simple_consumer_group) for g in listed.valid if g.group_id == name], [(ConsumerGroupState.STABLE, False)], "listed as stable")
    m.close()
    listed = admin.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(10)
    equal([g.group_id for g in listed.valid if g.group_id == name], [], "listed as stable after the leave")
    return "by state"


@capability("describe-groups")
def _(unique):
    name = unique()
    filled(name, 2, 2)
    m = Member(name, [name])
    m.owns(2)
    g = admin.describe_consumer_groups([name])[name].result(10)
    equal((g.state, g.partition_assignor, len(g.members)), (ConsumerGroupState.STABLE, "range", 1), "group")
    one = g.members[0]
    equal((one.member_id, one.client_id, len(one.assignment.topic_partitions)), (m.do(lambda c: c.memberid()), "compat-confluent", 2), "member")
    true(one.host, "no host")
    m.close()
    return "state, member, client, assignment"


@capability("delete-groups")
def _(unique):
    name = unique()
    filled(name, 1, 2)
    m = Member(name, [name])
    m.has(2)
    refused(lambda: admin.delete_consumer_groups([name])[name].result(10), KafkaError.NON_EMPTY_GROUP)
    m.close()
    admin.delete_consumer_groups([name])[name].result(10)
    refused(lambda: admin.delete_consumer_groups([name])[name].result(10), KafkaError.GROUP_ID_NOT_FOUND)
    return "refused with members, then gone"


@capability("reset-offsets")
def _(unique):
    name = unique()
    records = filled(name, 1, 20)
    request = ConsumerGroupTopicPartitions(name, [TopicPartition(name, 0, 15)])
    admin.alter_consumer_group_offsets([request])[name].result(10)
    got = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(10)
    equal([(p.topic, p.partition, p.offset) for p in got.topic_partitions], [(name, 0, 15)], "offsets")
    m = Member(name, [name])
    m.has(5)
    after = admin.alter_consumer_group_offsets([request])[name].result(10)
    equal(after.topic_partitions[0].error and after.topic_partitions[0].error.code(), KafkaError.UNKNOWN_MEMBER_ID, "with a member")
    m.close()
    equal(plain(m.read), [(k, v) for k, v, *_ in records[15:]], "records")
    return "set and read, consumed from there; refused with members"


@capability("create-topic")
def _(unique):
    name = topic(unique(), 3, retention_ms="86400000")
    refused(lambda: topic(name), KafkaError.TOPIC_ALREADY_EXISTS)
    refused(lambda: topic("no spaces"), KafkaError.TOPIC_EXCEPTION)
    refused(lambda: admin.create_topics([NewTopic(dry, 1, 0)])[dry].result(10), KafkaError.INVALID_REPLICATION_FACTOR) if (dry := unique()) else None
    admin.create_topics([NewTopic(dry, 1, 1)], validate_only=True)[dry].result(10)
    admin.create_topics([NewTopic(plain := unique(), -1, -1)])[plain].result(10)
    listed = admin.list_topics(timeout=10).topics
    true(dry not in listed, "validation made the topic")
    equal(len(listed[name].partitions), 3, "partitions")
    return "with configs and with defaults; duplicates, bad names and factors refused; validate only creates nothing"


@capability("describe-topic")
def _(unique):
    name = topic(unique(), 3)
    d = admin.describe_topics(TopicCollection([name]))[name].result(10)
    equal((d.name, d.is_internal, sorted(p.id for p in d.partitions)), (name, False, [0, 1, 2]), "described")
    true(d.topic_id is not None and all(p.leader and p.isr and p.replicas for p in d.partitions), f"{d}")
    absent = unique()
    refused(lambda: admin.describe_topics(TopicCollection([absent]))[absent].result(10), KafkaError.UNKNOWN_TOPIC_OR_PART)
    return "3 partitions with leaders; an unknown one is told"


@capability("delete-topic")
def _(unique):
    name = unique()
    filled(name, 1, 3)
    admin.delete_topics([name])[name].result(10)
    true(name not in admin.list_topics(timeout=10).topics, "still listed")
    refused(lambda: admin.delete_topics([name])[name].result(10), KafkaError.UNKNOWN_TOPIC_OR_PART)
    return "gone"


@capability("add-partitions")
def _(unique):
    name = topic(unique(), 2)
    admin.create_partitions([NewPartitions(name, 5)])[name].result(10)
    equal(len(admin.list_topics(name, 10).topics[name].partitions), 5, "partitions")
    refused(lambda: admin.create_partitions([NewPartitions(name, 3)])[name].result(10), KafkaError.INVALID_PARTITIONS)
    return "2 to 5; fewer refused"


def configs(kind, name):
    r = ConfigResource(kind, name)
    return admin.describe_configs([r])[r].result(10)


@capability("describe-configs")
def _(unique):
    name = topic(unique(), retention_ms="3600000")
    c = configs("topic", name)
    equal((c["retention.ms"].value, c["retention.ms"].source, c["retention.ms"].is_default), ("3600000", 1, False), "retention.ms")
    equal((c["cleanup.policy"].value, c["cleanup.policy"].source, c["cleanup.policy"].is_default), ("delete", 5, True), "cleanup.policy")
    true(c["retention.ms"].synonyms, "no synonyms")
    refused(lambda: configs("topic", unique()), KafkaError.UNKNOWN_TOPIC_OR_PART)
    return f"{len(c)} with source and synonyms"


def alter(kind, name, key, value, op=AlterConfigOpType.SET):
    r = ConfigResource(kind, name, incremental_configs=[ConfigEntry(key, value, incremental_operation=op)])
    admin.incremental_alter_configs([r])[r].result(10)


@capability("alter-configs")
def _(unique):
    name = topic(unique(), retention_ms="3600000")
    for key, value, op, want in (
        ("max.message.bytes", "2000000", AlterConfigOpType.SET, "2000000"), ("cleanup.policy", "compact", AlterConfigOpType.APPEND, "delete,compact"),
        ("cleanup.policy", "delete", AlterConfigOpType.SUBTRACT, "compact"), ("retention.ms", None, AlterConfigOpType.DELETE, "604800000"),
    ):
        alter("topic", name, key, value, op)
        equal(configs("topic", name)[key].value, want, key)
    return "set, append, subtract, delete"


@capability("replace-configs")
def _(unique):
    name = topic(unique(), retention_ms="3600000", max_message_bytes="5000")
    r = ConfigResource("topic", name, set_config={"retention.ms": "7200000"})
    admin.alter_configs([r])[r].result(10)
    c = configs("topic", name)
    equal((c["retention.ms"].value, c["max.message.bytes"].value), ("7200000", "1048588"), "configs")
    return "what is not named goes back to its default"


@capability("unknown-config")
def _(unique):
    name = topic(unique())
    refused(lambda: topic(unique(), no_such_config="1"), KafkaError.INVALID_CONFIG)
    for key, value in (("no.such.config", "1"), ("retention.ms", "soon")):
        error = refused(lambda: alter("topic", name, key, value), KafkaError.INVALID_CONFIG)
        true(key in error.str(), f"it is not named: {error.str()}")
    return "INVALID_CONFIG, by name"


@capability("broker-configs")
def _(unique):
    broker = str(admin.describe_cluster().result(10).controller.id)
    before = configs("broker", broker)
    key = next(k for k in ("log.segment.bytes", "log.local.retention.ms", "log.message.timestamp.after.max.ms") if k in before and not before[k].is_read_only)
    value = str(int(before[key].value) - 1) if int(before[key].value) > 0 else "86400000"
    alter("broker", broker, key, value)
    until(lambda: configs("broker", broker)[key].value != value and f"{key} is {configs('broker', broker)[key].value}, want {value}")
    alter("broker", broker, key, None, AlterConfigOpType.DELETE)
    until(lambda: configs("broker", broker)[key].value != before[key].value and f"{key} is not what it was")
    refused(lambda: alter("broker", broker, "no.such.config", "1"), KafkaError.INVALID_CONFIG, KafkaError.INVALID_REQUEST)
    return f"{len(before)} described; set and deleted; unknown ones refused"


@capability("delete-records")
def _(unique):
    name = unique()
    records = filled(name, 1, 50)
    tp = TopicPartition(name, 0, 20)
    equal(admin.delete_records([tp])[tp].result(10).low_watermark, 20, "low watermark")
    equal(plain(read(name, 30)), [(k, v) for k, v, *_ in records[20:]], "records")
    equal(plain(read(name, 30, offset=3, config={"auto.offset.reset": "earliest"})), [(k, v) for k, v, *_ in records[20:]], "records from a deleted offset")
    tp = TopicPartition(name, 0, 51)
    refused(lambda: admin.delete_records([tp])[tp].result(10), KafkaError.OFFSET_OUT_OF_RANGE)
    return "to an offset; past the end refused"


@capability("describe-cluster")
def _(unique):
    c = admin.describe_cluster().result(10)
    true(c.cluster_id and c.controller.id in [n.id for n in c.nodes], f"{c}")
    return f"{len(c.nodes)} broker, the controller is one of them"


@capability("elect-leaders")
def _(unique):
    name = topic(unique())
    tp = TopicPartition(name, 0)
    result = admin.elect_leaders(ElectionType.PREFERRED, [tp]).result(10)
    error = result[tp]
    equal(error.code() if error else None, KafkaError.ELECTION_NOT_NEEDED, "election")
    return "not needed"


driver.main()
