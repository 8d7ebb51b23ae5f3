package client;

import static compat.Report.expectEqual;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the checks share: clients with the settings that clients have by default. */
final class Kit {
    static final String BOOTSTRAP = System.getenv("COMPAT_BOOTSTRAP");
    static final String PREFIX = System.getenv("COMPAT_PREFIX");
    static final Admin ADMIN = Admin.create(Map.of("bootstrap.servers", BOOTSTRAP));

    private Kit() {}

    static String name(String part) {
        return PREFIX + "-" + part;
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(60, TimeUnit.SECONDS);
    }

    static String create(String part, int partitions) throws Exception {
        return create(part, partitions, Map.of());
    }

    static String create(String part, int partitions, Map<String, String> configs) throws Exception {
        String topic = name(part);
        get(ADMIN.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(configs))).all());
        return topic;
    }

    static Map<String, Object> config(Object... pairs) {
        Map<String, Object> c = new HashMap<>();
        c.put("bootstrap.servers", BOOTSTRAP);
        for (int i = 0; i < pairs.length; i += 2) {
            c.put((String) pairs[i], pairs[i + 1]);
        }
        return c;
    }

    static KafkaProducer<String, String> producer(Object... pairs) {
        return new KafkaProducer<>(config(pairs), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Object... pairs) {
        Map<String, Object> c = config(pairs);
        c.putIfAbsent("auto.offset.reset", "earliest");
        c.putIfAbsent("enable.auto.commit", "false");
        return new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
    }

    /** Produces values "<partition>/<0…n-1>" to each partition. */
    static void fill(String topic, int partitions, int n) throws Exception {
        try (KafkaProducer<String, String> p = producer()) {
            for (int i = 0; i < n; i++) {
                for (int k = 0; k < partitions; k++) {
                    p.send(new ProducerRecord<>(topic, k, "k" + i, k + "/" + i), (m, e) -> { });
                }
            }
            p.flush();
        }
        for (int k = 0; k < partitions; k++) {
            expectEqual(end(topic, k), (long) n, "end of " + topic + "-" + k + " after producing");
        }
    }

    static long end(String topic, int partition) throws Exception {
        TopicPartition tp = new TopicPartition(topic, partition);
        return get(ADMIN.listOffsets(Map.of(tp, org.apache.kafka.clients.admin.OffsetSpec.latest())).partitionResult(tp)).offset();
    }

    /** Polls until n records came, then once more, so that one too many is seen. */
    static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> c, int n) {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (got.size() < n && System.nanoTime() < until) {
            c.poll(Duration.ofMillis(200)).forEach(got::add);
        }
        c.poll(Duration.ofMillis(100)).forEach(got::add);
        expectEqual(got.size(), n, "number of records");
        return got;
    }

    /** Reads all of a topic without a group. */
    static List<ConsumerRecord<String, String>> readAll(String topic, int partitions, int n) {
        try (KafkaConsumer<String, String> c = consumer()) {
            c.assign(partitions(topic, partitions));
            c.seekToBeginning(c.assignment());
            return take(c, n);
        }
    }

    static Collection<TopicPartition> partitions(String topic, int n) {
        List<TopicPartition> all = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            all.add(new TopicPartition(topic, i));
        }
        return all;
    }
}
