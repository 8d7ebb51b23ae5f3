package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// KafkaSetting is a setting under the name that Kafka's tools know it by.
type KafkaSetting struct {
	Name  string
	Value string // in Kafka's unit
	Type  topicconfig.Type
	Given bool // somebody set it; else it is the default
	Doc   string
}

// kafkaNames are Kafka's names of settings, where the meaning is the same.
func kafkaNames() map[string]string {
	return map[string]string{
		"kafka.listen":                      "listeners",
		"kafka.advertised":                  "advertised.listeners",
		"kafka.connections_max":             "max.connections",
		"kafka.idle_timeout":                "connections.max.idle.ms",
		"kafka.request_bytes_max":           "socket.request.max.bytes",
		"kafka.fetch_bytes_max":             "fetch.max.bytes",
		"kafka.fetch_sessions_max":          "max.incremental.fetch.session.cache.slots",
		"kafka.describe_partitions_max":     "max.request.partition.size.limit",
		"topic.auto_create":                 "auto.create.topics.enable",
		"topic.partitions":                  "num.partitions",
		"broker.rack":                       "broker.rack",
		"data_dir":                          "log.dirs",
		"group.initial_rebalance_delay":     "group.initial.rebalance.delay.ms",
		"group.session_timeout_min":         "group.min.session.timeout.ms",
		"group.session_timeout_max":         "group.max.session.timeout.ms",
		"group.members_max":                 "group.max.size",
		"group.consumer_session_timeout":    "group.consumer.session.timeout.ms",
		"group.consumer_heartbeat_interval": "group.consumer.heartbeat.interval.ms",
		"group.consumer_migration":          "group.consumer.migration.policy",
		"group.offsets_retention":           "offsets.retention.minutes",
		"group.offsets_retention_check":     "offsets.retention.check.interval.ms",
		"group.offset_metadata_bytes_max":   "offset.metadata.max.bytes",
		"producer.expiry":                   "producer.id.expiration.ms",
	}
}

// KafkaSettings are the settings that have a name in Kafka, as its tools show
// them. None can be altered while the process runs, but what is set on brokers
// (package dynamicconfig) can come before some.
func (c *Config) KafkaSettings() []KafkaSetting {
	names := kafkaNames()
	var all []KafkaSetting
	for _, s := range c.settings() {
		name, ok := names[s.Key]
		if !ok {
			continue
		}
		value, kind := kafkaValue(s.Value, name)
		all = append(all, KafkaSetting{
			Name: name, Value: value, Type: kind, Given: c.Source(s.Key).Name != sourceDefault,
			Doc: fmt.Sprintf("%s It is %s in the configuration file, and %s in the environment.", s.Doc, s.Key, s.Variable()),
		})
	}
	return all
}

// kafkaValue shows a value as Kafka does: plain numbers, in the unit that the
// name ends with.
func kafkaValue(v Value, name string) (string, topicconfig.Type) {
	switch v := v.(type) {
	case durationValue:
		unit := time.Millisecond
		if strings.HasSuffix(name, ".minutes") {
			unit = time.Minute
		}
		return strconv.FormatInt(int64(*v.to/unit), 10), topicconfig.Long
	case bytesValue:
		return strconv.FormatInt(int64(*v.to), 10), topicconfig.Long
	case intValue:
		return v.String(), topicconfig.Int
	case boolValue:
		return v.String(), topicconfig.Boolean
	case listenersValue, advertisedValue:
		return v.String(), topicconfig.List
	}
	return v.String(), topicconfig.String
}
