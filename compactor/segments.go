package compactor

import (
	"context"
	"slices"

	"github.com/chronik-stream/chronik/internal/rendezvous"
	"github.com/chronik-stream/chronik/metastore"
)

// dropSegments drops those of its share whose every range is below the log mark
// of its partition, or belongs to a partition that is no more.
func (c *Compactor) dropSegments(ctx context.Context) (dropped bool) {
	var spent []*metastore.Segment
	c.catalog.View(func(v *metastore.View) {
		members := make([]string, 0, 4)
		for _, m := range v.Compactors() {
			members = append(members, m.ID)
		}
		for _, s := range v.Segments() {
			if rendezvous.Pick("segment "+s.ID, members) == c.config.ID && rewritten(v, s) {
				spent = append(spent, s)
			}
		}
	})
	for _, s := range spent {
		if err := c.store.DropSegment(ctx, s.ID, c.deletion(s.Object)); err != nil {
			if ctx.Err() == nil {
				c.log.Error("a segment that is rewritten could not be dropped yet", "segment", s.ID, "err", err)
			}
			return dropped
		}
		c.metrics.segments.Inc()
		dropped = true
	}
	return dropped
}

func rewritten(v *metastore.View, s *metastore.Segment) bool {
	return !slices.ContainsFunc(s.Ranges, func(r metastore.SegmentRange) bool { return !v.Rewritten(r) })
}
