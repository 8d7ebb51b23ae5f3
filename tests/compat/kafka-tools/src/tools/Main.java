package tools;

import static compat.Report.*;
import static tools.Tool.*;

import compat.Report;
import java.util.List;

public final class Main {
    private static final String TOPICS = "org.apache.kafka.tools.TopicCommand";
    private static final String PRODUCER = "org.apache.kafka.tools.ConsoleProducer";
    private static final String CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    private static final String GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    private static final String ALL_GROUPS = "org.apache.kafka.tools.GroupsCommand";
    private static final String CONFIGS = "kafka.admin.ConfigCommand";
    private static final String VERIFIABLE_PRODUCER = "org.apache.kafka.tools.VerifiableProducer";
    private static final String VERIFIABLE_CONSUMER = "org.apache.kafka.tools.VerifiableConsumer";
    private static final String PRODUCER_PERF = "org.apache.kafka.tools.ProducerPerformance";
    private static final String CONSUMER_PERF = "org.apache.kafka.tools.ConsumerPerformance";
    private static final String LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand";
    private static final String GET_OFFSETS = "org.apache.kafka.tools.GetOffsetShell";
    private static final String DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand";
    private static final String API_VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand";
    private static final String LEADER_ELECTION = "org.apache.kafka.tools.LeaderElectionCommand";
    private static final String REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    private static final String FEATURES = "org.apache.kafka.tools.FeatureCommand";
    private static final String QUORUM = "org.apache.kafka.tools.MetadataQuorumCommand";
    private static final String CLUSTER = "org.apache.kafka.tools.ClusterTool";
    private static final String TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand";
    private static final String ACLS = "org.apache.kafka.tools.AclCommand";
    private static final String CLIENT_METRICS = "org.apache.kafka.tools.ClientMetricsCommand";

    public static void main(String[] args) throws Exception {
        Report r = new Report("kafka-tools");
        r.check("kafka-topics", Main::topics);
        r.check("kafka-console-producer", Main::consoleProducer);
        r.check("kafka-console-consumer", Main::consoleConsumer);
        r.check("kafka-consumer-groups-list", Main::groupsList);
        r.check("kafka-consumer-groups-describe", Main::groupsDescribe);
        r.check("kafka-consumer-groups-reset", Main::groupsReset);
        r.check("kafka-consumer-groups-delete", Main::groupsDelete);
        r.check("kafka-groups", Main::allGroups);
        r.check("kafka-configs-topics", Main::configsTopics);
        r.check("kafka-configs-brokers", Main::configsBrokers);
        r.check("kafka-configs-clients", Main::configsClients);
        r.check("kafka-configs-groups", Main::configsGroups);
        r.check("kafka-verifiable-producer", Main::verifiableProducer);
        r.check("kafka-verifiable-consumer", Main::verifiableConsumer);
        r.check("kafka-producer-perf-test", Main::producerPerf);
        r.check("kafka-consumer-perf-test", Main::consumerPerf);
        r.check("kafka-log-dirs", Main::logDirs);
        r.check("kafka-get-offsets", Main::getOffsets);
        r.check("kafka-delete-records", Main::deleteRecords);
        r.check("kafka-broker-api-versions", Main::apiVersions);
        r.check("kafka-leader-election", Main::leaderElection);
        r.check("kafka-reassign-partitions", Main::reassign);
        r.check("kafka-features", Main::features);
        r.check("kafka-metadata-quorum", Main::quorum);
        r.check("kafka-cluster", Main::cluster);
        r.check("kafka-transactions", Main::transactions);
        r.check("kafka-acls", Main::acls);
        r.check("kafka-client-metrics", Main::clientMetrics);
        r.runAll(1); // they share standard input and output
    }

    private static String create(String part, int partitions, String... configs) throws Exception {
        String topic = PREFIX + "-" + part;
        String[] args = new String[5 + 2 * configs.length];
        args[0] = "--create";
        args[1] = "--topic";
        args[2] = topic;
        args[3] = "--partitions";
        args[4] = "" + partitions;
        for (int i = 0; i < configs.length; i++) {
            args[5 + 2 * i] = "--config";
            args[6 + 2 * i] = configs[i];
        }
        run(TOPICS, args).ok().says("Created topic " + topic);
        return topic;
    }

