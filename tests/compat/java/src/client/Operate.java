package client;

import static client.Kit.*;
import static compat.Report.*;

import compat.Report;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

final class Operate {
    static void plan(Report report) {
        report.check("delete-records", Operate::deleteRecords);
        report.check("describe-cluster", Operate::cluster);
        report.check("log-dirs", Operate::logDirs);
        report.check("producers", Operate::producers);
        report.check("quotas", Operate::quotas);
        report.check("elect-leaders", Operate::elect);
        report.check("reassign", Operate::reassign);
        report.check("features", Operate::features);
        report.check("acls-disabled", Operate::acls);
    }

    private static long delete(TopicPartition tp, long before) throws Exception {
        return ADMIN.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(before))).lowWatermarks().get(tp).get().lowWatermark();
    }

    private static String deleteRecords() throws Exception {
        String topic = create("delete-records", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        fill(topic, 1, 100);
        expectEqual(delete(tp, 40), 40L, "low watermark");
        expectEqual(get(ADMIN.listOffsets(Map.of(tp, OffsetSpec.earliest())).partitionResult(tp)).offset(), 40L, "earliest");
        expectEqual(readAll(topic, 1, 60).get(0).value(), "0/40", "first value");
        try (var c = consumer()) { // below the start: reset to the earliest
            c.assign(List.of(tp));
            c.seek(tp, 3);
            expectEqual(take(c, 60).get(0).value(), "0/40", "first value after a reset");
        }
        expectFailure(OffsetOutOfRangeException.class, () -> delete(tp, 101) + "");
        expectEqual(delete(tp, 20), 40L, "low watermark after less");
        expectEqual(delete(tp, -1), 100L, "low watermark of all");
        return "40 of 100, then all; not beyond the end";
    }

    private static String cluster() throws Exception {
        var d = ADMIN.describeCluster();
        expect(!get(d.clusterId()).isEmpty(), "cluster id");
        Collection<Node> nodes = get(d.nodes());
        expect(nodes.contains(get(d.controller())), "the controller is a node");
        for (Node n : nodes) {
            expect(n.port() > 0 && !n.host().isEmpty(), "address of " + n);
        }
        return "cluster " + get(d.clusterId()) + ", nodes " + nodes.size();
    }

    private static String logDirs() throws Exception {
        String topic = create("log-dirs", 2);
        fill(topic, 2, 200);
        int node = get(ADMIN.describeCluster().nodes()).iterator().next().id();
        for (var dirs : get(ADMIN.describeLogDirs(List.of(node)).allDescriptions()).values()) {
            expect(!dirs.isEmpty(), "there is a dir");
            for (var dir : dirs.values()) {
                expect(dir.totalBytes().getAsLong() > 0 && dir.usableBytes().getAsLong() > 0, "bytes of the disk");
                var replica = dir.replicaInfos().get(new TopicPartition(topic, 0));
                expect(replica != null && replica.size() > 1000, "size of a partition, not " + replica);
            }
        }
        return "sizes of partitions and of the disk";
    }

    private static String producers() throws Exception {
        String topic = create("producers", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer()) {
            for (int i = 0; i < 3; i++) {
                p.send(new ProducerRecord<>(topic, "k", "v")).get();
            }
            var active = get(ADMIN.describeProducers(List.of(tp)).partitionResult(tp)).activeProducers();
            expectEqual(active.size(), 1, "producers");
            expectEqual(active.get(0).lastSequence(), 2, "last sequence");
            expect(active.get(0).currentTransactionStartOffset().isEmpty(), "no transaction");
        }
        return "one, with its last sequence";
    }

    private static String quotas() throws Exception {
        String id = name("throttled");
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, id));
        ClientQuotaFilter filter = ClientQuotaFilter.contains(List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, id)));
        String topic = create("quotas", 1);
        get(ADMIN.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(
            new ClientQuotaAlteration.Op("producer_byte_rate", 20_000.0), new ClientQuotaAlteration.Op("consumer_byte_rate", 1e9))))).all());
        expectEqual(get(ADMIN.describeClientQuotas(filter).entities()), Map.of(entity, Map.of("producer_byte_rate", 20_000.0, "consumer_byte_rate", 1e9)), "quotas");
        try (KafkaProducer<String, String> p = producer("client.id", id, "batch.size", 10_000)) {
            for (int i = 0; i < 25; i++) { // the rate is one of the last ten seconds
                p.send(new ProducerRecord<>(topic, "k", "x".repeat(9000))).get();
            }
            double throttled = p.metrics().entrySet().stream().filter(e -> e.getKey().name().equals("produce-throttle-time-max"))
                .mapToDouble(e -> (Double) e.getValue().metricValue()).max().orElse(0);
            expect(throttled > 0, "225 kB at 20 kB/s are throttled, not " + throttled + " ms");
        }
        get(ADMIN.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(
            new ClientQuotaAlteration.Op("producer_byte_rate", null), new ClientQuotaAlteration.Op("consumer_byte_rate", null))))).all());
        expectEqual(get(ADMIN.describeClientQuotas(filter).entities()), Map.of(), "quotas after removal");
        expectFailure(org.apache.kafka.common.errors.InvalidRequestException.class, () -> ADMIN.alterClientQuotas(List.of(
            new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("no_such_rate", 1.0))))).all().get() + "");
        return "set, described, throttles, removed; unknown ones refused";
    }

    private static String elect() throws Exception {
        String topic = create("elect", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        Map<TopicPartition, Optional<Throwable>> one = get(ADMIN.electLeaders(ElectionType.PREFERRED, Set.of(tp)).partitions());
        expect(one.get(tp).orElseThrow() instanceof ElectionNotNeededException, "not needed: " + one);
        get(ADMIN.electLeaders(ElectionType.PREFERRED, null).partitions()).values().forEach(e -> expectEqual(e, Optional.empty(), "error of all"));
        TopicPartition none = new TopicPartition(name("never"), 0);
        expect(get(ADMIN.electLeaders(ElectionType.PREFERRED, Set.of(none)).partitions()).get(none).isPresent(), "an unknown topic is told");
        return "not needed";
    }

    private static String reassign() throws Exception {
        String topic = create("reassign", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        int node = get(ADMIN.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().get(0).leader().id();
        expectEqual(get(ADMIN.listPartitionReassignments().reassignments()), Map.of(), "reassignments under way");
        get(ADMIN.alterPartitionReassignments(Map.of(tp, Optional.of(new NewPartitionReassignment(List.of(node))))).all());
        expectFailure(InvalidReplicaAssignmentException.class, () -> ADMIN.alterPartitionReassignments(Map.of(tp, Optional.of(new NewPartitionReassignment(List.of(4711))))).all().get() + "");
        expectFailure(NoReassignmentInProgressException.class, () -> ADMIN.alterPartitionReassignments(Map.of(tp, Optional.empty())).all().get() + "");
        return "to where it is; not to an unknown broker; nothing to cancel";
    }

    private static String features() throws Exception {
        var f = get(ADMIN.describeFeatures().featureMetadata());
        expect(f.finalizedFeatures().containsKey("group.version"), "group.version is finalised, which says that the new group protocol is served: " + f);
        expect(!f.finalizedFeatures().containsKey("transaction.version"), "transactions are not served");
        return "group.version " + f.finalizedFeatures().get("group.version");
    }

    private static String acls() throws Exception {
        expectFailure(SecurityDisabledException.class, () -> ADMIN.describeAcls(AclBindingFilter.ANY).values().get().toString());
        expectFailure(SecurityDisabledException.class, () -> ADMIN.deleteAcls(List.of(AclBindingFilter.ANY)).all().get().toString());
        return "SECURITY_DISABLED";
    }
}
