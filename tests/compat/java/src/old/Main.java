package old;

import static compat.Report.*;

import compat.Report;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Older Java clients: 2.1 is the oldest that Apache Kafka 4 serves (KIP-896). */
public final class Main {
    private static final String BOOTSTRAP = System.getenv("COMPAT_BOOTSTRAP");
    private static final String PREFIX = System.getenv("COMPAT_PREFIX") + "-old-" + System.nanoTime() % 10000 + "-";
    private static final AdminClient ADMIN = AdminClient.create(config());

    public static void main(String[] args) throws Exception {
        Report report = new Report(args[0]);
        for (String acks : new String[] {"0", "1", "all"}) {
            report.check("acks-" + acks, () -> acks(acks));
        }
        for (String codec : new String[] {"gzip", "snappy", "lz4", "zstd"}) {
            report.check(codec, () -> compressed(codec));
        }
        report.check("from-start", Main::fromStart);
        report.check("from-time", Main::fromTime);
        report.check("group-resume", Main::resume);
        report.check("no-offset", Main::noOffset);
        report.check("create-topic", Main::createTopic);
        report.check("describe-topic", Main::describeTopic);
        report.check("add-partitions", Main::addPartitions);
        report.check("delete-topic", Main::deleteTopic);
        report.check("replace-configs", Main::configs);
        report.check("describe-groups", Main::describeGroups);
        report.check("delete-groups", Main::deleteGroups);
        report.runAll(2);
    }

    private static Map<String, Object> config(Object... pairs) {
        Map<String, Object> c = new HashMap<>();
        c.put("bootstrap.servers", BOOTSTRAP);
        for (int i = 0; i < pairs.length; i += 2) {
            c.put((String) pairs[i], pairs[i + 1]);
        }
        return c;
    }

    private static String create(String part, int partitions) throws Exception {
        String topic = PREFIX + part;
        ADMIN.createTopics(Collections.singleton(new NewTopic(topic, partitions, (short) 1))).all().get();
        return topic;
    }

    private static KafkaProducer<String, String> producer(Object... pairs) {
        return new KafkaProducer<>(config(pairs), new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(Object... pairs) {
        Map<String, Object> c = config(pairs);
        c.put("auto.offset.reset", "earliest");
        c.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
    }

    private static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> c, int n) {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        long until = System.nanoTime() + 60_000_000_000L;
        while (got.size() < n && System.nanoTime() < until) {
            c.poll(Duration.ofMillis(200)).forEach(got::add);
        }
        c.poll(Duration.ofMillis(100)).forEach(got::add);
        expectEqual(got.size(), n, "number of records");
        return got;
    }

    private static List<ConsumerRecord<String, String>> readAll(String topic, int n) {
        try (KafkaConsumer<String, String> c = consumer()) {
            c.assign(Collections.singleton(new TopicPartition(topic, 0)));
            return take(c, n);
        }
    }

    private static void fill(String topic, int n, Object... pairs) {
        try (KafkaProducer<String, String> p = producer(pairs)) {
            for (int i = 0; i < n; i++) {
                p.send(new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, "k", "" + i));
            }
        }
    }

    private static void expectCounting(List<ConsumerRecord<String, String>> got, int from) {
        for (int i = 0; i < got.size(); i++) {
            expectEqual(got.get(i).value(), "" + (from + i), "value");
        }
    }

    private static String acks(String acks) throws Exception {
        String topic = create("acks-" + acks, 1);
        try (KafkaProducer<String, String> p = producer("acks", acks)) {
            for (int i = 0; i < 20; i++) {
                p.send(new ProducerRecord<>(topic, "k", "" + i)).get();
            }
        }
        expectCounting(readAll(topic, 20), 0);
        return "20 records";
    }

    private static String compressed(String codec) throws Exception {
        String topic = create(codec, 1);
        fill(topic, 300, "compression.type", codec);
        expectCounting(readAll(topic, 300), 0);
        return "300 records";
    }

    private static String fromStart() throws Exception {
        String topic = create("start", 1);
        fill(topic, 1000);
        expectCounting(readAll(topic, 1000), 0);
        return "1000 records";
    }

