package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
)

// lossy is a cluster of two brokers that flush next to nothing by themselves, so
// that a broker that is cut off has records on its disk which nobody else has.
type lossy struct {
	*brokers
	topic  *metastore.Topic
	client *kgo.Client
}

func newLossy(t *testing.T) *lossy { return newLossyTopic(t, nil) }

func newLossyTopic(t *testing.T, configs map[string]*string, change ...func(*broker.Config)) *lossy {
	c := newBrokers(t, 2, append(change, func(cfg *broker.Config) {
		cfg.SessionTTL, cfg.StopTimeout = 2*time.Second, 2*time.Second
		cfg.Ingest.SegmentAge = time.Hour
		if cfg.Ingest.SalvageAfter == 0 {
			cfg.Ingest.SalvageAfter = -1
		}
	})...)
	l := &lossy{brokers: c, client: c.dial(c.nodes[0].client.Addr())}
	if answer, err := kadm.NewClient(l.client).CreateTopic(t.Context(), 1, 1, configs, "t"); err != nil || answer.Err != nil {
		t.Fatal(err, answer.Err)
	}
	l.owned(nil)
	return l
}

func (l *lossy) partition() topic.Partition { return topic.Partition{Topic: l.topic.ID} }

// owned waits until the partition has an owner, another than not.
func (l *lossy) owned(not *clusterNode) (owner, other *clusterNode) {
	l.t.Helper()
	watcher := l.nodes[0]
	if watcher == not {
		watcher = l.nodes[1]
	}
	l.until("the partition has an owner", watcher, func(m *metastore.Catalog) bool {
		l.topic, _ = m.Topic("t")
		if l.topic == nil {
			return false
		}
		v := m.Partition(l.partition())
		if !v.OwnerAlive {
			return false
		}
		owner, other = l.nodes[v.Owner.Broker-1], l.nodes[2-v.Owner.Broker]
		return owner != not
	})
	return owner, other
}

// wished waits until the partition is owned by whom it is wished for: it moves no
// more by itself.
func (l *lossy) wished() (owner, other *clusterNode) {
	l.t.Helper()
	l.until("the partition lies where it belongs", l.nodes[0], func(m *metastore.Catalog) bool {
		var want metastore.BrokerID
		m.View(func(v *metastore.View) { want = ownership.Wished(l.topic.ID.String(), 1, ownership.Candidates(v))[0] })
		v := m.Partition(l.partition())
		return v.OwnerAlive && v.Owner.Broker == want
	})
	return l.owned(nil)
}

// cutOff lets a broker's session lapse and waits until the other one took over.
func (l *lossy) cutOff(n *clusterNode) {
	l.t.Helper()
	cut, err := kvfaults.ParsePlan("* * fail-before p=1")
	if err != nil {
		l.t.Fatal(err)
	}
	n.link.Use(cut)
	l.owned(n)
}

// back ends the cut.
func (l *lossy) back(n *clusterNode) { n.link.Use(kvfaults.Plan{}) }

// numbered is one batch of an idempotent producer, or of none if id is −1.
func (l *lossy) numbered(id int64, epoch int16, sequence int32, values ...string) []byte {
	return l.stamped(time.Now().UnixMilli(), id, epoch, sequence, values...)
}

// stamped is numbered, with records of that time.
func (l *lossy) stamped(ms, id int64, epoch int16, sequence int32, values ...string) []byte {
	return l.keyed(ms, id, epoch, sequence, func(string) []byte { return nil }, values...)
}

