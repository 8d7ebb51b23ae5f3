package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Hundreds of consumers join and leave one group, politely, by dying, and as
// static members that come back, while records flow and the coordinator is
// killed once. What must hold:
//
//   - no partition is owned by two members that both think they own it, except
//     after the group has given one of them up, which is then told so; nor, with
//     the consumer protocol, by what the coordinator has answered, whatever the
//     clients make of it;
//   - once nobody comes or goes, the group is stable within settleWithin, every
//     partition is assigned, and each to exactly one of the members that live;
//   - every record is consumed, and what the group has committed was consumed;
//   - the broker's own memory stays within bounds. (What it maps of etcd's database
//     is not its own: that holds the last minutes of every group's commits.)
//
// CHRONIK_CHURN=10m makes the coming and going last longer than CI can wait.
const (
	churnMembers    = 500
	churnPartitions = 600
	churnSession    = 12 * time.Second
	churnRebalance  = 30 * time.Second
	settleWithin    = 90 * time.Second
	churnMemoryMax  = 1 << 30
)

func churnFor(t *testing.T) time.Duration {
	given := os.Getenv("CHRONIK_CHURN")
	if given == "" {
		return 16 * time.Second
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		t.Fatalf("CHRONIK_CHURN: %v", err)
	}
	return d
}

func TestFiveHundredConsumersComeAndGoInAClassicGroup(t *testing.T) {
	churn(t, "classic", kgo.Balancers(kgo.CooperativeStickyBalancer()))
}

