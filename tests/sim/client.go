package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// client is a Kafka client of one goroutine, with one request under way. Real
// clients decide much by chance of their own, which only an exact build replays;
// they have their part in tests/compat and tests/crash.
type client struct {
	w   *World
	l   *life
	rng *rand.Rand

	format      *kmsg.RequestFormatter
	correlation int32
	conns       map[string]net.Conn
	brokers     map[int32]string
	leaders     map[string][]int32 // of each partition of a topic; -1: none
	stale       bool               // ask for metadata first
	coordinator map[string]string
}

func (w *World) newClient(name string) *client {
	return &client{
		w: w, l: w.newLife(name), rng: w.random("client " + name), format: kmsg.NewRequestFormatter(kmsg.FormatterClientID(name)),
		conns: map[string]net.Conn{}, brokers: map[int32]string{}, leaders: map[string][]int32{}, stale: true, coordinator: map[string]string{},
	}
}

// between draws a time.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)+1))
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *client) close() {
	for _, address := range slices.Sorted(mapKeys(c.conns)) {
		_ = c.conns[address].Close() // it cannot fail
	}
	clear(c.conns)
}

// request sends a request and returns its answer. After an error the request may
// have had its effect.
func (c *client) request(ctx context.Context, address string, req kmsg.Request) (kmsg.Response, error) {
	resp, err := c.exchange(ctx, address, req)
	if err != nil {
		if conn := c.conns[address]; conn != nil {
			_ = conn.Close() // it cannot fail
			delete(c.conns, address)
		}
	}
	return resp, err
}

func (c *client) exchange(ctx context.Context, address string, req kmsg.Request) (kmsg.Response, error) {
	conn := c.conns[address]
	if conn == nil {
		var err error
		if conn, err = c.w.net.dial(ctx, c.l, address); err != nil {
			return nil, err
		}
		c.conns[address] = conn
	}
	c.correlation++
	if _, err := conn.Write(c.format.AppendRequest(nil, req, c.correlation)); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // a closed one has ended too
	defer stop()
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != c.correlation {
		return nil, fmt.Errorf("answer %d to request %d", got, c.correlation)
	}
	body = body[4:]
	resp := req.ResponseKind()
	if resp.IsFlexible() {
		body = body[1:] // no tags
	}
	return resp, resp.ReadFrom(body)
}

// seeds are all brokers' addresses in some order.
func (c *client) seeds() []string {
	addresses := c.w.addresses()
	c.rng.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	return addresses
}

// patience is how long a client waits for an answer.
const patience = 10 * time.Second

// refresh asks for the metadata of the topics.
func (c *client) refresh(ctx context.Context) error {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	for _, name := range c.w.topicNames() {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	var failed error
	for _, address := range c.seeds() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		answer, err := c.request(ctx, address, req)
		cancel()
		if err != nil {
			failed = err
			continue
		}
		resp := answer.(*kmsg.MetadataResponse)
		for _, b := range resp.Brokers {
			c.brokers[b.NodeID] = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
		}
		for _, t := range resp.Topics {
			leaders := make([]int32, len(t.Partitions))
			for _, p := range t.Partitions {
				if leaders[p.Partition] = p.Leader; p.ErrorCode != 0 {
					leaders[p.Partition] = -1
				}
			}
			c.leaders[*t.Topic] = leaders
		}
		c.stale = false
		return nil
	}
	return failed
}

// leader returns the address of a partition's leader.
func (c *client) leader(topic string, partition int32) (string, bool) {
	leaders := c.leaders[topic]
	if int(partition) >= len(leaders) || leaders[partition] < 0 {
		c.stale = true
		return "", false
	}
	address, ok := c.brokers[leaders[partition]]
	return address, ok
}

// fresh asks for the metadata again if something has changed.
func (c *client) fresh(ctx context.Context) bool {
	if !c.stale {
		return true
	}
	if err := c.refresh(ctx); err != nil {
		pass(ctx, between(c.rng, 20*time.Millisecond, 500*time.Millisecond))
		return false
	}
	return true
}

// group returns the address of a group's coordinator.
func (c *client) group(ctx context.Context, group string) (string, error) {
	if address, ok := c.coordinator[group]; ok {
		return address, nil
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.SetVersion(4)
	req.CoordinatorKeys = []string{group}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := c.request(ctx, c.seeds()[0], req)
	if err != nil {
		return "", err
	}
	all := answer.(*kmsg.FindCoordinatorResponse).Coordinators
	if len(all) != 1 {
		return "", fmt.Errorf("%d coordinators of one group", len(all))
	}
	if err := kerr.ErrorForCode(all[0].ErrorCode); err != nil {
		return "", err
	}
	c.coordinator[group] = net.JoinHostPort(all[0].Host, fmt.Sprint(all[0].Port))
	return c.coordinator[group], nil
}
