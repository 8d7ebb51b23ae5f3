package api

import (
	"sync"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// limits keeps the append options of topics, so that a configuration is resolved
// once per change and not once per request. The zero value is ready.
type limits struct {
	byTopic sync.Map // topic.ID → *topicLimits
}

type topicLimits struct {
	revision int64
	defaults *defaults
	options  core.AppendOptions
}

// of returns the options for t over the defaults d, without Acks.
func (l *limits) of(t *metastore.Topic, d *defaults) core.AppendOptions {
	if v, ok := l.byTopic.Load(t.ID); ok {
		if v := v.(*topicLimits); v.revision == t.ModRevision && v.defaults == d {
			return v.options
		}
	}
	e := topicconfig.Resolve(t.Config, d.topic)
	v := &topicLimits{t.ModRevision, d, core.AppendOptions{
		Object:               e.Durability == topicconfig.DurabilityObject,
		LogAppendTime:        e.LogAppendTime,
		MessageBytesMax:      e.MessageBytesMax,
		TimestampBeforeMaxMs: e.TimestampBeforeMs,
		TimestampAfterMaxMs:  e.TimestampAfterMs,
		Compacted:            e.CleanupCompact,
	}}
	v.options.Recompress, v.options.Codec, v.options.CompressionLevel = compression(e)
	l.byTopic.Store(t.ID, v)
	return v.options
}

// compression translates compression.type and the levels.
func compression(e topicconfig.Effective) (recompress bool, codec batch.Codec, level int) {
	switch e.CompressionType {
	case "uncompressed":
		codec = batch.None
	case "gzip":
		codec = batch.Gzip
	case "snappy":
		codec = batch.Snappy
	case "lz4":
		codec = batch.LZ4
	case "zstd":
		codec = batch.Zstd
	default:
		return false, batch.None, 0
	}
	return true, codec, e.CodecLevel(e.CompressionType)
}

// forget drops a deleted topic.
func (l *limits) forget(id topic.ID) { l.byTopic.Delete(id) }
