package salvage

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestWhySalvageWaitsIsToldOncePerReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := memory.New()
		defer kv.Close()
		store, err := metastore.Open(t.Context(), kv, metastore.Options{Cluster: "test", Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		of, err := store.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 1})
		if err != nil {
			t.Fatal(err)
		}
		p := topic.Partition{Topic: of.ID}
		var log bytes.Buffer
		dials := 0
		s := New(Options{
			Catalog: store.Catalog(), Slog: slog.New(slog.NewTextHandler(&log, nil)),
			Config: func(*metastore.Topic, *metastore.Configs) topicconfig.Effective { return topicconfig.Effective{} },
			Dial: func(context.Context, string) (net.Conn, error) {
				dials++
				return nil, fmt.Errorf("from port %d: %w", 40_000+dials, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
			},
		})
		told := func(want int, reason string) {
			t.Helper()
			synctest.Wait()
			if n := strings.Count(log.String(), "goes on later"); n != want || !strings.Contains(log.String(), reason) {
				t.Errorf("told %d times, want %d, the last for %q:\n%s", n, want, reason, &log)
			}
		}
		s.Add(p, []Orphan{*orphan(1, 10), *orphan(1, 20)})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		time.Sleep(2 * time.Minute)
		told(1, "no owner")
		session, err := store.Register(t.Context(), metastore.Broker{ID: 1, Listeners: []metastore.Listener{{Host: "heir", Port: 1}}}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Take(t.Context(), session, []metastore.Take{{View: store.Catalog().Partition(p)}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		told(2, "connection refused")
		if dials < 100 {
			t.Errorf("tried %d times in two minutes", dials)
		}
		cancel()
		synctest.Wait()
		later := func(first int) error {
			return fmt.Errorf("batch at offset %d: %w", first, core.ErrSalvageLater)
		}
		s.waits(p, 2, later(10))
		s.waits(p, 1, later(20))
		told(3, "producers go before")
		s.waits(p, 0, nil)
		s.waits(p, 1, later(30))
		told(4, "offset 30")
	})
}
