package query

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/relation"
	"github.com/chronik-stream/chronik/query/tail"
)

// freshness says how much of a topic an answer has to cover.
type freshness string

// The contract's three.
const (
	latest    freshness = "latest"    // all that was acknowledged before the request
	available freshness = "available" // what is at hand
	cold      freshness = "cold"      // what is in Parquet files in the bucket
)

// parts are what a query reads of a topic: its files, the rows that are in none
// yet, or both.
type parts struct {
	cold, hot bool
	need      prune.Need // of the files
	planOnly  bool       // of large files, what they are is enough; no values
}

func (p *parts) add(kind gate.Kind, need prune.Need) {
	if kind != gate.Hot {
		if p.cold {
			need = need.Join(p.need)
		}
		p.cold, p.need = true, need
	}
	p.hot = p.hot || kind != gate.Cold
}

// bound is one topic as a query sees it: each record of [from, to) once.
type bound struct {
	topic    *metastore.Topic
	cold     []relation.File   // files of the manifests, with their masks; none unless asked for
	tail     []relation.File   // rows from the columnar marks on
	columns  []columnar.Column // of the topic's tables, all alike: of every file and the tail
	objects  map[string]string
	coverage topicCoverage
	stats    stats
	read     []readFile
	pruned   []prunedFile
	release  []func()
}

// Release lets local files go.
func (b *bound) Release() {
	for _, release := range b.release {
		release()
	}
	b.release = nil
}

// files are those of table t, t_cold or t_hot.
func (b *bound) files(kind gate.Kind) []relation.File {
	switch kind {
	case gate.Cold:
		return b.cold
	case gate.Hot:
		return b.tail
	}
	return append(slices.Clip(b.cold), b.tail...)
}

// topicCoverage is the contract's.
type topicCoverage struct {
	Partitions map[int32]partitionCoverage `json:"partitions"`
	LagRecords int64                       `json:"lag_records"`
}

type partitionCoverage struct {
	From          int64 `json:"from"`
	To            int64 `json:"to"`
	HighWatermark int64 `json:"high_watermark"`
}

// newsWait is how long an attempt to bind waits for news of the catalog before the
// next one, and pauseMax how long at least, where news come without an end.
const (
	newsWait = 200 * time.Millisecond
	pauseMax = 50 * time.Millisecond
)

// catchUpWait bounds how long the latest waits to know all that is in the
// metadata store. Without it a topic may be taken for its predecessor of the
// same name, and no more: whose log it is that ends there, the epochs tell.
const catchUpWait = time.Second

// bind takes a snapshot of some parts of one topic. With latest it waits for
// the brokers until ctx ends, if the hot part is among them. The caller releases
// what it returns. What arrive found out, if anything, is not asked again.
//
// Compaction moves files and marks on under it, and partitions change their
// owners: it tries until all of what it saw belongs together, or ctx ends.
func (n *Node) bind(ctx context.Context, name string, parts parts, want freshness, known *presence) (*bound, error) {
	if !parts.hot {
		want, known = cold, nil
	}
	var missed missed
	var unsettled error // why the last attempt was not the last
	for attempt := 1; ; attempt++ {
		revision := n.config.Catalog.Revision()
		b, err := n.tryBind(ctx, name, parts, want, known, attempt > 4)
		known = nil // the next attempt asks anew
		if errors.Is(err, format.ErrCorrupt) || missed.again(ctx, n, err) {
			return nil, n.reported(ctx, name, err)
		}
		moved := errors.Is(err, tail.ErrTrimmed) || errors.Is(err, tail.ErrGone) || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, errStale)
		if moved {
			unsettled = err
		}
		switch {
		case err == nil:
			return b, nil
		case ctx.Err() != nil && unsettled != nil:
			f := failureOf(ctx.Err())
			f.Message = fmt.Sprintf("topic %s changed whenever the query looked at it: %v; try again", name, unsettled)
			f.Details["topic"] = name
			return nil, f
		case !moved:
			return nil, err
		}
		n.awaitNews(ctx, revision, min(time.Duration(attempt)*time.Millisecond, pauseMax))
	}
}