// keyed is stamped, with records whose keys their values give.
func (l *lossy) keyed(ms, id int64, epoch int16, sequence int32, key func(value string) []byte, values ...string) []byte {
	l.t.Helper()
	var b batch.Builder
	o := batch.Options{}
	if id >= 0 {
		o.Producer = &batch.Producer{ID: id, Epoch: epoch, Sequence: sequence}
	}
	b.Reset(o)
	for _, v := range values {
		b.Append(ms, key(v), []byte(v))
	}
	raw, err := b.Build(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return raw
}

// produce sends one batch to a broker and waits for acks=1.
func (l *lossy) produce(n *clusterNode, raw []byte) error {
	l.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = 1, 5000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = raw
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", TopicID: l.topic.ID, Partitions: []kmsg.ProduceRequestTopicPartition{part}}}
	client := l.dial(n.client.Addr())
	for deadline := time.Now().Add(time.Minute); ; {
		resp, err := req.RequestWith(l.t.Context(), client)
		if err != nil {
			l.t.Fatal(err)
		}
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		if !errors.Is(err, kerr.NotLeaderForPartition) || time.Now().After(deadline) {
			return err
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (l *lossy) mustProduce(n *clusterNode, raw []byte) {
	l.t.Helper()
	if err := l.produce(n, raw); err != nil {
		l.t.Fatal(err)
	}
}

// read returns what a broker serves of the partition, from the start to the end.
func (l *lossy) read(n *clusterNode) (values []string) {
	l.t.Helper()
	client := l.dial(n.client.Addr(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart()}}))
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(l.t.Context(), "t")
	if err != nil {
		l.t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			l.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			values = append(values, string(r.Value))
			next = r.Offset + 1
		})
	}
	return values
}

