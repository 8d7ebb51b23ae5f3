package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/tests/dev"
)

const (
	damageDocuments = 4000
	damageWithin    = 90 * time.Second // until splits are there, and until they are again
)

// damage asks for all documents while splits are damaged and lost, and the server
// is killed: an answer is right, or it is an error that says what is wrong; and
// after a while it is right again.
func damage(ctx context.Context, _ options, s *server) error {
	const index = "damage"
	if err := s.Into(ctx, nil, "PUT", "/"+index, `{"settings":{"number_of_shards":2}}`); err != nil {
		return err
	}
	documents := make([][]byte, damageDocuments)
	for n := range documents {
		documents[n] = fmt.Appendf(nil, `{"n":%d,"message":"record %d of %s"}`, n, n, []string{"the first kind", "the other kind"}[n%2])
	}
	if err := s.bulk(ctx, index, documents); err != nil {
		return err
	}
	if err := everything(ctx, s, index); err != nil {
		return err
	}
	w := &watched{s: s, index: index}
	for _, act := range []struct {
		name string
		harm func(split string) error // nil: nothing
	}{
		{"bits of all splits are turned over", flip},
		{"the ends of all splits are cut off", cut},
		{"all splits are lost", os.Remove},
		{"nothing is wrong but the kill", nil},
	} {
		if err := w.play(ctx, act.harm); err != nil {
			return fmt.Errorf("%s: %w", act.name, err)
		}
		fmt.Printf("ok    damage: %s: right again after %s; meanwhile %d answers that say what is wrong, none that is wrong\n", act.name, w.took.Round(time.Millisecond), w.refused)
	}
	return nil
}

