package client;

import static client.Kit.*;
import static compat.Report.*;

import compat.Report;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;

final class Produce {
    static void plan(Report report) {
        for (String acks : List.of("0", "1", "all")) {
            report.check("acks-" + acks, () -> acks(acks));
        }
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            report.check(codec, () -> compressed(codec));
        }
        report.check("idempotence", Produce::idempotent);
        report.check("too-large", Produce::tooLarge);
        report.check("transactional-refused", Produce::transactional);
        report.check("records", Produce::records);
        report.check("timestamps", Produce::timestamps);
        report.check("auto-create", Produce::autoCreate);
    }

    private static String acks(String acks) throws Exception {
        String topic = create("acks-" + acks, 1);
        try (KafkaProducer<String, String> p = producer("acks", acks, "enable.idempotence", acks.equals("all"))) {
            for (int i = 0; i < 20; i++) {
                RecordMetadata m = p.send(new ProducerRecord<>(topic, "k", "v" + i)).get();
                expectEqual(m.hasOffset(), !acks.equals("0"), "an offset is told");
                if (m.hasOffset()) {
                    expectEqual(m.offset(), (long) i, "offset");
                }
            }
        }
        List<ConsumerRecord<String, String>> got = readAll(topic, 1, 20);
        for (int i = 0; i < 20; i++) {
            expectEqual(got.get(i).value(), "v" + i, "value");
        }
        return "20 records in order";
    }

    private static String compressed(String codec) throws Exception {
        String topic = create(codec, 1);
        try (KafkaProducer<String, String> p = producer("compression.type", codec, "linger.ms", "50")) {
            for (int i = 0; i < 500; i++) {
                p.send(new ProducerRecord<>(topic, "k" + i, "the same words over and over, number " + i));
            }
        }
        List<ConsumerRecord<String, String>> got = readAll(topic, 1, 500);
        for (int i = 0; i < 500; i++) {
            expectEqual(got.get(i).value(), "the same words over and over, number " + i, "value");
            expectEqual(got.get(i).offset(), (long) i, "offset");
        }
        // The broker recompresses what a producer sends otherwise.
        String recompressed = create(codec + "-by-topic", 1, Map.of("compression.type", codec));
        fill(recompressed, 1, 300);
        got = readAll(recompressed, 1, 300);
        for (int i = 0; i < 300; i++) {
            expectEqual(got.get(i).value(), "0/" + i, "value");
        }
        return "500 by the producer, 300 by the topic";
    }

    private static String idempotent() throws Exception {
        String topic = create("idempotent", 2);
        try (KafkaProducer<String, String> p = producer("enable.idempotence", true, "max.in.flight.requests.per.connection", 5, "batch.size", 200)) {
            for (int i = 0; i < 1000; i++) {
                p.send(new ProducerRecord<>(topic, i % 2, null, "" + i / 2));
            }
        }
        int[] next = new int[2];
        for (ConsumerRecord<String, String> r : readAll(topic, 2, 1000)) {
            expectEqual(r.value(), "" + next[r.partition()]++, "value of partition " + r.partition());
        }
        return "1000 records once and in order, many small batches in flight";
    }

    private static String tooLarge() throws Exception {
        String topic = create("too-large", 1, Map.of("max.message.bytes", "10000"));
        try (KafkaProducer<String, String> p = producer("max.request.size", 2_000_000)) {
            byte[] noise = new byte[20_000];
            new Random(1).nextBytes(noise);
            expectFailure(RecordTooLargeException.class, () -> {
                p.send(new ProducerRecord<>(topic, "k", new String(noise, StandardCharsets.ISO_8859_1))).get();
                return "";
            });
            expectEqual(p.send(new ProducerRecord<>(topic, "k", "small")).get().offset(), 0L, "offset of the next record");
            // Batches that are too large only together are split by the producer.
            Future<RecordMetadata> last = null;
            for (int i = 0; i < 20; i++) {
                last = p.send(new ProducerRecord<>(topic, "k", "x".repeat(2000)));
            }
            expectEqual(last.get().offset(), 20L, "offset of the last of a split batch");
        }
        return "RecordTooLargeException; smaller ones go through, large batches are split";
    }

    private static String transactional() throws Exception {
        try (KafkaProducer<String, String> p = producer("transactional.id", name("tx"), "max.block.ms", 10_000)) {
            Throwable t = expectFailure(Throwable.class, () -> {
                p.initTransactions();
                return "";
            });
            expect(!(t instanceof org.apache.kafka.common.errors.TimeoutException), "it is refused at once, not after a timeout: " + t);
            return t.getClass().getSimpleName() + ": " + t.getMessage();
        }
    }

    private static String records() throws Exception {
        String topic = create("records", 1);
        try (KafkaProducer<String, String> p = producer()) {
            ProducerRecord<String, String> full = new ProducerRecord<>(topic, 0, 1_600_000_000_123L, "schlüssel", "wert ✓");
            full.headers().add("a", "1".getBytes()).add("b", null).add("a", new byte[0]).add("", "empty name".getBytes());
            p.send(full).get();
            p.send(new ProducerRecord<>(topic, 0, 1_600_000_000_124L, null, (String) null)).get();
            p.send(new ProducerRecord<>(topic, 0, 1_600_000_000_125L, "", "")).get();
        }
        List<ConsumerRecord<String, String>> got = readAll(topic, 1, 3);
        expectEqual(got.get(0).key(), "schlüssel", "key");
        expectEqual(got.get(0).value(), "wert ✓", "value");
        expectEqual(got.get(0).timestamp(), 1_600_000_000_123L, "timestamp");
        StringBuilder headers = new StringBuilder();
        for (Header h : got.get(0).headers()) {
            headers.append(h.key()).append('=').append(h.value() == null ? "null" : new String(h.value())).append(';');
        }
        expectEqual(headers.toString(), "a=1;b=null;a=;=empty name;", "headers");
        expectEqual(got.get(1).key(), null, "null key");
        expectEqual(got.get(1).value(), null, "null value");
        expectEqual(got.get(2).key(), "", "empty key");
        expectEqual(got.get(2).value(), "", "empty value");
        expectEqual(got.get(2).timestamp(), 1_600_000_000_125L, "timestamp");
        return "4 headers, nulls, empty ones";
    }

    private static String timestamps() throws Exception {
        String kept = create("kept", 1);
        try (KafkaProducer<String, String> p = producer()) {
            long now = System.currentTimeMillis();
            for (long t : new long[] {0, 1_600_000_000_123L, now}) {
                expectEqual(p.send(new ProducerRecord<>(kept, 0, t, "k", "" + t)).get().timestamp(), t, "timestamp told to the producer");
            }
            for (ConsumerRecord<String, String> r : readAll(kept, 1, 3)) {
                expectEqual("" + r.timestamp(), r.value(), "timestamp");
                expectEqual(r.timestampType(), org.apache.kafka.common.record.TimestampType.CREATE_TIME, "timestamp type");
            }
        }
        String stamped = create("stamped", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        try (KafkaProducer<String, String> p = producer()) {
            RecordMetadata m = p.send(new ProducerRecord<>(stamped, 0, 1_600_000_000_123L, "k", "v")).get();
            ConsumerRecord<String, String> r = readAll(stamped, 1, 1).get(0);
            expect(r.timestamp() >= before - 1000, "LogAppendTime is the broker's, not " + r.timestamp());
            expectEqual(r.timestampType(), org.apache.kafka.common.record.TimestampType.LOG_APPEND_TIME, "timestamp type");
            expectEqual(m.timestamp(), r.timestamp(), "timestamp told to the producer");
        }
        return "CreateTime and LogAppendTime";
    }

    private static String autoCreate() throws Exception {
        String topic = name("auto");
        try (KafkaProducer<String, String> p = producer()) {
            expectEqual(p.send(new ProducerRecord<>(topic, "k", "v")).get().offset(), 0L, "offset");
            expectFailure(org.apache.kafka.common.errors.InvalidTopicException.class, () -> p.send(new ProducerRecord<>("no/such name", "k", "v")).get().toString());
        }
        try (var c = consumer("allow.auto.create.topics", false)) {
            expect(c.listTopics().containsKey(topic), "the topic is listed");
        }
        return "made by its first record; a bad name is refused";
    }
}
