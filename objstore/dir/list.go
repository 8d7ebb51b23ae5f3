package dir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/objstore"
)

// List implements objstore.Bucket. It holds one directory per level in memory.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attributes, error] {
	return func(yield func(objstore.Attributes, error) bool) {
		// Everything that can match lies below the prefix's own directory.
		directory := "."
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			directory = prefix[:i]
			if objstore.ValidateName(directory) != nil {
				return // no object can have such a name
			}
		}
		w := walk{bucket: b, ctx: ctx, prefix: prefix, yield: yield}
		if err := w.directory(directory); err != nil && err != errStopped {
			yield(objstore.Attributes{}, explain("list", prefix, err))
		}
	}
}

var errStopped = errors.New("the caller has seen enough")

type walk struct {
	bucket *Bucket
	ctx    context.Context
	prefix string
	yield  func(objstore.Attributes, error) bool
}

func (w *walk) directory(directory string) error {
	entries, err := fs.ReadDir(w.bucket.root.FS(), directory)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	// The order is that of whole names: directory "a" holds "a/…", which comes
	// after "a-b" and before "a0".
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return cmp.Compare(sortKey(x), sortKey(y)) })
	for _, e := range entries {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(path.Join(directory, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(name string, e fs.DirEntry) error {
	switch {
	case name == private:
		return nil
	case e.IsDir():
		below := name + "/"
		if strings.HasPrefix(below, w.prefix) || strings.HasPrefix(w.prefix, below) {
			return w.directory(name)
		}
		return nil
	case !strings.HasPrefix(name, w.prefix):
		return nil
	}
	a, err := w.bucket.stat(name)
	if gone(err) { // deleted meanwhile, or not a file
		return nil
	}
	if err != nil {
		return err
	}
	if !w.yield(a, nil) {
		return errStopped
	}
	return nil
}

func sortKey(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func gone(err error) bool { return err != nil && meaning(err) == objstore.ErrNotFound }
