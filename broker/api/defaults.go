package api

import (
	"strconv"

	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// defaults is what holds for topics and clients that do not say: the process's
// own configuration under what is set on brokers while they run.
type defaults struct {
	of *metastore.Configs // what it was derived from

	layers []topicconfig.Layer // of topic settings, strongest first
	topic  topicconfig.Defaults

	autoCreate bool
	partitions int32
	replicas   int16
}

// defaults derives what holds now, once per change of what is set.
func (h *Handler) defaults() *defaults {
	now := h.Configs.Configs()
	if d := h.derived.Load(); d != nil && d.of == now {
		return d
	}
	mine, all := now.Of(h.self()), now.Of(allBrokers)
	d := &defaults{
		of: now,
		layers: []topicconfig.Layer{
			{Source: topicconfig.SourceBroker, Set: dynamicconfig.TopicDefaults(mine)},
			{Source: topicconfig.SourceBrokerDefault, Set: dynamicconfig.TopicDefaults(all)},
			{Source: topicconfig.SourceCluster, Set: h.cfg.TopicDefaults},
		},
		autoCreate: h.cfg.AutoCreateTopics, partitions: h.cfg.PartitionsDefault, replicas: 1,
	}
	d.topic = topicconfig.Merge(d.layers...)
	if text, ok := dynamicconfig.Value(dynamicconfig.AutoCreateTopics, mine, all); ok {
		d.autoCreate = text == "true"
	}
	if n, ok := number(dynamicconfig.NumPartitions, 32, mine, all); ok {
		d.partitions = min(int32(n), h.cfg.PartitionsMax)
	}
	if n, ok := number(dynamicconfig.ReplicationDefault, 16, mine, all); ok {
		d.replicas = int16(n)
	}
	h.derived.Store(d)
	return d
}

func number(name string, bits int, sets ...map[string]string) (int64, bool) {
	text, ok := dynamicconfig.Value(name, sets...)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, bits)
	return n, err == nil
}

// allBrokers is where what holds for the whole cluster is set.
var allBrokers = metastore.ConfigResource{Kind: metastore.ConfigBrokers}

func (h *Handler) self() metastore.ConfigResource {
	return metastore.ConfigResource{Kind: metastore.ConfigBrokers, Name: h.Cluster.Self().String()}
}
