// Package committed reads the committed log of a partition: what the metadata
// store names, out of log files and segments in the bucket.
//
// Where the log lies changes under a reader: compactors rewrite segments into
// log files, merge these, and delete what is no longer named. A read plans on
// one revision of the catalog; when an object of its plan is gone it waits for
// the catalog to move on and plans again. A missing object is never the end of
// data.
//
// Damage is refused by the block: bytes are served only when the CRC of their
// block, which is in the footer, and that covers offsets too, is right. The
// rest of the partition stays readable.
//
// Nothing here writes, and nothing is known of what is not committed yet.
package committed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Errors, besides those of the bucket, of metastore (ErrTopicUnknown) and of
// damage (*format.Error with the object's name).
var (
	// ErrNotCommitted: the offset is at or above the committed next.
	ErrNotCommitted = errors.New("offset not committed yet")
	// ErrBelowStart: the offset is below the log start.
	ErrBelowStart = errors.New("offset below the log start")
)

// HoleError means that offsets below the committed next lie in no object: they
// were never committed, or were quarantined. It is for the caller to say
// whether to go on at Next.
type HoleError struct {
	Partition   topic.Partition
	First, Next int64
}

// Error implements error.
func (e *HoleError) Error() string {
	return fmt.Sprintf("%v: no object holds the offsets [%d,%d)", e.Partition, e.First, e.Next)
}

// Options of a Reader. Zero values take the defaults.
type Options struct {
	// FooterBytesMax and ManifestBytesMax bound the parsed footers and
	// manifests that are kept, and as much again the pages of manifests; default
	// 64 MiB each.
	FooterBytesMax   int64
	ManifestBytesMax int64
	// MissingWait is how long a read waits for the catalog to move on when an
	// object is gone; default 5 s.
	MissingWait time.Duration
	// RecordBytesMax bounds the decompressed records of a batch, in
	// OffsetForTime; default 256 MiB.
	RecordBytesMax int
	Metrics        *Metrics // nil: none
}

// Reader reads committed data. All methods may be called at once. It needs no
// closing.
type Reader struct {
	catalog   *metastore.Catalog
	bucket    objstore.Bucket
	options   Options
	footers   *lru[string, *segment.Footer]
	manifests *lru[place, manifest.Section]
	pages     *lru[string, []manifest.File]
	decoders  sync.Pool // of *batch.Decoder
}

// place is where a manifest's section lies.
type place struct {
	object           string
	position, length int64
}

// NewReader returns a Reader of what catalog names in bucket. A cache for the
// ranges of objects is the bucket's business.
func NewReader(catalog *metastore.Catalog, bucket objstore.Bucket, o Options) *Reader {
	if o.FooterBytesMax == 0 {
		o.FooterBytesMax = 64 << 20
	}
	if o.ManifestBytesMax == 0 {
		o.ManifestBytesMax = 64 << 20
	}
	if o.MissingWait == 0 {
		o.MissingWait = 5 * time.Second
	}
	if o.RecordBytesMax == 0 {
		o.RecordBytesMax = 256 << 20
	}
	if o.Metrics == nil {
		o.Metrics = newMetrics()
	}
	return &Reader{
		catalog:   catalog,
		bucket:    bucket,
		options:   o,
		footers:   newLRU[string, *segment.Footer](o.FooterBytesMax),
		manifests: newLRU[place, manifest.Section](o.ManifestBytesMax),
		pages:     newLRU[string, []manifest.File](o.ManifestBytesMax),
		decoders:  sync.Pool{New: func() any { return batch.NewDecoder(o.RecordBytesMax) }},
	}
}

// Metrics are the figures of reading what is committed.
type Metrics struct {
	bytes   prometheus.Counter
	replans prometheus.Counter
	damaged prometheus.Counter
}

// NewMetrics makes the metrics and registers them; reg may be nil, and may have
// them already.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := newMetrics()
	var errs [3]error
	m.bytes, errs[0] = objstore.Register(reg, m.bytes)
	m.replans, errs[1] = objstore.Register(reg, m.replans)
	m.damaged, errs[2] = objstore.Register(reg, m.damaged)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("metrics of the committed log: %w", err)
	}
	return m, nil
}

func newMetrics() *Metrics {
	return &Metrics{
		bytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_committed_read_bytes_total", Help: "Bytes of batches read from segments and log files."}),
		replans: prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_committed_replans_total", Help: "Reads planned again because an object was gone."}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_committed_damaged_total", Help: "Reads refused because an object is damaged."}),
	}
}

