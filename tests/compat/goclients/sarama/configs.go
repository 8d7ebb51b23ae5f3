package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func (x *t) describe(kind sarama.ConfigResourceType, name string) (map[string]sarama.ConfigEntry, error) {
	results, err := x.adm.DescribeConfigs([]*sarama.ConfigResource{{Type: kind, Name: name}}, sarama.DescribeConfigsOptions{IncludeSynonyms: true})
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || results[0].ErrorCode != sarama.ErrNoError {
		return nil, fmt.Errorf("%+v", results)
	}
	entries := map[string]sarama.ConfigEntry{}
	for _, c := range results[0].Configs {
		entries[c.Name] = c
	}
	return entries, nil
}

func (x *t) alter(kind sarama.ConfigResourceType, resource, name string, op sarama.IncrementalAlterConfigsOperation, value string) error {
	v := &value
	if op == sarama.IncrementalAlterConfigsOperationDelete {
		v = nil
	}
	return x.adm.IncrementalAlterConfig(kind, resource, map[string]sarama.IncrementalAlterConfigsEntry{name: {Operation: op, Value: v}}, false)
}

var describeConfigs = with(func(x *t) (string, error) {
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	entries, err := x.describe(sarama.TopicResource, topic)
	if err != nil {
		return "", err
	}
	if c := entries["retention.ms"]; c.Value != "3600000" || c.Source != sarama.SourceTopic || len(c.Synonyms) == 0 {
		return "", fmt.Errorf("retention.ms: %+v", c)
	}
	if c := entries["cleanup.policy"]; c.Value != "delete" || c.Source != sarama.SourceDefault {
		return "", fmt.Errorf("cleanup.policy: %+v", c)
	}
	return fmt.Sprintf("%d with source and synonyms", len(entries)), nil
})

var alterConfigs = with(func(x *t) (string, error) {
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	for _, step := range []struct {
		name        string
		op          sarama.IncrementalAlterConfigsOperation
		value, want string
	}{
		{"max.message.bytes", sarama.IncrementalAlterConfigsOperationSet, "2000000", "2000000"},
		{"cleanup.policy", sarama.IncrementalAlterConfigsOperationAppend, "compact", "delete,compact"},
		{"cleanup.policy", sarama.IncrementalAlterConfigsOperationSubtract, "delete", "compact"},
		{"retention.ms", sarama.IncrementalAlterConfigsOperationDelete, "", "604800000"},
	} {
		if err := x.alter(sarama.TopicResource, topic, step.name, step.op, step.value); err != nil {
			return "", fmt.Errorf("%s: %w", step.name, err)
		}
		entries, err := x.describe(sarama.TopicResource, topic)
		if err != nil {
			return "", err
		}
		if c := entries[step.name]; c.Value != step.want {
			return "", fmt.Errorf("%s is %q, want %q", step.name, c.Value, step.want)
		}
	}
	return "set, append, subtract, delete", nil
})

var unknownConfig = with(func(x *t) (string, error) {
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	yes := "yes"
	if err := x.adm.CreateTopic(x.Unique(), &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{"no.such.config": &yes}}, false); !errors.Is(err, sarama.ErrInvalidConfig) {
		return "", fmt.Errorf("create: %v, want INVALID_CONFIG", err)
	}
	for name, bad := range map[string]string{"no.such.config": "1", "retention.ms": "soon"} {
		if err := x.alter(sarama.TopicResource, topic, name, sarama.IncrementalAlterConfigsOperationSet, bad); err == nil || !strings.Contains(err.Error(), name) {
			return "", fmt.Errorf("%s=%s: %v, want it refused by name", name, bad, err)
		}
	}
	return "refused by name", nil
})

