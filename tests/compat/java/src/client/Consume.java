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
