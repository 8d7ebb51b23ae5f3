package tail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var id = topic.ID{1}

func open(t *testing.T, b *tailtest.Broker, bytesMax int64) *Tails {
	tails, err := Open(Options{Dir: filepath.Join(t.TempDir(), "tail"), BytesMax: bytesMax, Seeds: func() []string { return []string{b.Address()} }})
	require.NoError(t, err)
	t.Cleanup(tails.Close)
	return tails
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

type row struct {
	Offset int64  `parquet:"_offset"`
	Key    []byte `parquet:"_key"`
	Value  []byte `parquet:"_value"`
}

// rows reads a partition's rows from first on, in the order of the files.
func rows(t *testing.T, s *Snapshot, partition int32, first int64) (offsets []int64, values []string) {
	t.Helper()
	for _, f := range s.Files {
		if f.Partition != partition {
			continue
		}
		read, err := parquet.ReadFile[row](f.Path)
		require.NoError(t, err)
		for _, r := range read {
			require.GreaterOrEqual(t, r.Offset, f.First)
			require.Less(t, r.Offset, f.Next)
			if r.Offset >= first {
				require.Equal(t, fmt.Sprintf("k%d", r.Offset), string(r.Key))
				offsets, values = append(offsets, r.Offset), append(values, string(r.Value))
			}
		}
	}
	return offsets, values
}

func sequence(first, next int64) []int64 {
	var out []int64
	for o := first; o < next; o++ {
		out = append(out, o)
	}
	return out
}

func TestEveryRecordFromTheMarkToTheTargetIsThereOnce(t *testing.T) {
	b := tailtest.New(t, "orders", 2)
	for i := range 30 {
		b.Produce(t, i%2, 0, fmt.Sprintf(`{"n":%d}`, i), fmt.Sprintf(`{"n":%d,"s":"x"}`, i))
	}
	tails := open(t, b, 0)
	ctx := within(t, time.Minute)
	ends, err := tails.Ends(ctx, "orders", id, 2)
	require.NoError(t, err)
	require.Equal(t, map[int32]End{0: {30, 0}, 1: {30, 0}}, ends)

	s, err := tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 7, Target: 30}, {Partition: 1, First: 0, Target: 30}}})
	require.NoError(t, err)
	defer s.Release()
	require.Equal(t, map[int32]int64{0: 30, 1: 30}, s.Next)
	offsets, _ := rows(t, s, 0, 7)
	require.Equal(t, sequence(7, 30), offsets)
	offsets, values := rows(t, s, 1, 0)
	require.Equal(t, sequence(0, 30), offsets)
	require.Equal(t, `{"n":1}`, values[0])
	require.Equal(t, []columnar.Column{{Field: "n", Name: "n", Type: columnar.Int64}, {Field: "s", Name: "s", Type: columnar.Text}}, s.Files[0].Columns)
}

func TestARecordIsThereAsSoonAsItWasAcknowledged(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	tails := open(t, b, 0)
	ctx := within(t, time.Minute)
	for n := int64(1); n <= 60; n++ {
		b.Produce(t, 0, 0, "v")
		s, err := tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: n}}})
		require.NoError(t, err)
		offsets, _ := rows(t, s, 0, 0)
		require.Equal(t, sequence(0, n), offsets)
		require.LessOrEqual(t, len(s.Files), 5, "small files are merged")
		s.Release()
	}
}

func TestMarkersOfTransactionsMoveThePositionOnly(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	b.Produce(t, 0, 0, "a")
	b.Produce(t, 0, batch.Control|batch.Transactional, "\x00\x00\x00\x00\x00\x00")
	tails := open(t, b, 0)
	s, err := tails.Read(within(t, time.Minute), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 2}}})
	require.NoError(t, err)
	defer s.Release()
	offsets, _ := rows(t, s, 0, 0)
	require.Equal(t, []int64{0}, offsets)
	require.EqualValues(t, 2, s.Next[0])
}

func TestAPartitionThatLagsIsNamed(t *testing.T) {
	b := tailtest.New(t, "orders", 2)
	b.Produce(t, 0, 0, "a")
	tails := open(t, b, 0)
	s, err := tails.Read(within(t, time.Minute), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 1}}})
	require.NoError(t, err)
	s.Release()
	_, err = tails.Read(within(t, time.Second), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 1}, {Partition: 1, First: 0, Target: 5}}})
	var lagging *LaggingError
	require.ErrorAs(t, err, &lagging)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, []Lag{{1, 0, 5}}, lagging.Partitions)

	b.Mute(true)
	ends, err := tails.Ends(within(t, 300*time.Millisecond), "orders", id, 2)
	require.Empty(t, ends)
	require.ErrorAs(t, err, &lagging)
	require.Len(t, lagging.Partitions, 2)
}

