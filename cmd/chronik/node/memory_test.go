package node

import (
	"log/slog"
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

func files(content map[string]string) fstest.MapFS {
	all := fstest.MapFS{}
	for name, text := range content {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return all
}

func TestTheContainersMemoryIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no cgroups": {nil, 0},
		"version 2, in a container": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30},
		"version 2, unlimited": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		"version 2, the group around it has less": {map[string]string{
			"proc/self/cgroup": "0::/pods/one\n", "sys/fs/cgroup/pods/one/memory.max": "2147483648\n",
			"sys/fs/cgroup/pods/memory.max": "1073741824\n", "sys/fs/cgroup/memory.max": "max\n"}, 1 << 30},
		"version 1": {map[string]string{
			"proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/abc\n1:cpu:/x\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "536870912\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            "9223372036854771712\n"}, 512 << 20},
		"version 1, seen from inside": {map[string]string{
			"proc/self/cgroup": "4:memory:/docker/abc\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n"}, 512 << 20},
	} {
		require.Equal(t, c.want, ContainerMemory(files(c.files)), name)
	}
}

func TestTheSoftLimitOfMemoryIsGivenToGo(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	quiet := slog.New(slog.DiscardHandler)
	four := files(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4294967296\n"})
	cfg := config.Default()

	LimitMemory(cfg, files(nil), quiet)
	require.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(-1), "nothing limits it")
	LimitMemory(cfg, four, quiet)
	require.EqualValues(t, int64(2<<30)/10*9, debug.SetMemoryLimit(-1), "SQL has its half")
	one := config.Default()
	one.Query.Concurrent = 1
	debug.SetMemoryLimit(math.MaxInt64)
	LimitMemory(one, four, quiet)
	require.EqualValues(t, int64(3<<30)/10*9, debug.SetMemoryLimit(-1), "SQL has no more than it may take")
	debug.SetMemoryLimit(1 << 30)
	LimitMemory(cfg, four, quiet)
	require.EqualValues(t, 1<<30, debug.SetMemoryLimit(-1), "as GOMEMLIMIT had it")
	cfg.Memory.Limit = 2 << 30
	LimitMemory(cfg, four, quiet)
	require.EqualValues(t, 2<<30, debug.SetMemoryLimit(-1), "as configured")
}
