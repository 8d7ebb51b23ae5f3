package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/fetch"
	"github.com/chronik-stream/chronik/broker/forward"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/broker/quota"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/version"
	"github.com/chronik-stream/chronik/metastore"
)

func startBroker(_ context.Context, n *Node) (running, error) {
	id, err := n.cfg.BrokerID()
	if err != nil {
		return running{}, err
	}
	listeners, err := n.listenKafka()
	if err != nil {
		return running{}, err
	}
	c := brokerConfig(n.cfg)
	c.ID, c.Identity = metastore.BrokerID(id), n.identity
	b := broker.New(c, broker.Deps{
		Store: n.parts.metadata, Bucket: n.parts.bucket, Committed: n.parts.committed,
		FS: disk.OS(), Listeners: listeners, Log: n.log.With("role", RoleBroker), LogLevel: n.level, Registerer: n.registry,
	})
	n.asks(b.Ready)
	return background(b.Run), nil
}

// listenKafka opens all listeners, or none.
func (n *Node) listenKafka() ([]broker.Listener, error) {
	var open []broker.Listener
	for _, l := range n.cfg.Kafka.Listen {
		sockets, err := listen(l.Host, l.Port)
		if err != nil {
			var failed error
			for _, o := range open {
				failed = errors.Join(failed, closeAll(o.Sockets))
			}
			return nil, errors.Join(fmt.Errorf("listen for Kafka clients: %w", err), failed)
		}
		advertised := n.cfg.Advertise(l, portOf(sockets[0]))
		open = append(open, broker.Listener{
			Advertised: metastore.Listener{Name: advertised.Name, Host: advertised.Host, Port: int32(advertised.Port)},
			Sockets:    sockets,
		})
		if n.Kafka == "" {
			n.Kafka = shown(l.Host, sockets[0])
		}
	}
	internal, err := n.listenInternal()
	if err != nil {
		var failed error
		for _, o := range open {
			failed = errors.Join(failed, closeAll(o.Sockets))
		}
		return nil, errors.Join(fmt.Errorf("listen for the cluster: %w", err), failed)
	}
	return append(open, internal...), nil
}

// listenInternal opens the listener for the cluster's other processes, if there
// is to be one.
func (n *Node) listenInternal() ([]broker.Listener, error) {
	l := n.cfg.Kafka.Internal.Listen
	if l == nil {
		return nil, nil
	}
	machine, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find this machine's name: %w", err)
	}
	sockets, err := listen(l.Host, l.Port)
	if err != nil {
		return nil, err
	}
	advertised := n.cfg.AdvertiseInternal(portOf(sockets[0]), machine)
	return []broker.Listener{{
		Advertised: metastore.Listener{Name: metastore.InternalListener, Host: advertised.Host, Port: int32(advertised.Port)},
		Sockets:    sockets,
	}}, nil
}