// salvaged waits until a broker has settled so many batches.
func (l *lossy) salvaged(n *clusterNode, batches float64) {
	l.t.Helper()
	total := func() (sum float64) {
		for _, outcome := range []string{"appended", "known", "superseded", "expired", "refused", "deleted"} {
			sum += l.outcomes(n, outcome)
		}
		return sum
	}
	for deadline := time.Now().Add(time.Minute); total() < batches; {
		if time.Now().After(deadline) {
			l.t.Fatalf("%v batches were settled, want %v", total(), batches)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (l *lossy) outcomes(n *clusterNode, outcome string) float64 {
	return l.metric(n, "chronik_broker_salvage_batches_total", outcome)
}

// metric is the value of a broker's metric, with that label if it has any.
func (l *lossy) metric(n *clusterNode, name, label string) float64 {
	families, err := n.registry.Gather()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if len(m.Label) == 0 || m.Label[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func TestWhatAnOverrunOwnerBringsBackIsAppendedOnceAsNewRecords(t *testing.T) {
	l := newLossy(t)
	old, _ := l.owned(nil)
	l.mustProduce(old, l.numbered(-1, -1, -1, "plain 0", "plain 1"))
	for i := range int32(3) {
		l.mustProduce(old, l.numbered(7, 0, i, fmt.Sprint("numbered ", i)))
	}
	l.mustProduce(old, l.numbered(-1, -1, -1, "plain 2"))
	l.cutOff(old)
	heir, _ := l.owned(old)
	if got := l.read(heir); len(got) != 0 {
		t.Fatalf("the new owner serves %q: the test shows nothing", got)
	}
	l.mustProduce(heir, l.numbered(-1, -1, -1, "new"))
	l.back(old)
	l.salvaged(old, 5)
	owner, _ := l.owned(nil)
	want := "new,plain 0,plain 1,numbered 0,numbered 1,numbered 2,plain 2"
	if got := strings.Join(l.read(owner), ","); got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	if n := l.outcomes(old, "appended"); n != 5 {
		t.Errorf("%v batches appended, want 5", n)
	}
	// The producer that goes on is known.
	l.mustProduce(owner, l.numbered(7, 0, 3, "numbered 3"))
	// What was salvaged may be overtaken again, and is then salvaged again.
	for range 3 {
		owner, other := l.wished()
		l.cutOff(owner)
		l.mustProduce(other, l.numbered(-1, -1, -1, "new"))
		l.back(owner)
		l.settled(owner)
	}
	l.once(count{"plain", 3}, count{"numbered", 4})
}

// count is so many values, "name 0" and on; or if n is not above 0, −n times "name".
type count struct {
	name string
	n    int
}

// once expects each of the values once in the partition, when nothing is left to be
// salvaged: on a busy machine the session of an heir may lapse as well, and what it
// has is salvaged in turn.
func (l *lossy) once(counts ...count) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		for _, n := range l.nodes {
			l.settled(n)
		}
		owner, _ := l.wished()
		seen := map[string]int{}
		for _, v := range l.read(owner) {
			seen[v]++
		}
		var wrong []string
		for _, c := range counts {
			for i := range max(c.n, 1) {
				name, want := c.name, -c.n // of those that look alike
				if c.n > 0 {
					name, want = fmt.Sprint(c.name, " ", i), 1
				}
				if seen[name] != want {
					wrong = append(wrong, fmt.Sprintf("%q is there %d times, want %d", name, seen[name], want))
				}
			}
		}
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatal(strings.Join(wrong, "\n"))
		}
	}
}

// settled waits until a broker that was away has a new session, and nothing left
// to be salvaged.
func (l *lossy) settled(n *clusterNode) {
	l.t.Helper()
	l.until("the broker is back", l.nodes[2-n.id], func(m *metastore.Catalog) bool {
		_, ok := m.Broker(n.id)
		return ok
	})
	l.wished()
	for deadline := time.Now().Add(time.Minute); ; {
		if l.metric(n, "chronik_broker_salvage_pending_batches", "") == 0 && n.broker.Ready() == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatal("batches are still to be salvaged")
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestWhatItsProducerHasSentAgainIsNotSalvaged(t *testing.T) {
	l := newLossy(t)
	old, _ := l.owned(nil)
	var both [][]byte
	for i := range int32(8) {
		both = append(both, l.numbered(7, 0, i, fmt.Sprint("again ", i)))
	}
	for i := range int32(8) {
		l.mustProduce(old, l.numbered(7, 0, i, fmt.Sprint("again ", i)))
		l.mustProduce(old, l.numbered(8, 0, i, fmt.Sprint("gone on ", i)))
		l.mustProduce(old, l.numbered(9, 0, i, fmt.Sprint("new epoch ", i)))
	}
	var bumped [][]byte
	for i := range int32(4) {
		raw := l.numbered(10, 0, i, fmt.Sprint("bumped ", i))
		l.mustProduce(old, slices.Clone(raw))
		bumped = append(bumped, raw)
	}
	l.cutOff(old)
	heir, _ := l.owned(old)
	// One has no answer to its last two, finds a gap before them, and sends them
	// again under a new epoch.
	for i, raw := range bumped[2:] {
		batch.PatchProducer(raw, 10, 1, int32(i))
		l.mustProduce(heir, raw)
	}
	// One producer sends everything again, one goes on behind what it was told is
	// stored, one begins a new epoch.
	for _, raw := range both {
		l.mustProduce(heir, raw)
	}
	for i := range int32(6) {
		l.mustProduce(heir, l.numbered(8, 0, 8+i, fmt.Sprint("gone on ", 8+i)))
	}
	l.mustProduce(heir, l.numbered(9, 1, 0, "new epoch 8"))
	l.back(old)
	l.salvaged(old, 28)
	l.once(count{"again", 8}, count{"gone on", 14}, count{"new epoch", 9}, count{"bumped", 4})
	if n := l.outcomes(old, "known"); n != 10 {
		t.Errorf("%v batches known, want the 10 that were sent again", n)
	}
}

// A producer that misses at the new owner what it had sent before is out of order
// there. Clients begin a new epoch then, and send again what they have no answer
// for, in the batches that it was in or in others.
func TestWhatItsProducerHasSentAgainUnderANewEpochIsNotSalvaged(t *testing.T) {
	l := newLossy(t)
	old, _ := l.owned(nil)
	at := time.Now().UnixMilli()
	for i, values := range [][]string{{"answered 0"}, {"answered 1", "doubted 0", "doubted 1"}, {"doubted 2"}, {"doubted 3", "doubted 4"}} {
		l.mustProduce(old, l.stamped(at, 7, 0, []int32{0, 1, 4, 5}[i], values...))
	}
	for i := range int32(3) { // which nobody can tell from one another
		l.mustProduce(old, l.stamped(at, 8, 0, i, "alike"))
	}
	l.cutOff(old)
	heir, _ := l.owned(old)
	l.mustProduce(heir, l.stamped(at, 7, 1, 0, "doubted 0", "doubted 1"))
	l.mustProduce(heir, l.stamped(at, 7, 1, 2, "doubted 2"))
	l.mustProduce(heir, l.stamped(at, 7, 1, 3, "doubted 3", "doubted 4", "new 0"))
	l.mustProduce(heir, l.stamped(at+1, 7, 1, 6, "answered 0")) // another one with this text
	l.mustProduce(heir, l.stamped(at, 8, 1, 0, "alike"))
	l.back(old)
	l.salvaged(old, 7)
	l.once(count{"doubted", 5}, count{"new", 1}, count{"answered 0", -2}, count{"answered 1", -1}, count{"alike", -3})
}

// By the names of salvaged batches some producers are not told from one another. What
// one has sent itself is not taken for what another has.
func TestWhatAnotherProducerOfItsKinHasSentIsNotTakenForIts(t *testing.T) {
	const id = 7
	other := int64(id + 1)
	for producer.Kin(other) != producer.Kin(id) {
		other++
	}
	l := newLossy(t)
	old, _ := l.owned(nil)
	at := time.Now().UnixMilli()
	l.mustProduce(old, l.stamped(at, id, 0, 0, "alike"))
	l.cutOff(old)
	heir, _ := l.owned(old)
	l.mustProduce(heir, l.stamped(at, id, 1, 0, "new 0"))
	l.mustProduce(heir, l.stamped(at, other, 1, 0, "alike"))
	l.back(old)
	l.salvaged(old, 1)
	l.once(count{"new", 1}, count{"alike", -2})
}

// A producer that is told of a gap sends again what it has no answer for, under a new
// epoch. The former owner, which has it too, may be back before.
func TestProducersComeBeforeWhatIsSalvaged(t *testing.T) {
	const after = time.Second
	l := newLossyTopic(t, nil, func(cfg *broker.Config) { cfg.Ingest.SalvageAfter = after })
	old, _ := l.owned(nil)
	at := time.Now().UnixMilli()
	for i := range int32(4) {
		l.mustProduce(old, l.stamped(at, 7, 0, i, fmt.Sprint("numbered ", i)))
	}
	l.cutOff(old)
	heir, _ := l.owned(old)
	<-time.After(after) // in which everybody comes before it
	l.mustProduce(heir, l.stamped(at, 7, 0, 0, "numbered 0"))
	l.keeps(heir, old)
	l.back(old)
	for deadline := time.Now().Add(time.Minute); l.metric(old, "chronik_broker_salvage_pending_batches", "") == 0; <-time.After(5 * time.Millisecond) {
		if err := l.produce(heir, l.stamped(at, 7, 0, 2, "numbered 2")); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
			t.Fatalf("behind a gap: %v", err)
		}
		if time.Now().After(deadline) {
			t.Fatal("the former owner does not come back")
		}
	}
	l.mustProduce(heir, l.stamped(at, 7, 1, 0, "numbered 2"))
	l.mustProduce(heir, l.stamped(at, 7, 1, 1, "numbered 3"))
	l.salvaged(old, 4)
	l.once(count{"numbered", 4})
	if n := l.outcomes(old, "appended"); n != 1 {
		t.Errorf("%v batches appended, want the one that its producer does not send again", n)
	}
}

// Of what its producer has sent again the log may tell nothing any more. Under the
// same epoch the owner knows nevertheless that it was there. Under another one it
// does not; but where the log keeps to a size, what came before would be gone, too.
func TestWhatIsGoneMeanwhileIsNotSalvaged(t *testing.T) {
	for _, c := range []struct {
		name    string
		epoch   int16 // under which it was sent again
		bytes   string
		there   int
		outcome string
	}{
		{"the same epoch", 0, "-1", 0, "known"},
		{"another epoch", 1, "-1", 1, "appended"},
		{"another epoch, and a size", 1, "1000000", 0, "expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLossyTopic(t, map[string]*string{"retention.bytes": &c.bytes})
			old, _ := l.owned(nil)
			const n = 8
			at := time.Now().UnixMilli()
			for i := range int32(n) {
				l.mustProduce(old, l.stamped(at, 7, 0, i, fmt.Sprint("again ", i)))
			}
			l.cutOff(old)
			heir, _ := l.owned(old)
			for i := range int32(n) {
				l.mustProduce(heir, l.stamped(at, 7, c.epoch, i, fmt.Sprint("again ", i)))
			}
			l.mustProduce(heir, l.numbered(7, 2, 0, "other 0"))
			l.deleteBelow(heir, n)
			l.back(old)
			l.salvaged(old, n)
			counts := []count{{"other 0", -1}}
			for i := range n {
				counts = append(counts, count{fmt.Sprint("again ", i), -c.there})
			}
			l.once(counts...)
			if got := l.outcomes(old, c.outcome); got != n {
				t.Errorf("%v batches %s, want %d", got, c.outcome, n)
			}
		})
	}
}

// What the owner refuses for good is told and kept, under whichever epoch it was sent.
func TestWhatTheOwnerRefusesIsKept(t *testing.T) {
	l := newLossy(t)
	old, _ := l.owned(nil)
	l.mustProduce(old, l.numbered(-1, -1, -1, strings.Repeat("large", 100)))
	for epoch := range int16(2) {
		l.mustProduce(old, l.numbered(7, epoch, 0, fmt.Sprint(strings.Repeat("large", 100), epoch)))
	}
	l.mustProduce(old, l.numbered(8, 1, 0, "small 0"))
	l.cutOff(old)
	heir, _ := l.owned(old)
	admin, size := kadm.NewClient(l.dial(heir.client.Addr())), "200"
	if answers, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &size}}, "t"); err != nil || answers[0].Err != nil {
		t.Fatal(err, answers)
	}
	l.back(old)
	l.salvaged(old, 4)
	l.once(count{"small", 1})
	if n := l.outcomes(old, "refused"); n != 3 {
		t.Errorf("%v batches refused, want 3", n)
	}
}

