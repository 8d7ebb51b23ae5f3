package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"
)

// driver is a folder with a program that drives one or more clients.
type driver struct {
	dir     string
	needs   []string // commands that must be on the PATH
	clients []string // keys of clients
	within  time.Duration
	// restarts: it has broker-restart, and says when it is ready for it.
	restarts bool
}

// drivers is what the suite runs, in the order in which they are started: the
// slow ones first.
var drivers = []driver{
	{dir: "java", needs: []string{"java", "javac", "mvn"}, clients: []string{"java", "kafka-streams", "java-3.9", "java-2.1"}, within: 6 * time.Minute, restarts: true},
	{dir: "kafka-tools", needs: []string{"java", "javac", "mvn"}, clients: []string{"kafka-tools"}, within: 6 * time.Minute},
	{dir: "goclients", needs: []string{"go"}, clients: []string{"franz-go", "sarama", "kafka-go"}, within: 3 * time.Minute},
	{dir: "node", needs: []string{"node", "npm"}, clients: []string{"kafkajs"}, within: 4 * time.Minute},
	{dir: "python", needs: []string{"python3"}, clients: []string{"confluent-kafka"}, within: 4 * time.Minute},
	{dir: "kcat", needs: []string{"python3", "kcat"}, clients: []string{"kcat"}, within: 3 * time.Minute},
}

// client is a column of the table.
type client struct {
	key   string // what a driver calls it
	title string
	// system: it comes from the operating system's packages and not from a
	// pinned one, so that another version than the page's is told, not refused.
	system bool
}

var clients = []client{
	{key: "java", title: "Java client"},
	{key: "kafka-streams", title: "Kafka Streams"},
	{key: "java-3.9", title: "older Java client"},
	{key: "java-2.1", title: "oldest Java client"},
	{key: "franz-go", title: "franz-go"},
	{key: "sarama", title: "sarama"},
	{key: "kafka-go", title: "kafka-go"},
	{key: "kafkajs", title: "KafkaJS"},
	{key: "confluent-kafka", title: "confluent-kafka (librdkafka)"},
	{key: "kcat", title: "kcat (librdkafka)", system: true},
	{key: "kafka-tools", title: "Kafka tools"},
}

// capability is a row of the table. The names of those of Kafka's own tools begin
// with the tools' names; they make a table of their own.
type capability struct {
	name string
	does string
}