// proxyTrusted says who may tell a client's address.
func proxyTrusted(c *config.Config) func(netip.Addr) bool {
	if !c.Kafka.ProxyProtocol {
		return nil
	}
	return func(a netip.Addr) bool {
		return len(c.Kafka.ProxyTrusted) == 0 || slices.ContainsFunc(c.Kafka.ProxyTrusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
}

// shown is an address as users are told it: as they gave it, with the port.
func shown(host string, l net.Listener) string {
	return net.JoinHostPort(host, fmt.Sprint(portOf(l)))
}

// kafkaSettings are the settings that DescribeConfigs shows.
func kafkaSettings(c *config.Config) []api.StaticConfig {
	var all []api.StaticConfig
	for _, s := range c.KafkaSettings() {
		all = append(all, api.StaticConfig{Name: s.Name, Value: s.Value, Type: s.Type, Given: s.Given, Doc: s.Doc})
	}
	return all
}

// orNever is what a field whose zero is its default takes for a setting of 0.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func brokerConfig(c *config.Config) broker.Config {
	return broker.Config{
		ClusterID: c.Cluster, Rack: c.Broker.Rack, Version: version.String(),
		DataDir: c.DataDir, WALFileBytes: int64(c.WAL.FileBytes), SessionTTL: c.Broker.Lease, StopTimeout: c.Broker.StopTimeout,
		Ownership: ownership.Config{TakeoverGrace: c.Takeover.Grace, RebalanceDelay: c.Rebalance.Delay},
		Ingest: ingest.Config{
			SegmentBytes: int64(c.Segment.Bytes), SegmentAge: c.Segment.Age, SegmentAgeUrgent: c.Segment.AgeUrgent, SegmentAgeEmbedded: c.Segment.AgeEmbedded,
			UploadsMax: c.Segment.Uploads, WALBytesMax: int64(c.WAL.Bytes), BudgetWait: c.WAL.BudgetWait, WaitingBytesMax: int64(c.WAL.WaitingBytes), TailBytesMax: int64(c.Tail.Bytes),
			ProducerExpiry: c.Producer.Expiry, SalvageAfter: orNever(c.Salvage.After),
		},
		Fetch: fetch.Config{ColdBytesMax: int64(c.Kafka.ColdBytes)},
		Group: group.Config{
			InitialRebalanceDelay: &c.Group.InitialDelay, MembersMax: c.Group.MembersMax,
			SessionTimeoutMin: c.Group.SessionTimeoutMin, SessionTimeoutMax: c.Group.SessionTimeoutMax,
			ConsumerSessionTimeout: c.Group.ConsumerSessionTimeout, ConsumerHeartbeatInterval: c.Group.ConsumerHeartbeatInterval,
			Migration:        group.Migration(c.Group.ConsumerMigration),
			OffsetsRetention: c.Group.OffsetsRetention, OffsetsRetentionCheck: c.Group.OffsetsRetentionCheck,
			OffsetMetadataBytesMax: &c.Group.OffsetMetadataMax,
		},
		Wire: wire.Config{
			ConnectionsMax: c.Kafka.ConnectionsMax, ConnectionsPerIPMax: c.Kafka.ConnectionsIP, ConnectionRateMax: c.Kafka.ConnectionRate,
			PipelineMax: c.Kafka.PipelineMax, RequestsMax: c.Kafka.RequestsMax,
			ConnectionBytesMax: int64(c.Kafka.ConnBytes), BytesMax: int64(c.Kafka.FrameBytes),
			AnswerBytesMax: int64(c.Kafka.AnswerBytes), InternalConnectionsMax: c.Kafka.Internal.ConnectionsMax, ProxyTrusted: proxyTrusted(c),
			IdleTimeout: c.Kafka.IdleTimeout, FrameTimeout: c.Kafka.FrameTimeout, WriteTimeout: c.Kafka.WriteTimeout, StallTimeout: c.Kafka.StallTimeout,
		},
		API: api.Config{
			Quota:           quota.Config{Burst: c.Quota.Burst},
			RequestBytesMax: int(c.Kafka.RequestBytes), FetchBytesMax: int(c.Kafka.FetchBytes),
			DescribePartitionsMax: int32(c.Kafka.DescribePartitions),
			FetchSessionsMax:      orNone(c.Kafka.FetchSessions), FetchSessionPartitionsMax: c.Kafka.FetchSessionPartitions,
			AutoCreateTopics:  c.Topic.AutoCreate,
			PartitionsDefault: int32(c.Topic.Partitions), PartitionsMax: int32(c.Topic.PartitionsMax), TopicDefaults: c.TopicDefaults(),
			Static: kafkaSettings(c), Shared: c.Kafka.Advertise == "shared",
		},
		Forward: forward.Config{ConnectionsMax: c.Kafka.Forward.ConnectionsMax, IdleTimeout: c.Kafka.Forward.IdleTimeout},
	}
}

// orNone turns a limit of 0 into one that is not taken for "the default".
func orNone(limit int) int {
	if limit == 0 {
		return -1
	}
	return limit
}