// Manifest returns the partition's manifest and the reference that it belongs
// to. Its log start is the reference's, which may be ahead of what was written.
// A partition without files has a section without files, of the reference's
// version and marks.
func (r *Reader) Manifest(ctx context.Context, p topic.Partition) (manifest.Section, metastore.ManifestRef, error) {
	var section manifest.Section
	var ref metastore.ManifestRef
	err := r.planned(ctx, p, func(v metastore.PartitionView) (err error) {
		ref = v.Manifest
		section, err = r.FetchManifest(ctx, v.Manifest, p)
		return err
	})
	return section, ref, err
}

// FetchManifest returns the manifest of p that ref names. The slices in it are
// shared: do not change them.
func (r *Reader) FetchManifest(ctx context.Context, ref metastore.ManifestRef, p topic.Partition) (manifest.Section, error) {
	if ref.Object == "" {
		return manifest.Section{Partition: p, Version: ref.Version, LogStart: ref.LogStart, Marks: manifest.Marks(ref.Marks)}, nil
	}
	at := place{ref.Object, ref.Position, ref.Length}
	section, err := r.manifests.get(ctx, at, func(ctx context.Context) (manifest.Section, int64, error) {
		data, err := r.get(ctx, at.object, at.position, at.length)
		if err != nil {
			return manifest.Section{}, 0, err
		}
		var getting error
		section, err := manifest.DecodePaged(data, func(page manifest.Page) ([]manifest.File, error) {
			files, err := r.page(ctx, page)
			getting = err
			return files, err
		})
		if getting != nil {
			return manifest.Section{}, 0, getting
		}
		if err != nil {
			return manifest.Section{}, 0, r.damage(at.object, at.position, err)
		}
		cost := 3 * at.length // parsed, it takes about that much
		for _, page := range section.Pages {
			cost += int64(page.Files) * fileBytes
		}
		return section, cost, nil
	})
	if err != nil {
		return manifest.Section{}, fmt.Errorf("reading the manifest of %v: %w", p, err)
	}
	if err := CheckManifest(section, ref, p); err != nil {
		return manifest.Section{}, r.damage(ref.Object, ref.Position, err)
	}
	section.LogStart = max(section.LogStart, ref.LogStart)
	return section, nil
}

// page returns the files of a manifest's page.
func (r *Reader) page(ctx context.Context, page manifest.Page) ([]manifest.File, error) {
	return r.pages.get(ctx, page.Object, func(ctx context.Context) ([]manifest.File, int64, error) {
		data, err := r.get(ctx, page.Object, 0, page.Size)
		if err != nil {
			return nil, 0, err
		}
		files, err := manifest.DecodePage(page, data)
		if err != nil {
			return nil, 0, r.damage(page.Object, 0, err)
		}
		return files, int64(len(files)) * fileBytes, nil
	})
}

// CheckManifest returns damage, at byte 0 of the section, when it is not the one
// of p that ref names.
func CheckManifest(section manifest.Section, ref metastore.ManifestRef, p topic.Partition) error {
	if section.Partition != p || section.Version != ref.Version || section.Marks != manifest.Marks(ref.Marks) {
		return format.Corrupt(0, "version %d of %v with marks %v, the metadata have version %d of %v with %v there",
			section.Version, section.Partition, section.Marks, ref.Version, p, ref.Marks)
	}
	return nil
}

// footer returns the index of an object.
func (r *Reader) footer(ctx context.Context, object string, size int64) (*segment.Footer, error) {
	return r.footers.get(ctx, object, func(ctx context.Context) (*segment.Footer, int64, error) {
		var getting error
		f, err := segment.FetchFooter(size, func(n int64) (tail []byte, _ error) {
			tail, getting = r.get(ctx, object, size-n, n)
			return tail, getting
		})
		switch {
		case getting != nil:
			return nil, 0, getting
		case err != nil:
			return nil, 0, r.damage(object, 0, err)
		}
		return f, footerCost(f), nil
	})
}

// What the parts of footers and manifests take in memory, roughly.
const (
	rangeBytes    = 160
	blockBytes    = 40
	producerBytes = 200
	fileBytes     = 400 // of a manifest
)

// footerCost is about the memory that a footer takes.
func footerCost(f *segment.Footer) int64 {
	cost := len(f.Ranges) * rangeBytes
	for i := range f.Ranges {
		cost += len(f.Ranges[i].Blocks)*blockBytes + len(f.Ranges[i].Producers)*producerBytes
	}
	return int64(cost)
}
