package tail

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

func indexed(t *testing.T, analyzer string) *textindex.Options {
	o, err := textindex.TopicOptions(analyzer, []string{"value"}, nil)
	require.NoError(t, err)
	return &o
}

// texts are records, each with a word of its own.
func texts(first, next int64) (all []*kgo.Record) {
	for o := first; o < next; o++ {
		all = append(all, &kgo.Record{Offset: o, Timestamp: time.UnixMilli(1_700_000_000_000 + o), Value: fmt.Appendf(nil, `{"word":"w%d","all":"same"}`, o)})
	}
	return all
}

// offsetsOf are the offsets of all documents of splits, which have to rise.
func offsetsOf(t *testing.T, splits []Split) (offsets []int64) {
	for _, s := range splits {
		column, err := s.Column(t.Context(), textindex.FieldOffset)
		require.NoError(t, err)
		for doc := range s.Bounds().Documents {
			o, ok := column.Value(doc)
			require.True(t, ok)
			require.True(t, s.First <= o && o < s.Next, "%d in [%d,%d)", o, s.First, s.Next)
			terms, err := s.Lookup(t.Context(), textindex.Field{Name: "word", Kind: textindex.Text}, fmt.Appendf(nil, "w%d", o))
			require.NoError(t, err)
			require.EqualValues(t, 1, terms[0].Documents)
			offsets = append(offsets, o)
		}
	}
	return offsets
}

func smallIndex(t *testing.T) *index {
	x := newIndex(t.Context(), t.TempDir(), topic.Partition{Topic: id}, *indexed(t, "standard"), 0, newBudget(1<<40), slog.New(slog.DiscardHandler))
	x.freezeBytes, x.pieceBytes = 1<<10, 16<<10
	t.Cleanup(x.close)
	return x
}

// Whatever marks come, and however pieces were frozen, cut and merged meanwhile, a
// query gets the records from its mark on, each once, and no other.
func TestAnIndexHoldsExactlyTheRecordsFromTheMarkOn(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := smallIndex(t)
	mark, next := int64(0), int64(0)
	var kept []held
	for range 400 {
		n := rng.Int64N(30)
		require.NoError(t, x.append(texts(max(0, next-3), next+n))) // some that it has already
		next += n
		switch rng.IntN(6) {
		case 0:
			mark += rng.Int64N(max(1, next-mark))
			require.False(t, x.trim(mark))
		case 1: // the query is the first with the mark
			mark += rng.Int64N(max(1, next-mark))
		}
		h, err := x.take(t.Context(), Want{First: mark})
		require.NoError(t, err)
		require.Equal(t, next, h.next)
		if offsets := offsetsOf(t, h.splits); mark < next {
			require.Equal(t, sequence(mark, next), offsets)
		}
		if rng.IntN(10) == 0 {
			kept = append(kept, h) // a long query
			continue
		}
		h.release()
	}
	for _, h := range kept {
		offsetsOf(t, h.splits)
		h.release()
	}
	_, err := x.take(t.Context(), Want{First: mark - 1})
	require.ErrorIs(t, err, ErrTrimmed)
	x.close()
	require.Zero(t, x.budget.used())
	left, err := os.ReadDir(x.dir)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = x.take(t.Context(), Want{First: mark})
	require.ErrorIs(t, err, errRestarted)
}

func TestManyRecordsAreFewPiecesAtRest(t *testing.T) {
	x := smallIndex(t)
	const total = 4_000
	for o := int64(0); o < total; o += 50 {
		require.NoError(t, x.append(texts(o, o+50)))
	}
	settled := func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return !x.tending
	}
	require.Eventually(t, settled, 20*time.Second, time.Millisecond)
	h, err := x.take(t.Context(), Want{})
	require.NoError(t, err)
	require.Equal(t, sequence(0, total), offsetsOf(t, h.splits))
	require.Less(t, len(h.splits), 20)
	inMemory := 0
	for _, p := range x.frozen {
		if p.memory != nil {
			inMemory++
		}
	}
	require.Zero(t, inMemory)
	h.release()
}

func TestAMarkThatOvertakesAnIndexMovesIt(t *testing.T) {
	x := smallIndex(t)
	require.NoError(t, x.append(texts(0, 10)))
	require.True(t, x.trim(50))
	require.EqualValues(t, 50, x.position())
	require.NoError(t, x.append(texts(40, 55)))
	h, err := x.take(t.Context(), Want{First: 50})
	require.NoError(t, err)
	require.Equal(t, sequence(50, 55), offsetsOf(t, h.splits))
	h.release()
}

