package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

const (
	groupsCommitting  = 1000
	groupsPerClient   = 20 // a client has one connection to each broker, on which answers come in order
	groupsPartitions  = 6
	groupsCommitEvery = time.Second
)

// groups has 1,000 groups commit six partitions each, once a second: each at a
// moment of its own, then all in the same one.
func (b *bench) groups(ctx context.Context, c *harness.Cluster) error {
	if err := topic(ctx, c, "committed", groupsPartitions, "wal"); err != nil {
		return err
	}
	clients := make([]*kgo.Client, groupsCommitting/groupsPerClient)
	for i := range clients {
		var err error
		if clients[i], err = client(c); err != nil {
			return err
		}
		defer clients[i].Close()
	}
	known, err := kadm.NewClient(clients[0]).ListTopics(ctx, "committed")
	if err != nil {
		return err
	}
	id := known["committed"].ID
	for _, way := range []struct {
		name  string
		apart time.Duration // between one group's moment and the next one's
	}{
		{"each at its own moment", groupsCommitEvery / groupsCommitting},
		{"all in the same moment", 0},
	} {
		round := func(offset int64) ([]time.Duration, error) { return commitAll(ctx, clients, id, way.apart, offset) }
		if _, err := round(1); err != nil { // which finds the coordinators
			return err
		}
		before, err := counters(c.Endpoints...)
		if err != nil {
			return err
		}
		var all []time.Duration
		begun, rounds := time.Now(), 0
		for ; time.Since(begun) < b.seconds; rounds++ {
			took, err := round(1_000_000 + int64(rounds))
			if err != nil {
				return err
			}
			all = append(all, took...)
		}
		seconds := time.Since(begun).Seconds()
		after, err := counters(c.Endpoints...)
		if err != nil {
			return err
		}
		rate := func(name string) float64 { return (after[name] - before[name]) / seconds }
		p50, p99 := quantiles(all)
		b.report(fmt.Sprintf("%d groups on %d brokers commit %d partitions each second, %s", groupsCommitting, b.brokers, groupsPartitions, way.name),
			fmt.Sprintf("a commit is answered after %v p50, %v p99; etcd's database %s in use", p50, p99, megabytes(after["etcd_mvcc_db_total_size_in_use_in_bytes"])),
			"%.0f commits/s; etcd: %.0f transactions/s with writes, %.0f keys put/s, %.0f kB/s in, %.0f kB/s out", float64(len(all))/seconds,
			rate("etcd_server_proposals_applied_total"), rate("etcd_mvcc_put_total"),
			rate("etcd_network_client_grpc_received_bytes_total")/1e3, rate("etcd_network_client_grpc_sent_bytes_total")/1e3)
	}
	return nil
}

// commitAll has every group commit once, and returns how long each waited for its
// answer. It takes a second at least.
func commitAll(ctx context.Context, clients []*kgo.Client, id kadm.TopicID, apart time.Duration, offset int64) ([]time.Duration, error) {
	begun := time.Now()
	took := make([]time.Duration, groupsCommitting)
	failed := make([]error, groupsCommitting)
	var all sync.WaitGroup
	for i := range groupsCommitting {
		all.Go(func() {
			<-time.After(time.Until(begun.Add(time.Duration(i) * apart)))
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.Generation = fmt.Sprintf("consumer-group-%d", i), -1
			of := kmsg.NewOffsetCommitRequestTopic()
			of.Topic, of.TopicID = "committed", id
			for p := range int32(groupsPartitions) {
				one := kmsg.NewOffsetCommitRequestTopicPartition()
				one.Partition, one.Offset, one.LeaderEpoch = p, offset, 0
				of.Partitions = append(of.Partitions, one)
			}
			req.Topics = append(req.Topics, of)
			asked := time.Now()
			resp, err := req.RequestWith(ctx, clients[i%len(clients)])
			took[i], failed[i] = time.Since(asked), err
			if err == nil {
				failed[i] = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
			}
		})
	}
	all.Wait()
	<-time.After(time.Until(begun.Add(groupsCommitEvery)))
	return took, errors.Join(failed...)
}