    private static String lines(int n) {
        StringBuilder s = new StringBuilder();
        for (int i = 0; i < n; i++) {
            s.append("line ").append(i).append('\n');
        }
        return s.toString();
    }

    /** A topic of one partition with the lines "line 0" … */
    private static String filled(String part, int n) throws Exception {
        String topic = create(part, 1);
        runWith(lines(n), PRODUCER, "--topic", topic).ok();
        return topic;
    }

    /** A group, named as its topic, that has read and committed n of the lines. */
    private static String consumed(String part, int all, int n) throws Exception {
        String topic = filled(part, all);
        run(CONSUMER, "--topic", topic, "--group", topic, "--from-beginning", "--max-messages", "" + n,
            "--command-property", "max.poll.records=" + n, "--timeout-ms", "30000").ok();
        return topic;
    }

    private static String topics() throws Exception {
        String topic = create("topics", 3, "retention.ms=3600000");
        run(TOPICS, "--create", "--topic", topic).fails("already exists");
        run(TOPICS, "--create", "--topic", topic, "--if-not-exists").ok();
        run(TOPICS, "--create", "--topic", topic + "-bad", "--config", "no.such.config=1").fails("no.such.config");
        run(TOPICS, "--list").ok().says("^" + topic + "$");
        run(TOPICS, "--describe", "--topic", topic).ok().says("PartitionCount: 3").says("retention.ms=3600000").says("Partition: 2 Leader: \\d+ Replicas: \\d+ Isr: \\d+");
        run(TOPICS, "--describe", "--under-replicated-partitions").ok().saysNot("Partition:");
        run(TOPICS, "--describe", "--unavailable-partitions").ok().saysNot("Partition:");
        run(TOPICS, "--alter", "--topic", topic, "--partitions", "5").ok();
        run(TOPICS, "--describe", "--topic", topic).ok().says("PartitionCount: 5").says("Partition: 4");
        run(TOPICS, "--delete", "--topic", topic).ok();
        run(TOPICS, "--list").ok().saysNot(topic);
        return "create, list, describe, alter, delete, and their errors";
    }

    private static String consoleProducer() throws Exception {
        String topic = create("producer", 1);
        runWith("h1:a,h2:b\tkey\tvalue\n" + "h1:c\tother\t\n", PRODUCER, "--topic", topic, "--reader-property", "parse.key=true",
            "--reader-property", "parse.headers=true", "--compression-codec", "zstd").ok();
        runWith("sync\n", PRODUCER, "--topic", topic, "--sync", "--request-required-acks", "1").ok();
        run(CONSUMER, "--topic", topic, "--from-beginning", "--max-messages", "3", "--timeout-ms", "30000", "--formatter-property", "print.key=true",
            "--formatter-property", "print.headers=true", "--formatter-property", "print.offset=true", "--formatter-property", "print.partition=true").ok()
            .says("Partition:0 Offset:0 h1:a,h2:b key value").says("Offset:1 h1:c other").says("Offset:2 NO_HEADERS null sync");
        return "keys, headers, compression, sync";
    }

    private static String consoleConsumer() throws Exception {
        String topic = filled("consumer", 20);
        run(CONSUMER, "--topic", topic, "--from-beginning", "--max-messages", "20", "--timeout-ms", "30000").ok().says("^line 0$").says("^line 19$");
        run(CONSUMER, "--topic", topic, "--partition", "0", "--offset", "15", "--max-messages", "5", "--timeout-ms", "30000").ok().saysNot("line 14").says("^line 15$");
        String group = topic + "-group";
        run(CONSUMER, "--topic", topic, "--group", group, "--from-beginning", "--max-messages", "8", "--command-property", "max.poll.records=8", "--timeout-ms", "30000").ok().says("^line 7$");
        run(CONSUMER, "--topic", topic, "--group", group, "--max-messages", "12", "--timeout-ms", "30000").ok().saysNot("line 7").says("^line 8$").says("^line 19$");
        run(CONSUMER, "--include", topic.replace("consumer", "cons.*"), "--from-beginning", "--max-messages", "20", "--timeout-ms", "30000",
            "--isolation-level", "read_committed").ok().says("^line 19$");
        return "from the beginning, an offset, in a group, by pattern";
    }

