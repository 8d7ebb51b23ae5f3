package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func describeConfigs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	described, err := x.adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	rc, err := described.On(topic, nil)
	if err != nil || rc.Err != nil {
		return "", errors.Join(err, rc.Err)
	}
	seen := map[string]kadm.Config{}
	for _, c := range rc.Configs {
		seen[c.Key] = c
	}
	if c := seen["retention.ms"]; c.MaybeValue() != "3600000" || c.Source != kmsg.ConfigSourceDynamicTopicConfig || len(c.Synonyms) == 0 {
		return "", fmt.Errorf("retention.ms: %+v", c)
	}
	if c := seen["cleanup.policy"]; c.MaybeValue() != "delete" || c.Source != kmsg.ConfigSourceDefaultConfig {
		return "", fmt.Errorf("cleanup.policy: %+v", c)
	}
	unknown, err := x.adm.DescribeTopicConfigs(ctx, e.Unique())
	if err == nil && len(unknown) == 1 {
		err = unknown[0].Err
	}
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return "", fmt.Errorf("unknown topic: %v", err)
	}
	return fmt.Sprintf("%d with source and synonyms", len(rc.Configs)), nil
}

func brokerConfigs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	brokers, err := x.adm.ListBrokers(ctx)
	if err != nil {
		return "", err
	}
	node := brokers[0].NodeID
	const key = "log.message.timestamp.before.max.ms" // one that disturbs nobody
	find := func(broker ...int32) (kadm.Config, int, error) {
		described, err := x.adm.DescribeBrokerConfigs(ctx, broker...)
		if err != nil || len(described) != 1 || described[0].Err != nil {
			return kadm.Config{}, 0, fmt.Errorf("describe broker %v: %+v %v", broker, described, err)
		}
		for _, c := range described[0].Configs {
			if c.Key == key {
				return c, len(described[0].Configs), nil
			}
		}
		return kadm.Config{}, len(described[0].Configs), nil
	}
	before, n, err := find(node)
	if err != nil || n == 0 || before.Key == "" {
		return "", fmt.Errorf("%s is not among %d configs of the broker (%v)", key, n, err)
	}
	year := "31536000000"
	alter := func(op kadm.IncrementalOp, value *string) error {
		answer, err := x.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: key, Value: value}}, node)
		if err == nil && (len(answer) != 1 || answer[0].Err != nil) {
			err = fmt.Errorf("%+v", answer)
		}
		return err
	}
	if err := alter(kadm.SetConfig, &year); err != nil {
		return "", fmt.Errorf("set: %w", err)
	}
	defer alter(kadm.DeleteConfig, nil)
	if err := driver.Wait(ctx, func() error {
		if c, _, err := find(node); err != nil || c.MaybeValue() != year || c.Source != kmsg.ConfigSourceDynamicBrokerConfig {
			return fmt.Errorf("after set: %q from %v (%v)", c.MaybeValue(), c.Source, err)
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := alter(kadm.DeleteConfig, nil); err != nil {
		return "", fmt.Errorf("delete: %w", err)
	}
	if err := driver.Wait(ctx, func() error {
		if c, _, err := find(node); err != nil || c.MaybeValue() != before.MaybeValue() || c.Source != before.Source {
			return fmt.Errorf("after delete: %q from %v, was %q from %v (%v)", c.MaybeValue(), c.Source, before.MaybeValue(), before.Source, err)
		}
		return nil
	}); err != nil {
		return "", err
	}
	if answer, err := x.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "no.such.config", Value: &year}}, node); err != nil || len(answer) != 1 || answer[0].Err == nil {
		return "", fmt.Errorf("an unknown config was taken: %+v %v", answer, err)
	}
	return fmt.Sprintf("%d described; set and deleted; unknown ones refused", n), nil
}

func (x *t) config(topic, key string) (string, error) {
	described, err := x.adm.DescribeTopicConfigs(x, topic)
	if err != nil {
		return "", err
	}
	rc, err := described.On(topic, nil)
	if err != nil || rc.Err != nil {
		return "", errors.Join(err, rc.Err)
	}
	for _, c := range rc.Configs {
		if c.Key == key {
			return c.MaybeValue(), nil
		}
	}
	return "", fmt.Errorf("there is no %s", key)
}