// What its producer has sent again, compaction may have taken away since. Appended
// once more, an old value would be the latest of its key.
func TestOfACompactedTopicWhatIsSupersededIsNotSalvaged(t *testing.T) {
	for _, policy := range []string{"compact", "delete"} {
		t.Run(policy, func(t *testing.T) {
			l := newLossyTopic(t, map[string]*string{"cleanup.policy": &policy})
			key := func(value string) []byte { return []byte(strings.Fields(value)[0]) }
			old, _ := l.owned(nil)
			at := time.Now().UnixMilli()
			l.mustProduce(old, l.keyed(at, 7, 0, 0, key, "a 0", "b 0"))
			l.mustProduce(old, l.keyed(at, 7, 0, 2, key, "c 0", "d 0"))
			l.mustProduce(old, l.keyed(at, 8, 0, 5, key, "e 0"))
			l.mustProduce(old, l.keyed(at, 9, 0, 0, key, "f 0"))
			l.cutOff(old)
			heir, _ := l.owned(old)
			// Of a and c its producer has later values, of the same millisecond; of b and e
			// another one has, of d one that was older when it came, and late.
			l.mustProduce(heir, l.keyed(at, 7, 1, 0, key, "a 1", "c 1"))
			l.mustProduce(heir, l.keyed(at, 8, 1, 0, key, "other 0"))
			l.mustProduce(heir, l.keyed(at+1, 10, 0, 0, key, "b 1", "e 1"))
			l.mustProduce(heir, l.keyed(at-1, 10, 0, 2, key, "d -1"))
			l.back(old)
			l.salvaged(old, 4)
			there, superseded := 0, 2.0
			if policy == "delete" {
				there, superseded = -1, 0
			}
			l.once(count{"a 0", there}, count{"b 0", there}, count{"c 0", there}, count{"e 0", there}, count{"d 0", -1}, count{"f 0", -1})
			if n := l.outcomes(old, "superseded"); n != superseded {
				t.Errorf("%v batches superseded, want %v", n, superseded)
			}
		})
	}
}