// errStale means: brokers and catalog do not speak of the same ownership.
var errStale = errors.New("ownership of a partition has changed")

func (n *Node) tryBind(ctx context.Context, name string, parts parts, want freshness, known *presence, restart bool) (*bound, error) {
	if t, settings, err := n.table(name); err == nil && known != nil && t.ID == known.topic.ID && t.Partitions == known.topic.Partitions {
		return n.snapshot(ctx, t, settings, parts, want, known.log, restart)
	}
	p, err := n.present(ctx, name, want)
	if err != nil {
		return nil, err
	}
	return n.snapshot(ctx, p.topic, p.settings, parts, want, p.log, restart)
}

// presence is the topic that has a name at a moment, and where its logs began and
// ended.
type presence struct {
	topic    *metastore.Topic
	settings topicconfig.Columnar
	log      logs
}

// table finds the topic of that name, and its settings.
func (n *Node) table(name string) (*metastore.Topic, topicconfig.Columnar, error) {
	t, ok := n.config.Catalog.Topic(name)
	if !ok {
		return nil, topicconfig.Columnar{}, unknownTable(fmt.Sprintf("topic %q does not exist", name))
	}
	settings := topicconfig.Resolve(t.Config, n.config.TopicDefaults).Columnar
	if !settings.Enabled {
		return nil, settings, disabled(fmt.Sprintf("topic %q is no table: its setting columnar.enabled is false", name))
	}
	return t, settings, nil
}

// present finds the topic that has that name now, and where its logs begin and
// end. For the latest, now is not before the call: the catalog catches up with the
// metadata store while the brokers are asked.
func (n *Node) present(ctx context.Context, name string, want freshness) (*presence, error) {
	caught := make(chan struct{})
	go func() {
		defer close(caught)
		n.catchUp(ctx, want)
	}()
	asked, _, _ := n.table(name) // why there is none is seen below
	var log logs
	var failed error
	if asked != nil {
		log, failed = n.logs(ctx, asked, want)
	}
	<-caught
	t, settings, err := n.table(name)
	if err != nil {
		return nil, err
	}
	if asked == nil || t.ID != asked.ID || t.Partitions != asked.Partitions {
		log, failed = n.logs(ctx, t, want)
	}
	if failed != nil {
		return nil, failed
	}
	return &presence{t, settings, log}, nil
}

// catchUp waits until the catalog has all that was in the metadata store when
// the latest was asked for. Where that store is away brokers go on for a while,
// and so do queries.
func (n *Node) catchUp(ctx context.Context, want freshness) {
	if want != latest || n.config.CatchUp == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if err := n.config.CatchUp(ctx); err != nil {
		n.config.Log.Debug("a query goes on with the metadata that it has", "err", err)
	}
}

// awaitNews returns when the catalog is newer than revision, or after a moment,
// and never before pause is over or ctx ends.
func (n *Node) awaitNews(ctx context.Context, revision int64, pause time.Duration) {
	rest := time.NewTimer(pause)
	defer rest.Stop()
	news, cancel := context.WithTimeout(ctx, newsWait)
	defer cancel()
	// Waiting in vain is no error: the next attempt shows what is wrong.
	_ = n.config.Catalog.WaitRevision(news, revision+1)
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}

// logs is what the brokers say of a topic's partitions, by partition.
type logs struct {
	starts map[int32]int64 // asked for with latest alone
	ends   map[int32]tail.End
}

// logs asks the brokers where the logs begin and end. Only latest depends on the
// answer: it has what was acknowledged, and not what was deleted, even while this
// node's catalog is behind. The others mention the ends, and do without when they
// do not come at once.
func (n *Node) logs(ctx context.Context, t *metastore.Topic, want freshness) (l logs, err error) {
	if want == latest {
		group, inner := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			l.starts, err = n.tails.Starts(inner, t.Name, t.ID, t.Partitions)
			return err
		})
		group.Go(func() (err error) {
			l.ends, err = n.tails.Ends(inner, t.Name, t.ID, t.Partitions)
			return err
		})
		return l, group.Wait()
	}
	short, cancel := context.WithTimeout(ctx, coldEndsWait)
	defer cancel()
	l.ends, err = n.tails.Ends(short, t.Name, t.ID, t.Partitions)
	if err != nil {
		n.config.Log.Debug("the log's ends are not known", "topic", t.Name, "err", err)
	}
	return l, ctx.Err()
}

