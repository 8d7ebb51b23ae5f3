package sim

import (
	"context"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/tests/history"
)

// A checker that finds nothing is worth nothing. Each of these bugs is planted
// into a seam, as if the product had forgotten something there, and must be found.
//
// A seed that finds one is of use only if it finds it again. What Go itself
// decides by chance, as which of several ready channels a select takes, is not the
// seed's to say, so it may take a few tries.
func TestPlantedBugsAreFound(t *testing.T) {
	const seedsMax, triesMax = 60, 5
	found, again := 0, 0
	for _, c := range []struct {
		name     string
		planted  Planted
		troubles []string
		kinds    []history.Kind // one of them at least
		searched bool           // it takes searches to find it
	}{
		{
			"who coordinates a group does not compare that he does [slot-compare] [key-compare]",
			without("/states/", "/slots/", "/states/"),
			[]string{"metadata store away", "pause"},
			[]history.Kind{history.Shared},
			false,
		},
		{
			"the disk says synced and is not",
			Planted{Disk: func(inner disk.FS) disk.FS { return lyingDisk{inner} }},
			[]string{"power loss"},
			[]history.Kind{history.Lost},
			false,
		},
		{
			"the bucket says stored and is not",
			Planted{Bucket: func(inner objstore.Bucket) objstore.Bucket { return &forgetfulBucket{Bucket: inner} }},
			[]string{"kill -9"},
			[]history.Kind{history.Lost, history.Missing, history.Unread},
			false,
		},
		{
			"the bucket says deleted and has not",
			Planted{Bucket: func(inner objstore.Bucket) objstore.Bucket { return keepingBucket{inner} }},
			[]string{"kill -9"},
			[]history.Kind{history.Leaked},
			false,
		},
		{
			"the metadata store answers before it has applied",
			Planted{Store: func(inner kv.Store) kv.Store { return hastyStore{inner} }},
			[]string{"metadata store unreliable", "metadata store slow"},
			[]history.Kind{history.EarlyAck},
			false,
		},
		{
			"commits of offsets do not compare their key [key-compare]",
			without("/offsets/", "/offsets/"),
			[]string{"metadata store late", "metadata store unreliable"},
			[]history.Kind{history.GroupBack},
			false,
		},
		{
			"commits do not compare the session [session-compare]",
			without("/segments/", "/brokers/"),
			[]string{"metadata store only late", "pause"},
			[]history.Kind{history.CommitTwice},
			false,
		},
		{
			"commits do not compare the commit before [commit-sequence]",
			without("/segments/", "/commits/"),
			[]string{"metadata store late", "metadata store unreliable"},
			[]history.Kind{history.CommitTwice, history.CommitOrder},
			false,
		},
		{
			"compactors do not compare the manifest",
			without("/manifests/", "/manifests/"),
			[]string{"metadata store late", "metadata store unreliable"},
			[]history.Kind{history.Lost, history.Missing, history.Dirty, history.Unread},
			false,
		},
		{
			"who takes a partition does not compare that its topic is there [topic-exists]",
			without("/owners/", "/topic-ids/"),
			[]string{"metadata store late", "metadata store unreliable", "drain"},
			[]history.Kind{history.Orphaned},
			false,
		},
		{
			"compactors do not compare that a topic is there [topic-exists]",
			without("/manifests/", "/topic-ids/"),
			[]string{"metadata store late", "metadata store slow"},
			[]history.Kind{history.Orphaned},
			false,
		},
		{
			"compaction by key goes with retention by time, and nobody asked for that",
			Planted{Config: map[string]map[string]string{"keyed": {"cleanup.policy": "compact,delete", "retention.ms": "20000"}}},
			[]string{"kill -9"},
			[]history.Kind{history.Lost},
			false,
		},
		{
			"records are kept for half of the time that was asked for",
			Planted{Config: map[string]map[string]string{"aged": {"retention.ms": "22500"}}},
			[]string{"kill -9"},
			[]history.Kind{history.Lost},
			false,
		},
		{
			"a log is cut to less than was asked for",
			Planted{Config: map[string]map[string]string{"sized": {"retention.bytes": "1000"}}},
			[]string{"kill -9"},
			[]history.Kind{history.Lost},
			false,
		},
		{
			"tombstones go as soon as they have done their work",
			Planted{Config: map[string]map[string]string{"keyed": {"delete.retention.ms": "0"}}},
			[]string{"kill -9"},
			[]history.Kind{history.Lost},
			false,
		},
		{
			"the start of the log is put below where it was",
			Planted{Store: func(inner kv.Store) kv.Store { return lowStart{inner} }},
			[]string{"kill -9"},
			[]history.Kind{history.Undeleted},
			false,
		},
		{
			"a lease lapses before its time",
			Planted{Store: func(inner kv.Store) kv.Store { return impatientStore{inner} }},
			[]string{"metadata store away", "metadata store slow", "pause"},
			[]history.Kind{history.Stale, history.Lost, history.Dirty},
			false,
		},
		{
			"what is salvaged does not wait for its producers",
			Planted{Ingest: func(c *ingest.Config) { c.SalvageAfter = -1 }},
			[]string{"metadata store away", "pause"},
			[]history.Kind{history.Duplicated},
			false,
		},
		{
			"some texts get the vector of another",
			Planted{Vector: anothersVector},
			[]string{"kill -9"},
			[]history.Kind{history.Garbled},
			true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			finds := func(seed uint64) (history.Result, bool) {
				plan := planOf(seed)
				plan.Planted, plan.Troubles, plan.Time = c.planted, c.troubles, time.Minute
				plan.Topics = []TopicPlan{
					{Name: "object", Partitions: 2, Object: true}, {Name: "wal", Partitions: 2},
					{Name: "trimmed", Partitions: 1, Object: true, Trimmed: true}, {Name: "keyed", Partitions: 1, Object: true, Keys: 200},
					{Name: "aged", Partitions: 1, Object: true, Retention: agedFor}, {Name: "sized", Partitions: 1, RetentionBytes: sizedTo},
				}
				plan.Brokers, plan.Compactors, plan.Groups, plan.Delay = 3, 2, 2, 0
				plan.Remade = slices.Contains(c.kinds, history.Orphaned) // a topic is to go and come for that
				plan.Queries, plan.Again = 0, TopicPlan{}
				if c.searched && !queriesRun {
					t.Skip("this build runs no queries")
				}
				if c.searched {
					plan.Queries, plan.Topics[0].Index, plan.Topics[0].Searchable = 1, "flat", true
				}
				plan.Members = nil
				if slices.Contains(c.kinds, history.Shared) {
					plan.Members = []MembersPlan{{Group: "classic", Classic: 3}, {Group: "consumer", Consumer: 3}, {Group: "mixed", Classic: 2, Consumer: 1}}
				}
				result, _, _ := play(t, plan)
				return result, slices.ContainsFunc(c.kinds, func(k history.Kind) bool { return result.Count(string(k)) > 0 })
			}
			for seed := uint64(1); seed <= seedsMax; seed++ {
				result, ok := finds(seed)
				if !ok {
					continue
				}
				t.Logf("found with seed %d:\n%s", seed, result)
				found++
				for try := range triesMax {
					if _, ok := finds(seed); ok {
						t.Logf("and again at try %d", try+1)
						again++
						break
					}
				}
				return
			}
			t.Errorf("not found by %d seeds", seedsMax)
		})
	}
	if again < found*2/3 {
		t.Errorf("of %d seeds that found something %d did so again within %d tries", found, again, triesMax)
	}
}