    private static String groupsList() throws Exception {
        String group = consumed("list", 3, 3);
        run(GROUPS, "--list").ok().says("^" + group + "$");
        run(GROUPS, "--list", "--state").ok().says("^" + group + " .*Empty");
        run(GROUPS, "--list", "--state", "Stable").ok().saysNot(group);
        run(GROUPS, "--list", "--type", "classic").ok().says("^" + group + " .*Classic");
        run(GROUPS, "--list", "--type", "consumer").ok().saysNot(group);
        return "all, by state, by type";
    }

    private static String groupsDescribe() throws Exception {
        String group = consumed("describe", 10, 4);
        run(GROUPS, "--describe", "--group", group).ok().says(group + " " + group + " 0 4 10 6 -");
        run(GROUPS, "--describe", "--group", group, "--state").ok().says(group + " .* Empty 0");
        run(GROUPS, "--describe", "--group", group, "--members", "--verbose").ok();
        run(GROUPS, "--describe", "--all-groups").ok().says(group + " " + group + " 0 4 10 6 -");
        run(GROUPS, "--describe", "--group", PREFIX + "-never").fails("GroupIdNotFoundException");
        for (String protocol : List.of("classic", "consumer")) { // with a member, which another thread keeps
            String topic = filled("describe-" + protocol, 3);
            Thread member = Live.member(topic, protocol);
            try {
                eventually("the member is described", () -> run(GROUPS, "--describe", "--group", topic).out.contains(topic + " "));
                eventually("what it read is committed", () -> java.util.regex.Pattern.compile(topic + "\\s+" + topic + "\\s+0\\s+3\\s+3\\s+0\\s+\\S+\\s+/\\S+\\s+live")
                    .matcher(run(GROUPS, "--describe", "--group", topic).ok().out).find());
                run(GROUPS, "--describe", "--group", topic, "--members").ok().says(topic + " \\S+ /\\S+ live 1");
                run(GROUPS, "--describe", "--group", topic, "--members", "--verbose").ok().says(topic + " .*live .*" + topic);
                run(GROUPS, "--describe", "--group", topic, "--state").ok().says("Stable 1");
                run(GROUPS, "--list", "--type", protocol).ok().says("^" + topic);
                run(GROUPS, "--delete", "--group", topic).fails("GroupNotEmptyException");
            } finally {
                member.interrupt();
                member.join();
            }
        }
        return "offsets and lag, members, state, all groups, unknown ones";
    }

    private static String groupsReset() throws Exception {
        String group = consumed("reset", 10, 4);
        List<String> topic = List.of("--reset-offsets", "--group", group, "--topic", group);
        expectOffset(topic, 0, "--to-earliest", "--dry-run");
        run(GROUPS, "--describe", "--group", group).ok().says(" 0 4 10 6");
        expectOffset(topic, 0, "--to-earliest", "--execute");
        expectOffset(topic, 7, "--to-offset", "7", "--execute");
        expectOffset(topic, 5, "--shift-by", "-2", "--execute");
        expectOffset(topic, 10, "--to-datetime", "2100-01-01T00:00:00.000", "--execute");
        expectOffset(topic, 0, "--by-duration", "PT1H", "--execute");
        expectOffset(topic, 10, "--to-latest", "--execute");
        run(GROUPS, "--describe", "--group", group).ok().says(" 0 10 10 0");
        expectOffset(List.of("--reset-offsets", "--group", group, "--all-topics"), 10, "--to-current", "--dry-run");
        return "earliest, latest, current, offset, shift, datetime, duration; a dry run changes nothing";
    }

