package client;

import static client.Kit.*;
import static compat.Report.*;

import compat.Report;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

final class Topics {
    static void plan(Report report) {
        report.check("create-topic", Topics::createTopic);
        report.check("describe-topic", Topics::describe);
        report.check("delete-topic", Topics::delete);
        report.check("add-partitions", Topics::addPartitions);
        report.check("describe-configs", Topics::describeConfigs);
        report.check("alter-configs", Topics::alterConfigs);
        report.check("unknown-config", Topics::unknownConfig);
        report.check("broker-configs", Topics::brokerConfigs);
    }

    private static void make(NewTopic topic) throws Exception {
        ADMIN.createTopics(List.of(topic)).all().get();
    }

    private static boolean exists(String topic) throws Exception {
        return get(ADMIN.listTopics().names()).contains(topic);
    }

    private static String createTopic() throws Exception {
        String topic = name("create");
        CreateTopicsResult made = ADMIN.createTopics(List.of(new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "1000000"))));
        get(made.all());
        expectEqual(get(made.numPartitions(topic)), 3, "partitions told");
        expectEqual(get(made.replicationFactor(topic)), 1, "replication factor told");
        expectEqual(get(made.config(topic)).get("retention.ms").value(), "1000000", "config told");
        expectEqual(get(made.config(topic)).get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "its source");
        expect(!get(made.topicId(topic)).equals(Uuid.ZERO_UUID), "a topic id is told");
        expectFailure(TopicExistsException.class, () -> create("create", 3));
        make(new NewTopic(topic + "-defaults", Optional.empty(), Optional.empty()));
        make(new NewTopic(topic + "-replicated", 1, (short) 3));
        int node = get(ADMIN.describeCluster().nodes()).iterator().next().id();
        make(new NewTopic(topic + "-placed", Map.of(0, List.of(node), 1, List.of(node))));
        expectEqual(get(ADMIN.describeTopics(List.of(topic + "-placed")).allTopicNames()).get(topic + "-placed").partitions().size(), 2, "partitions placed");

        for (String bad : List.of("a/b", ".", "..", "x".repeat(250))) {
            expectFailure(InvalidTopicException.class, () -> {
                make(new NewTopic(bad, 1, (short) 1));
                return "";
            });
        }
        expectFailure(InvalidPartitionsException.class, () -> {
            make(new NewTopic(topic + "-zero", 0, (short) 1));
            return "";
        });
        get(ADMIN.createTopics(List.of(new NewTopic(topic + "-dry", 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all());
        expect(!exists(topic + "-dry"), "validate only creates nothing");
        return "counts, configs and id told; bad ones refused; validate only";
    }

    private static String describe() throws Exception {
        String topic = create("describe", 5);
        TopicDescription d = get(ADMIN.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        expectEqual(d.partitions().size(), 5, "partitions");
        for (int i = 0; i < 5; i++) {
            expectEqual(d.partitions().get(i).partition(), i, "partition");
            expect(d.partitions().get(i).leader() != null && d.partitions().get(i).isr().contains(d.partitions().get(i).leader()), "the leader is in sync");
        }
        expect(!d.isInternal(), "it is not internal");
        expectEqual(get(ADMIN.describeTopics(TopicCollection.ofTopicIds(List.of(d.topicId()))).allTopicIds()).get(d.topicId()).name(), topic, "name by id");
        expectEqual(get(ADMIN.describeTopics(List.of(topic), new DescribeTopicsOptions().partitionSizeLimitPerResponse(2)).allTopicNames()).get(topic).partitions().size(), 5, "partitions over pages");
        expectEqual(get(ADMIN.listTopics().namesToListings()).get(topic).topicId(), d.topicId(), "id listed");
        expectFailure(UnknownTopicOrPartitionException.class, () -> ADMIN.describeTopics(List.of(name("never"))).allTopicNames().get().toString());
        expectFailure(UnknownTopicIdException.class, () -> ADMIN.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get().toString());
        return "by name, by id, in pages; unknown ones are told";
    }

    private static String delete() throws Exception {
        String topic = create("delete", 1);
        Uuid id = get(ADMIN.listTopics().namesToListings()).get(topic).topicId();
        get(ADMIN.deleteTopics(List.of(topic)).all());
        expect(!exists(topic), "it is gone");
        expectFailure(UnknownTopicOrPartitionException.class, () -> ADMIN.deleteTopics(List.of(topic)).all().get() + "");
        create("delete", 2);
        Uuid second = get(ADMIN.listTopics().namesToListings()).get(topic).topicId();
        expect(!second.equals(id), "made again it has another id");
        expectFailure(UnknownTopicIdException.class, () -> ADMIN.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get() + "");
        get(ADMIN.deleteTopics(TopicCollection.ofTopicIds(List.of(second))).all());
        expect(!exists(topic), "it is gone by id");
        return "by name and by id; made again in between";
    }

    private static String addPartitions() throws Exception {
        String topic = create("grow", 2);
        fill(topic, 2, 3);
        try (var c = consumer("group.id", topic, "metadata.max.age.ms", 1000); Member m = new Member(c, topic)) {
            Member.settle(2, m);
            expectFailure(InvalidPartitionsException.class, () -> ADMIN.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get() + "");
            get(ADMIN.createPartitions(Map.of(topic, NewPartitions.increaseTo(3)), new CreatePartitionsOptions().validateOnly(true)).all());
            expectEqual(get(ADMIN.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size(), 2, "partitions after validate only");
            get(ADMIN.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());
            Member.settle(4, m);
        }
        expectFailure(UnknownTopicOrPartitionException.class, () -> ADMIN.createPartitions(Map.of(name("never"), NewPartitions.increaseTo(4))).all().get() + "");
        return "2, then 4, which a consumer noticed; not fewer";
    }

    private static ConfigResource of(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    private static Config configs(ConfigResource r) throws Exception {
        return get(ADMIN.describeConfigs(List.of(r), new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all()).get(r);
    }

    private static void alter(ConfigResource r, AlterConfigOp.OpType type, String key, String value) throws Exception {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(key, value), type));
        ADMIN.incrementalAlterConfigs(Map.of(r, ops)).all().get();
    }

    private static String describeConfigs() throws Exception {
        ConfigResource r = of(create("configs", 1, Map.of("retention.ms", "777000")));
        Config c = configs(r);
        expect(c.entries().size() > 20, "all configs are described, not " + c.entries().size());
        ConfigEntry own = c.get("retention.ms");
        expectEqual(own.value(), "777000", "value");
        expectEqual(own.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "source");
        expectEqual(own.type(), ConfigEntry.ConfigType.LONG, "type");
        expect(own.documentation() != null && !own.documentation().isEmpty(), "documentation");
        expectEqual(own.synonyms().get(0).name(), "retention.ms", "first synonym");
        expect(own.synonyms().size() > 1, "the default is a synonym");
        ConfigEntry other = c.get("max.message.bytes");
        expect(other.isDefault(), "max.message.bytes is a default");
        expect(!other.isReadOnly() && !other.isSensitive(), "it can be altered and seen");
        expectFailure(UnknownTopicOrPartitionException.class, () -> ADMIN.describeConfigs(List.of(of(name("never")))).all().get().toString());
        return c.entries().size() + " configs with source, type, synonyms, documentation";
    }

    private static String alterConfigs() throws Exception {
        ConfigResource r = of(create("alter", 1));
        String before = configs(r).get("retention.ms").value();
        alter(r, AlterConfigOp.OpType.SET, "retention.ms", "888000");
        expectEqual(configs(r).get("retention.ms").value(), "888000", "retention.ms set");
        alter(r, AlterConfigOp.OpType.SET, "cleanup.policy", "compact");
        alter(r, AlterConfigOp.OpType.APPEND, "cleanup.policy", "delete");
        expectEqual(Set.of(configs(r).get("cleanup.policy").value().split(",")), Set.of("compact", "delete"), "cleanup.policy appended");
        alter(r, AlterConfigOp.OpType.SUBTRACT, "cleanup.policy", "compact");
        expectEqual(configs(r).get("cleanup.policy").value(), "delete", "cleanup.policy subtracted");
        expectEqual(configs(r).get("retention.ms").value(), "888000", "retention.ms untouched");
        alter(r, AlterConfigOp.OpType.DELETE, "retention.ms", null);
        expectEqual(configs(r).get("retention.ms").value(), before, "retention.ms deleted");
        expect(configs(r).get("retention.ms").isDefault(), "it is the default again");
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "5"), AlterConfigOp.OpType.SET));
        get(ADMIN.incrementalAlterConfigs(Map.of(r, ops), new AlterConfigsOptions().validateOnly(true)).all());
        expectEqual(configs(r).get("retention.ms").value(), before, "retention.ms after validate only");
        return "set, append, subtract, delete, validate only";
    }

    private static String unknownConfig() throws Exception {
        ConfigResource r = of(create("unknown", 1));
        Class<InvalidConfigurationException> invalid = InvalidConfigurationException.class;
        expectFailure(invalid, () -> {
            alter(r, AlterConfigOp.OpType.SET, "no.such.config", "1");
            return "";
        });
        expectFailure(invalid, () -> {
            alter(r, AlterConfigOp.OpType.SET, "retention.ms", "soon");
            return "";
        });
        expectFailure(invalid, () -> create("unknown-made", 1, Map.of("no.such.config", "1")));
        expect(!exists(name("unknown-made")), "the topic is not made");
        return "refused in alterations and creations, as are bad values";
    }

    private static String brokerConfigs() throws Exception {
        int node = get(ADMIN.describeCluster().nodes()).iterator().next().id();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "" + node);
        ConfigResource cluster = new ConfigResource(ConfigResource.Type.BROKER, "");
        Config c = configs(broker);
        expect(c.get("num.partitions") != null && c.get("log.retention.ms") != null, "the usual configs are described");
        String key = "log.message.timestamp.after.max.ms";
        String topicKey = "message.timestamp.after.max.ms";
        ConfigResource topic = of(create("broker-configs", 1));
        try {
            alter(cluster, AlterConfigOp.OpType.SET, key, "123456789");
            eventually("the broker shows it", () -> configs(broker).get(key).source() == ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
            expectEqual(configs(cluster).get(key).value(), "123456789", "value of the cluster");
            expectEqual(configs(broker).get(key).value(), "123456789", "value of the broker");
            expectEqual(configs(topic).get(topicKey).value(), "123456789", "value of a topic");
        } finally {
            alter(cluster, AlterConfigOp.OpType.DELETE, key, null);
        }
        eventually("it is gone", () -> configs(broker).get(key).source() != ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        expectFailure(org.apache.kafka.common.KafkaException.class, () -> {
            alter(broker, AlterConfigOp.OpType.SET, "node.id", "77");
            return "";
        });
        return "a cluster-wide default reaches broker and topics and goes again; read-only ones are refused";
    }
}