func TestWithoutATargetNothingIsAwaited(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	tails := open(t, b, 0)
	s, err := tails.Read(within(t, time.Minute), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 3, Target: 0}}})
	require.NoError(t, err)
	require.Equal(t, map[int32]int64{0: 3}, s.Next)
	s.Release()
}

func TestTrimmedRowsStayForTheirSnapshotAndAreRefusedToOthers(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	b.Produce(t, 0, 0, "a", "b", "c")
	tails := open(t, b, 0)
	ctx := within(t, time.Minute)
	request := Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 3}}}
	held, err := tails.Read(ctx, request)
	require.NoError(t, err)
	tails.Trim(Key{ID: id}, map[int32]int64{0: 3})
	offsets, _ := rows(t, held, 0, 0)
	require.Len(t, offsets, 3)

	_, err = tails.Read(ctx, request)
	require.ErrorIs(t, err, ErrTrimmed)
	held.Release()
	held.Release()
	require.NoFileExists(t, held.Files[0].Path)
	require.Zero(t, tails.Bytes())

	b.Produce(t, 0, 0, "d")
	s, err := tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 3, Target: 4}}})
	require.NoError(t, err)
	offsets, _ = rows(t, s, 0, 0)
	require.Equal(t, []int64{3}, offsets)
	s.Release()

	request.Restart = true
	s, err = tails.Read(ctx, request)
	require.NoError(t, err)
	offsets, _ = rows(t, s, 0, 0)
	require.Subset(t, offsets, []int64{0, 1, 2})
	s.Release()
}

func TestAMarkThatOvertakesTheReaderMovesIt(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	tails := open(t, b, 0)
	ctx := within(t, time.Minute)
	s, err := tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 0}}})
	require.NoError(t, err)
	s.Release()
	tails.Trim(Key{ID: id}, map[int32]int64{0: 5})
	b.Produce(t, 0, 0, "0", "1", "2", "3", "4", "5", "6")
	s, err = tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 5, Target: 7}}})
	require.NoError(t, err)
	offsets, _ := rows(t, s, 0, 0)
	require.Equal(t, []int64{5, 6}, offsets)
	s.Release()
}

func TestALogThatBeginsLaterIsReadFromItsStart(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	b.StartAt(0, 100)
	b.Produce(t, 0, 0, "a")
	tails := open(t, b, 0)
	s, err := tails.Read(within(t, time.Minute), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 40, Target: 101}}})
	require.NoError(t, err)
	offsets, _ := rows(t, s, 0, 0)
	require.Equal(t, []int64{100}, offsets)
	s.Release()
}

func TestOfRecordsThatAreDeletedWhileTheyAreReadNoneIsLeft(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	b.Produce(t, 0, 0, "a", "b", "c")
	tails := open(t, b, 0)
	ctx := within(t, time.Minute)
	s, err := tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{First: 0, Target: 3}}})
	require.NoError(t, err)
	s.Release()
	b.StartAt(0, 50)
	b.Produce(t, 0, 0, "f")
	s, err = tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{First: 0, Target: 51}}})
	require.NoError(t, err)
	defer s.Release()
	require.Equal(t, map[int32]int64{0: 50}, s.Starts, "the client has missed some of what was deleted, or all")
	offsets, _ := rows(t, s, 0, 0)
	require.Equal(t, []int64{50}, offsets)
}

func TestPastTheBudgetReadingStopsAndTheReasonIsSaid(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	for range 64 {
		b.Produce(t, 0, 0, strings.Repeat("x", 100_000))
	}
	tails := open(t, b, 1<<20)
	require.Eventually(t, func() bool {
		_, err := tails.Read(within(t, 500*time.Millisecond), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 64}}})
		var lagging *LaggingError
		return errors.As(err, &lagging) && lagging.Full
	}, time.Minute, time.Millisecond)
	require.Less(t, tails.Bytes(), int64(8<<20), "what a client has under way")

	tails.Trim(Key{ID: id}, map[int32]int64{0: 60})
	s, err := tails.Read(within(t, time.Minute), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 60, Target: 64}}})
	require.NoError(t, err)
	offsets, _ := rows(t, s, 0, 60)
	require.Equal(t, sequence(60, 64), offsets)
	s.Release()
}

