package client;

import static client.Kit.*;
import static compat.Report.*;

import compat.Report;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.AlterConsumerGroupOffsetsResult;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.UnknownMemberIdException;

final class Groups {
    static void plan(Report report) {
        report.check("group-rebalance", () -> rebalance("rebalance"));
        report.check("group-rejoin", Groups::rejoin);
        report.check("static-member", Groups::staticMember);
        report.check("cooperative", Groups::cooperative);
        report.check("consumer-protocol", Groups::consumerProtocol);
        report.check("regex-subscription", Groups::pattern);
        report.check("group-upgrade", Groups::upgrade);
        report.check("group-resume", Groups::resume);
        report.check("no-offset", Groups::noOffset);
        report.check("list-groups", Groups::list);
        report.check("describe-groups", Groups::describe);
        report.check("delete-groups", Groups::delete);
        report.check("reset-offsets", Groups::resetOffsets);
        report.check("delete-offsets", Groups::deleteOffsets);
        report.check("remove-members", Groups::removeMembers);
    }

    private static Member member(String topic, Object... pairs) {
        return new Member(in(topic, pairs), topic);
    }

    /** A consumer in the group that is named as the topic. */
    private static KafkaConsumer<String, String> in(String topic, Object... pairs) {
        Object[] all = new Object[pairs.length + 2];
        all[0] = "group.id";
        all[1] = topic;
        System.arraycopy(pairs, 0, all, 2, pairs.length);
        return consumer(all);
    }

    private static Set<String> values(int partitions, int from, int to) {
        Set<String> v = new HashSet<>();
        for (int k = 0; k < partitions; k++) {
            for (int i = from; i < to; i++) {
                v.add(k + "/" + i);
            }
        }
        return v;
    }

    private static String rebalance(String part, Object... pairs) throws Exception {
        String topic = create(part, 4);
        fill(topic, 4, 50);
        try (Member b = shareThenLeave(topic, pairs)) {
            Member.settle(4, b);
            try (var p = producer()) {
                for (int k = 0; k < 4; k++) {
                    p.send(new org.apache.kafka.clients.producer.ProducerRecord<>(topic, k, "k", k + "/50")).get();
                }
            }
            Member.read(values(4, 50, 51), b);
            eventually("all is committed", () -> {
                Map<TopicPartition, OffsetAndMetadata> at = get(ADMIN.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata());
                return at.size() == 4 && at.values().stream().allMatch(o -> o.offset() == 51);
            });
        }
        return "4 partitions: 4, then 2 and 2, then 4; all read and committed";
    }

    /** A first member reads, a second joins, the first leaves: the second is the answer. */
    private static Member shareThenLeave(String topic, Object... pairs) throws Exception {
        try (Member a = member(topic, pairs)) {
            Member.settle(4, a);
            Member.read(values(4, 0, 50), a);
            Member b = member(topic, pairs);
            try {
                Member.settle(4, a, b);
            } catch (Throwable t) {
                b.close();
                throw t;
            }
            return b;
        }
    }

    private static String rejoin() throws Exception {
        String topic = create("rejoin", 2);
        fill(topic, 2, 10);
        try (KafkaConsumer<String, String> c = in(topic); Member other = member(topic)) {
            for (int round = 0; round < 3; round++) {
                c.subscribe(List.of(topic));
                eventually("it has one of the two partitions", () -> {
                    c.poll(Duration.ofMillis(100));
                    return c.assignment().size() == 1 && other.assigned().size() == 1;
                });
                c.unsubscribe();
                Member.settle(2, other);
            }
        }
        return "3 times, the other member took over in between";
    }

