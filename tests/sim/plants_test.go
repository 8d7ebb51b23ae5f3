package sim

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/tests/history"
)

// A checker that finds nothing is worth nothing. Each of these bugs is planted
// into a seam, as if the product had forgotten something there, and must be found.
func TestPlantedBugsAreFound(t *testing.T) {
	for _, c := range []struct {
		name     string
		planted  Planted
		troubles []string
		kinds    []history.Kind // one of them at least
	}{
		{
			"the disk says synced and is not",
			Planted{Disk: func(inner disk.FS) disk.FS { return lyingDisk{inner} }},
			[]string{"power loss"},
			[]history.Kind{history.Lost},
		},
		{
			"the bucket says stored and is not",
			Planted{Bucket: func(inner objstore.Bucket) objstore.Bucket { return &forgetfulBucket{Bucket: inner} }},
			[]string{"kill -9"},
			[]history.Kind{history.Lost, history.Missing, history.Unread},
		},
		{
			"the metadata store answers before it has applied",
			Planted{Store: func(inner kv.Store) kv.Store { return hastyStore{inner} }},
			[]string{"metadata store unreliable", "metadata store slow"},
			[]history.Kind{history.EarlyAck},
		},
		{
			"commits of offsets do not compare their key [key-compare]",
			without("/offsets/", "/offsets/"),
			[]string{"metadata store late", "metadata store unreliable"},
			[]history.Kind{history.GroupBack},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			const seedsMax = 40
			for seed := uint64(1); seed <= seedsMax; seed++ {
				plan := planOf(seed)
				plan.Planted, plan.Troubles, plan.Time = c.planted, c.troubles, time.Minute
				plan.Groups = 2
				result, _, _ := play(t, plan)
				if slices.ContainsFunc(c.kinds, func(k history.Kind) bool { return result.Count(string(k)) > 0 }) {
					t.Logf("found with seed %d:\n%s", seed, result)
					return
				}
			}
			t.Errorf("not found by %d seeds", seedsMax)
		})
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

// hastyStore takes every commit for applied.
type hastyStore struct{ kv.Store }

func (s hastyStore) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	result, err := s.Store.Txn(ctx, txn)
	if err != nil && touches(txn, "/segments/") {
		return kv.TxnResult{Succeeded: true}, nil
	}
	return result, err
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

// A seed that fails is of use only if it fails again. What Go itself decides by
// chance, as a select of several channels that are ready, is not the seed's to
// say; it may not matter often.
func TestTheSameSeedGivesTheSameTrace(t *testing.T) {
	const seeds = 6
	same := 0
	for seed := uint64(1); seed <= seeds; seed++ {
		_, first, _ := play(t, planOf(seed))
		_, second, _ := play(t, planOf(seed))
		_, other, _ := play(t, planOf(seed+100))
		if other == first {
			t.Errorf("another seed than %d gives the same trace: %s", seed, other)
		}
		if first == second {
			same++
			continue
		}
		t.Logf("seed %d: %s, and then %s", seed, first, second)
	}
	if same < seeds/2 {
		t.Errorf("%d of %d seeds give the same trace again", same, seeds)
	}
}