// Retention may have taken away what its producer had sent again.
func TestWhatHasExpiredMeanwhileIsNotSalvaged(t *testing.T) {
	day := fmt.Sprint((24 * time.Hour).Milliseconds())
	l := newLossyTopic(t, map[string]*string{"retention.ms": &day})
	old, _ := l.owned(nil)
	now := time.Now()
	l.mustProduce(old, l.stamped(now.Add(-25*time.Hour).UnixMilli(), 7, 0, 0, "old 0", "old 1"))
	l.mustProduce(old, l.stamped(now.UnixMilli(), 7, 0, 2, "new 0"))
	l.mustProduce(old, l.stamped(now.Add(-25*time.Hour).UnixMilli(), 8, 0, 0, "first 0"))
	l.cutOff(old)
	heir, _ := l.owned(old)
	l.mustProduce(heir, l.numbered(7, 1, 0, "other 0")) // of 8 nothing comes: it has not gone on
	l.back(old)
	l.salvaged(old, 3)
	l.once(count{"old 0", 0}, count{"old 1", 0}, count{"new", 1}, count{"first", 1}, count{"other", 1})
	if n := l.outcomes(old, "expired"); n != 1 {
		t.Errorf("%v batches expired, want 1", n)
	}
}

// Of records that look alike as many are salvaged as were not sent again, also by
// jobs that see one after the other how many are in the log.
func TestRecordsThatLookAlikeAreAllThereWhereverTheirSalvageIsCutOff(t *testing.T) {
	l := newLossy(t)
	var lasts atomic.Int32
	lasts.Store(4) // shorter ones do not get to anything
	for _, n := range l.nodes {
		l.end(n)
		n.network = cutting(&lasts)
		l.start(n)
	}
	l.until("all brokers live", l.nodes[0], func(m *metastore.Catalog) bool { return len(m.Brokers()) == 2 })
	old, _ := l.wished()
	const all, again = 5, 2
	at := time.Now().UnixMilli()
	for i := range int32(all) {
		l.mustProduce(old, l.stamped(at, 8, 0, 2*i, "alike", fmt.Sprint("not alike ", i)))
	}
	l.cutOff(old)
	heir, _ := l.owned(old)
	for i := range int32(again) {
		l.mustProduce(heir, l.stamped(at, 8, 1, i, "alike"))
	}
	l.back(old)
	l.salvaged(old, all)
	l.once(count{"not alike", all}, count{"alike", -all})
}