    private static String staticMember() throws Exception {
        String topic = create("static", 4);
        fill(topic, 4, 1);
        try (Member a = member(topic, "group.instance.id", "a")) {
            Set<TopicPartition> had;
            try (Member b = member(topic, "group.instance.id", "b")) {
                Member.settle(4, a, b);
                had = b.assigned();
            }
            List<String> before = a.events();
            try (Member b = member(topic, "group.instance.id", "b")) {
                eventually("it has its partitions again", () -> b.assigned().equals(had));
                // What a rebalance would need to be seen: two heartbeats.
                Thread.sleep(7000);
                expectEqual(a.events(), before, "what the other member saw");
                expectEqual(b.events().size(), 1, "assignments of the one that came back");
                for (var m : get(ADMIN.describeConsumerGroups(List.of(topic)).all()).get(topic).members()) {
                    expect(m.groupInstanceId().isPresent(), "instance ids are described");
                }
            }
        }
        return "back with its partitions; the other member saw nothing";
    }

    private static String cooperative() throws Exception {
        String topic = create("cooperative", 4);
        fill(topic, 4, 5);
        String assignor = CooperativeStickyAssignor.class.getName();
        try (Member a = member(topic, "partition.assignment.strategy", assignor)) {
            Member.settle(4, a);
            try (Member b = member(topic, "partition.assignment.strategy", assignor)) {
                Member.settle(4, a, b);
                for (String event : a.events()) {
                    expect(!event.startsWith("lost") && !event.equals("-[0, 1, 2, 3]"), "only what moves is revoked, not " + a.events());
                }
                Member.read(values(4, 0, 5), a, b);
            }
            Member.settle(4, a);
        }
        return "only what moved was revoked";
    }

    private static String consumerProtocol() throws Exception {
        rebalance("new", "group.protocol", "consumer");
        rebalance("new-range", "group.protocol", "consumer", "group.remote.assignor", "range");
        String topic = create("new-described", 4);
        fill(topic, 4, 5);
        try (Member a = member(topic, "group.protocol", "consumer"); Member b = member(topic, "group.protocol", "consumer", "group.instance.id", "b")) {
            Member.settle(4, a, b);
            Member.read(values(4, 0, 5), a, b);
            ConsumerGroupDescription d = get(ADMIN.describeConsumerGroups(List.of(topic)).all()).get(topic);
            expectEqual(d.type(), GroupType.CONSUMER, "type");
            expectEqual(d.groupState(), GroupState.STABLE, "state");
            expectEqual(d.partitionAssignor(), "uniform", "assignor");
            expectEqual(d.members().size(), 2, "members");
            d.members().forEach(m -> {
                expectEqual(m.assignment().topicPartitions().size(), 2, "partitions of a member");
                expectEqual(m.targetAssignment().get().topicPartitions(), m.assignment().topicPartitions(), "target assignment");
                expectEqual(m.memberEpoch().get(), d.groupEpoch().get(), "member epoch");
            });
            // More partitions reach the members by heartbeat.
            get(ADMIN.createPartitions(Map.of(topic, org.apache.kafka.clients.admin.NewPartitions.increaseTo(6))).all());
            Member.settle(6, a, b);
            // A static member comes back and has what it had.
            Set<TopicPartition> had = b.assigned();
            b.close();
            try (Member again = member(topic, "group.protocol", "consumer", "group.instance.id", "b")) {
                eventually("the static member has its partitions again", () -> again.assigned().equals(had));
            }
        }
        return "uniform and range, described, grown, static";
    }

    private static String pattern() throws Exception {
        String one = create("pattern-one", 1);
        fill(one, 1, 3);
        String group = name("pattern");
        try (Member classic = new Member(consumer("group.id", group, "metadata.max.age.ms", 1000), (c, m) -> c.subscribe(Pattern.compile(name("pattern-") + ".*"), m));
             Member fresh = new Member(consumer("group.id", group + "-new", "group.protocol", "consumer", "metadata.max.age.ms", 1000), (c, m) -> c.subscribe(new SubscriptionPattern(name("pattern-") + ".*"), m))) {
            for (Member m : List.of(classic, fresh)) {
                Member.read(values(1, 0, 3), m);
            }
            String two = create("pattern-two", 1);
            for (Member m : List.of(classic, fresh)) {
                eventually("a topic that appears later is assigned", () -> m.assigned().equals(Set.of(new TopicPartition(one, 0), new TopicPartition(two, 0))));
            }
        }
        return "resolved by the client (classic) and by the broker (new protocol), with a topic that appeared later";
    }

