package sim

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/tests/history"
)

// ofTopics are the directories of the metadata whose keys begin with a topic's id.
var ofTopics = []string{"owners/", "manifests/", "iceberg/"}

// entries are the keys of a directory of the metadata, as they are now.
func (w *World) entries(dir string) []kv.Entry {
	entries, _, err := w.store.Range(context.Background(), "/chronik/"+cluster+"/"+dir)
	if err != nil {
		w.t.Errorf("range over %s: %v", dir, err)
	}
	return entries
}

// observeKeys looks for keys that a topic was given after it had been deleted: who
// wrote them took it for one that is there. That they are swept some time later
// makes it no better. now is the revision of what is seen, w.revision the one that
// was looked at before.
func (w *World) observeKeys(now int64) {
	there := map[string]bool{}
	for _, e := range w.entries("topic-ids/") {
		id := path.Base(e.Key)
		there[id], w.gone[id] = true, 0
	}
	for id, since := range w.gone {
		if since == 0 && !there[id] {
			w.gone[id] = now
		}
	}
	w.keysOfGone(func(e kv.Entry, since int64) {
		if since <= w.revision && e.ModRevision > w.revision {
			w.history.Report(history.Orphaned, "%s is written in revision %d, when revision %d had no such topic", short(e.Key), e.ModRevision, since)
		}
	})
}

// keysOfGone goes through the keys that topics have whose ids are gone, since a revision.
func (w *World) keysOfGone(found func(e kv.Entry, since int64)) {
	for _, dir := range ofTopics {
		for _, e := range w.entries(dir) {
			_, rest, _ := strings.Cut(e.Key, "/"+dir)
			id, _, _ := strings.Cut(rest, "/")
			if since := w.gone[id]; since > 0 {
				found(e, since)
			}
		}
	}
}

// audit holds the bucket against the metadata, and the metadata against itself.
func (w *World) audit() {
	w.keysOfGone(func(e kv.Entry, since int64) {
		w.history.Report(history.Orphaned, "%s is there at the end, and its topic is gone since revision %d", short(e.Key), since)
	})
	type object struct{ name, of string }
	var named []object
	refs := map[topic.Partition]metastore.ManifestRef{}
	w.observer.Catalog().View(func(v *metastore.View) {
		for _, s := range v.Segments() {
			named = append(named, object{s.Object, "segment " + s.ID})
		}
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				p := topic.Partition{Topic: t.ID, Index: i}
				if ref := v.Partition(p).Manifest; ref.Object != "" {
					refs[p] = ref
				}
			}
		}
	})
	for p, ref := range refs {
		named = append(named, object{ref.Object, fmt.Sprintf("the manifest of %s", w.partition(p))})
		data, err := w.bucket.Get(context.Background(), ref.Object, ref.Position, ref.Length)
		if err != nil {
			continue // told below
		}
		section, err := manifest.Decode(data)
		if err != nil {
			w.history.Report(history.Missing, "the manifest of %s cannot be read: %v", w.partition(p), err)
			continue
		}
		for name := range section.Objects {
			named = append(named, object{name, fmt.Sprintf("a file of %s", w.partition(p))})
		}
		w.auditMarks(p)
		for _, f := range section.Vector {
			if err := w.auditShard(f); err != nil && !errors.Is(err, objstore.ErrNotFound) { // that is told below
				w.history.Report(history.Missing, "%s of %s: %v", f.Object, w.partition(p), err)
			}
		}
		for _, f := range section.Text {
			if err := w.auditSplit(f); err != nil && !errors.Is(err, objstore.ErrNotFound) { // that is told below
				w.history.Report(history.Missing, "%s of %s: %v", f.Object, w.partition(p), err)
			}
		}
	}
	slices.SortFunc(named, func(a, b object) int { return strings.Compare(a.of+a.name, b.of+b.name) })
	known := map[string]bool{}
	for _, o := range named {
		if _, err := w.bucket.Head(context.Background(), o.name); errors.Is(err, objstore.ErrNotFound) {
			w.history.Report(history.Missing, "%s, which is %s", o.name, o.of)
		}
		known[o.name] = true
	}
	for a, err := range w.bucket.List(context.Background(), "") {
		name, _ := objstore.ParseName(a.Name)
		switch {
		case err != nil:
			w.t.Error(err)
		case known[a.Name]:
		case name.Kind == objstore.KindSegment && w.sessionLives(name):
			// Its broker might commit it yet, for all that a compactor can know.
		default:
			w.history.Report(history.Leaked, "%s, which nothing names", a.Name)
		}
	}
}

// auditMarks looks whether everything in a log has come into the files that are
// made of it: there was time enough.
func (w *World) auditMarks(p topic.Partition) {
	w.observer.Catalog().View(func(v *metastore.View) {
		part := v.Partition(p)
		t, marks := part.Topic, part.Manifest.Marks
		if t == nil {
			return
		}
		for _, kind := range []struct {
			name, setting string
			mark          int64
		}{
			{"columnar", "columnar.enabled", marks.Columnar}, {"text", "searchable", marks.Text}, {"vector", "vector.enabled", marks.Vector},
		} {
			if t.Config[kind.setting] == "true" && max(kind.mark, part.Manifest.LogStart) < part.Next() {
				w.history.Report(history.Unread, "the %s mark of %s stands at %d of [%d, %d)", kind.name, w.partition(p), kind.mark, part.Manifest.LogStart, part.Next())
			}
		}
	})
}

// auditShard reads what the manifest says of a shard.
func (w *World) auditShard(f manifest.File) error {
	if f.Records == 0 {
		return nil // a note that nothing there has a vector
	}
	ctx := context.Background()
	data, err := w.bucket.Get(ctx, f.Object, 0, f.Size)
	if err != nil {
		return err
	}
	shard, err := vectorindex.Open(ctx, vectorindex.Bytes(data), f.Footer)
	if err != nil {
		return err
	}
	return errors.Join(shard.Verify(ctx)...)
}

// auditSplit reads what the manifest says of a split.
func (w *World) auditSplit(f manifest.File) error {
	ctx := context.Background()
	data, err := w.bucket.Get(ctx, f.Object, 0, f.Size)
	if err != nil {
		return err
	}
	split, err := textindex.Open(ctx, textindex.Bytes(data), f.Footer)
	if err != nil {
		return err
	}
	offsets, err := split.Column(ctx, textindex.FieldOffset)
	if err != nil {
		return err
	}
	if n := int64(offsets.Documents()); n != f.Records {
		return fmt.Errorf("%d records, the manifest says %d", n, f.Records)
	}
	if others := int64(offsets.Match(f.First, f.Next-1).GetCardinality()); others != f.Records {
		return fmt.Errorf("%d of %d records lie in [%d,%d)", others, f.Records, f.First, f.Next)
	}
	return nil
}

func (w *World) sessionLives(name objstore.Name) bool {
	b, ok := w.observer.Catalog().Broker(metastore.BrokerID(name.Broker))
	return ok && b.Session == metastore.Session(name.Session)
}