// Where a salvage failed midway, or the owner that it went to was overrun in turn,
// two brokers have the same batch, and each of them salvages it.
func TestABatchThatTwoBrokersHaveIsSalvagedOnce(t *testing.T) {
	l := newLossy(t)
	old, _ := l.owned(nil)
	for i := range int32(3) {
		l.mustProduce(old, l.numbered(8, 0, i, fmt.Sprint("gone on ", i)))
	}
	l.mustProduce(old, l.numbered(9, 0, 0, "parted 0", "parted 1"))
	l.mustProduce(old, l.numbered(10, 0, 0, "in order 0"))
	l.mustProduce(old, l.numbered(10, 0, 1, "in order 1"))
	l.cutOff(old)
	heir, _ := l.owned(old)
	for i := range int32(6) {
		l.mustProduce(heir, l.numbered(8, 0, 3+i, fmt.Sprint("gone on ", 3+i)))
	}
	l.mustProduce(heir, l.numbered(9, 1, 0, "parted 1"))
	// What another broker has salvaged, of the second one not the record that its
	// producer has sent again.
	l.mustProduce(heir, l.numbered(producer.SalvageBatchID(8, 0, 1), 0, 0, "gone on 1"))
	l.mustProduce(heir, l.numbered(producer.SalvageBatchID(9, 0, 0), 0, 0, "parted 0"))
	// The owner would take this one once more, behind what comes before it.
	l.mustProduce(heir, l.numbered(producer.SalvageBatchID(10, 0, 1), 0, 0, "in order 1"))
	l.back(old)
	l.salvaged(old, 6)
	l.once(count{"gone on", 9}, count{"parted", 2}, count{"in order", 2})
	if n := l.outcomes(old, "known"); n != 3 {
		t.Errorf("%v batches known, want the 3 that were salvaged", n)
	}
	// Its producer goes on behind it, and is told of no gap.
	owner, _ := l.owned(nil)
	l.mustProduce(owner, l.numbered(10, 0, 2, "in order 2"))
	l.once(count{"in order", 3})
}