    private static String upgrade() throws Exception {
        String topic = create("upgrade", 4);
        fill(topic, 4, 5);
        try (Member fresh = upgraded(topic)) {
            Member.settle(4, fresh);
            expectEqual(type(topic), GroupType.CONSUMER, "type");
            try (Member back = member(topic)) {
                Member.settle(4, fresh, back);
                fresh.close();
                Member.settle(4, back);
                eventually("the group is classic again", () -> type(topic) == GroupType.CLASSIC);
            }
        }
        return "classic, mixed, consumer, mixed, classic";
    }

    private static Member upgraded(String topic) throws Exception {
        try (Member old = member(topic)) {
            Member.settle(4, old);
            Member.read(values(4, 0, 5), old);
            expectEqual(type(topic), GroupType.CLASSIC, "type");
            Member fresh = member(topic, "group.protocol", "consumer");
            try {
                Member.settle(4, old, fresh);
                expectEqual(fresh.values(), List.of(), "records read twice");
            } catch (Throwable t) {
                fresh.close();
                throw t;
            }
            return fresh;
        }
    }

    private static GroupType type(String group) throws Exception {
        return get(ADMIN.describeConsumerGroups(List.of(group)).all()).get(group).type();
    }

    private static String resume() throws Exception {
        String topic = create("resume", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        fill(topic, 1, 100);
        try (KafkaConsumer<String, String> c = in(topic, "max.poll.records", 40)) {
            c.subscribe(List.of(topic));
            List<ConsumerRecord<String, String>> got = new ArrayList<>();
            eventually("the first records", () -> {
                c.poll(Duration.ofMillis(100)).forEach(got::add);
                return !got.isEmpty();
            });
            expectEqual(got.size(), 40, "records of the first poll");
            var epoch = got.get(39).leaderEpoch();
            expect(epoch.isPresent(), "records have a leader epoch");
            c.commitSync(Map.of(tp, new OffsetAndMetadata(40, epoch, "here")));
            expectEqual(c.committed(Set.of(tp)).get(tp).metadata(), "here", "metadata");
            expectEqual(c.committed(Set.of(tp)).get(tp).leaderEpoch(), epoch, "leader epoch");
        }
        try (KafkaConsumer<String, String> c = in(topic, "enable.auto.commit", "true")) {
            c.subscribe(List.of(topic));
            expectEqual(take(c, 60).get(0).value(), "0/40", "first value after the restart");
        }
        try (KafkaConsumer<String, String> c = in(topic)) {
            expectEqual(c.committed(Set.of(tp)).get(tp).offset(), 100L, "what the close committed");
        }
        return "40 records, then the other 60";
    }

    private static String noOffset() throws Exception {
        String topic = create("none", 2);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> c = in(topic)) {
            expectEqual(c.committed(Set.of(tp)).get(tp), null, "committed offset");
            c.commitSync(Map.of(tp, new OffsetAndMetadata(0)));
            expectEqual(c.committed(Set.of(tp)).get(tp).offset(), 0L, "committed offset");
            TopicPartition other = new TopicPartition(topic, 1);
            expectEqual(c.committed(Set.of(other)).get(other), null, "committed offset of another partition");
        }
        // None with no reset policy is an error of the consumer.
        try (KafkaConsumer<String, String> c = in(topic + "-strict", "auto.offset.reset", "none")) {
            c.assign(List.of(tp));
            expectFailure(org.apache.kafka.clients.consumer.NoOffsetForPartitionException.class, () -> c.poll(Duration.ofSeconds(20)).toString());
        }
        return "none is null, 0 is 0";
    }

