package compactor

import (
	"context"
	"fmt"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/objstore"
)

// cutPages stores the pages that the section's older files go into, if there are
// many, under names of their own. [own-names]
func (p *pass) cutPages(ctx context.Context) error {
	stored, gone, err := p.section.CutPages(func() string { return objstore.PageName(p.section.Partition, p.newID()) })
	if err != nil {
		return err
	}
	for _, page := range stored {
		if _, err := p.bucket.Put(ctx, page.Object, objstore.Bytes(page.Body), objstore.Condition{IfAbsent: true}); err != nil {
			return fmt.Errorf("store %s: %w", page.Object, err)
		}
		p.metrics.wrote("page", int64(len(page.Body)))
	}
	for _, object := range gone {
		p.gone = append(p.gone, manifest.File{Object: object})
	}
	return nil
}