// An owner forgets idle producers. What they had sent it again is in its log.
func TestWhatTheOwnerHasForgottenIsNotSalvagedTwice(t *testing.T) {
	l := newLossyTopic(t, nil, func(cfg *broker.Config) { cfg.Ingest.ProducerExpiry = time.Second })
	old, _ := l.owned(nil)
	for i := range int32(3) {
		l.mustProduce(old, l.numbered(7, 0, i, fmt.Sprint("again ", i)))
		l.mustProduce(old, l.numbered(8, 0, i, fmt.Sprint("never ", i)))
	}
	l.mustProduce(old, l.numbered(9, 0, 0, "named 0"))
	l.cutOff(old)
	heir, _ := l.owned(old)
	l.mustProduce(heir, l.numbered(-1, -1, -1, "deleted"))
	for i := range int32(3) {
		l.mustProduce(heir, l.numbered(7, 0, i, fmt.Sprint("again ", i)))
	}
	l.mustProduce(heir, l.numbered(producer.SalvageBatchID(9, 0, 0), 0, 0, "named 0"))
	l.forgotten(heir)
	l.keeps(heir, old) // another owner would find them in the segments' footers
	l.back(old)
	l.salvaged(old, 7)
	l.once(count{"again", 3}, count{"never", 3}, count{"named", 1})
	if n := l.outcomes(old, "known"); n != 4 {
		t.Errorf("%v batches known, want the 4 that are in the log", n)
	}
}

// keeps lets a broker keep the partition, which the other one gets no more.
func (l *lossy) keeps(owner, other *clusterNode) {
	l.t.Helper()
	if err := owner.store.SetDraining(l.t.Context(), other.id, true); err != nil {
		l.t.Fatal(err)
	}
}

// forgotten waits until a broker has forgotten the producers of the partition.
func (l *lossy) forgotten(n *clusterNode) {
	l.t.Helper()
	admin := kadm.NewClient(l.dial(n.client.Addr()))
	one := kadm.TopicsSet{}
	one.Add("t", 0)
	for deadline := time.Now().Add(time.Minute); ; {
		producers, err := admin.DescribeProducers(l.t.Context(), one)
		if err != nil {
			l.t.Fatal(err)
		}
		if len(producers["t"].Partitions[0].ActiveProducers) == 0 {
			break
		}
		if time.Now().After(deadline) {
			l.t.Fatal("the producers are still known")
		}
		<-time.After(5 * time.Millisecond)
	}
	// They go as a seal finds another producer; a deletion waits for its commit.
	l.mustProduce(n, l.numbered(1000, 0, 0, "other"))
	l.deleteBelow(n, 1)
}

// deleteBelow has a broker delete what lies below an offset.
func (l *lossy) deleteBelow(n *clusterNode, offset int64) {
	l.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset("t", 0, offset, -1)
	if answers, err := kadm.NewClient(l.dial(n.client.Addr())).DeleteRecords(l.t.Context(), offsets); err != nil || answers.Error() != nil {
		l.t.Fatal(err, answers.Error())
	}
}

// A broker that cannot begin is given no partitions, again and again: it does not register.
func TestABrokerBehindALaterVersionOfItsDiskDoesNotRegister(t *testing.T) {
	c := newBrokers(t, 1)
	n := c.nodes[0]
	c.end(n)
	later := binary.AppendUvarint([]byte{99}, 0)
	f, err := n.disk.Create(filepath.Join(n.config.DataDir, "salvaged"))
	if err == nil {
		_, err = f.WriteAt(binary.LittleEndian.AppendUint32(later, crc32.Checksum(later, crc32.MakeTable(crc32.Castagnoli))), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, before, err := c.kv.Range(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.start(n)
	for deadline := time.Now().Add(time.Minute); ; {
		if err := n.broker.Ready(); err != nil && strings.Contains(err.Error(), "version 99") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not said why it does not serve: %v", n.broker.Ready())
		}
		<-time.After(5 * time.Millisecond)
	}
	n.stop()
	<-n.done // with the error, if it was about to try again
	n.done = nil
	n.store.Close()
	if _, after, err := c.kv.Range(t.Context(), ""); err != nil || after != before {
		t.Errorf("revision %d became %d, %v: it was registered", before, after, err)
	}
}

// cutting dials connections of which each lasts a little longer than the one before.
func cutting(lasts *atomic.Int32) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		c := &cutConn{Conn: conn}
		c.left.Store(lasts.Add(1 + lasts.Load()/8))
		return c, nil
	}
}

// cutConn is a connection that breaks after so many reads and writes.
type cutConn struct {
	net.Conn
	left atomic.Int32
}

var errCut = errors.New("connection cut by the test")