    private static void expectOffset(List<String> common, long offset, String... how) throws Exception {
        List<String> args = new java.util.ArrayList<>(common);
        args.addAll(List.of(how));
        String group = common.get(2);
        run(GROUPS, args.toArray(new String[0])).ok().says(group + " " + group + " 0 " + offset);
    }

    private static String groupsDelete() throws Exception {
        String group = consumed("delete", 3, 3);
        run(GROUPS, "--delete-offsets", "--group", group, "--topic", group).ok().says("Successful");
        run(GROUPS, "--delete", "--group", group).ok().says("successful");
        run(GROUPS, "--list").ok().saysNot(group);
        run(GROUPS, "--delete", "--group", group).fails("could not be deleted");
        return "offsets, then the group";
    }

    private static String allGroups() throws Exception {
        String group = consumed("all-groups", 1, 1);
        run(ALL_GROUPS, "--list").ok().says("^" + group + " Classic consumer");
        run(ALL_GROUPS, "--list", "--consumer").ok().says("^" + group);
        return "classic groups and their protocol";
    }

    private static String configsTopics() throws Exception {
        String topic = create("configs", 1);
        String[] of = {"--entity-type", "topics", "--entity-name", topic};
        configs(of, "--alter", "--add-config", "retention.ms=1234567,cleanup.policy=[compact,delete]").ok();
        configs(of, "--describe").ok().says("retention.ms=1234567 .*DYNAMIC_TOPIC_CONFIG:retention.ms=1234567").says("cleanup.policy=compact,delete").saysNot("segment.bytes");
        configs(of, "--describe", "--all").ok().says("max.message.bytes=\\d+ .*DEFAULT_CONFIG");
        configs(of, "--alter", "--delete-config", "retention.ms").ok();
        configs(of, "--describe").ok().saysNot("retention.ms");
        configs(of, "--alter", "--add-config", "no.such.config=1").fails("no.such.config");
        configs(of, "--alter", "--add-config", "retention.ms=soon").fails("retention.ms");
        return "add, describe, describe all, delete; unknown ones are refused";
    }

    private static Tool configs(String[] of, String... args) throws Exception {
        String[] all = new String[of.length + args.length];
        System.arraycopy(of, 0, all, 0, of.length);
        System.arraycopy(args, 0, all, of.length, args.length);
        return run(CONFIGS, all);
    }

    private static String broker() throws Exception {
        var m = java.util.regex.Pattern.compile("\\(id: (\\d+) rack").matcher(run(API_VERSIONS).ok().out);
        expect(m.find(), "a broker is listed");
        return m.group(1);
    }

    private static String configsBrokers() throws Exception {
        String[] one = {"--entity-type", "brokers", "--entity-name", broker()};
        String[] all = {"--entity-type", "brokers", "--entity-default"};
        configs(one, "--describe", "--all").ok().says("num.partitions=\\d+").says("log.retention.ms=");
        configs(all, "--alter", "--add-config", "log.message.timestamp.before.max.ms=99999999999").ok();
        try {
            configs(all, "--describe").ok().says("log.message.timestamp.before.max.ms=99999999999 .*DYNAMIC_DEFAULT_BROKER_CONFIG");
            configs(one, "--describe", "--all").ok().says("log.message.timestamp.before.max.ms=99999999999 .*DYNAMIC_DEFAULT_BROKER_CONFIG");
        } finally {
            configs(all, "--alter", "--delete-config", "log.message.timestamp.before.max.ms").ok();
        }
        configs(all, "--describe").ok().saysNot("log.message.timestamp.before.max.ms");
        configs(one, "--alter", "--add-config", "no.such.config=1").fails("no.such.config");
        return "describe all, alter and delete a cluster-wide default";
    }