func TestTailsThatNobodyWaitsForMakeRoomTheOldestFirst(t *testing.T) {
	var brokers []*tailtest.Broker
	names := []string{"first", "second", "third"}
	for _, name := range names {
		b := tailtest.New(t, name, 1)
		for range 8 {
			b.Produce(t, 0, 0, strings.Repeat("x", 100_000))
		}
		brokers = append(brokers, b)
	}
	var asked atomic.Int32 // whose broker a client is to find
	tails, err := Open(Options{Dir: filepath.Join(t.TempDir(), "tail"), BytesMax: 3 << 20, Seeds: func() []string { return []string{brokers[asked.Load()].Address()} }})
	require.NoError(t, err)
	t.Cleanup(tails.Close)
	ctx := within(t, time.Minute)
	read := func(i int) error {
		asked.Store(int32(i))
		s, err := tails.Read(ctx, Request{Topic: names[i], ID: topic.ID{byte(i)}, Wants: []Want{{Target: 8}}})
		if err == nil {
			s.Release()
		}
		return err
	}
	for i := range names {
		require.NoError(t, read(i), "each takes more than half of what there is")
	}
	require.NotContains(t, tails.Active(), Key{ID: topic.ID{0}})
	require.Contains(t, tails.Active(), Key{ID: topic.ID{2}})
	require.NoError(t, read(0))
	require.NotContains(t, tails.Active(), Key{ID: topic.ID{1}})
}

func TestATopicThatNobodyAsksForIsLetGo(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	b.Produce(t, 0, 0, "a")
	tails := open(t, b, 0)
	s, err := tails.Read(within(t, time.Minute), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 1}}})
	require.NoError(t, err)
	tails.Expire(time.Now().Add(-time.Hour))
	require.Len(t, tails.Active(), 1)
	tails.Expire(time.Now().Add(time.Second))
	require.Empty(t, tails.Active())
	offsets, _ := rows(t, s, 0, 0)
	require.Len(t, offsets, 1, "a snapshot outlives its reader")
	s.Release()
	require.Zero(t, tails.Bytes())
	left, err := os.ReadDir(tails.options.Dir)
	require.NoError(t, err)
	require.Empty(t, left)

	tails.Close()
	_, err = tails.Read(t.Context(), Request{Topic: "orders", ID: id, Wants: []Want{{Partition: 0, First: 0, Target: 1}}})
	require.True(t, errors.Is(err, ErrClosed))
}

func someRecords(first int64, n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Offset: first + int64(i), Timestamp: time.UnixMilli(1_700_000_000_000), Value: []byte(`{"a":1,"b":"text"}`)}
	}
	return records
}

func TestManySmallSealsLeaveFewFiles(t *testing.T) {
	p := newPart(t.TempDir(), columnar.TailOptions("t", topic.Partition{}), 0, newBudget(1<<40))
	var held []*chunk
	for n := range 200 {
		require.NoError(t, p.append(someRecords(int64(n)*10, 10)))
		chunks, next, err := p.hold(t.Context(), Want{})
		require.NoError(t, err)
		require.EqualValues(t, (n+1)*10, next)
		require.LessOrEqual(t, len(chunks), 6)
		for i, c := range chunks {
			require.True(t, i == 0 || chunks[i-1].Next == c.First)
		}
		held = append(held, chunks...)
	}
	for _, c := range held {
		c.release()
	}
	p.close()
	require.Zero(t, p.budget.used())
}

func TestQueriesThatWaitedTogetherShareWhatOneOfThemWrote(t *testing.T) {
	p := newPart(t.TempDir(), columnar.TailOptions("t", topic.Partition{}), 0, newBudget(1<<40))
	defer p.close()
	paths := func(target int64) (paths []string, next int64) {
		held, next, err := p.hold(t.Context(), Want{Target: target})
		require.NoError(t, err)
		for _, c := range held {
			paths = append(paths, c.Path)
			c.release()
		}
		return paths, next
	}
	require.NoError(t, p.append(someRecords(0, 10)))
	first, next := paths(10)
	require.EqualValues(t, 10, next)
	require.NoError(t, p.append(someRecords(10, 5))) // which came since
	second, next := paths(8)
	require.Equal(t, first, second)
	require.EqualValues(t, 10, next, "it says what is in the files, and no more")
	_, next = paths(11)
	require.EqualValues(t, 15, next)
}