// play kills the server, harms its splits, and asks it again. What it keeps of
// them for itself goes, too.
func (w *watched) play(ctx context.Context, harm func(split string) error) error {
	before, err := w.splits(ctx)
	if err != nil {
		return err
	}
	if err := w.s.Crash(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(w.s.Dir(), "query")); err != nil {
		return err
	}
	if harm != nil {
		for _, split := range before {
			if err := harm(split); err != nil {
				return err
			}
		}
	}
	if err := w.s.Start(ctx); err != nil {
		return err
	}
	if err := w.untilRight(ctx); err != nil || harm == nil {
		return err
	}
	after, err := w.splits(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(after, func(split string) bool { return !slices.Contains(before, split) }) {
		return fmt.Errorf("no split was made again: nobody has noticed")
	}
	return nil
}

// everything compares counts, sums and hits with what was written.
func everything(ctx context.Context, s *server, index string) error {
	a, err := s.Ask(ctx, "POST", "/"+index+"/_search", `{"size":3,"track_total_hits":true,"query":{"match":{"message":"first"}},"sort":[{"n":"desc"}],"aggs":{"sum":{"sum":{"field":"n"}}}}`)
	if err != nil {
		return err
	}
	return judge(a)
}

// errRefused is an answer that says that it cannot be given.
var errRefused = errors.New("refused")

// judge tells right answers, errors and wrong answers apart.
func judge(a *dev.Answer) error {
	if a.Status != http.StatusOK {
		var e struct{ Error struct{ Type, Reason string } }
		if err := json.Unmarshal(a.Body, &e); err != nil || e.Error.Type == "" || e.Error.Reason == "" {
			return fmt.Errorf("status %d without a reason: %.500s", a.Status, a.Body)
		}
		if a.Status != http.StatusServiceUnavailable && a.Status != http.StatusGatewayTimeout {
			return fmt.Errorf("status %d: %.500s", a.Status, a.Body)
		}
		return fmt.Errorf("%w: status %d: %s", errRefused, a.Status, e.Error.Reason)
	}
	var f found
	if err := json.Unmarshal(a.Body, &f); err != nil {
		return err
	}
	var sum struct{ Value float64 }
	if err := json.Unmarshal(f.Aggregations["sum"], &sum); err != nil {
		return err
	}
	want := float64(damageDocuments/2) * float64(damageDocuments/2-1) // of the even numbers
	if f.Hits.Total.Value != damageDocuments/2 || sum.Value != want || len(f.Hits.Hits) != 3 {
		return fmt.Errorf("a wrong answer: %d documents whose sum is %v, want %d and %v: %.500s", f.Hits.Total.Value, sum.Value, damageDocuments/2, want, a.Body)
	}
	for i, h := range f.Hits.Hits {
		if n, ok := h.Sort[0].(float64); !ok || n != float64(damageDocuments-2-2*i) || !strings.Contains(string(h.Source), fmt.Sprintf(`"n":%d,`, damageDocuments-2-2*i)) {
			return fmt.Errorf("a wrong answer: hit %d is %v %s", i, h.Sort, h.Source)
		}
	}
	return nil
}

// watched is an index whose splits are harmed.
type watched struct {
	s       *server
	index   string
	took    time.Duration
	refused int
}

// splits waits until every record of the index is in a split, and lists them.
func (w *watched) splits(ctx context.Context) ([]string, error) {
	deadline := time.Now().Add(damageWithin)
	for {
		var status struct {
			Partitions []struct {
				Topic string
				High  int64 `json:"high_watermark"`
				Text  int64 `json:"text_offset"`
			}
		}
		if err := w.s.Into(ctx, &status, "GET", "/admin/status", ""); err != nil {
			return nil, err
		}
		count, behind := 0, 0
		for _, p := range status.Partitions {
			if p.Topic == w.index {
				if count++; p.Text < p.High {
					behind++
				}
			}
		}
		var splits []string
		if count == 2 && behind == 0 {
			err := filepath.WalkDir(w.s.Dir(), func(name string, entry fs.DirEntry, err error) error {
				if err == nil && !entry.IsDir() && strings.HasSuffix(name, ".split") && strings.Contains(name, string(filepath.Separator)+"bucket"+string(filepath.Separator)) {
					splits = append(splits, name)
				}
				return nil // what goes while it is looked at does not matter
			})
			if err != nil {
				return nil, err
			}
		}
		if len(splits) > 0 {
			return w.mine(ctx, splits)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d partitions are behind after %s", behind, count, damageWithin)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// mine are the splits of the index.
func (w *watched) mine(ctx context.Context, splits []string) ([]string, error) {
	var described map[string]struct {
		Settings struct{ Index struct{ UUID string } }
	}
	if err := w.s.Into(ctx, &described, "GET", "/"+w.index, ""); err != nil {
		return nil, err
	}
	id := described[w.index].Settings.Index.UUID
	splits = slices.DeleteFunc(splits, func(name string) bool {
		return !strings.Contains(name, string(filepath.Separator)+id+string(filepath.Separator))
	})
	if id == "" || len(splits) == 0 {
		return nil, fmt.Errorf("%q, whose id is %q, has no splits", w.index, id)
	}
	return splits, nil
}

// pause is between two looks at something that takes seconds.
func pause(ctx context.Context) error {
	select {
	case <-time.After(100 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// untilRight asks until the answer is right.
func (w *watched) untilRight(ctx context.Context) error {
	began := time.Now()
	w.refused = 0
	for {
		a, err := w.s.Ask(ctx, "POST", "/"+w.index+"/_search", `{"size":3,"track_total_hits":true,"query":{"match":{"message":"first"}},"sort":[{"n":"desc"}],"aggs":{"sum":{"sum":{"field":"n"}}}}`)
		if err == nil {
			err = judge(a)
		}
		if w.took = time.Since(began); err == nil {
			return nil
		}
		if !errors.Is(err, errRefused) {
			return err
		}
		if w.refused++; w.took > damageWithin {
			return fmt.Errorf("not right after %s: %w", damageWithin, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// flip turns over bits all over a file.
func flip(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for i := 1; i < 40; i++ {
		data[len(data)*i/40] ^= 0x10
	}
	return os.WriteFile(name, data, 0o600)
}

// cut takes the second half of a file away.
func cut(name string) error {
	i, err := os.Stat(name)
	if err != nil {
		return err
	}
	return os.Truncate(name, i.Size()/2)
}