func TestFiveHundredConsumersComeAndGoInAConsumerGroup(t *testing.T) { // KIP-848
	churn(t, "consumer", kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
}

// crowd is the members of the group and what they know.
type crowd struct {
	t      *testing.T
	c      *chronik
	group  string
	opts   []kgo.Opt
	random *rand.Rand

	mu       sync.Mutex
	holders  [churnPartitions]*consumer     // by the coordinator's answers
	owners   [churnPartitions]*consumer     // by what the clients made of them
	doubted  map[*consumer]map[int32]string // partitions that somebody else got while this one had them
	wrong    []string
	nextName int

	answered int // partitions given by answers of the consumer protocol
	assigned int
	gone     int

	seen     [churnPartitions]seenOffsets
	consumed atomic.Int64
	live     []*consumer
}

// seenOffsets are the offsets of a partition that somebody has processed.
type seenOffsets struct {
	mu      sync.Mutex
	offsets []bool
}

// consumer is one member.
type consumer struct {
	crowd    *crowd
	name     string
	instance string
	client   *kgo.Client
	ended    chan struct{}
	stop     context.CancelFunc

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	dead  bool // it has no network any more

	diary diary // what it and the group said
}

func (m *consumer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	if dead {
		return nil, errors.New("this consumer is dead")
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		_ = conn.Close()
		return nil, errors.New("this consumer is dead")
	}
	if m.conns == nil {
		m.conns = make(map[net.Conn]struct{})
	}
	m.conns[conn] = struct{}{}
	return &tapped{Conn: conn, diary: &m.diary, given: func(partitions []int32) { m.crowd.told(m, partitions) }}, nil
}

// join starts a member. instance is "" for a dynamic one.
func (w *crowd) join(instance string) *consumer {
	w.mu.Lock()
	w.nextName++
	m := &consumer{crowd: w, name: fmt.Sprintf("member-%d", w.nextName), instance: instance, ended: make(chan struct{})}
	w.mu.Unlock()
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(w.c.kafka), kgo.ClientID(m.name), kgo.Dialer(m.dial), kgo.DisableClientMetrics(),
		kgo.ConsumerGroup(w.group), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.BlockRebalanceOnPoll(), kgo.AutoCommitInterval(2 * time.Second), kgo.FetchMaxWait(5 * time.Second),
		kgo.SessionTimeout(churnSession), kgo.HeartbeatInterval(time.Second), kgo.RebalanceTimeout(churnRebalance),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { w.given(m, got["t"]) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, client *kgo.Client, lost map[string][]int32) {
			if len(lost["t"]) > 0 {
				commit, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				_ = client.CommitUncommittedOffsets(commit) // what is not committed is read again, by somebody
			}
			w.taken(m, lost["t"], false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { w.taken(m, lost["t"], true) }),
	}, w.opts...)
	if instance != "" {
		opts = append(opts, kgo.InstanceID(instance))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	m.client = client
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	go m.consume(ctx)
	w.live = append(w.live, m)
	return m
}

func (m *consumer) consume(ctx context.Context) {
	defer close(m.ended)
	for {
		fetches := m.client.PollFetches(ctx)
		// Also what came with the end: it counts as polled, and is committed.
		fetches.EachRecord(func(r *kgo.Record) { m.crowd.saw(r.Partition, r.Offset) })
		m.client.AllowRebalance()
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
	}
}

func (w *crowd) saw(partition int32, offset int64) {
	s := &w.seen[partition]
	s.mu.Lock()
	defer s.mu.Unlock()
	for int64(len(s.offsets)) <= offset {
		s.offsets = append(s.offsets, false)
	}
	if !s.offsets[offset] {
		s.offsets[offset] = true
		w.consumed.Add(1)
	}
}

// told is what the group gave to a member of the consumer protocol in one answer.
func (w *crowd) told(m *consumer, partitions []int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered += len(partitions)
	for _, p := range partitions {
		if before := w.holders[p]; before != nil && before != m && before.diary.has(p) {
			w.wrong = append(w.wrong, fmt.Sprintf("the coordinator gave partition %d to two.\n%s", p, histories(before, m)))
		}
		w.holders[p] = m
	}
}

// histories are what two members and the group said to each other.
func histories(a, b *consumer) string {
	return fmt.Sprintf("  %s said and heard%s\n  %s said and heard%s", a.name, &a.diary, b.name, &b.diary)
}

// given and taken are what members make of what they hear of the group.
func (w *crowd) given(m *consumer, partitions []int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.isDead() {
		return
	}
	for _, p := range partitions {
		w.assigned++
		if before := w.owners[p]; before != nil && before != m {
			id, generation := m.client.GroupMetadata()
			// Who may have been given up learns it when it is heard of again; when
			// it leaves instead, never.
			if before.diary.mayBeGivenUp() == "" {
				if w.doubted[before] == nil {
					w.doubted[before] = make(map[int32]string)
				}
				w.doubted[before][p] = fmt.Sprintf("partition %d went to %s (%s, generation %d) while %s had it.\n%s", p, m.name, id, generation, before.name, histories(before, m))
			}
		}
		w.owners[p] = m
	}
}

func (w *crowd) taken(m *consumer, partitions []int32, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range partitions {
		if w.owners[p] == m {
			w.owners[p] = nil
		}
		// Who had it in peace until now had it at the same time as its successor.
		if doubt, ok := w.doubted[m][p]; ok {
			delete(w.doubted[m], p)
			if !lost && !m.isDead() {
				w.wrong = append(w.wrong, doubt+"\n  until it gave it up"+m.diary.String())
			}
		}
	}
}

func (m *consumer) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// leave goes politely; a static member only goes away for a while.
func (m *consumer) leave() {
	m.stop()
	<-m.ended
	m.client.Close()
	m.crowd.bury(m)
}

// bury makes who has no client any more own nothing, whatever it was told last.
func (w *crowd) bury(m *consumer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, owner := range w.owners {
		if owner == m {
			w.owners[p] = nil
		}
	}
	delete(w.doubted, m)
}

// die cuts the member off without a word, in the middle of what it did.
func (m *consumer) die() {
	m.mu.Lock()
	m.dead = true
	for conn := range m.conns {
		_ = conn.Close()
	}
	m.mu.Unlock()
	m.diary.gone()
	m.crowd.bury(m)
	m.stop()
	<-m.ended
	m.client.CloseAllowingRebalance()
}

// remove takes one member out of the live ones.
func (w *crowd) remove() *consumer {
	i := w.random.IntN(len(w.live))
	m := w.live[i]
	w.live[i] = w.live[len(w.live)-1]
	w.live = w.live[:len(w.live)-1]
	return m
}

// instance is the id of a static member for one in five.
func (w *crowd) instance() string {
	if w.random.IntN(5) > 0 {
		return ""
	}
	return fmt.Sprintf("static-%d", w.nextName+1)
}

// stir lets members come and go until the time is over.
func (w *crowd) stir(lasts time.Duration) {
	var going sync.WaitGroup
	back := make(chan string, churnMembers) // static members that are gone and come again
	over := time.After(lasts)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for stirring := true; stirring; {
		select {
		case <-over:
			stirring = false
		case instance := <-back:
			w.join(instance)
		case <-tick.C:
			for range 1 + w.random.IntN(5) {
				w.oneComesOrGoes(&going, back)
			}
		}
	}
	going.Wait()
	close(back)
	for instance := range back {
		w.join(instance)
	}
	for len(w.live) < churnMembers {
		w.join(w.instance())
	}
}

func (w *crowd) oneComesOrGoes(going *sync.WaitGroup, back chan<- string) {
	if len(w.live) < churnMembers-100 || len(w.live) < churnMembers && w.random.IntN(2) == 0 {
		w.join(w.instance())
		return
	}
	m, dies := w.remove(), w.random.IntN(3) == 0
	w.gone++
	going.Go(func() {
		if dies {
			m.die()
		} else {
			m.leave()
		}
		if m.instance != "" {
			back <- m.instance
		}
	})
}

// settled waits until the group is stable with exactly the live members, and
// each partition belongs to exactly one of them, in the coordinator's eyes and
// in their own.
func (w *crowd) settled(what string) {
	w.t.Helper()
	began := time.Now()
	eventually(w.t, settleWithin, func() error {
		r := w.c.describeGroup(w.group)
		if r.State != "Stable" || len(r.Members) != len(w.live) {
			return fmt.Errorf("%s: the group is %s with %d members, want Stable with %d", what, r.State, len(r.Members), len(w.live))
		}
		names := make(map[string]string)
		for _, m := range w.live {
			names[m.name] = m.name
		}
		var owners [churnPartitions]string
		for _, m := range r.Members {
			if names[m.ClientID] == "" {
				return fmt.Errorf("%s: %s is in the group, and is none of those who live, or is in it twice", what, m.ClientID)
			}
			names[m.ClientID] = ""
			for _, p := range m.Assigned["t"] {
				if owners[p] != "" {
					w.t.Fatalf("%s: partition %d is assigned to %s and to %s", what, p, owners[p], m.ClientID)
				}
				owners[p] = m.ClientID
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for p, owner := range owners {
			if owner == "" {
				return fmt.Errorf("%s: partition %d is assigned to nobody", what, p)
			}
			if w.owners[p] == nil || w.owners[p].name != owner {
				return fmt.Errorf("%s: partition %d is assigned to %s, who does not know", what, p, owner)
			}
		}
		return nil
	})
	w.t.Logf("%s: stable after %s with %d members, %d MiB of the broker's own, %d MiB with the files that it maps", what, time.Since(began).Round(100*time.Millisecond), len(w.live), w.c.ownBytes()>>20, w.c.residentBytes()>>20)
}

// memberIDs are the ids that the coordinator has given to the members, by their
// names.
func (w *crowd) memberIDs() map[string]string {
	w.t.Helper()
	ids := make(map[string]string)
	for _, m := range w.c.describeGroup(w.group).Members {
		ids[m.ClientID] = m.ID
	}
	return ids
}

// nothingDoubled fails when two members had one partition.
func (w *crowd) nothingDoubled() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for m, doubts := range w.doubted {
		for _, doubt := range doubts {
			w.wrong = append(w.wrong, doubt+"\n  who was never told"+m.diary.String())
		}
	}
	if len(w.wrong) > 0 {
		w.t.Fatalf("%d partitions had two owners at once:\n%s", len(w.wrong), strings.Join(w.wrong[:min(len(w.wrong), 20)], "\n\n"))
	}
}

func churn(t *testing.T, kind string, opts ...kgo.Opt) {
	if testing.Short() {
		t.Skip("takes a minute and both cores")
	}
	// The same times as those of classic members, which ask for theirs.
	c := startIn(t, t.TempDir(), []string{"CHRONIK_GROUP_CONSUMER_SESSION_TIMEOUT=" + churnSession.String(), "CHRONIK_GROUP_CONSUMER_HEARTBEAT_INTERVAL=1s"})
	c.must("", "topic", "create", "t", "--partitions", fmt.Sprint(churnPartitions))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := &crowd{t: t, c: c, group: kind, opts: opts, random: rand.New(rand.NewPCG(seed, 0)), doubted: make(map[*consumer]map[int32]string)}
	t.Cleanup(func() {
		var going sync.WaitGroup
		for _, m := range w.live {
			going.Go(m.die)
		}
		going.Wait()
	})

	producer, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.WithLogger(kgo.BasicLogger(io.Discard, kgo.LogLevelNone, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	producing, stopProducing := context.WithCancel(context.Background())
	var produced atomic.Int64
	flowed := make(chan error, 1)
	go func() {
		flowed <- flow(producing, producer, &produced)
	}()

	for range churnMembers {
		w.join(w.instance())
	}
	w.settled("all at once")
	if r := c.describeGroup(w.group); r.Type != kind {
		t.Fatalf("the group is of type %s", r.Type)
	}
	w.stir(churnFor(t) / 2)
	w.settled("after coming and going")
	w.nothingDoubled()

	// The coordinator dies while they come and go.
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		<-time.After(churnFor(t) / 8)
		c.kill()
		if err := c.tryStart(); err != nil {
			t.Error(err)
		}
	}()
	w.stir(churnFor(t) / 2)
	<-restarted
	w.settled("after a restart")
	w.nothingDoubled()

	// It dies while nobody comes or goes: the group is there again with the
	// members that it had, by their ids. (A client whose heartbeat finds nobody to
	// talk to joins again of its own accord, as the member that it is.)
	members := w.memberIDs()
	for _, m := range w.live {
		m.diary.forgetPause()
	}
	c.kill()
	c.restart()
	since := produced.Load()
	eventually(t, settleWithin, func() error { // some heartbeats later
		if got := w.consumed.Load(); got < since+3*churnPartitions {
			return fmt.Errorf("%d records consumed, want %d", got, since+3*churnPartitions)
		}
		return nil
	})
	w.settled("after a restart in peace")
	w.nothingDoubled()
	after, kept := w.memberIDs(), 0
	for _, m := range w.live {
		switch {
		case after[m.name] == members[m.name]:
			kept++
		case m.diary.pause() < churnSession: // else it came too late, for whatever reason
			t.Errorf("a restart of the coordinator made %s of %s, which is %s%s", after[m.name], members[m.name], m.name, &m.diary)
		}
	}
	if kept < len(w.live) {
		t.Logf("%d of %d members came back in time after a restart", kept, len(w.live))
	}

	stopProducing()
	if err := <-flowed; err != nil {
		t.Fatal(err)
	}
	eventually(t, settleWithin, func() error {
		if got := w.consumed.Load(); got < produced.Load() {
			return fmt.Errorf("%d records are acknowledged, %d consumed", produced.Load(), got)
		}
		return nil
	})
	// Nothing is committed that nobody processed: it would be lost to the group.
	eventually(t, settleWithin, func() error {
		if r := c.describeGroup(w.group); r.Lag > 0 {
			return fmt.Errorf("lag %d", r.Lag)
		}
		return nil
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(c.kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	committed, err := kadm.NewClient(client).FetchOffsets(context.Background(), w.group)
	if err != nil {
		t.Fatal(err)
	}
	committed.Each(func(o kadm.OffsetResponse) {
		s := &w.seen[o.Partition]
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.At > int64(len(s.offsets)) || slices.Contains(s.offsets[:o.At], false) {
			t.Errorf("partition %d: %d is committed, and not every record before it was consumed", o.Partition, o.At)
		}
	})
	if kind == "consumer" && w.answered < churnPartitions {
		t.Errorf("of all that the coordinator gave, %d partitions were seen", w.answered)
	}
	if got := c.ownBytes(); got > churnMemoryMax {
		t.Errorf("the broker has %d MiB", got>>20)
	}
	t.Logf("%d records, %d members in all, %d times one went, %d times a partition was assigned", produced.Load(), w.nextName, w.gone, w.assigned)
}

// flow produces a record to each partition about once a second, and counts
// those that are acknowledged.
func flow(ctx context.Context, producer *kgo.Client, produced *atomic.Int64) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var failed atomic.Pointer[error]
	for ctx.Err() == nil {
		for p := range int32(churnPartitions) {
			producer.Produce(context.Background(), &kgo.Record{Partition: p, Value: []byte("v")}, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				produced.Add(1)
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	if err := producer.Flush(context.Background()); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("produce: %w", *err)
	}
	return nil
}
