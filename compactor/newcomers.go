package compactor

import (
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/iceberg"
)

// Columnar files are merged when the Iceberg table of their topic has them. A merge
// that takes in others gives the table rows and takes files from it in one: a
// snapshot that overwrites, which readers that follow a table cannot tell from
// changed rows, instead of one that replaces files by others with the same rows.

// tableWait is how long a file waits for its table at most: merging must not end
// because commits fail.
const tableWait = 10 * time.Minute

// newcomer is a columnar file that came with a manifest.
type newcomer struct {
	object   string
	revision int64     // at which the manifest named it, or a later one; 0: it is not known yet
	since    time.Time // when it was seen
}

// newcomers are the columnar files of now that before did not have.
func newcomers(before, now *manifest.Section, at time.Time) []newcomer {
	had := make(map[string]bool, len(before.Columnar))
	for i := range before.Columnar {
		had[before.Columnar[i].Object] = true
	}
	var out []newcomer
	for i := range now.Columnar {
		if object := now.Columnar[i].Object; !had[object] {
			out = append(out, newcomer{object: object, since: at})
		}
	}
	return out
}

// settle dates the newcomers that are not dated by the manifest that names them,
// and forgets those that the table has, or that waited long enough.
func (k *known) settle(manifestRevision, shown int64, now time.Time) {
	k.newcomers = slices.DeleteFunc(k.newcomers, func(n newcomer) bool {
		return n.revision != 0 && n.revision <= shown || now.Sub(n.since) >= tableWait
	})
	for i := range k.newcomers {
		if n := &k.newcomers[i]; n.revision == 0 {
			n.revision = manifestRevision
		}
	}
	k.newcomers = slices.DeleteFunc(k.newcomers, func(n newcomer) bool { return n.revision <= shown })
}

// awaited tells whether the topic's table is to have the file before it is merged.
func (s snapshot) awaited(f manifest.File) bool {
	return s.table && slices.ContainsFunc(s.newcomers, func(n newcomer) bool { return n.object == f.Object })
}

// shown is the revision that the Iceberg table of a snapshot's topic shows; ok:
// there is such a table.
func (c *Compactor) shown(v *metastore.View, s *snapshot) (revision int64, ok bool) {
	if c.config.IcebergLocation == "" || s.view.Topic == nil || !iceberg.Wanted(s.config.Columnar) {
		return 0, false
	}
	t, ok := v.Iceberg(s.view.Topic.ID)
	return t.Shown, ok
}