// lyingDisk syncs nothing.
type lyingDisk struct{ disk.FS }

func (d lyingDisk) Create(name string) (disk.File, error) {
	f, err := d.FS.Create(name)
	return lyingFile{f}, err
}

func (d lyingDisk) Open(name string) (disk.File, error) {
	f, err := d.FS.Open(name)
	return lyingFile{f}, err
}

type lyingFile struct{ disk.File }

func (lyingFile) Datasync() error { return nil }

// forgetfulBucket does not store every fifth segment.
type forgetfulBucket struct {
	objstore.Bucket
	puts int
}

func (b *forgetfulBucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	if b.puts++; b.puts%5 == 0 {
		return objstore.Attributes{Name: name, Size: body.Size}, nil
	}
	return b.Bucket.Put(ctx, name, body, cond)
}

// keepingBucket deletes nothing.
type keepingBucket struct{ objstore.Bucket }

func (keepingBucket) Delete(context.Context, string) error { return nil }

// hastyStore takes every commit for applied.
type hastyStore struct{ kv.Store }

func (s hastyStore) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	result, err := s.Store.Txn(ctx, txn)
	if err != nil && touches(txn, "/segments/") {
		return kv.TxnResult{Succeeded: true}, nil
	}
	return result, err
}

// impatientStore grants a third of the time that was asked for.
type impatientStore struct{ kv.Store }

func (s impatientStore) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	return s.Store.Grant(ctx, ttl/3)
}

// lowStart writes manifests with the log start of the beginning.
type lowStart struct{ kv.Store }

var logStart = regexp.MustCompile(`"log_start":[0-9]+`)

func (s lowStart) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	txn.Then = slices.Clone(txn.Then)
	for i, op := range txn.Then {
		if strings.Contains(op.Key, "/manifests/") && strings.Contains(string(op.Value), `"object"`) {
			txn.Then[i].Value = logStart.ReplaceAll(op.Value, []byte(`"log_start":0`))
		}
	}
	return s.Store.Txn(ctx, txn)
}

// anothersVector is that of another text for one text of twenty.
func anothersVector(text string, dimensions int) []float32 {
	if crc32.ChecksumIEEE([]byte(text))%20 == 0 {
		text = "another"
	}
	return embeddertest.Vector(text, dimensions)
}

func touches(txn kv.Txn, part string) bool {
	return slices.ContainsFunc(txn.Then, func(op kv.Op) bool { return strings.Contains(op.Key, part) })
}

// without drops, from transactions that write keys of a kind, the comparisons of
// other kinds.
func without(written string, compared ...string) Planted {
	return Planted{Store: func(inner kv.Store) kv.Store {
		return careless{inner, func(txn kv.Txn) kv.Txn {
			if touches(txn, written) {
				txn.If = slices.DeleteFunc(slices.Clone(txn.If), func(c kv.Compare) bool {
					return slices.ContainsFunc(compared, func(part string) bool { return strings.Contains(c.Key, part) })
				})
			}
			return txn
		}}
	}}
}

type careless struct {
	kv.Store
	edit func(kv.Txn) kv.Txn
}

func (s careless) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	return s.Store.Txn(ctx, s.edit(txn))
}