var replaceConfigs = with(func(x *t) (string, error) {
	topic, err := x.topic(1, "retention.ms", "3600000", "max.message.bytes", "5000")
	if err != nil {
		return "", err
	}
	value, bad := "7200000", "1"
	if err := x.adm.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &value}, false); err != nil {
		return "", err
	}
	if err := x.adm.AlterConfig(sarama.TopicResource, topic, map[string]*string{"no.such.config": &bad}, false); err == nil {
		return "", fmt.Errorf("an unknown config was taken")
	}
	entries, err := x.describe(sarama.TopicResource, topic)
	if err != nil {
		return "", err
	}
	for name, want := range map[string]string{"retention.ms": value, "max.message.bytes": "1048588"} {
		if c := entries[name]; c.Value != want {
			return "", fmt.Errorf("%s is %q, want %q", name, c.Value, want)
		}
	}
	return "what is not named goes back to its default", nil
})

var brokerConfigs = with(func(x *t) (string, error) {
	brokers, _, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	id := fmt.Sprint(brokers[0].ID())
	const key = "log.message.timestamp.after.max.ms" // one that disturbs nobody
	before, err := x.describe(sarama.BrokerResource, id)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"log.retention.ms", "message.max.bytes", "compression.type", key} {
		if c, ok := before[name]; !ok || c.Value == "" {
			return "", fmt.Errorf("%s: %+v, among %d", name, c, len(before))
		}
	}
	is := func(want string) error {
		return driver.Wait(x, func() error {
			entries, err := x.describe(sarama.BrokerResource, id)
			if c := entries[key]; err != nil || c.Value != want {
				return fmt.Errorf("%s is %q, want %q (%v)", key, c.Value, want, err)
			}
			return nil
		})
	}
	if err := x.alter(sarama.BrokerResource, id, key, sarama.IncrementalAlterConfigsOperationSet, "31536000000"); err != nil {
		return "", err
	}
	if err := is("31536000000"); err != nil {
		return "", err
	}
	if err := x.alter(sarama.BrokerResource, id, key, sarama.IncrementalAlterConfigsOperationDelete, ""); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d described; set and deleted", len(before)), is(before[key].Value)
})

var quotas = with(func(x *t) (string, error) {
	client := x.Unique()
	entity := []sarama.QuotaEntityComponent{{EntityType: sarama.QuotaEntityClientID, MatchType: sarama.QuotaMatchExact, Name: client}}
	filter := []sarama.QuotaFilterComponent{{EntityType: sarama.QuotaEntityClientID, MatchType: sarama.QuotaMatchExact, Match: client}}
	if err := x.adm.AlterClientQuotas(entity, sarama.ClientQuotasOp{Key: "producer_byte_rate", Value: 20_000}, false); err != nil {
		return "", err
	}
	described, err := x.adm.DescribeClientQuotas(filter, true)
	if err != nil || len(described) != 1 || described[0].Values["producer_byte_rate"] != 20_000 {
		return "", fmt.Errorf("%+v %v", described, err)
	}
	if err := x.adm.AlterClientQuotas(entity, sarama.ClientQuotasOp{Key: "no_such_quota", Value: 1}, false); err == nil {
		return "", fmt.Errorf("an unknown quota was taken")
	}
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	p, err := open(x, x.Env, func(c *sarama.Config) { c.ClientID = client })
	if err != nil {
		return "", err
	}
	defer p.close()
	began := time.Now()
	for range 40 {
		if err := p.produce(topic, []driver.Record{{Value: make([]byte, 10_000)}}); err != nil {
			return "", err
		}
		if time.Since(began) > 3*time.Second {
			break
		}
	}
	if took := time.Since(began); took < 2*time.Second {
		return "", fmt.Errorf("400 kB at 20 kB/s took %v", took)
	}
	if err := x.adm.AlterClientQuotas(entity, sarama.ClientQuotasOp{Key: "producer_byte_rate", Remove: true}, false); err != nil {
		return "", err
	}
	if described, err = x.adm.DescribeClientQuotas(filter, true); err != nil || len(described) != 0 {
		return "", fmt.Errorf("after the removal: %+v %v", described, err)
	}
	return "set, described, throttled, removed; unknown ones refused", nil
})
