package client;

import static client.Kit.*;
import static compat.Report.*;

import compat.Report;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

final class Consume {
    private static final long T = 1_700_000_000_000L;

    static void plan(Report report) {
        report.check("from-start", Consume::fromStart);
        report.check("fetch-sessions", Consume::follow);
        report.check("from-time", Consume::fromTime);
        report.check("offsets-by-time", Consume::offsets);
    }

    private static String fromStart() throws Exception {
        String topic = create("start", 3);
        fill(topic, 3, 2000);
        int[] next = new int[3];
        for (ConsumerRecord<String, String> r : readAll(topic, 3, 6000)) {
            expectEqual(r.value(), r.partition() + "/" + next[r.partition()], "value");
            expectEqual(r.offset(), (long) next[r.partition()]++, "offset");
        }
        // Small fetches and read_committed see the same.
        try (KafkaConsumer<String, String> c = consumer("isolation.level", "read_committed", "max.partition.fetch.bytes", 1000, "fetch.max.bytes", 2000)) {
            c.assign(partitions(topic, 3));
            take(c, 6000);
            expectEqual(c.currentLag(new TopicPartition(topic, 0)).getAsLong(), 0L, "lag");
        }
        // A position past the end resets.
        try (KafkaConsumer<String, String> c = consumer("auto.offset.reset", "latest")) {
            TopicPartition tp = new TopicPartition(topic, 0);
            c.assign(List.of(tp));
            c.seek(tp, 1_000_000);
            c.poll(Duration.ofSeconds(1));
            eventually("the position is reset to the end", () -> {
                c.poll(Duration.ofMillis(100));
                return c.position(tp) == 2000;
            });
        }
        return "6000 of 3 partitions, again in small fetches; out of range resets";
    }

    private static String follow() throws Exception {
        int n = 60;
        String topic = create("follow", n);
        try (KafkaProducer<String, String> p = producer(); KafkaConsumer<String, String> c = consumer()) {
            c.assign(partitions(topic, n));
            c.seekToBeginning(c.assignment());
            c.poll(Duration.ofMillis(500));
            int sent = 0;
            for (int k = 0; k < 20; k++) {
                int round = k;
                for (int i = 0; i <= round % 3; i++) {
                    p.send(new ProducerRecord<>(topic, (7 * sent) % n, null, "" + sent++)).get();
                }
                int before = sent - round % 3 - 1;
                List<ConsumerRecord<String, String>> got = new java.util.ArrayList<>();
                eventually("round " + round + " arrives", () -> {
                    c.poll(Duration.ofMillis(200)).forEach(got::add);
                    return got.size() == round % 3 + 1;
                });
                got.sort(java.util.Comparator.comparing(r -> Integer.valueOf(r.value())));
                for (int i = 0; i < got.size(); i++) {
                    expectEqual(got.get(i).value(), "" + (before + i), "value");
                }
            }
            // What is paused or not assigned any more does not come, and comes later.
            TopicPartition tp = new TopicPartition(topic, 3);
            c.pause(List.of(tp));
            c.poll(Duration.ofMillis(600));
            p.send(new ProducerRecord<>(topic, 3, null, "late")).get();
            p.send(new ProducerRecord<>(topic, 4, null, "now")).get();
            expectEqual(take(c, 1).get(0).value(), "now", "value while 3 is paused");
            c.resume(List.of(tp));
            expectEqual(take(c, 1).get(0).value(), "late", "value of the resumed partition");
            c.assign(partitions(topic, 3));
            p.send(new ProducerRecord<>(topic, 5, null, "elsewhere")).get();
            p.send(new ProducerRecord<>(topic, 2, null, "here")).get();
            c.seekToEnd(List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)));
            expect(c.position(new TopicPartition(topic, 0)) >= 0, "a position");
            eventually("the records of the smaller assignment", () -> {
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200))) {
                    expect(r.partition() < 3, "no record of partition " + r.partition());
                    if (r.value().equals("here")) {
                        return true;
                    }
                }
                return false;
            });
        }
        return "60 partitions, 20 rounds, pause, resume, fewer partitions";
    }

    /** Partition 0 has times T, T+10, … T+990, with T+300 and T+400 out of order. */
    private static String timed(String part) throws Exception {
        String topic = create(part, 1);
        try (KafkaProducer<String, String> p = producer("compression.type", "lz4", "linger.ms", 20)) {
            for (int i = 0; i < 100; i++) {
                long t = i == 30 ? 40 : i == 40 ? 30 : i;
                p.send(new ProducerRecord<>(topic, 0, T + 10 * t, "k", "" + i));
            }
        }
        return topic;
    }

    private static String fromTime() throws Exception {
        String topic = timed("time");
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> c = consumer()) {
            c.assign(List.of(tp));
            c.seek(tp, c.offsetsForTimes(Map.of(tp, T + 505)).get(tp).offset());
            List<ConsumerRecord<String, String>> got = take(c, 49);
            expectEqual(got.get(0).value(), "51", "first value");
            expectEqual(c.offsetsForTimes(Map.of(tp, T + 100_000)).get(tp), null, "offset of a time after the end");
            expectEqual(c.offsetsForTimes(Map.of(tp, T + 395)).get(tp).offset(), 30L, "first offset with at least that time, out of order");
            expectEqual(c.offsetsForTimes(Map.of(tp, T + 395)).get(tp).timestamp(), T + 400, "its time");
            expectEqual(c.beginningOffsets(List.of(tp)).get(tp), 0L, "beginning");
            expectEqual(c.endOffsets(List.of(tp)).get(tp), 100L, "end");
        }
        return "exact inside compressed batches";
    }

    private static String offsets() throws Exception {
        String topic = timed("offsets");
        TopicPartition tp = new TopicPartition(topic, 0);
        expectEqual(offset(tp, OffsetSpec.earliest()).offset(), 0L, "earliest");
        expectEqual(offset(tp, OffsetSpec.latest()).offset(), 100L, "latest");
        expectEqual(offset(tp, OffsetSpec.forTimestamp(T + 55)).offset(), 6L, "by time");
        expectEqual(offset(tp, OffsetSpec.forTimestamp(T + 55)).timestamp(), T + 60, "its time");
        expectEqual(offset(tp, OffsetSpec.forTimestamp(T + 100_000)).offset(), -1L, "by a time after the end");
        expectEqual(offset(tp, OffsetSpec.maxTimestamp()).offset(), 99L, "newest record");
        expectEqual(offset(tp, OffsetSpec.maxTimestamp()).timestamp(), T + 990, "time of the newest record");
        expectEqual(offset(tp, OffsetSpec.earliestLocal()).offset() <= 100L, true, "earliest local is an offset");
        offset(tp, OffsetSpec.latestTiered());
        expectFailure(org.apache.kafka.common.errors.UnknownTopicOrPartitionException.class, () -> {
            TopicPartition none = new TopicPartition(name("never"), 0);
            ADMIN.listOffsets(Map.of(none, OffsetSpec.latest()), new org.apache.kafka.clients.admin.ListOffsetsOptions().timeoutMs(3000)).partitionResult(none).get();
            return "";
        });
        return "earliest, latest, by time, max timestamp, local and tiered";
    }

    private static ListOffsetsResultInfo offset(TopicPartition tp, OffsetSpec spec) throws Exception {
        return get(ADMIN.listOffsets(Map.of(tp, spec)).partitionResult(tp));
    }
}