func alterConfigs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	value := func(v string) *string { return &v }
	expect := func(key, want string) error {
		got, err := x.config(topic, key)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", key, got, want)
		}
		return err
	}
	for _, step := range []struct {
		alter     kadm.AlterConfig
		key, want string
	}{
		{kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: value("2000000")}, "max.message.bytes", "2000000"},
		{kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: value("compact")}, "cleanup.policy", "delete,compact"},
		{kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: value("delete")}, "cleanup.policy", "compact"},
		{kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}, "retention.ms", "604800000"},
	} {
		answer, err := x.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{step.alter}, topic)
		if err != nil {
			return "", err
		}
		if len(answer) != 1 || answer[0].Err != nil {
			return "", fmt.Errorf("%+v: %+v", step.alter, answer)
		}
		if err := expect(step.key, step.want); err != nil {
			return "", fmt.Errorf("after %v %s: %w", step.alter.Op, step.alter.Name, err)
		}
	}
	return "set, append, subtract, delete", nil
}

func alterConfigsLegacy(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "retention.ms", "3600000", "max.message.bytes", "5000")
	if err != nil {
		return "", err
	}
	value := "7200000"
	answer, err := x.adm.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: &value}}, topic)
	if err != nil || len(answer) != 1 || answer[0].Err != nil {
		return "", fmt.Errorf("%+v %v", answer, err)
	}
	for key, want := range map[string]string{"retention.ms": value, "max.message.bytes": "1048588"} {
		if got, err := x.config(topic, key); err != nil || got != want {
			return "", fmt.Errorf("%s is %q, want %q (%v)", key, got, want, err)
		}
	}
	return "what is not named goes back to its default", nil
}

func unknownConfig(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	yes, bad := "yes", "soon"
	if answer, err := x.adm.CreateTopic(ctx, 1, 1, map[string]*string{"no.such.config": &yes}, e.Unique()); !errors.Is(errors.Join(err, answer.Err), kerr.InvalidConfig) {
		return "", fmt.Errorf("create: %v %v, want INVALID_CONFIG", err, answer.Err)
	}
	for _, alter := range []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "no.such.config", Value: &yes},
		{Op: kadm.SetConfig, Name: "retention.ms", Value: &bad},
	} {
		answer, err := x.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{alter}, topic)
		if err != nil || len(answer) != 1 || !errors.Is(answer[0].Err, kerr.InvalidConfig) {
			return "", fmt.Errorf("alter %s: %+v %v, want INVALID_CONFIG", alter.Name, answer, err)
		}
		if answer[0].ErrMessage == "" {
			return "", fmt.Errorf("alter %s: no message", alter.Name)
		}
	}
	return "INVALID_CONFIG with a message", nil
}

func quotas(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	client := e.Unique()
	entity := kadm.ClientQuotaEntity{{Type: "client-id", Name: &client}}
	altered, err := x.adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 20_000}}}})
	if err != nil || len(altered) != 1 || altered[0].Err != nil {
		return "", fmt.Errorf("alter: %+v %v", altered, err)
	}
	described, err := x.adm.DescribeClientQuotas(ctx, true, []kadm.DescribeClientQuotaComponent{{Type: "client-id", MatchType: kmsg.QuotasMatchTypeExact, MatchName: &client}})
	if err != nil || len(described) != 1 || len(described[0].Values) != 1 || described[0].Values[0].Value != 20_000 {
		return "", fmt.Errorf("described as %+v %v", described, err)
	}
	var throttled throttle
	p, err := open(ctx, e, kgo.ClientID(client), kgo.WithHooks(&throttled), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return "", err
	}
	defer p.cl.Close()
	// Kafka's quotas are over eleven windows of a second: a burst of more than
	// eleven seconds' worth is slowed down.
	var sent []driver.Record
	for range 30 {
		sent = append(sent, driver.Record{Value: []byte(strings.Repeat("q", 10_000))})
	}
	for i := range sent {
		if err := produce(ctx, p.cl, topic, sent[i:i+1]); err != nil {
			return "", err
		}
		if throttled.longest() > 0 {
			break
		}
	}
	if throttled.longest() == 0 {
		return "", fmt.Errorf("300 kB at 20 kB/s were not throttled")
	}
	removed, err := x.adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Remove: true}}}})
	if err != nil || len(removed) != 1 || removed[0].Err != nil {
		return "", fmt.Errorf("remove: %+v %v", removed, err)
	}
	return "set, described, throttled, removed", nil
}
