package vectorindex

import "context"

// Documents hands over the offsets and timestamps of all documents that pass a
// filter, in the order of offsets.
func (f *File) Documents(ctx context.Context, filter Filter, take func(offset, timestamp int64) error) error {
	s := f.sieve(filter)
	if s.none {
		return nil
	}
	for i := range f.footer.blocks {
		k := &f.footer.blocks[i]
		if !s.overlaps(k.bounds) {
			continue
		}
		data, err := f.read(ctx, k.part)
		if err != nil {
			return err
		}
		var failed error
		err = f.documents(k, data, func(d document) {
			if failed == nil && s.passes(d) {
				failed = take(d.offset, d.timestamp)
			}
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			return err
		}
	}
	return nil
}
