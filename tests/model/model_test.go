package model

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var long = flag.Bool("model.long", false, "search the large bounds too: some minutes, and 8 GiB of memory")

// statesMax bounds a search: 60 bytes of memory a state.
const statesMax = 10_000_000

// explore searches a system whole.
func explore[S comparable](t *testing.T, sys System[S], most int) Result {
	t.Helper()
	begun := time.Now()
	r, err := Explore(sys, most)
	t.Logf("%d states, %d steps deep, %v", r.States, r.Depth, time.Since(begun).Round(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The bounds under which the log is searched. Each has what its conditions are
// about, and no more.
var (
	moves     = logBounds{records: 2, sessions: 3, epochs: 3, flying: 2}
	returns   = logBounds{records: 1, sessions: 4, epochs: 4, flying: 2}
	lateOnes  = logBounds{records: 1, sessions: 3, epochs: 3, resends: 1, flying: 2, compacts: true}
	deletion  = logBounds{sessions: 3, epochs: 3, flying: 3, deletes: true}
	lostDisks = logBounds{records: 1, sessions: 4, epochs: 3, flying: 2, object: true}
)

func TestAsDesignedNothingGoesWrong(t *testing.T) {
	log := map[string]logBounds{
		"partitions move": moves, "a broker returns": returns, "late commits": lateOnes,
		"deletion": deletion, "disks are lost": lostDisks,
	}
	most := statesMax
	if *long {
		log["long: object"] = logBounds{records: 2, sessions: 3, epochs: 3, flying: 2, object: true}
		log["long: everything"] = logBounds{records: 2, sessions: 3, epochs: 3, resends: 1, flying: 2, compacts: true, deletes: true}
		log["long: four sessions"] = logBounds{records: 2, sessions: 4, epochs: 3, flying: 2}
		most *= 15
	}
	for name, bounds := range log {
		t.Run("log/"+name, func(t *testing.T) { fine(t, explore(t, logSystem(design{}, bounds), most)) })
	}
	t.Run("wal", func(t *testing.T) { fine(t, explore(t, walSystem(design{}), most)) })
	t.Run("coordinator", func(t *testing.T) { fine(t, explore(t, coordSystem(design{}), most)) })
	t.Run("compaction", func(t *testing.T) { fine(t, explore(t, compactionSystem(design{}), most)) })
}

func fine(t *testing.T, r Result) {
	t.Helper()
	if r.Broken != "" {
		t.Fatalf("%s:\n%s", r.Broken, r.Trace)
	}
	if r.States < 100 {
		t.Fatalf("only %d states: the model does nothing", r.States)
	}
}

// Every condition is needed: without it the search finds the flaw that it
// prevents.
func TestWithoutAConditionTheFlawIsFound(t *testing.T) {
	inLog := func(b logBounds) func(*testing.T, design) Result {
		return func(t *testing.T, d design) Result { return explore(t, logSystem(d, b), statesMax) }
	}
	wal := func(t *testing.T, d design) Result { return explore(t, walSystem(d), statesMax) }
	coordinator := func(t *testing.T, d design) Result { return explore(t, coordSystem(d), statesMax) }
	compaction := func(t *testing.T, d design) Result { return explore(t, compactionSystem(d), statesMax) }
	cases := map[Condition]struct {
		explore func(*testing.T, design) Result
		flaw    string
	}{
		SessionCompare:        {inLog(moves), "lost"},
		CommitSequence:        {inLog(lateOnes), "whose object is deleted"},
		ReleaseAfterFlush:     {inLog(moves), "committed twice"},
		OwnerCompare:          {inLog(moves), "committed twice"},
		DoubtedReleaseRetakes: {inLog(moves), "committed twice"},
		NewSessionEmpty:       {inLog(moves), "committed twice"},
		OneRevision:           {inLog(moves), "committed twice"},
		TopicExists:           {inLog(deletion), "a deleted topic has"},
		WALGeneration:         {wal, "is replayed"},
		RecoverySync:          {wal, "vanished"},
		EpochCommitted:        {inLog(moves), "lost"},
		SalvageAsNew:          {inLog(moves), "lost"},
		SalvageIdempotent:     {inLog(moves), "in the log 2 times"},
		SlotCompare:           {coordinator, "an earlier generation counts"},
		KeyCompare:            {coordinator, "went back"},
		ManifestCompare:       {compaction, "the mark went back"},
		OwnNames:              {compaction, "names an object that is deleted"},
		AttemptsEnd:           {compaction, "names an object that is deleted"},
	}
	for _, c := range Conditions {
		t.Run(string(c), func(t *testing.T) {
			known, ok := cases[c]
			if !ok {
				t.Fatal("no system shows why it is needed")
			}
			r := known.explore(t, design{without: c})
			if !strings.Contains(r.Broken, known.flaw) {
				t.Fatalf("found %q, want a flaw that says %q\n%s", r.Broken, known.flaw, r.Trace)
			}
			t.Logf("%s:\n%s", r.Broken, r.Trace)
		})
	}
}

// The code that keeps a condition carries its name, so that whoever changes it
// finds what it rests on.
func TestEachConditionHasItsPlaceInTheCode(t *testing.T) {
	missing := map[Condition]bool{}
	for _, c := range Conditions {
		missing[c] = true
	}
	root := filepath.Join("..", "..")
	for _, room := range []string{"broker", "compactor", "metastore", "objstore", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			code, err := os.ReadFile(path)
			for c := range missing {
				if strings.Contains(string(code), "["+string(c)+"]") {
					delete(missing, c)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for c := range missing {
		t.Errorf("no code carries [%s]", c)
	}
}

// The search itself: a counter that may go wrong at three.
func TestTheSearchFindsTheShortestWay(t *testing.T) {
	counter := System[int]{
		Starts: []int{0},
		Steps: func(n int, follows func(int, Step)) {
			if n < 10 {
				follows(n+1, Step{"one", n})
				follows(n+2, Step{"two", n})
			}
		},
		Broken: func(n int) string {
			if n == 5 {
				return "five"
			}
			return ""
		},
		Show: func(n int) string { return strings.Repeat("|", n) },
	}
	r, err := Explore(counter, 100)
	if err != nil || r.Broken != "five" || strings.Count(r.Trace, "\n") != 4 {
		t.Fatalf("%v, %q by way of\n%s", err, r.Broken, r.Trace)
	}
	counter.Broken = func(int) string { return "" }
	if r, err := Explore(counter, 100); err != nil || r.States != 12 {
		t.Fatalf("%d states, %v; want 0 to 11", r.States, err)
	}
	if _, err := Explore(counter, 5); err != ErrTooMany {
		t.Fatalf("%v, want that it is too large", err)
	}
}