    private static String configsClients() throws Exception {
        for (String type : List.of("clients", "users")) {
            String[] of = {"--entity-type", type, "--entity-name", PREFIX + "-quota"};
            configs(of, "--alter", "--add-config", "producer_byte_rate=1000000,consumer_byte_rate=2000000").ok();
            configs(of, "--describe").ok().says("producer_byte_rate=1000000").says("consumer_byte_rate=2000000");
            configs(of, "--alter", "--delete-config", "producer_byte_rate,consumer_byte_rate").ok();
            configs(of, "--describe").ok().saysNot("producer_byte_rate");
        }
        return "quotas of clients and users: add, describe, delete";
    }

    private static String configsGroups() throws Exception {
        String[] of = {"--entity-type", "groups", "--entity-name", PREFIX + "-group"};
        configs(of, "--alter", "--add-config", "consumer.session.timeout.ms=50000").ok();
        configs(of, "--describe").ok().says("consumer.session.timeout.ms=50000");
        configs(of, "--alter", "--delete-config", "consumer.session.timeout.ms").ok();
        configs(of, "--describe").ok().saysNot("consumer.session.timeout.ms=50000");
        return "add, describe, delete";
    }

    private static String verifiableProducer() throws Exception {
        String topic = create("verifiable-producer", 1);
        process(VERIFIABLE_PRODUCER, "--topic", topic, "--max-messages", "50", "--acks", "-1").ok().says("producer_send_success.*\"offset\":49").says("\"name\":\"tool_data\".*").says("\"acked\":50");
        run(CONSUMER, "--topic", topic, "--from-beginning", "--max-messages", "50", "--timeout-ms", "30000").ok().says("^0$").says("^49$");
        return "50 sent, 50 acknowledged, 50 read";
    }

    private static String verifiableConsumer() throws Exception {
        String topic = filled("verifiable-consumer", 30);
        for (String protocol : List.of("classic", "consumer")) {
            process(VERIFIABLE_CONSUMER, "--topic", topic, "--group-id", topic + "-" + protocol, "--group-protocol", protocol, "--max-messages", "30", "--reset-policy", "earliest").ok()
                .says("partitions_assigned").says("records_consumed.*\"count\":30").says("offsets_committed.*\"offset\":30.*\"success\":true");
        }
        return "30 records consumed and committed, by both protocols";
    }

    private static String producerPerf() throws Exception {
        String topic = create("perf", 2);
        runBare("", PRODUCER_PERF, "--topic", topic, "--num-records", "20000", "--record-size", "100", "--throughput", "-1",
            "--bootstrap-server", BOOTSTRAP, "--command-property", "compression.type=lz4").ok().says("^20000 records sent");
        return "20000 records";
    }

    private static String consumerPerf() throws Exception {
        String topic = create("consumer-perf", 1);
        runBare("", PRODUCER_PERF, "--topic", topic, "--num-records", "20000", "--record-size", "100", "--throughput", "-1", "--bootstrap-server", BOOTSTRAP).ok();
        run(CONSUMER_PERF, "--topic", topic, "--num-records", "20000", "--timeout", "30000").ok().says(", 20000, ");
        return "20000 records";
    }

    private static String logDirs() throws Exception {
        String topic = filled("log-dirs", 50);
        run(LOG_DIRS, "--describe", "--topic-list", topic).ok().says("\"partition\":\"" + topic + "-0\",\"size\":[1-9]\\d*");
        return "sizes of partitions";
    }

    private static String getOffsets() throws Exception {
        String topic = filled("offsets", 12);
        run(GET_OFFSETS, "--topic", topic).ok().says("^" + topic + ":0:12$");
        run(GET_OFFSETS, "--topic", topic, "--time", "earliest").ok().says("^" + topic + ":0:0$");
        run(GET_OFFSETS, "--topic", topic, "--time", "max-timestamp").ok().says("^" + topic + ":0:\\d+$");
        run(GET_OFFSETS, "--topic", topic, "--time", "4102444800000").ok();
        run(GET_OFFSETS, "--topic-partitions", topic + ":0").ok().says("^" + topic + ":0:12$");
        return "latest, earliest, by time, max-timestamp";
    }