    private static String fromTime() throws Exception {
        String topic = create("time", 1);
        fill(topic, 100);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> c = consumer()) {
            c.assign(Collections.singleton(tp));
            c.seek(tp, c.offsetsForTimes(Collections.singletonMap(tp, 1_700_000_000_040L)).get(tp).offset());
            expectCounting(take(c, 60), 40);
        }
        return "60 of 100 records";
    }

    private static String resume() throws Exception {
        String topic = create("resume", 1);
        fill(topic, 100);
        try (KafkaConsumer<String, String> c = consumer("group.id", topic, "max.poll.records", 40)) {
            c.subscribe(Collections.singleton(topic));
            List<ConsumerRecord<String, String>> got = new ArrayList<>();
            eventually("the first records", () -> {
                c.poll(Duration.ofMillis(200)).forEach(got::add);
                return !got.isEmpty();
            });
            expectEqual(got.size(), 40, "records of the first poll");
            c.commitSync(Collections.singletonMap(new TopicPartition(topic, 0), new OffsetAndMetadata(40, "here")));
        }
        try (KafkaConsumer<String, String> c = consumer("group.id", topic)) {
            c.subscribe(Collections.singleton(topic));
            expectCounting(take(c, 60), 40);
            expectEqual(c.committed(new TopicPartition(topic, 0)), new OffsetAndMetadata(40, "here"), "committed offset");
        }
        return "40 records, then the other 60";
    }

    private static String noOffset() throws Exception {
        String topic = create("none", 1);
        try (KafkaConsumer<String, String> c = consumer("group.id", topic)) {
            expectEqual(c.committed(new TopicPartition(topic, 0)), null, "committed offset");
        }
        return "none";
    }

    private static String createTopic() throws Exception {
        String topic = create("create", 2);
        expectFailure(TopicExistsException.class, () -> create("create", 2));
        return topic;
    }

    private static int partitions(String topic) throws Exception {
        return ADMIN.describeTopics(Collections.singleton(topic)).all().get().get(topic).partitions().size();
    }

    private static String describeTopic() throws Exception {
        String topic = create("describe", 2);
        expect(ADMIN.listTopics().names().get().contains(topic), "it is listed");
        expectEqual(partitions(topic), 2, "partitions");
        return "2 partitions";
    }

    private static String addPartitions() throws Exception {
        String topic = create("grow", 2);
        ADMIN.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(5))).all().get();
        eventually("five partitions", () -> partitions(topic) == 5);
        return "2, then 5";
    }

    private static String deleteTopic() throws Exception {
        String topic = create("delete", 2);
        ADMIN.deleteTopics(Collections.singleton(topic)).all().get();
        eventually("it is gone", () -> !ADMIN.listTopics().names().get().contains(topic));
        return "it is gone";
    }

    private static String configs() throws Exception {
        String topic = create("configs", 1);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Map<ConfigResource, Config> change = new HashMap<>();
        change.put(resource, new Config(Collections.singleton(new ConfigEntry("retention.ms", "123456"))));
        ADMIN.alterConfigs(change).all().get();
        change.put(resource, new Config(Collections.singleton(new ConfigEntry("segment.bytes", "2000000"))));
        ADMIN.alterConfigs(change).all().get();
        Config now = ADMIN.describeConfigs(Collections.singleton(resource)).all().get().get(resource);
        expectEqual(now.get("segment.bytes").value(), "2000000", "segment.bytes");
        expectEqual(now.get("retention.ms").isDefault(), true, "retention.ms is the default again");
        return "replaces the whole set";
    }

    private static String describeGroups() throws Exception {
        String topic = create("describe-groups", 1);
        fill(topic, 1);
        try (KafkaConsumer<String, String> c = consumer("group.id", topic)) {
            c.subscribe(Collections.singleton(topic));
            take(c, 1);
            expectEqual(ADMIN.describeConsumerGroups(Collections.singleton(topic)).all().get().get(topic).members().size(), 1, "members");
            expect(ADMIN.listConsumerGroups().all().get().stream().anyMatch(g -> g.groupId().equals(topic)), "it is listed");
        }
        return "1 member";
    }

    private static String deleteGroups() throws Exception {
        String topic = create("delete-groups", 1);
        try (KafkaConsumer<String, String> c = consumer("group.id", topic)) {
            c.commitSync(Collections.singletonMap(new TopicPartition(topic, 0), new OffsetAndMetadata(1)));
        }
        expectEqual(ADMIN.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().get(new TopicPartition(topic, 0)).offset(), 1L, "committed offset");
        ADMIN.deleteConsumerGroups(Collections.singleton(topic)).all().get();
        expect(ADMIN.listConsumerGroups().all().get().stream().noneMatch(g -> g.groupId().equals(topic)), "it is gone");
        return "it is gone";
    }
}