// A query that knows of deleted records lets nobody see them any more, also those
// that do not know yet.
func TestAStartThatOneQueryKnowsHoldsForAll(t *testing.T) {
	x := smallIndex(t)
	require.NoError(t, x.append(texts(0, 10)))
	h, err := x.take(t.Context(), Want{First: 4, Start: 4})
	require.NoError(t, err)
	require.Equal(t, sequence(4, 10), offsetsOf(t, h.splits))
	h.release()
	h, err = x.take(t.Context(), Want{First: 0})
	require.NoError(t, err)
	require.EqualValues(t, 4, h.start)
	require.Equal(t, sequence(4, 10), offsetsOf(t, h.splits))
	h.release()
}

func TestAnIndexThatHasRecordsThatWereCutOffBeginsAnew(t *testing.T) {
	x := smallIndex(t)
	records := texts(0, 20)
	for _, r := range records[10:] {
		r.LeaderEpoch = 3
	}
	require.NoError(t, x.append(records))
	ends := func(end int64) func(int32) (int64, bool) {
		return func(epoch int32) (int64, bool) { return end, epoch == 0 }
	}
	h, err := x.take(t.Context(), Want{EpochEnd: ends(10)})
	require.NoError(t, err)
	h.release()
	_, err = x.take(t.Context(), Want{EpochEnd: ends(9)})
	require.ErrorIs(t, err, errRestarted)
}

func TestRecordsAreIndexedAsTheTopicSaysWhenTheyCome(t *testing.T) {
	x := smallIndex(t)
	require.NoError(t, x.append(texts(0, 5)))
	x.configure(*indexed(t, "en"))
	x.configure(*indexed(t, "keyword"))
	require.NoError(t, x.append(texts(5, 9)))
	h, err := x.take(t.Context(), Want{})
	require.NoError(t, err)
	require.Len(t, h.splits, 2)
	require.Equal(t, "standard", h.splits[0].Analyzer.Name())
	require.Equal(t, "keyword", h.splits[1].Analyzer.Name())
	require.Equal(t, sequence(0, 9), offsetsOf(t, h.splits))
	h.release()
}

func TestATopicIsReadInBothForms(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	b.Produce(t, 0, 0, `{"word":"w0"}`, `{"word":"w1"}`, `{"word":"w2"}`)
	tails := open(t, b, 0)
	ctx := within(t, 20*time.Second)
	rows := Request{Topic: "orders", ID: id, Wants: []Want{{First: 2, Target: 3}}}
	index := Request{Topic: "orders", ID: id, Index: indexed(t, "standard"), Wants: []Want{{First: 1, Target: 3}}}
	asRows, err := tails.Read(ctx, rows)
	require.NoError(t, err)
	require.Empty(t, asRows.Splits)
	asRows.Release()
	asIndex, err := tails.Read(ctx, index)
	require.NoError(t, err)
	require.Empty(t, asIndex.Files)
	require.Equal(t, []int64{1, 2}, offsetsOf(t, asIndex.Splits))
	require.Len(t, tails.Active(), 2)

	tails.Trim(Key{ID: id}, map[int32]int64{0: 3})
	again, err := tails.Read(ctx, index)
	require.NoError(t, err, "each has its own mark")
	again.Release()
	tails.Drop(Key{id, Index})
	require.Equal(t, []int64{1, 2}, offsetsOf(t, asIndex.Splits), "a snapshot outlives its reader")
	asIndex.Release()
	tails.Drop(Key{ID: id})
	require.Zero(t, tails.Bytes())
}

func TestPastTheBudgetAnIndexIsNotRead(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	for range 64 {
		b.ProduceRecords(t, 0, tailtest.Record{Value: string(make([]byte, 100_000))})
	}
	tails := open(t, b, 1<<20)
	request := Request{Topic: "orders", ID: id, Index: indexed(t, "standard"), Wants: []Want{{Target: 64}}}
	require.Eventually(t, func() bool {
		_, err := tails.Read(within(t, 100*time.Millisecond), request)
		var lagging *LaggingError
		return errors.As(err, &lagging) && lagging.Full
	}, 30*time.Second, time.Millisecond)
	tails.Trim(Key{id, Index}, map[int32]int64{0: 60})
	request.Wants[0] = Want{First: 60, Target: 64}
	s, err := tails.Read(within(t, 20*time.Second), request)
	require.NoError(t, err)
	s.Release()
}