// partitionState is what one revision of the catalog says of a partition.
type partitionState struct {
	index   int32
	view    metastore.PartitionView
	start   int64 // of the log
	mark    int64 // below it, records are in files
	section manifest.Section
}

// snapshot binds to one revision of the catalog.
func (n *Node) snapshot(ctx context.Context, t *metastore.Topic, settings topicconfig.Columnar, parts parts, want freshness, log logs, restart bool) (*bound, error) {
	states, err := n.states(ctx, t, log.starts)
	if err != nil {
		return nil, err
	}
	if want == latest && !sameEpochs(states, log.ends) {
		return nil, errStale
	}
	b := &bound{topic: t, objects: map[string]string{}, coverage: topicCoverage{Partitions: map[int32]partitionCoverage{}}}
	if err := n.bindTail(ctx, b, states, settings, want, log.ends, restart); err != nil {
		b.Release()
		return nil, err
	}
	fixed, err := fixedColumns(settings.JSONSchema)
	if err != nil {
		b.Release()
		return nil, err
	}
	b.columns = relation.Columns(append(append(described(states), relation.File{Columns: fixed}), b.tail...))
	if parts.cold {
		if err := n.bindFiles(ctx, b, states, parts); err != nil {
			b.Release()
			return nil, err
		}
	}
	for _, s := range states {
		c := b.coverage.Partitions[s.index]
		if !parts.cold {
			c.From = s.mark
		}
		c.HighWatermark = max(c.To, log.ends[s.index].Offset, s.view.Next())
		b.coverage.Partitions[s.index] = c
		b.coverage.LagRecords += c.HighWatermark - c.To
	}
	return b, nil
}

// sameEpochs reports whether the brokers that said where the logs end owned them
// as the catalog knows it. Else one of the two is behind, and records that a
// change of owners cut off could be taken for the log's.
func sameEpochs(states []partitionState, ends map[int32]tail.End) bool {
	for _, s := range states {
		end, known := ends[s.index]
		if owner := s.view.Owner; known && end.Epoch >= 0 && owner.ModRevision > 0 && owner.Epoch != metastore.Epoch(end.Epoch) {
			return false
		}
	}
	return true
}

// states reads the manifests of all partitions, as of one revision. Logs that are
// known to start above where the catalog says do.
func (n *Node) states(ctx context.Context, t *metastore.Topic, starts map[int32]int64) ([]partitionState, error) {
	states := make([]partitionState, t.Partitions)
	n.config.Catalog.View(func(v *metastore.View) {
		for i := range states {
			s := &states[i]
			s.index = int32(i)
			s.view = v.Partition(topic.Partition{Topic: t.ID, Index: s.index})
			s.start = max(s.view.Manifest.LogStart, starts[s.index])
			s.mark = max(s.view.Manifest.Marks.Columnar, s.start)
		}
	})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range states {
		s := &states[i]
		if s.view.Manifest.Object == "" {
			continue
		}
		group.Go(func() (err error) {
			s.section, err = n.manifests.FetchManifest(ctx, s.view.Manifest, topic.Partition{Topic: t.ID, Index: s.index})
			return err
		})
	}
	return states, group.Wait()
}

// described are the manifests' files with rows of the table, by their columns:
// what a query does not read still has a say in what the table looks like.
func described(states []partitionState) (files []relation.File) {
	for _, s := range states {
		for _, f := range s.section.Columnar {
			if f.Next > s.start && f.First < s.mark {
				files = append(files, relation.File{Columns: columnsOf(f.Columns)})
			}
		}
	}
	return files
}

