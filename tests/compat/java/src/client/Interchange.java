package client;

import static client.Kit.*;
import static compat.Report.*;

import compat.Report;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;

/** What all clients write and read; see README.md. */
final class Interchange {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final String FILL = "x".repeat(200);

    static void plan(Report report) {
        report.check("interchange-write", Interchange::write);
        report.check("interchange-read", Interchange::read);
    }

    private static String write() throws Exception {
        for (String codec : CODECS) {
            try (KafkaProducer<String, String> p = producer("compression.type", codec, "linger.ms", 100)) {
                for (int i = 0; i < 100; i++) {
                    ProducerRecord<String, String> r = new ProducerRecord<>("interchange-" + codec, "java-" + i, "java-" + i + "-" + FILL);
                    r.headers().add("compat", "java".getBytes());
                    p.send(r);
                }
            }
        }
        return "100 records in each of 5 topics";
    }

    private static String read() throws Exception {
        List<String> writers = List.of(System.getenv("COMPAT_INTERCHANGE").split(","));
        for (String codec : CODECS) {
            TopicPartition tp = new TopicPartition("interchange-" + codec, 0);
            Map<String, Integer> next = new TreeMap<>();
            try (KafkaConsumer<String, String> c = consumer()) {
                c.assign(List.of(tp));
                c.seekToBeginning(c.assignment());
                long end = c.endOffsets(List.of(tp)).get(tp);
                long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
                while (c.position(tp) < end) {
                    expect(System.nanoTime() < until, "all of " + tp + " within 30 s");
                    for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200))) {
                        String who = r.key().substring(0, r.key().lastIndexOf('-'));
                        int i = next.merge(who, 1, Integer::sum) - 1;
                        expectEqual(r.key(), who + "-" + i, "key in " + tp);
                        expectEqual(r.value(), who + "-" + i + "-" + FILL, "value in " + tp);
                        Header h = r.headers().lastHeader("compat");
                        expectEqual(h == null ? null : new String(h.value()), who, "header in " + tp);
                    }
                }
            }
            for (String who : writers) {
                expectEqual(next.get(who), 100, "records of " + who + " in " + tp);
            }
        }
        return "of " + String.join(", ", writers);
    }
}
