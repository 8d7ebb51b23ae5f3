package consumer

import (
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
)

// goldenGroup has every field of the format set somewhere.
func goldenGroup(t *testing.T) *State {
	c := newScene(t, 6, 3)
	r := joinRequest("a", "t0", "t1")
	r.Rack, r.InstanceID, r.Assignor = ptr("rack-1"), ptr("instance-1"), ptr(Range)
	r.ClientID, r.Host = "client", "/10.0.0.1"
	c.ok(r)
	r = joinRequest("b", "t0")
	r.Regex = ptr("t[1-9]")
	c.ok(r)
	c.classicJoin("k", nil)
	told := beat("a", 1, nil)
	told.InstanceID = ptr("instance-1")
	c.ok(told)
	require.Equal(t, Unrevoked, c.s.byID["a"].Status)
	return c.s
}

func TestTheStoredFormIsWhatItWas(t *testing.T) {
	s := goldenGroup(t)
	head, rows := s.Encode()
	var text strings.Builder
	fmt.Fprintf(&text, "head %s\n", hex.EncodeToString(head))
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&text, "%s %s\n", id, hex.EncodeToString(rows[id]))
	}
	path := filepath.Join("testdata", "group.v1.golden")
	if _, err := os.Stat(path); *update && os.IsNotExist(err) {
		require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o644))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(golden), text.String())

	again, err := Decode(s.limits, time.Unix(5, 0), head, rows)
	require.NoError(t, err)
	require.Equal(t, s.Describe(), again.Describe())
	require.Equal(t, time.Unix(5, 0).Add(10*time.Second), again.Next(), "the classic member's session is the shortest")
}

var update = flag.Bool("update", false, "write golden files that do not exist yet")

func TestDamageIsToldFromANewerVersion(t *testing.T) {
	s := goldenGroup(t)
	head, rows := s.Encode()
	now := time.Unix(5, 0)
	decode := func(change func(head []byte, rows map[string][]byte) []byte) error {
		h, r := slices.Clone(head), make(map[string][]byte)
		for id, row := range rows {
			r[id] = slices.Clone(row)
		}
		_, err := Decode(s.limits, now, change(h, r), r)
		return err
	}
	require.ErrorIs(t, decode(func(h []byte, _ map[string][]byte) []byte { h[0]++; return h }), format.ErrVersion)
	require.ErrorIs(t, decode(func(h []byte, r map[string][]byte) []byte { r["a"][0]++; return h }), format.ErrVersion)
	require.ErrorIs(t, decode(func(h []byte, _ map[string][]byte) []byte { return h[:len(h)-1] }), format.ErrCorrupt)
	require.ErrorIs(t, decode(func(h []byte, r map[string][]byte) []byte { delete(r, "a"); return h }), format.ErrCorrupt)
	require.ErrorIs(t, decode(func(h []byte, r map[string][]byte) []byte { r["b"] = r["a"]; return h }), format.ErrCorrupt)
	for id, row := range rows {
		for n := range row {
			require.Error(t, decode(func(h []byte, r map[string][]byte) []byte { r[id] = row[:n]; return h }), "%s cut at %d", id, n)
		}
	}
}

// FuzzDecode: whatever is stored, Decode returns an error or a group that encodes
// to what decodes to the same, and in which no partition is held by two.
func FuzzDecode(f *testing.F) {
	s := goldenGroup(&testing.T{})
	head, rows := s.Encode()
	f.Add(head, rows["a"], rows["b"])
	f.Add(head, rows["k"], rows["b"])
	f.Fuzz(func(t *testing.T, head, a, b []byte) {
		s, err := Decode(Limits{SessionTimeout: testSession, MembersMax: 5}, time.Unix(1, 0), head, map[string][]byte{"a": a, "b": b})
		if err != nil {
			return
		}
		w := &world{t: t, state: s}
		head, rows := s.Encode()
		again, err := Decode(s.limits, time.Unix(1, 0), head, rows)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(s.Describe()) != fmt.Sprint(again.Describe()) {
			t.Fatalf("%+v\n%+v", s.Describe(), again.Describe())
		}
		for _, m := range s.members {
			for p := range m.Assigned.All() {
				if s.holders[p].by != m {
					w.fatal("%v", p)
				}
			}
		}
	})
}
