package query

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/relation"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
)

// What a topic is at a moment is decided alike for SQL and search.
type (
	freshness         = snapshot.Freshness
	topicCoverage     = snapshot.Coverage
	partitionCoverage = snapshot.PartitionCoverage
	partitionState    = snapshot.Partition
	presence          = snapshot.Presence
)

const (
	latest    = snapshot.Latest
	available = snapshot.Available
	cold      = snapshot.Cold
)

// parts are what a query reads of a topic: its files, the rows that are in none
// yet, or both.
type parts struct {
	cold, hot bool
	need      prune.Need // of the files
	vectors   bool       // their column is among what is read
	rows      prune.Need // of those whose vectors are read
	planOnly  bool       // of large files, what they are is enough; no values
}

func (p *parts) add(kind gate.Kind, need prune.Need) {
	if kind != gate.Hot {
		joined := need
		if p.cold {
			joined = need.Join(p.need)
		}
		p.cold, p.need = true, joined
	}
	p.hot = p.hot || kind != gate.Cold
	if need.Vectors {
		if p.vectors {
			need = need.Join(p.rows)
		}
		p.vectors, p.rows = true, need
	}
}

// bound is one topic as a query sees it: each record of [from, to) once.
type bound struct {
	topic    *metastore.Topic
	cold     []relation.File   // files of the manifests, with their masks; none unless asked for
	tail     []relation.File   // rows from the columnar marks on
	columns  []columnar.Column // of the topic's tables, all alike: of every file and the tail
	vectors  *relation.Vectors // their column of vectors; nil: the topic has none
	without  []withoutVectors  // the files whose vectors are elsewhere
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

// bind takes a snapshot of some parts of one topic. With latest it waits for
// the brokers until ctx ends, if the hot part is among them. The caller releases
// what it returns. What arrive found out, if anything, is not asked again.
func (n *Node) bind(ctx context.Context, name string, parts parts, want freshness, known *presence) (b *bound, err error) {
	if !parts.hot {
		want, known = cold, nil
	}
	err = n.sources.Bind(ctx, name, func(attempt int) (err error) {
		b, err = n.tryBind(ctx, name, parts, want, known, attempt > 4)
		known = nil // the next attempt asks anew
		return err
	})
	return b, n.countDamaged(err)
}

func (n *Node) tryBind(ctx context.Context, name string, parts parts, want freshness, known *presence, restart bool) (*bound, error) {
	t, settings, err := n.table(name)
	if err == nil && known.Of(t) {
		return n.snapshot(ctx, t, settings, parts, want, known.Logs, restart)
	}
	p, err := n.present(ctx, name, want)
	if err != nil {
		return nil, err
	}
	return n.snapshot(ctx, p.Topic, n.settings(p.Topic), parts, want, p.Logs, restart)
}

// table finds the topic of that name, and its settings.
func (n *Node) table(name string) (*metastore.Topic, topicconfig.Columnar, error) {
	t, ok := n.config.Catalog.Topic(name)
	if !ok {
		return nil, topicconfig.Columnar{}, unknownTable(fmt.Sprintf("topic %q does not exist", name))
	}
	settings := n.settings(t)
	if !settings.Enabled {
		return nil, settings, disabled(fmt.Sprintf("topic %q is no table: its setting columnar.enabled is false", name))
	}
	return t, settings, nil
}

func (n *Node) settings(t *metastore.Topic) topicconfig.Columnar {
	return topicconfig.Resolve(t.Config, n.config.TopicDefaults).Columnar
}

// present finds the topic that has that name now, and where its logs begin and end.
func (n *Node) present(ctx context.Context, name string, want freshness) (*presence, error) {
	return n.sources.Present(ctx, func() (*metastore.Topic, error) {
		t, _, err := n.table(name)
		return t, err
	}, want)
}

// snapshot binds to one revision of the catalog.
func (n *Node) snapshot(ctx context.Context, t *metastore.Topic, settings topicconfig.Columnar, parts parts, want freshness, log snapshot.Logs, restart bool) (*bound, error) {
	states, err := n.states(ctx, t, log.Starts)
	if err != nil {
		return nil, err
	}
	if want == latest && !snapshot.SameEpochs(states, log.Ends) {
		return nil, snapshot.ErrStale
	}
	b := &bound{topic: t, objects: map[string]string{}}
	wanted := n.vectorsOf(t, states)
	b.vectors = n.columnOfVectors(t, states)
	next, err := n.bindTail(ctx, b, states, settings, want, log.Ends, restart)
	if err != nil {
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
		if err := n.bindFiles(ctx, b, states, parts, wanted); err != nil {
			b.Release()
			return nil, err
		}
	}
	if parts.vectors && wanted != nil {
		if err := n.bindVectors(ctx, b, states, parts, *wanted); err != nil {
			b.Release()
			return nil, err
		}
	}
	b.coverage = snapshot.Cover(states, next, log.Ends, parts.cold)
	return b, nil
}

// states reads the manifests of all partitions, as of one revision. Logs that are
// known to start above where the catalog says do.
func (n *Node) states(ctx context.Context, t *metastore.Topic, starts map[int32]int64) ([]partitionState, error) {
	return n.sources.Partitions(ctx, t, snapshot.Columnar, starts)
}

// described are the manifests' files with rows of the table, by their columns:
// what a query does not read still has a say in what the table looks like.
func described(states []partitionState) (files []relation.File) {
	for _, s := range states {
		for _, f := range s.Section.Columnar {
			if f.Next > s.Start && f.First < s.Mark {
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
	request = tail.Request{Topic: t.Name, ID: t.ID}
	request.Wants, behind = snapshot.Wants(states, want, ends)
	request.Fixed, err = fixedColumns(settings.JSONSchema)
	return request, behind, err
}

// bindTail adds the rows from the marks on, and says up to where they are all. Where
// records were deleted since, the states begin behind them.
func (n *Node) bindTail(ctx context.Context, b *bound, states []partitionState, settings topicconfig.Columnar, want freshness, ends map[int32]tail.End, restart bool) (next map[int32]int64, err error) {
	request, behind, err := tailRequest(b.topic, settings, states, want, ends)
	if err != nil || want == cold || !behind {
		return nil, err
	}
	request.Restart = restart
	held, err := n.tails.Read(ctx, request)
	if err != nil {
		return nil, err
	}
	b.release = append(b.release, held.Release)
	snapshot.Advance(states, held.Starts)
	for _, f := range held.Files {
		mark := states[f.Partition].Mark
		file := relation.File{Path: f.Path, Columns: f.Columns}
		if f.First < mark {
			file.Cut = &relation.Cut{First: mark, Next: math.MaxInt64}
		}
		b.tail = append(b.tail, file)
		b.without = append(b.without, withoutVectors{f.Partition, max(f.First, mark), f.Next})
		b.stats.FilesTotal++
		b.stats.BytesRead += f.Size
		b.stats.RowsScanned += f.Next - max(f.First, mark)
	}
	return held.Next, nil
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
