package group

import (
	"encoding/hex"
	"errors"
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

var update = flag.Bool("update", false, "write golden files that do not exist yet")

// goldenClassic has every field of the format set somewhere.
func goldenClassic(t *testing.T) *State {
	p := newPlay(t, 0)
	leader := p.request("", "range", "cooperative-sticky")
	leader.InstanceID, leader.Host = "instance-1", "/10.0.0.1"
	p.joinAs("a", leader)
	a := p.joined("a").MemberID
	p.sync("a", a, 1, nil)
	p.join("b", "", "range")
	p.join("a", a, "range", "cooperative-sticky")
	follower := p.request(a, "range", "cooperative-sticky")
	follower.InstanceID = "instance-1"
	p.joinAs("a", follower)
	b := p.joined("b").MemberID
	p.sync("b", b, 2, nil)
	p.s.Sync(p.now, SyncRequest{
		MemberID: a, InstanceID: "instance-1", Generation: 2, Assignments: map[string][]byte{a: []byte("for a"), b: []byte("for b")},
	}, p.ticket("a"))
	p.collect()
	require.Equal(t, Stable, p.s.phase)
	return p.s
}

func TestTheStoredFormOfAClassicGroupIsWhatItWas(t *testing.T) {
	s := goldenClassic(t)
	stored := s.Durable()
	var text strings.Builder
	fmt.Fprintf(&text, "head %s\n", hex.EncodeToString(stored.Head))
	for _, id := range slices.Sorted(maps.Keys(stored.Rows)) {
		fmt.Fprintf(&text, "%s %s\n", id, hex.EncodeToString(stored.Rows[id]))
	}
	path := filepath.Join("testdata", "classic.v1.golden")
	if _, err := os.Stat(path); *update && os.IsNotExist(err) {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o644))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(golden), text.String())

	now := start.Add(time.Hour)
	again, err := restoreClassic(stored, s.limits, now)
	require.NoError(t, err)
	require.Equal(t, s.Describe(), again.Describe())
	require.Equal(t, s.leader, again.leader)
	require.Equal(t, s.generation, again.generation)
	require.Equal(t, now.Add(10*time.Second), again.Next(), "a whole session timeout from now")
	require.False(t, again.Changed())
	require.Equal(t, stored, again.Durable())
}

func TestADamagedClassicGroupIsToldFromANewerVersion(t *testing.T) {
	s := goldenClassic(t)
	for at := range s.Durable().Head {
		stored := s.Durable()
		stored.Head = stored.Head[:at]
		_, err := restoreClassic(stored, s.limits, start)
		require.ErrorIs(t, err, format.ErrCorrupt, "cut at %d", at)
	}
	stored := s.Durable()
	stored.Head[1] = 2
	_, err := restoreClassic(stored, s.limits, start)
	require.ErrorIs(t, err, format.ErrVersion)
	stored = s.Durable()
	delete(stored.Rows, slices.Sorted(maps.Keys(stored.Rows))[0])
	_, err = restoreClassic(stored, s.limits, start)
	require.ErrorIs(t, err, format.ErrCorrupt, "a member is missing")
	_, err = restore(Stored{Head: []byte{99}}, s.limits, start)
	require.ErrorIs(t, err, format.ErrVersion)
	_, err = summarize([]byte{99})
	require.ErrorIs(t, err, format.ErrVersion)
}

// Whatever the bytes, they are refused as damage or as of another version, or read
// as a group that is stored the same again.
func FuzzClassicGroup(f *testing.F) {
	head := []byte{headClassic, classicVersion, 1, 4, 0, 1, 'c', 1, 'r', 1, 'm', 1}
	f.Add(head, []byte{classicVersion, 0, 0, 0, 0, 10, 10, 1, 1, 'r', 1, 'x', 3, 'a', 'l', 'l'})
	f.Add(head, []byte{})
	f.Fuzz(func(t *testing.T, head, row []byte) {
		s, err := restoreClassic(Stored{Head: head, Rows: map[string][]byte{"m": row}}, Limits{}, start)
		if err != nil {
			require.True(t, errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrVersion), "%v", err)
			return
		}
		stored := s.Durable()
		again, err := restoreClassic(stored, Limits{}, start)
		require.NoError(t, err)
		require.Equal(t, stored, again.Durable())
		require.Equal(t, s.Describe(), again.Describe())
	})
}
