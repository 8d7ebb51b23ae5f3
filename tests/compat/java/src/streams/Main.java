package streams;

import static compat.Report.*;

import compat.Report;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.Stores;

/** An application of Kafka Streams with internal topics, stopped and started again. */
public final class Main {
    private static final String BOOTSTRAP = System.getenv("COMPAT_BOOTSTRAP");
    private static final String PREFIX = System.getenv("COMPAT_PREFIX") + "-streams";
    private static final Admin ADMIN = Admin.create(Map.of("bootstrap.servers", BOOTSTRAP));

    public static void main(String[] args) throws Exception {
        Report report = new Report(args[0]);
        report.check("streams", Main::count);
        report.runAll();
    }

    private static String create(String part) throws Exception {
        String topic = PREFIX + "-" + part;
        ADMIN.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all().get();
        return topic;
    }

    private static String count() throws Exception {
        String in = create("in");
        String out = create("out");
        Map<String, Long> want = new HashMap<>();
        for (int run = 0; run < 2; run++) {
            try (KafkaProducer<String, String> p = new KafkaProducer<>(Map.of("bootstrap.servers", BOOTSTRAP), new StringSerializer(), new StringSerializer())) {
                for (int i = 0; i < 300; i++) {
                    String word = "w" + i % (7 + run);
                    p.send(new ProducerRecord<>(in, "k" + i, word));
                    want.merge(word, 1L, Long::sum);
                }
            }
            try (KafkaStreams app = app(in, out, run)) {
                app.start();
                expectCounts(out, want);
            }
        }
        for (String internal : List.of("-repartition", "-changelog")) {
            expect(ADMIN.listTopics().names().get().stream().anyMatch(t -> t.startsWith(PREFIX) && t.endsWith(internal)), "there is a topic …" + internal);
        }
        return "600 records in two runs, counted once each";
    }

    private static KafkaStreams app(String in, String out, int run) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(in).groupBy((k, v) -> v)
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts")).withCachingDisabled())
            .toStream().mapValues(String::valueOf).to(out);
        Properties c = new Properties();
        c.putAll(Map.of("bootstrap.servers", BOOTSTRAP, StreamsConfig.APPLICATION_ID_CONFIG, PREFIX,
            StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class, StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class,
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 500, "auto.offset.reset", "earliest",
            // It does not leave the group when it ends: its second run waits for the end of this.
            "session.timeout.ms", 6000,
            StreamsConfig.STATE_DIR_CONFIG, Path.of(System.getenv("COMPAT_TMP"), "streams-" + run).toString()));
        return new KafkaStreams(builder.build(), c);
    }

    private static void expectCounts(String out, Map<String, Long> want) throws Exception {
        Map<String, Long> got = new HashMap<>();
        try (KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", BOOTSTRAP), new StringDeserializer(), new StringDeserializer())) {
            c.assign(List.of(new TopicPartition(out, 0), new TopicPartition(out, 1)));
            c.seekToBeginning(c.assignment());
            eventually("the counts are " + want, () -> {
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200))) {
                    got.put(r.key(), Long.valueOf(r.value()));
                }
                return got.equals(want);
            });
        } catch (AssertionError e) {
            throw new AssertionError("counts are " + got + ", want " + want, e);
        }
    }
}