// columnsOf reads a manifest's columns. A type that this build does not know is
// left out: its values are in _value.
func columnsOf(columns []manifest.Column) []columnar.Column {
	out := make([]columnar.Column, 0, len(columns))
	for _, c := range columns {
		if t, err := columnar.ParseType(c.Type); err == nil {
			out = append(out, columnar.Column{Name: c.Name, Type: t})
		}
	}
	return out
}

// tailRequest asks for the rows from the marks on. They are none unless behind:
// some records are in no file.
func tailRequest(t *metastore.Topic, settings topicconfig.Columnar, states []partitionState, want freshness, ends map[int32]tail.End) (request tail.Request, behind bool, err error) {
	request = tail.Request{Topic: t.Name, ID: t.ID, Wants: make([]tail.Want, len(states))}
	if request.Fixed, err = fixedColumns(settings.JSONSchema); err != nil {
		return request, false, err
	}
	for i, s := range states {
		w := tail.Want{Partition: s.index, First: s.mark}
		if want == latest {
			w.Target = ends[s.index].Offset
		}
		if owner := s.view.Owner; owner.ModRevision > 0 {
			w.EpochEnd = func(epoch int32) (int64, bool) { return owner.EpochEnd(metastore.Epoch(epoch)) }
		}
		end, known := ends[s.index]
		behind = behind || !known || end.Offset > s.mark
		request.Wants[i] = w
	}
	return request, behind, nil
}

// bindTail adds the rows from the marks on, and says what is covered. Where records
// were deleted since, the states begin behind them.
func (n *Node) bindTail(ctx context.Context, b *bound, states []partitionState, settings topicconfig.Columnar, want freshness, ends map[int32]tail.End, restart bool) error {
	request, behind, err := tailRequest(b.topic, settings, states, want, ends)
	if err != nil {
		return err
	}
	for _, s := range states {
		b.coverage.Partitions[s.index] = partitionCoverage{From: s.start, To: s.mark}
	}
	if want == cold || !behind {
		return nil
	}
	request.Restart = restart
	snapshot, err := n.tails.Read(ctx, request)
	if err != nil {
		return err
	}
	b.release = append(b.release, snapshot.Release)
	for i := range states {
		s := &states[i]
		s.start = max(s.start, snapshot.Starts[s.index])
		s.mark = max(s.mark, s.start)
	}
	for _, f := range snapshot.Files {
		mark := states[f.Partition].mark
		file := relation.File{Path: f.Path, Columns: f.Columns}
		if f.First < mark {
			file.Cut = &relation.Cut{First: mark, Next: math.MaxInt64}
		}
		b.tail = append(b.tail, file)
		b.stats.FilesTotal++
		b.stats.BytesRead += f.Size
		b.stats.RowsScanned += f.Next - max(f.First, mark)
	}
	for _, s := range states {
		b.coverage.Partitions[s.index] = partitionCoverage{From: s.start, To: max(s.mark, snapshot.Next[s.index])}
	}
	return nil
}

// fixedColumns are those of columnar.json_schema.
func fixedColumns(schema map[string]string) ([]columnar.Column, error) {
	var fixed []columnar.Column
	for _, field := range slices.Sorted(maps.Keys(schema)) {
		t, err := columnar.ParseType(schema[field])
		if err != nil {
			return nil, fmt.Errorf("read columnar.json_schema: %w", err)
		}
		fixed = append(fixed, columnar.Column{Field: field, Name: columnar.ColumnName(field), Type: t})
	}
	return fixed, nil
}

// marks are a topic's columnar marks, by partition; ok is false when the topic
// is no more.
func (n *Node) marks(id topic.ID) (marks map[int32]int64, ok bool) {
	n.config.Catalog.View(func(v *metastore.View) {
		t, found := v.TopicByID(id)
		if !found {
			return
		}
		ok, marks = true, make(map[int32]int64, t.Partitions)
		for i := range t.Partitions {
			m := v.Partition(topic.Partition{Topic: id, Index: i}).Manifest
			marks[i] = max(m.Marks.Columnar, m.LogStart)
		}
	})
	return marks, ok
}
