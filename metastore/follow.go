package metastore

import (
	"context"
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// follow keeps the catalog up until ctx ends or the metadata cannot be read.
func (s *Store) follow(ctx context.Context) {
	defer close(s.done)
	pause := s.newBackoff()
	for {
		err := s.followWatch(ctx, pause)
		var fatal *unreadable
		switch {
		case ctx.Err() != nil:
			s.err = ErrClosed
			return
		case errors.As(err, &fatal):
			s.err = fmt.Errorf("follow the metadata: %w", err)
			s.log.Error("the catalog is not kept up any more", "err", err)
			return
		}
		s.log.Warn("the watch of the metadata ended and is begun again", "err", err)
		pause.wait(ctx)
	}
}

// followWatch runs one watch, after reading everything anew if need be.
func (s *Store) followWatch(ctx context.Context, pause *backoff) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	for changes := range s.kv.Watch(watching, string(s.keys), s.catalog.Revision()+1) {
		switch {
		case errors.Is(changes.Err, kv.ErrCompacted):
			return s.reload(ctx)
		case changes.Err != nil:
			return changes.Err
		}
		pause.reset()
		err := s.catalog.update(func(v *View) error { return v.apply(changes) })
		if err != nil {
			return &unreadable{err}
		}
	}
	return errors.New("watch ended without a reason")
}

// reload reads the whole catalog again after the history that it would need was
// compacted away.
func (s *Store) reload(ctx context.Context) error {
	before := s.catalog.Revision()
	if err := s.loadCatalog(ctx); err != nil {
		return err
	}
	if now := s.catalog.Revision(); now < before {
		return &unreadable{fmt.Errorf("metadata went back from revision %d to %d: another or a restored store", before, now)}
	}
	return fmt.Errorf("catalog was read again at revision %d: %w", s.catalog.Revision(), kv.ErrCompacted)
}
