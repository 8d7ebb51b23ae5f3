package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/cmd/chronik/node"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/walfile"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/open"
)

// source is a file or an object that is looked into.
type source struct {
	name string
	at   io.ReaderAt
	size int64
}

// dumpOptions are the flags of every dump.
type dumpOptions struct {
	settings
	verify  bool
	records bool
}

// dumpKind is one format at rest.
type dumpKind struct {
	name, short string
	example     string
	records     bool // it can list records
	dump        func(out io.Writer, s source, o *dumpOptions) error
}

func dumpKinds() []dumpKind {
	const topicFile = "topics/0b9e…/0/%s/01JD….%s"
	return []dumpKind{
		{"wal", "A file of a broker's write-ahead log", "data/wal/0000000001.wal", true, dumpWAL},
		{"segment", "A segment: sealed WAL of many partitions", "segments/01JD…-1-42.segment", true, dumpSegment},
		{"log", "A log file: batches of one partition", fmt.Sprintf(topicFile, "log", "log"), true, dumpSegment},
		{"manifest", "A manifest: the files of partitions", "manifests/01JD….manifest", false, dumpManifest},
		{"parquet", "A Parquet file of a table", fmt.Sprintf(topicFile, "parquet", "parquet"), false, dumpParquet},
		{"split", "A split: the full-text index of a range of records", fmt.Sprintf(topicFile, "split", "split"), false, dumpSplit},
		{"shard", "A shard: the index of the embeddings of a range of records", fmt.Sprintf(topicFile, "shard", "shard"), false, dumpShard},
		{"arrow", "An Arrow file of a table", fmt.Sprintf(topicFile, "arrow", "arrow"), false, dumpArrow},
	}
}

func newDump(e env) *cobra.Command {
	var commands []*cobra.Command
	for _, kind := range dumpKinds() {
		commands = append(commands, newDumpKind(e, kind))
	}
	c := group("dump", "Look into files and objects at rest",
		`Look into files and objects at rest. An argument that is no file is the name of an
object in the bucket of the configuration. No server needs to run.`, commands...)
	c.Example = `  chronik dump wal data/wal/*.wal --verify
  chronik dump segment segments/01JD…-1-42.segment --records`
	return c
}

func newDumpKind(e env, kind dumpKind) *cobra.Command {
	var o dumpOptions
	c := &cobra.Command{
		Use:   kind.name + " FILE-OR-OBJECT…",
		Short: kind.short,
		Example: fmt.Sprintf(`  chronik dump %[1]s %[2]s
  chronik dump %[1]s %[2]s --verify    # read everything, check all CRCs`, kind.name, kind.example),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("FILE-OR-OBJECT is missing")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var failed []error
			for _, name := range args {
				if err := o.dump(c, e, kind, name); err != nil {
					failed = append(failed, err)
				}
			}
			return errors.Join(failed...)
		},
	}
	o.add(c, devFlags()[:1]...) // --data
	c.Flags().BoolVar(&o.verify, "verify", false, "read everything and check all CRCs; damage makes the command fail")
	if kind.records {
		c.Flags().BoolVar(&o.records, "records", false, "list the batches and their records")
	}
	return c
}

func (o *dumpOptions) dump(c *cobra.Command, e env, kind dumpKind, name string) error {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return o.dumpObject(c, e, kind, name)
	}
	if err != nil {
		return fmt.Errorf("dump %s: %w", name, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("dump %s: %w", name, err)
	}
	return kind.dump(c.OutOrStdout(), source{name, file, info.Size()}, o)
}

// dumpObject looks for the object in the bucket, which it neither makes nor changes.
func (o *dumpOptions) dumpObject(c *cobra.Command, e env, kind dumpKind, name string) (err error) {
	o.bucket = true // the settings may be those of any node
	cfg, err := o.load(c, e)
	if err != nil {
		return err
	}
	where, err := node.BucketConfig(cfg)
	if err != nil {
		return err
	}
	where.CreateBucket = false
	// A listing of the bucket shows names with the cluster's prefix.
	name = strings.TrimPrefix(name, where.Prefix+"/")
	if where.Provider == "local" {
		if _, err := os.Stat(where.Dir); err != nil {
			return fmt.Errorf("dump %s: there is no such file, and no bucket to look for an object in: %w", name, err)
		}
	}
	ctx := c.Context()
	bucket, closeBucket, err := open.Bucket(ctx, where, nil, nil)
	if err != nil {
		return fmt.Errorf("dump %s: there is no such file; open the bucket to look for an object: %w", name, err)
	}
	defer func() { err = errors.Join(err, closeBucket()) }()
	attributes, err := bucket.Head(ctx, name)
	if err != nil {
		return fmt.Errorf("dump %s: there is no such file, and in the bucket: %w", name, err)
	}
	return kind.dump(c.OutOrStdout(), source{name, &object{ctx, bucket, name, attributes.Size}, attributes.Size}, o)
}

