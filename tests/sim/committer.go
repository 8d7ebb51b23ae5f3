package sim

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/history"
)

// committer commits ever larger offsets of a group and looks what is committed.
func (w *World) committer(ctx context.Context, name, group string) {
	c := w.newClient(name)
	defer c.close()
	offsets := map[history.Partition]int64{}
	for ctx.Err() == nil {
		all := w.partitions()
		p := all[c.rng.IntN(len(all))]
		if c.rng.IntN(3) == 0 {
			c.lookUp(ctx, group, p)
		} else {
			offsets[p] += 1 + c.rng.Int64N(5)
			c.commit(ctx, group, p, offsets[p])
		}
		pass(ctx, between(c.rng, 10*time.Millisecond, 600*time.Millisecond))
	}
}

// commit tries until it is answered, like a client that has to know.
func (c *client) commit(ctx context.Context, group string, p history.Partition, offset int64) {
	op := c.w.history.GroupCommit(group, p, offset)
	giveUp, cancel := context.WithTimeout(ctx, between(c.rng, time.Second, time.Minute))
	defer cancel()
	for giveUp.Err() == nil {
		err := c.tryCommit(giveUp, group, nobody, p, offset)
		if err == nil {
			op.Acked()
			return
		}
		if isCode := new(kerr.Error); errors.As(err, &isCode) && !isCode.Retriable {
			c.w.history.Report(history.Other, "%s commits %d of %s and is answered %v", c.l.name, offset, p, err)
			break
		}
		delete(c.coordinator, group)
		pass(giveUp, between(c.rng, 20*time.Millisecond, 500*time.Millisecond))
	}
	op.Unknown()
}

// membership is as whom somebody commits.
type membership struct {
	id    string
	epoch int32 // or the generation
}

// nobody is who commits without being a member.
var nobody = membership{epoch: -1}

func (c *client) tryCommit(ctx context.Context, group string, as membership, p history.Partition, offset int64) error {
	address, err := c.group(ctx, group)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.Generation = group, as.id, as.epoch
	t, part := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset, part.LeaderEpoch = p.Index, offset, -1
	t.Topic, t.Partitions = p.Topic, append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := c.request(ctx, address, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

// lookUp asks once for a committed offset.
func (c *client) lookUp(ctx context.Context, group string, p history.Partition) (offset int64, ok bool) {
	op := c.w.history.GroupFetch(group, p)
	address, err := c.group(ctx, group)
	if err != nil {
		return 0, false
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.SetVersion(8)
	req.RequireStable = c.rng.IntN(2) == 0
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = p.Topic, []int32{p.Index}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, append(g.Topics, t)
	req.Groups = append(req.Groups, g)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := c.request(ctx, address, req)
	if err != nil {
		delete(c.coordinator, group)
		return 0, false
	}
	got := answer.(*kmsg.OffsetFetchResponse).Groups[0]
	err = kerr.ErrorForCode(got.ErrorCode)
	if err == nil && len(got.Topics) > 0 {
		if err = kerr.ErrorForCode(got.Topics[0].Partitions[0].ErrorCode); err == nil {
			op.Got(got.Topics[0].Partitions[0].Offset)
			return got.Topics[0].Partitions[0].Offset, true
		}
	}
	delete(c.coordinator, group)
	return 0, false
}