func (c *cutConn) Read(b []byte) (int, error) {
	if c.left.Add(-1) < 0 {
		c.Close()
		return 0, errCut
	}
	return c.Conn.Read(b)
}

func (c *cutConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b) // the request arrives, its answer may not
	if c.left.Add(-1) < 0 {
		c.Close()
		return 0, errCut
	}
	return n, err
}

func TestASalvageThatIsCutOffAnywhereDoublesNothing(t *testing.T) {
	l := newLossy(t)
	var lasts atomic.Int32
	lasts.Store(4) // shorter ones do not get to anything
	for _, n := range l.nodes {
		l.end(n)
		n.network = cutting(&lasts)
		l.start(n)
	}
	l.until("all brokers live", l.nodes[0], func(m *metastore.Catalog) bool { return len(m.Brokers()) == 2 })
	old, _ := l.wished()
	const rounds = 3
	for i := range int32(rounds) {
		l.mustProduce(old, l.numbered(-1, -1, -1, fmt.Sprint("plain ", i)))
		l.mustProduce(old, l.numbered(7, 0, i, fmt.Sprint("numbered ", i)))
		l.mustProduce(old, l.numbered(8, 0, i, fmt.Sprint("gone on ", i)))
	}
	l.cutOff(old)
	heir, _ := l.owned(old)
	for i := range int32(6) {
		l.mustProduce(heir, l.numbered(8, 0, rounds+i, fmt.Sprint("gone on ", rounds+i)))
	}
	l.back(old)
	l.salvaged(old, 3*rounds)
	l.once(count{"plain", rounds}, count{"numbered", rounds}, count{"gone on", rounds + 6})
	if lasts.Load() < 15 {
		t.Errorf("the last connection was cut after %d steps: too few were", lasts.Load())
	}
}

// Under wal readers may have seen what an owner that stays away too long takes
// with it. The leader epochs tell them where its log was cut off.
func TestReadersOfAnOverrunOwnerLearnWhereItsLogWasCut(t *testing.T) {
	l := newLossy(t)
	old, _ := l.owned(nil)
	l.mustProduce(old, l.numbered(-1, -1, -1, "seen 0", "seen 1", "seen 2"))
	if got := l.read(old); len(got) != 3 {
		t.Fatalf("read %q", got)
	}
	epoch := l.nodes[0].store.Catalog().Partition(l.partition()).Owner.Epoch
	l.cutOff(old)
	heir, _ := l.owned(old)
	now := heir.store.Catalog().Partition(l.partition()).Owner.Epoch
	if now <= epoch {
		t.Fatalf("epoch %d after %d", now, epoch)
	}
	client := l.dial(heir.client.Addr())
	defer l.back(old)
	ask := func(current metastore.Epoch) (metastore.Epoch, int64, error) {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		part.CurrentLeaderEpoch, part.LeaderEpoch = int32(current), int32(epoch)
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{part}}}
		resp, err := client.Broker(int(heir.id)).Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		p := resp.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
		return metastore.Epoch(p.LeaderEpoch), p.EndOffset, kerr.ErrorForCode(p.ErrorCode)
	}
	l.until("the new owner serves", heir, func(*metastore.Catalog) bool {
		_, _, err := ask(now)
		return !errors.Is(err, kerr.NotLeaderForPartition)
	})
	if _, _, err := ask(epoch); !errors.Is(err, kerr.FencedLeaderEpoch) {
		t.Errorf("with the old epoch: %v", err)
	}
	if _, end, err := ask(now); err != nil || end != 0 {
		t.Errorf("the old epoch ended at %d (%v), want 0", end, err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 1, 1<<20
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes, part.CurrentLeaderEpoch, part.LastFetchedEpoch = 3, 1<<20, int32(now), int32(epoch)
	req.Topics = []kmsg.FetchRequestTopic{{Topic: "t", TopicID: l.topic.ID, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	resp, err := client.Broker(int(heir.id)).Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	got := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if got.DivergingEpoch.EndOffset != 0 && !errors.Is(kerr.ErrorForCode(got.ErrorCode), kerr.OffsetOutOfRange) {
		t.Errorf("a fetch behind the cut: error %d, diverging epoch %+v", got.ErrorCode, got.DivergingEpoch)
	}
}