    /** A group without members that has committed. */
    private static TopicPartition committed(String part, long offset) throws Exception {
        String topic = create(part, 2);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> c = in(topic)) {
            c.commitSync(Map.of(tp, new OffsetAndMetadata(offset)));
        }
        return tp;
    }

    private static Set<String> names(ListGroupsOptions options) throws Exception {
        Set<String> n = new HashSet<>();
        for (GroupListing l : get(ADMIN.listGroups(options).all())) {
            n.add(l.groupId());
        }
        return n;
    }

    private static String list() throws Exception {
        String empty = committed("list-empty", 1).topic();
        String topic = create("list", 1);
        fill(topic, 1, 1);
        try (Member m = member(topic)) {
            Member.settle(1, m);
            expect(names(new ListGroupsOptions()).containsAll(Set.of(topic, empty)), "both are listed");
            Set<String> stable = names(new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE)));
            expect(stable.contains(topic) && !stable.contains(empty), "by state Stable");
            Set<String> without = names(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY)));
            expect(!without.contains(topic) && without.contains(empty), "by state Empty");
            Set<String> classic = names(new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC)));
            expect(classic.containsAll(Set.of(topic, empty)), "by type classic");
            expect(!names(new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER))).contains(topic), "by type consumer");
            for (GroupListing l : get(ADMIN.listGroups().all())) {
                if (l.groupId().equals(topic)) {
                    expectEqual(l.protocol(), "consumer", "protocol type");
                    expectEqual(l.groupState().get(), GroupState.STABLE, "state");
                    expectEqual(l.type().get(), GroupType.CLASSIC, "type");
                }
            }
        }
        return "all, by state, by type";
    }

    private static String describe() throws Exception {
        String topic = create("describe-groups", 2);
        fill(topic, 2, 1);
        try (Member m = member(topic, "client.id", "me")) {
            Member.settle(2, m);
            ConsumerGroupDescription d = get(ADMIN.describeConsumerGroups(List.of(topic)).all()).get(topic);
            expectEqual(d.groupState(), GroupState.STABLE, "state");
            expectEqual(d.type(), GroupType.CLASSIC, "type");
            expectEqual(d.partitionAssignor(), "range", "assignor");
            expectEqual(d.members().size(), 1, "members");
            var one = d.members().iterator().next();
            expectEqual(one.clientId(), "me", "client id");
            expect(one.host().contains("127.0.0.1") || one.host().contains("::1") || one.host().contains("0:0:0:1"), "host, not " + one.host());
            expectEqual(one.assignment().topicPartitions(), new HashSet<>(partitions(topic, 2)), "assignment");
            expect(get(ADMIN.describeCluster().nodes()).contains(d.coordinator()), "the coordinator is a node");
            expectEqual(get(ADMIN.describeClassicGroups(List.of(topic)).all()).get(topic).protocol(), "consumer", "protocol of a classic group");
        }
        eventually("it is empty", () -> get(ADMIN.describeConsumerGroups(List.of(topic)).all()).get(topic).groupState() == GroupState.EMPTY);
        expectFailure(GroupIdNotFoundException.class, () -> ADMIN.describeConsumerGroups(List.of(name("never"))).all().get().toString());
        return "state, type, assignor, member, assignment, coordinator; unknown ones are not found";
    }

    private static String delete() throws Exception {
        String group = committed("delete-groups", 1).topic();
        get(ADMIN.deleteConsumerGroups(List.of(group)).all());
        expect(!names(new ListGroupsOptions()).contains(group), "it is gone");
        expectFailure(GroupIdNotFoundException.class, () -> ADMIN.deleteConsumerGroups(List.of(group)).all().get() + "");
        String topic = create("delete-groups-not", 1);
        try (Member m = member(topic)) {
            Member.settle(1, m);
            expectFailure(GroupNotEmptyException.class, () -> ADMIN.deleteConsumerGroups(List.of(topic)).all().get() + "");
        }
        return "one without members; not one with, not an unknown one";
    }

    private static String resetOffsets() throws Exception {
        TopicPartition tp = committed("reset", 1);
        get(ADMIN.alterConsumerGroupOffsets(tp.topic(), Map.of(tp, new OffsetAndMetadata(7, "set"))).all());
        var spec = new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(tp, new TopicPartition(tp.topic(), 1)));
        var at = ADMIN.listConsumerGroupOffsets(Map.of(tp.topic(), spec, name("never"), spec));
        Map<TopicPartition, OffsetAndMetadata> own = get(at.partitionsToOffsetAndMetadata(tp.topic()));
        expectEqual(own.get(tp), new OffsetAndMetadata(7, "set"), "offset");
        expectEqual(own.get(new TopicPartition(tp.topic(), 1)), null, "offset of the other partition");
        expectEqual(get(at.partitionsToOffsetAndMetadata(name("never"))).get(tp), null, "offset of an unknown group");
        expectEqual(get(ADMIN.listConsumerGroupOffsets(tp.topic()).partitionsToOffsetAndMetadata()).keySet(), Set.of(tp), "all offsets");
        TopicPartition none = new TopicPartition(name("never"), 0);
        AlterConsumerGroupOffsetsResult r = ADMIN.alterConsumerGroupOffsets(tp.topic(), Map.of(none, new OffsetAndMetadata(7)));
        expectFailure(org.apache.kafka.common.errors.UnknownTopicOrPartitionException.class, () -> r.partitionResult(none).get() + "");
        try (Member m = member(tp.topic())) {
            Member.settle(2, m);
            expectFailure(UnknownMemberIdException.class, () -> ADMIN.alterConsumerGroupOffsets(tp.topic(), Map.of(tp, new OffsetAndMetadata(8))).all().get() + "");
        }
        return "set, read of two groups at once; not of a group in use";
    }

    private static String deleteOffsets() throws Exception {
        TopicPartition tp = committed("delete-offsets", 1);
        get(ADMIN.deleteConsumerGroupOffsets(tp.topic(), Set.of(tp)).all());
        expectEqual(get(ADMIN.listConsumerGroupOffsets(tp.topic()).partitionsToOffsetAndMetadata()), Map.of(), "offsets");
        TopicPartition used = committed("delete-offsets-used", 1);
        try (Member m = member(used.topic())) {
            Member.settle(2, m);
            expectFailure(GroupSubscribedToTopicException.class, () -> ADMIN.deleteConsumerGroupOffsets(used.topic(), Set.of(used)).all().get() + "");
        }
        expectFailure(GroupIdNotFoundException.class, () -> ADMIN.deleteConsumerGroupOffsets(name("never"), Set.of(tp)).all().get() + "");
        return "gone; not of a topic that is subscribed";
    }

    private static String removeMembers() throws Exception {
        String topic = create("remove", 2);
        Member a = member(topic, "group.instance.id", "a");
        Member b = member(topic, "group.instance.id", "b");
        Member.settle(2, a, b);
        b.close(); // a static member stays when its client is gone
        expectEqual(get(ADMIN.describeConsumerGroups(List.of(topic)).all()).get(topic).members().size(), 2, "members");
        get(ADMIN.removeMembersFromConsumerGroup(topic, new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("b")))).all());
        Member.settle(2, a);
        expectFailure(UnknownMemberIdException.class, () -> ADMIN.removeMembersFromConsumerGroup(topic, new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("c")))).all().get() + "");
        a.close();
        get(ADMIN.removeMembersFromConsumerGroup(topic, new RemoveMembersFromConsumerGroupOptions()).all());
        eventually("it is empty", () -> get(ADMIN.describeConsumerGroups(List.of(topic)).all()).get(topic).groupState() == GroupState.EMPTY);
        return "one by its instance id, then all";
    }
}