    private static String deleteRecords() throws Exception {
        String topic = filled("delete-records", 12);
        String json = "{\"version\":1,\"partitions\":[{\"topic\":\"" + topic + "\",\"partition\":0,\"offset\":5}]}";
        run(DELETE_RECORDS, "--offset-json-file", Tool.file(json).toString()).ok().says("partition: " + topic + "-0 low_watermark: 5");
        run(GET_OFFSETS, "--topic", topic, "--time", "earliest").ok().says("^" + topic + ":0:5$");
        return "5 of 12";
    }

    private static String apiVersions() throws Exception {
        run(API_VERSIONS).ok().says("Produce\\(0\\): 0 to \\d+ \\[usable: \\d+\\]").says("ApiVersions\\(18\\): 0 to 4").says("ConsumerGroupHeartbeat\\(68\\): ");
        return "all ranges are usable";
    }

    private static String leaderElection() throws Exception {
        String topic = create("election", 1);
        run(LEADER_ELECTION, "--election-type", "preferred", "--topic", topic, "--partition", "0").ok().says("Valid replica already elected for partitions? " + topic + "-0");
        run(LEADER_ELECTION, "--election-type", "preferred", "--all-topic-partitions").ok();
        return "the valid replica is elected already";
    }

    private static String reassign() throws Exception {
        String topic = create("reassign", 1);
        String broker = broker();
        run(REASSIGN, "--list").ok().says("No partition reassignments found");
        String topics = Tool.file("{\"topics\":[{\"topic\":\"" + topic + "\"}],\"version\":1}").toString();
        run(REASSIGN, "--topics-to-move-json-file", topics, "--broker-list", broker, "--generate").ok().says("\"topic\":\"" + topic + "\"");
        String plan = Tool.file("{\"version\":1,\"partitions\":[{\"topic\":\"" + topic + "\",\"partition\":0,\"replicas\":[" + broker + "]}]}").toString();
        run(REASSIGN, "--reassignment-json-file", plan, "--execute").ok().says("Successfully started");
        run(REASSIGN, "--reassignment-json-file", plan, "--verify").ok().says("Reassignment of partition " + topic + "-0 is completed");
        return "list, generate, execute, verify";
    }

    private static String features() throws Exception {
        runBare("", FEATURES, "--bootstrap-server", BOOTSTRAP, "describe").ok().says("Feature: group.version.*FinalizedVersionLevel: 1").saysNot("transaction.version");
        return "group.version is finalised, transaction.version is not there";
    }

    private static String quorum() throws Exception {
        runBare("", QUORUM, "--bootstrap-server", BOOTSTRAP, "describe", "--status").ok().says("LeaderId: \\d+").says("CurrentVoters: ");
        runBare("", QUORUM, "--bootstrap-server", BOOTSTRAP, "describe", "--replication").ok().says("Leader");
        return "status and replication";
    }

    private static String cluster() throws Exception {
        runBare("", CLUSTER, "cluster-id", "--bootstrap-server", BOOTSTRAP).ok().says("Cluster ID: \\S+");
        runBare("", CLUSTER, "list-endpoints", "--bootstrap-server", BOOTSTRAP).ok().says("localhost|127.0.0.1");
        return "cluster-id, list-endpoints";
    }

    private static String transactions() throws Exception {
        String topic = filled("transactions", 3);
        runBare("", TRANSACTIONS, "--bootstrap-server", BOOTSTRAP, "list").ok();
        runBare("", TRANSACTIONS, "--bootstrap-server", BOOTSTRAP, "describe-producers", "--topic", topic, "--partition", "0").ok().says("ProducerId.*ProducerEpoch");
        return "none to list; describe-producers";
    }

    private static String acls() throws Exception {
        run(ACLS, "--list").fails("SecurityDisabledException");
        return "no authorizer is configured";
    }

    private static String clientMetrics() throws Exception {
        String name = PREFIX + "-metrics";
        run(CLIENT_METRICS, "--list").ok();
        run(CLIENT_METRICS, "--describe", "--name", name).ok();
        return "list and describe: none";
    }
}
