package node

import (
	"io/fs"
	"log/slog"
	"math"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

// LimitMemory gives Go the soft limit of this process's memory: what the
// configuration says, else what GOMEMLIMIT has set already, else nine tenths of
// what is left of the container's limit when SQL has its share, which Go does not
// count. Below the limit nothing changes; at it garbage is collected more often,
// where the process would have grown past the limit and been killed. root is "/".
func LimitMemory(cfg *config.Config, root fs.FS, log *slog.Logger) {
	limit, why := int64(cfg.Memory.Limit), "memory.limit"
	if limit == 0 {
		if debug.SetMemoryLimit(-1) != math.MaxInt64 {
			return // GOMEMLIMIT
		}
		container := ContainerMemory(root)
		if container == 0 {
			return
		}
		limit, why = softLimit(container, cfg), "the container's limit"
	}
	debug.SetMemoryLimit(limit)
	log.Debug("memory has a soft limit", "bytes", limit, "by", why)
}

func softLimit(container int64, cfg *config.Config) int64 {
	if slices.Contains(cfg.Roles(), RoleQuery) {
		container -= min(int64(cfg.Query.MemoryBytes)*int64(cfg.Query.Concurrent), container/2)
	}
	return container / 10 * 9
}

// ContainerMemory is the least memory limit of the process's cgroup and those
// around it, of either version; 0 when there is none. root is "/".
func ContainerMemory(root fs.FS) (bytes int64) {
	own, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(own)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, at, _ := strings.Cut(rest, ":")
		mount, file := "sys/fs/cgroup", "memory.max"
		if controllers != "" {
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		if controllers != "" && !slices.Contains(strings.Split(controllers, ","), "memory") {
			continue
		}
		// Seen from inside a container, its own group is the mount's top.
		for at = path.Clean("/" + at); ; at = path.Dir(at) {
			if limit, ok := readLimit(root, path.Join(mount, at, file)); ok {
				least = min(least, limit)
			}
			if at == "/" {
				break
			}
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// unlimited is what version 1 shows for no limit, and more.
const unlimited = 1 << 60

func readLimit(root fs.FS, name string) (bytes int64, ok bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n > 0 && n < unlimited // version 2 says "max"
}
