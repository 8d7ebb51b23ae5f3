package client;

import static client.Kit.*;
import static compat.Report.*;

import compat.Report;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/** The server is killed and comes back, under a producer and two groups; see README.md. */
final class Restart {
    private static final int PARTITIONS = 4;

    static void plan(Report report) {
        report.check("broker-restart", Restart::run);
    }

    private static String run() throws Exception {
        Path signs = Path.of(System.getenv("COMPAT_RESTART"));
        String topic = create("restart", PARTITIONS);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<String> values = new ArrayList<>();
        try (KafkaProducer<String, String> p = producer();
             Member a = member(topic, "classic"); Member b = member(topic, "classic");
             Member c = member(topic, "consumer"); Member d = member(topic, "consumer")) {
            Member.settle(PARTITIONS, a, b);
            Member.settle(PARTITIONS, c, d);
            send(p, topic, 100, values, sent);
            Member.read(values, a, b);
            Member.read(values, c, d);
            int epoch = epoch(topic);
            List<List<String>> before = List.of(a.events(), b.events(), c.events(), d.events());
            Files.createFile(signs.resolve("java"));
            do {
                send(p, topic, 5, values, sent);
                Thread.sleep(20);
            } while (!Files.exists(signs.resolve("restarted")));
            send(p, topic, 100, values, sent);
            p.flush();
            for (Future<RecordMetadata> f : sent) {
                f.get(); // every record is acknowledged in the end
            }
            // Once read, a rebalance would have been told with a heartbeat.
            Member.read(values, a, b);
            Member.read(values, c, d);
            Thread.sleep(7000);
            expectEqual(List.of(a.events(), b.events(), c.events(), d.events()), before, "assignments that the members saw");
            expectEqual(epoch(topic), epoch, "epoch of the group");
            expectOnce(values, a, b);
            expectOnce(values, c, d);
            expectEqual(readAll(topic, PARTITIONS, values.size()).size(), values.size(), "records in the log");
        }
        return values.size() + " records once each, no rebalance in either protocol";
    }

    // Without its rebootstrap (KIP-1102) a client whose only broker is away keeps what it
    // knows of the topic. With it the classic group's leader forgets the partitions for a
    // moment, takes that for a change of them, and joins anew, whoever the server is.
    private static Member member(String topic, String protocol) {
        return new Member(consumer("group.id", topic + "-" + protocol, "group.protocol", protocol, "metadata.recovery.strategy", "none"), topic);
    }

    private static int epoch(String topic) throws Exception {
        String group = topic + "-consumer";
        return get(ADMIN.describeConsumerGroups(List.of(group)).all()).get(group).groupEpoch().get();
    }

    private static void send(KafkaProducer<String, String> p, String topic, int n, List<String> values, List<Future<RecordMetadata>> sent) {
        for (int i = 0; i < n; i++) {
            String value = "" + values.size();
            sent.add(p.send(new ProducerRecord<>(topic, values.size() % PARTITIONS, "k", value)));
            values.add(value);
        }
    }

    private static void expectOnce(List<String> values, Member... members) {
        List<String> got = new ArrayList<>();
        for (Member m : members) {
            got.addAll(m.values());
        }
        Set<String> twice = new HashSet<>();
        for (String v : new HashSet<>(got)) {
            if (Collections.frequency(got, v) > 1) {
                twice.add(v);
            }
        }
        expectEqual(twice, Set.of(), "records that were read twice");
        expectEqual(got.size(), values.size(), "records that were read");
    }
}
