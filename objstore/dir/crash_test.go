package dir_test

import (
	"bufio"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/dir"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

// crashDir makes this test binary the process that TestKilledPuts kills.
var crashDir = flag.String("crash-dir", "", "put objects into this directory until killed")

// crashBytes is the content that belongs to a name.
func crashBytes(name string) []byte {
	return objtest.Bytes(200_000, uint64(crc32.ChecksumIEEE([]byte(name))))
}

func TestPutUntilKilled(t *testing.T) {
	if *crashDir == "" {
		t.Skip("runs as the child of TestKilledPutsLeaveWholeObjectsAndAllThatWereAnswered")
	}
	b, err := dir.Open(*crashDir)
	require.NoError(t, err)
	for i := 0; ; i++ {
		name := fmt.Sprintf("%d/%d/o", os.Getpid(), i)
		objtest.Put(t, b, name, crashBytes(name))
		fmt.Println("stored", name)
	}
}

func TestKilledPutsLeaveWholeObjectsAndAllThatWereAnswered(t *testing.T) {
	directory := t.TempDir()
	answered := map[string]bool{}
	for round := range 5 {
		for _, name := range putUntilKilled(t, directory, 3+7*round) {
			answered[name] = true
		}
	}
	b := open(t, directory)
	names, err := objtest.Names(b.List(t.Context(), ""))
	require.NoError(t, err)
	for _, name := range names {
		got, err := b.Get(t.Context(), name, 0, -1)
		require.NoError(t, err)
		require.Equal(t, crc32.ChecksumIEEE(crashBytes(name)), crc32.ChecksumIEEE(got), name)
		delete(answered, name)
	}
	require.Empty(t, answered, "answered, and not there")
	left, err := os.ReadDir(filepath.Join(directory, ".chronik", "tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = b.Put(t.Context(), names[0], objstore.Bytes(nil), objstore.Condition{IfAbsent: true})
	require.ErrorIs(t, err, objstore.ErrExists)
}

// putUntilKilled lets a child put objects, kills it after so many answers, and
// returns all that it answered.
func putUntilKilled(t *testing.T, directory string, answers int) (names []string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestPutUntilKilled$", "-crash-dir="+directory)
	output, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var name string
		if _, err := fmt.Sscanf(lines.Text(), "stored %s", &name); err != nil {
			continue // the test runner's own words
		}
		if names = append(names, name); len(names) == answers {
			require.NoError(t, child.Process.Kill())
		}
	}
	require.NoError(t, lines.Err())
	require.Error(t, child.Wait(), "killed")
	require.GreaterOrEqual(t, len(names), answers)
	return names
}
