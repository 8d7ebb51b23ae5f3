package sim

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/chronik-stream/chronik/tests/history"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "run this seed alone")
	traceFlag = flag.Bool("sim.trace", false, "print the whole trace, with the logs of all processes")
	forFlag   = flag.Duration("sim.for", 0, "run for so long: from a seed that the clock gives, or -sim.seed again and again until it fails; 0: some seeds, half a minute at most, or once")
)

// Of every change so many seeds are tried.
const (
	seedsMin  = 8
	seedsTime = 30 * time.Second
)

// What logs are bounded to that are: neither is reached by every seed.
const (
	agedFor = 45 * time.Second
	sizedTo = 24_000
)

// planOf draws what a seed is made of.
func planOf(seed uint64) Plan {
	rng := (&World{seed: seed}).random("plan")
	p := Plan{
		Seed: seed, Brokers: 1 + rng.IntN(3), Compactors: 1 + rng.IntN(2), Producers: 2 + rng.IntN(3), Consumers: 1 + rng.IntN(2), Groups: rng.IntN(3),
		Time:   time.Duration(30+rng.IntN(60)) * time.Second,
		Topics: []TopicPlan{{Name: "object", Partitions: 1 + rng.Int32N(4), Object: true}, {Name: "wal", Partitions: 1 + rng.Int32N(3)}},
	}
	if p.Delay = time.Duration(rng.IntN(10)) * time.Second; rng.IntN(2) == 0 {
		p.Grace = 5 * time.Minute // longer than anybody is away
	}
	all := troubles()
	for _, i := range rng.Perm(len(all))[:1+rng.IntN(6)] {
		p.Troubles = append(p.Troubles, all[i].name)
	}
	// The life cycle of logs: records deleted by request, compaction by key, and
	// topics that go and come again.
	p.Remade = rng.IntN(2) == 0
	life, object := rng.IntN(16), rng.IntN(2) == 0
	if life&1 != 0 {
		p.Topics = append(p.Topics, TopicPlan{Name: "trimmed", Partitions: 1 + rng.Int32N(2), Object: object, Trimmed: true})
	}
	if life&2 != 0 {
		p.Topics = append(p.Topics, TopicPlan{Name: "keyed", Partitions: 1 + rng.Int32N(2), Object: object, Keys: 3 + rng.IntN(20)})
	}
	if life&4 != 0 {
		p.Topics = append(p.Topics, TopicPlan{Name: "aged", Partitions: 1 + rng.Int32N(2), Object: object, Retention: agedFor})
	}
	if life&8 != 0 {
		p.Topics = append(p.Topics, TopicPlan{Name: "sized", Partitions: 1 + rng.Int32N(2), Object: object, RetentionBytes: sizedTo})
	}
	if queriesRun {
		p.Queries = rng.IntN(3)
	}
	switch n := 2 + rng.IntN(2); rng.IntN(6) {
	case 0:
		p.Members = []MembersPlan{{Group: "classic", Classic: n}}
	case 1:
		p.Members = []MembersPlan{{Group: "consumer", Consumer: n}}
	case 2:
		p.Members = []MembersPlan{{Group: "mixed", Classic: n - 1, Consumer: 1}}
	}
	for i := range p.Topics {
		p.Topics[i].Searchable = rng.IntN(3) == 0
	}
	p.Again.Searchable = rng.IntN(3) == 0
	if rng.IntN(2) == 0 {
		index(&p, rng)
	}
	return p
}

// index gives a plan topics that are searched by meaning, and troubles of that.
func index(p *Plan, rng *rand.Rand) {
	kind := func() string { return indexes[rng.IntN(len(indexes))] }
	p.Topics[rng.IntN(len(p.Topics))].Index = kind()
	for i := range p.Topics {
		if rng.IntN(4) == 0 {
			p.Topics[i].Index = kind()
		}
	}
	if rng.IntN(2) == 0 {
		p.Again.Index = kind()
	}
	all := vectorTroubles()
	for _, i := range rng.Perm(len(all))[:rng.IntN(4)] {
		p.Troubles = append(p.Troubles, all[i].name)
	}
}

// outside keeps what libraries hold for the whole process out of bubbles: who uses
// a channel in one that was made in another is ended by the runtime. Arrow's codec
// of masks has one decoder, which is made here, and a pool of encoders, which two
// collections of garbage empty.
func outside(t *testing.T) {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		t.Fatal(err)
	}
	codec.Decode(nil, codec.Encode(nil, []byte("mask")))
	runtime.GC()
	runtime.GC()
}

// play runs a plan in a bubble of virtual time, on one thread: that leaves the
// least to chance.
func play(t *testing.T, plan Plan) (result history.Result, fingerprint, tail string) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if *traceFlag {
		plan.Out = os.Stdout
	}
	outside(t)
	cryptotest.SetGlobalRandom(t, plan.Seed) // of the ids that the product makes
	end := exactly(plan.Seed, plan.Chance)
	synctest.Test(t, func(t *testing.T) { result, fingerprint, tail = Run(t, plan) })
	if n := end(); n > 0 {
		t.Logf("the clock of the machine ended the turn of a goroutine %d times, so this may not replay", n)
	}
	return result, fingerprint, tail
}

func TestTheClusterKeepsItsPromises(t *testing.T) {
	seeds := func(yield func(seed, chance uint64) bool) {
		begun := time.Now()
		if *seedFlag != 0 {
			for chance := range chances {
				if !yield(*seedFlag, chance) || t.Failed() || time.Since(begun) >= *forFlag {
					return
				}
			}
			return
		}
		seed, longest := uint64(0), seedsTime
		if *forFlag > 0 {
			seed, longest = uint64(begun.Unix()), *forFlag
		}
		for n := 0; n < seedsMin || time.Since(begun) < longest; n++ {
			if seed++; !yield(seed, 1) {
				return
			}
		}
	}
	for seed, chance := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if apart(t, seed, chance) {
				return
			}
			plan := planOf(seed)
			plan.Chance = chance
			begun := time.Now()
			result, fingerprint, tail := play(t, plan)
			t.Logf("seed %d: %d brokers, %q, members %v: %s in %v: %d acked, %d with a topic deleted, %d superseded, %d expired, %d requests to delete, %d queries", seed, plan.Brokers, plan.Troubles, plan.Members, fingerprint,
				time.Since(begun).Round(time.Millisecond), result.Count("acked"), result.Count("with a topic deleted"), result.Count("superseded by key"), result.Count("expired"), result.Count("deleted by request"), result.Count("queries answered"))
			if !result.OK() || result.Count("acked") == 0 || plan.Queries > 0 && result.Count("queries answered") == 0 {
				io.WriteString(os.Stdout, tail)
				t.Errorf("seed %d breaks promises; play it again: %s\n%s", seed, again(seed, chance), result)
			}
		})
	}
}
