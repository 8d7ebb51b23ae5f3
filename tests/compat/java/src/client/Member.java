package client;

import static compat.Report.*;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/** A consumer of a group that polls in a thread of its own until it is closed. */
final class Member implements AutoCloseable, ConsumerRebalanceListener {
    private final KafkaConsumer<String, String> consumer;
    private final Thread thread;
    private volatile boolean stopped;
    private volatile Throwable failure;

    private final Set<TopicPartition> assigned = new HashSet<>();
    private final List<String> values = new ArrayList<>();
    private final List<String> events = new ArrayList<>();

    Member(KafkaConsumer<String, String> consumer, String topic) {
        this(consumer, (c, m) -> c.subscribe(List.of(topic), m));
    }

    interface Subscribe {
        void to(KafkaConsumer<String, String> consumer, ConsumerRebalanceListener listener);
    }

    Member(KafkaConsumer<String, String> consumer, Subscribe subscribe) {
        this.consumer = consumer;
        subscribe.to(consumer, this);
        thread = new Thread(this::poll);
        thread.setDaemon(true);
        thread.start();
    }

    private void poll() {
        try {
            while (!stopped) {
                var records = consumer.poll(Duration.ofMillis(100));
                synchronized (this) {
                    records.forEach(r -> values.add(r.value()));
                }
                if (!records.isEmpty()) {
                    try {
                        consumer.commitSync();
                    } catch (org.apache.kafka.clients.consumer.CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException e) {
                        // The partitions moved meanwhile; their new owner reads these again.
                    }
                }
            }
        } catch (WakeupException e) {
            // It was closed.
        } catch (Throwable t) {
            failure = t;
        } finally {
            consumer.close();
        }
    }

    @Override
    public synchronized void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        events.add("+" + numbers(partitions));
        assigned.addAll(partitions);
    }

    @Override
    public synchronized void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        events.add("-" + numbers(partitions));
        assigned.removeAll(partitions);
    }

    @Override
    public synchronized void onPartitionsLost(Collection<TopicPartition> partitions) {
        events.add("lost" + numbers(partitions));
        assigned.removeAll(partitions);
    }

    private static Set<Integer> numbers(Collection<TopicPartition> partitions) {
        Set<Integer> n = new TreeSet<>();
        partitions.forEach(p -> n.add(p.partition()));
        return n;
    }

    /** The partitions that it holds now. */
    synchronized Set<TopicPartition> assigned() {
        if (failure != null) {
            throw new AssertionError("a member failed", failure);
        }
        return new HashSet<>(assigned);
    }

    synchronized List<String> values() {
        return new ArrayList<>(values);
    }

    /** What was assigned, revoked and lost, in order. */
    synchronized List<String> events() {
        return new ArrayList<>(events);
    }

    @Override
    public void close() throws Exception {
        stopped = true;
        thread.join(30_000);
        expect(!thread.isAlive(), "a member closes within 30 s");
    }

    /** Waits until each partition 0…n-1 has exactly one of the members, and each member its share. */
    static void settle(int partitions, Member... members) throws Exception {
        try {
            eventually("", () -> settled(partitions, members));
        } catch (AssertionError e) {
            StringBuilder s = new StringBuilder();
            for (Member m : members) {
                s.append(numbers(m.assigned())).append(" by ").append(m.events()).append("; ");
            }
            throw new AssertionError(partitions + " partitions are not shared within 60 s: " + s);
        }
    }

    private static boolean settled(int partitions, Member... members) {
        Set<TopicPartition> all = new HashSet<>();
        int sum = 0;
        for (Member m : members) {
            Set<TopicPartition> own = m.assigned();
            if (own.size() < partitions / members.length) {
                return false;
            }
            all.addAll(own);
            sum += own.size();
        }
        return sum == partitions && all.size() == partitions;
    }

    /** Waits until the members together have read each of the values. */
    static void read(Collection<String> want, Member... members) throws Exception {
        eventually("all records are read", () -> {
            Set<String> got = new HashSet<>();
            for (Member m : members) {
                m.assigned();
                got.addAll(m.values());
            }
            return got.containsAll(want);
        });
    }
}
