package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range capabilities {
		assert.False(t, seen[c.name], c.name)
		assert.False(t, seen[c.does], c.does)
		seen[c.name], seen[c.does] = true, true
	}
	for _, c := range clients {
		assert.False(t, seen[c.key], c.key)
		assert.False(t, seen[c.title], c.title)
		seen[c.key], seen[c.title] = true, true
	}
}

func TestEveryClientHasOneDriver(t *testing.T) {
	driven := map[string]int{}
	for _, d := range drivers {
		for _, c := range d.clients {
			driven[c]++
		}
		assert.FileExists(t, filepath.Join(d.dir, "prepare"))
		assert.FileExists(t, filepath.Join(d.dir, "run"))
	}
	for _, c := range clients {
		assert.Equal(t, 1, driven[c.key], c.key)
	}
	assert.Len(t, driven, len(clients))
}

func TestGapsAreOfKnownClientsAndCapabilities(t *testing.T) {
	for _, g := range gaps {
		for _, c := range g.capabilities {
			assert.Empty(t, results{}.add(result{Client: g.client, Version: "1", Capability: c}))
		}
		assert.NotEmpty(t, g.why)
	}
}

func sample() results {
	f := results{}
	for i, c := range clients {
		for k, row := range capabilities {
			if (i+k)%3 > 0 && isTool(row.name) == isTools(c.key) {
				f.add(result{Client: c.key, Version: "1." + c.key, Capability: row.name, OK: (i+k)%3 == 1})
			}
		}
	}
	return f
}

func TestThePageReadsBackAsItWasFound(t *testing.T) {
	read, err := readPage(page(sample()))
	require.NoError(t, err)
	for _, c := range clients {
		assert.Equal(t, sample()[c.key].version, read[c.key].version)
		for _, row := range capabilities {
			assert.Equal(t, sample().cell(c.key, row.name), read.cell(c.key, row.name), "%s %s", c.key, row.name)
		}
	}
}

func TestColumnsOfDriversThatDidNotRunStayAsTheyWere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page")
	require.NoError(t, os.WriteFile(path, []byte(page(sample())), 0o644))
	found := results{}
	for _, key := range drivers[0].clients {
		found[key] = sample()[key]
	}
	key := drivers[0].clients[0]
	found[key].version = "new"
	require.NoError(t, found.keep(path, drivers[:1]))
	want := sample()
	want[key].version = "new"
	assert.Equal(t, page(want), page(found))
}

func TestAStalePageIsTold(t *testing.T) {
	kept := page(sample())
	assert.Empty(t, stale(kept, sample(), drivers))

	key := clients[0].key
	other := sample()
	other[key].version = "2"
	assert.Len(t, stale(kept, other, drivers), 1, "another version")

	other = sample()
	for name := range other[key].cells {
		delete(other[key].cells, name)
		break
	}
	assert.NotEmpty(t, stale(kept, other, drivers), "a capability that is not told any more")

	other = sample()
	delete(other, key)
	assert.NotEmpty(t, stale(kept, other, drivers), "a client that says nothing")

	assert.NotEmpty(t, stale(strings.Replace(kept, "# Compat", "# In compat", 1), sample(), drivers), "other words")
	assert.NotEmpty(t, stale("| | nobody 1 |\n", sample(), drivers), "a page that nobody wrote")
}

func TestAFailureThatIsNoGapIsAProblem(t *testing.T) {
	f := results{}
	f.add(result{Client: clients[0].key, Version: "1", Capability: "cooperative"})
	assert.Len(t, unexpected(f), 1)
	f = results{}
	f.add(result{Client: clients[0].key, Version: "1", Capability: "cooperative", OK: true})
	assert.Empty(t, unexpected(f))
}

func TestAResultIsRefusedThatFitsNowhere(t *testing.T) {
	f := results{}
	ok := result{Client: clients[0].key, Version: "1", Capability: "records", OK: true}
	assert.Empty(t, f.add(ok))
	assert.NotEmpty(t, f.add(ok), "twice")
	assert.NotEmpty(t, f.add(result{Client: "nobody", Version: "1", Capability: "records"}))
	assert.NotEmpty(t, f.add(result{Client: clients[0].key, Version: "1", Capability: "nothing"}))
	assert.NotEmpty(t, f.add(result{Client: clients[0].key, Version: "2", Capability: "gzip"}), "another version")

	_, _, err := parse(`{"client":"x"}`)
	assert.Error(t, err)
	_, _, err = parse(`{"client":"x","version":"1","capability":"y","good":true}`)
	assert.Error(t, err)
	_, is, err := parse("a word of the client")
	assert.NoError(t, err)
	assert.False(t, is)
}

func TestADriverIsJudgedByHowItEnds(t *testing.T) {
	line := `echo '{"client":"c","version":"1","capability":"records","ok":true,"detail":""}'`
	for name, c := range map[string]struct {
		script  string
		results int
		problem string
	}{
		"good":         {line, 1, ""},
		"chatty":       {"echo hello; " + line, 1, ""},
		"fails":        {line + "; echo oh no >&2; exit 3", 1, "oh no"},
		"hangs":        {line + "; sleep 60", 1, "longer than"},
		"says rubbish": {"echo '{'", 0, "unexpected EOF"},
		"not its own":  {strings.Replace(line, `"c"`, `"d"`, 1), 0, "not its client"},
		"settings":     {`test "$COMPAT_CAPABILITIES" = "a b" -a -d "$COMPAT_TMP" -a -f "$COMPAT_DIR/made" -a "$COMPAT_BOOTSTRAP" = h:1`, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script(t, dir, "prepare", `touch "$COMPAT_DIR/made"`)
			script(t, dir, "run", c.script)
			r := runner{
				driver: driver{dir: "d", clients: []string{"c"}, within: 10 * time.Second}, dir: dir, cache: t.TempDir(),
				bootstrap: "h:1", capabilities: []string{"a", "b"}, out: io.Discard,
			}
			if name == "hangs" {
				r.within = time.Second
			}
			found, problems := r.run(context.Background())
			assert.Len(t, found, c.results)
			if c.problem == "" {
				assert.Empty(t, problems)
			} else {
				require.Len(t, problems, 1)
				assert.Contains(t, problems[0], c.problem)
			}
		})
	}
}

func TestADriverIsPreparedOnceForItsPins(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	script(t, dir, "prepare", `test -f go.mod && echo made >"$COMPAT_DIR/made"`)
	r := runner{driver: driver{dir: "d"}, dir: dir, cache: cache, out: io.Discard}
	_, err := r.prepare(context.Background())
	require.Error(t, err, "a prepare that fails leaves nothing")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("1"), 0o644))
	first, err := r.prepare(context.Background())
	require.NoError(t, err)
	again, err := r.prepare(context.Background())
	require.NoError(t, err)
	assert.Equal(t, first, again)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("2"), 0o644))
	other, err := r.prepare(context.Background())
	require.NoError(t, err)
	assert.NotEqual(t, first, other)
	entries, err := os.ReadDir(cache)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "no half folder is left")
}

func script(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/usr/bin/env bash\nset -e\n"+text+"\n"), 0o755))
}