// object reads ranges of an object.
type object struct {
	ctx    context.Context // of the command
	bucket objstore.Bucket
	name   string
	size   int64
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= o.size {
		return 0, io.EOF
	}
	length := min(int64(len(p)), o.size-offset)
	data, err := o.bucket.Get(o.ctx, o.name, offset, length)
	if err != nil {
		return 0, err
	}
	n := copy(p, data)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func dumpSegment(out io.Writer, s source, o *dumpOptions) error {
	if err := segment.Dump(out, s.name, s.at, s.size, o.verify); err != nil || !o.records {
		return err
	}
	footer, err := segment.Load(s.at, s.size)
	if err != nil {
		return format.In(s.name, err)
	}
	for _, r := range footer.Ranges {
		fmt.Fprintf(out, "records of %s [%d,%d)\n", r.Partition, r.First, r.Next)
		for _, block := range r.Blocks {
			data := make([]byte, block.Length)
			if n, err := s.at.ReadAt(data, block.Position); int64(n) < block.Length {
				return fmt.Errorf("%s: read the block at byte %d: %w", s.name, block.Position, err)
			}
			if err := batch.Dump(out, data, true); err != nil {
				return format.In(s.name, err)
			}
		}
	}
	return nil
}

// dumpWAL lists frames. Their CRCs are always checked: that is how frames of
// this use of the file are told from those of a former one.
func dumpWAL(out io.Writer, s source, o *dumpOptions) error {
	var damage []error
	summary, err := walfile.Scan(s.at, s.size, func(position int64, f walfile.Frame, raw []byte) error {
		fmt.Fprintf(out, "frame at %d: %s epoch=%d first=%d length=%d\n", position, f.Partition, f.Epoch, f.First, f.Length)
		if o.verify {
			if _, err := batch.Verify(raw); err != nil {
				err = fmt.Errorf("%s: batch of the frame at byte %d: %w", s.name, position, err)
				damage = append(damage, err)
				fmt.Fprintf(out, "damage: %v\n", err)
			}
		}
		if o.records {
			return batch.Dump(out, raw, true)
		}
		return nil
	})
	if err != nil {
		return format.In(s.name, err)
	}
	end := "open"
	if summary.Ended {
		end = "full"
	}
	fmt.Fprintf(out, "%s: generation %d, %s, %d bytes used of %d, %s\n", s.name, summary.Generation, plural(int64(summary.Frames), "frame"), summary.Next, s.size, end)
	for _, d := range summary.Damage {
		err := format.In(s.name, format.Corrupt(d.Position, "%s; good frames go on at byte %d", d.Reason, d.Next))
		fmt.Fprintf(out, "damage: %v\n", err)
		damage = append(damage, err)
	}
	return errors.Join(damage...)
}

// dumpArrow shows an Arrow file. It has no checksums of its own: the manifest has
// that of the whole.
func dumpArrow(out io.Writer, s source, o *dumpOptions) error {
	return columnar.DumpArrow(out, s.name, s.at, s.size, o.verify)
}

// dumpManifest reads the whole object; its CRCs are always checked.
func dumpManifest(out io.Writer, s source, _ *dumpOptions) error {
	if s.size > manifestBytesMax {
		return fmt.Errorf("%s: %d bytes are too many for a manifest", s.name, s.size)
	}
	data := make([]byte, s.size)
	if n, err := s.at.ReadAt(data, 0); int64(n) < s.size {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	return manifest.Dump(out, s.name, data)
}

// manifestBytesMax is far above any manifest of 64 partitions.
const manifestBytesMax = 1 << 30
