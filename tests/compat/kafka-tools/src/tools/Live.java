package tools;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A member of a group for the tools to look at. */
final class Live {
    static Thread member(String topic, String protocol) {
        Thread t = new Thread(() -> {
            try (KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", Tool.BOOTSTRAP, "group.id", topic, "client.id", "live",
                "auto.offset.reset", "earliest", "group.protocol", protocol), new StringDeserializer(), new StringDeserializer())) {
                c.subscribe(List.of(topic));
                while (true) {
                    if (!c.poll(Duration.ofMillis(200)).isEmpty()) {
                        c.commitSync();
                    }
                }
            } catch (org.apache.kafka.common.errors.InterruptException e) {
                Thread.interrupted(); // that is how it ends
            }
        });
        t.start();
        return t;
    }
}
