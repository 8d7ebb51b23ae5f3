package textindex_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// realRecords reads the lines of a file of CHRONIK_TESTDATA.
func realRecords(t testing.TB, name string) []textindex.Record {
	t.Helper()
	dir := os.Getenv("CHRONIK_TESTDATA")
	if dir == "" {
		t.Skip("CHRONIK_TESTDATA does not say where real data is")
	}
	file, err := os.Open(filepath.Join(dir, name))
	require.NoError(t, err)
	defer file.Close()
	var in io.Reader = file
	if filepath.Ext(name) == ".gz" {
		in, err = gzip.NewReader(file)
		require.NoError(t, err)
	}
	var all []textindex.Record
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		all = append(all, textindex.Record{Offset: int64(len(all)), Timestamp: int64(len(all)) * 20, Value: bytes.Clone(lines.Bytes())})
	}
	require.NoError(t, lines.Err())
	return all
}

func TestRealDataIsIndexedAndMerged(t *testing.T) {
	for _, name := range []string{"wikiticker/wikiticker-2015-09-12-sampled.json.gz", "elastic-examples/apache_logs", "elastic-examples/nginxplus_json_logs", "elastic-examples/auth.log"} {
		t.Run(name, func(t *testing.T) {
			records := realRecords(t, name)
			if len(records) > 10_000 {
				records = records[:10_000]
			}
			m := textindex.NewMemory(textindex.Options{Analyzer: standard(t)})
			for _, r := range records {
				require.NoError(t, m.Append(r))
			}
			data := written(t, m)
			f := open(t, data)
			require.Empty(t, f.Verify(context.Background()))
			t.Logf("%d records of %d bytes: a split of %d, %.2f of them; %d fields", len(records), rawBytes(records), len(data), float64(len(data))/float64(rawBytes(records)), len(f.Fields()))
			half := len(records) / 2
			parts := make([]*textindex.File, 2)
			for i, part := range [][]textindex.Record{records[:half], records[half:]} {
				m := textindex.NewMemory(textindex.Options{Analyzer: standard(t)})
				for _, r := range part {
					require.NoError(t, m.Append(r))
				}
				parts[i] = open(t, written(t, m))
			}
			require.True(t, bytes.Equal(data, merged(t, parts, textindex.MergeOptions{})))
		})
	}
}