var capabilities = []capability{
	{"acks-0", "produce with acks=0"},
	{"acks-1", "produce with acks=1"},
	{"acks-all", "produce with acks=all"},
	{"gzip", "gzip, both ways"},
	{"snappy", "snappy, both ways"},
	{"lz4", "lz4, both ways"},
	{"zstd", "zstd, both ways"},
	{"idempotence", "idempotent producer"},
	{"records", "headers, null and empty keys and values come back as sent"},
	{"timestamps", "timestamps come back as sent, or are the broker's"},
	{"too-large", "a batch that is too large is refused; the producer goes on"},
	{"auto-create", "a topic is made by its first record"},
	{"transactional-refused", "a transactional id is refused at once"},
	{"interchange-write", "writes for other clients"},
	{"interchange-read", "reads what the other clients wrote, in each compression"},
	{"from-start", "consume from the start, in order"},
	{"fetch-sessions", "follow many partitions as records arrive; pause and resume"},
	{"from-time", "consume from a point in time"},
	{"offsets-by-time", "earliest, latest, by time; none after the end"},
	{"group-resume", "group: subscribe, commit, go on after a restart"},
	{"no-offset", "group: no committed offset is none, not 0"},
	{"group-rebalance", "group: a member joins, another leaves"},
	{"group-rejoin", "group: a member leaves and joins again"},
	{"static-member", "group: a static member comes back without a rebalance"},
	{"cooperative", "group: cooperative rebalance"},
	{"consumer-protocol", "group: the new protocol (KIP-848), members join and leave"},
	{"regex-subscription", "group: subscription by pattern"},
	{"group-upgrade", "group: from the classic to the new protocol and back, live"},
	{"broker-restart", "the broker is killed and comes back: no rebalance, nothing lost or doubled"},
	{"streams", "count by key, through a repartition topic; go on from the changelog"},
	{"list-groups", "list groups, by state and type"},
	{"describe-groups", "describe groups"},
	{"delete-groups", "delete groups; not those with members"},
	{"reset-offsets", "read and set a group's offsets"},
	{"delete-offsets", "delete a group's offsets; not those in use"},
	{"remove-members", "remove members of a group"},
	{"create-topic", "create topics; existing ones, bad names and counts are refused"},
	{"describe-topic", "list and describe topics"},
	{"delete-topic", "delete topics"},
	{"add-partitions", "add partitions"},
	{"describe-configs", "describe configs with source and defaults"},
	{"alter-configs", "alter configs of a topic, one by one"},
	{"replace-configs", "replace the configs of a topic (AlterConfigs)"},
	{"unknown-config", "unknown configs are refused"},
	{"broker-configs", "describe and alter configs of the cluster and of a broker"},
	{"delete-records", "delete records"},
	{"describe-cluster", "describe the cluster"},
	{"log-dirs", "sizes of partitions"},
	{"producers", "describe active producers"},
	{"quotas", "set, describe and remove client quotas; they throttle"},
	{"elect-leaders", "leader election: not needed"},
	{"reassign", "reassign partitions: none under way"},
	{"features", "supported and finalised features"},
	{"acls-disabled", "ACLs say that security is disabled"},
	{"no-missing-feature", "the client misses no feature (librdkafka says so with debug=feature)"},

	{"kafka-topics", "`kafka-topics` create, list, describe, alter, delete"},
	{"kafka-console-producer", "`kafka-console-producer` with keys, headers, compression"},
	{"kafka-console-consumer", "`kafka-console-consumer` from the beginning, an offset, in a group, by pattern"},
	{"kafka-consumer-groups-list", "`kafka-consumer-groups` --list, by state, by type"},
	{"kafka-consumer-groups-describe", "`kafka-consumer-groups` --describe: offsets and lag, members, state"},
	{"kafka-consumer-groups-reset", "`kafka-consumer-groups` --reset-offsets"},
	{"kafka-consumer-groups-delete", "`kafka-consumer-groups` --delete, --delete-offsets"},
	{"kafka-groups", "`kafka-groups` --list"},
	{"kafka-configs-topics", "`kafka-configs` of topics"},
	{"kafka-configs-brokers", "`kafka-configs` of brokers"},
	{"kafka-configs-clients", "`kafka-configs` of clients and users: quotas"},
	{"kafka-configs-groups", "`kafka-configs` of groups"},
	{"kafka-verifiable-producer", "`kafka-verifiable-producer`"},
	{"kafka-verifiable-consumer", "`kafka-verifiable-consumer`, both group protocols"},
	{"kafka-producer-perf-test", "`kafka-producer-perf-test`"},
	{"kafka-consumer-perf-test", "`kafka-consumer-perf-test`"},
	{"kafka-log-dirs", "`kafka-log-dirs` --describe"},
	{"kafka-get-offsets", "`kafka-get-offsets` latest, earliest, by time"},
	{"kafka-delete-records", "`kafka-delete-records`"},
	{"kafka-broker-api-versions", "`kafka-broker-api-versions`"},
	{"kafka-leader-election", "`kafka-leader-election`: not needed"},
	{"kafka-reassign-partitions", "`kafka-reassign-partitions` --list, --generate, --execute, --verify"},
	{"kafka-features", "`kafka-features` describe"},
	{"kafka-metadata-quorum", "`kafka-metadata-quorum` describe"},
	{"kafka-cluster", "`kafka-cluster` cluster-id, list-endpoints"},
	{"kafka-transactions", "`kafka-transactions` list, describe-producers"},
	{"kafka-acls", "`kafka-acls`: no authorizer is configured"},
	{"kafka-client-metrics", "`kafka-client-metrics` --list, --describe"},
}

// gap is what a client cannot do here yet, though it could against Apache Kafka.
// One that closes must be taken off: the page says what is true.
type gap struct {
	client       string
	capabilities []string
	why          string
}

var gaps []gap // none at present

func isGap(client, capability string) bool {
	for _, g := range gaps {
		if g.client == client && slices.Contains(g.capabilities, capability) {
			return true
		}
	}
	return false
}

// available leaves out the drivers whose toolchain is missing here, and says so;
// with needAll they are problems.
func available(all []driver, needAll bool, out io.Writer) (here []driver, problems []string) {
next:
	for _, d := range all {
		for _, command := range d.needs {
			if _, err := exec.LookPath(command); err != nil {
				if needAll {
					problems = append(problems, fmt.Sprintf("%s: %s is not installed", d.dir, command))
				} else {
					fmt.Fprintf(out, "SKIPPED %s: %s is not installed\n", d.dir, command)
				}
				continue next
			}
		}
		here = append(here, d)
	}
	return here, problems
}