func TestARecordIsWrittenAFewTimesHoweverOftenQueriesCome(t *testing.T) {
	p := newPart(t.TempDir(), columnar.TailOptions("t", topic.Partition{}), 0, newBudget(1<<40))
	defer p.close()
	const rounds, each = 150, 250
	value := []byte(strings.Repeat("x", 200))
	written, seen := int64(0), map[string]bool{}
	for n := range int64(rounds) {
		records := someRecords(n*each, each)
		for _, r := range records {
			r.Value = value
		}
		require.NoError(t, p.append(records))
		held, _, err := p.hold(t.Context(), Want{Target: (n + 1) * each})
		require.NoError(t, err)
		for _, c := range held {
			if !seen[c.Path] {
				seen[c.Path] = true
				written += c.Size
			}
			c.release()
		}
		require.LessOrEqual(t, len(held), 10)
	}
	require.Less(t, written, int64(6*rounds*each*len(value)))
}

func TestStartsAreWhereTheLogsBegin(t *testing.T) {
	b := tailtest.New(t, "orders", 2)
	b.StartAt(1, 100)
	b.Produce(t, 1, 0, "a")
	tails := open(t, b, 0)
	starts, err := tails.Starts(within(t, time.Minute), "orders", id, 2)
	require.NoError(t, err)
	require.Equal(t, map[int32]int64{0: 0, 1: 100}, starts)
}

func TestRecordsThatAChangeOfLeadersCutOffAreNoPartOfASnapshot(t *testing.T) {
	p := newPart(t.TempDir(), columnar.TailOptions("t", topic.Partition{}), 0, newBudget(1<<40))
	defer p.close()
	records := someRecords(0, 20)
	for _, r := range records[10:] {
		r.LeaderEpoch = 3
	}
	require.NoError(t, p.append(records))
	for _, c := range []struct {
		ends map[int32]int64
		cut  bool
	}{
		{map[int32]int64{0: 10}, false},
		{map[int32]int64{0: 10, 3: 20}, false},
		{map[int32]int64{0: 10, 3: 19}, true},
		{map[int32]int64{0: 9, 3: 9}, true},
	} {
		held, _, err := p.hold(t.Context(), Want{EpochEnd: func(epoch int32) (int64, bool) { end, ok := c.ends[epoch]; return end, ok }})
		require.Equal(t, c.cut, errors.Is(err, errRestarted), c.ends)
		for _, chunk := range held {
			chunk.release()
		}
	}
	p.trim(20)
	_, _, err := p.hold(t.Context(), Want{First: 20, EpochEnd: func(int32) (int64, bool) { return 0, true }})
	require.NoError(t, err, "what is in files is not asked again")
}

func TestATopicThatIsGoneIsNotReadByItsName(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	b.Produce(t, 0, 0, "a")
	var remade atomic.Bool
	tails, err := Open(Options{
		Dir: filepath.Join(t.TempDir(), "tail"), Seeds: func() []string { return []string{b.Address()} },
		Exists: func(string, topic.ID) bool { return !remade.Load() },
	})
	require.NoError(t, err)
	defer tails.Close()
	ctx := within(t, time.Minute)
	request := Request{Topic: "orders", ID: id, Wants: []Want{{Target: 5}}}
	waiting := make(chan error, 1)
	go func() {
		_, err := tails.Read(ctx, request)
		waiting <- err
	}()
	require.Eventually(t, func() bool { return len(tails.Active()) == 1 }, time.Minute, time.Millisecond)
	remade.Store(true)
	tails.Drop(Key{ID: id})
	require.ErrorIs(t, <-waiting, ErrGone)
	require.Empty(t, tails.Active())
	_, err = tails.Read(ctx, request)
	require.ErrorIs(t, err, ErrGone)
	_, err = tails.Ends(ctx, "orders", id, 1)
	require.ErrorIs(t, err, ErrGone)
}

func TestATopicThatAQueryWaitsForIsNotLetGo(t *testing.T) {
	b := tailtest.New(t, "orders", 1)
	tails := open(t, b, 0)
	ctx, cancel := context.WithCancel(within(t, time.Minute))
	waiting := make(chan error, 1)
	go func() {
		_, err := tails.Read(ctx, Request{Topic: "orders", ID: id, Wants: []Want{{Target: 1}}})
		waiting <- err
	}()
	waits := func() bool {
		tails.mu.Lock()
		defer tails.mu.Unlock()
		r := tails.readers[Key{ID: id}]
		return r != nil && !r.idle(time.Now().Add(time.Hour))
	}
	require.Eventually(t, waits, time.Minute, time.Millisecond)
	tails.Expire(time.Now().Add(time.Hour))
	require.Len(t, tails.Active(), 1)
	cancel()
	require.ErrorIs(t, <-waiting, context.Canceled)
	tails.Expire(time.Now().Add(time.Hour))
	require.Empty(t, tails.Active())
}
