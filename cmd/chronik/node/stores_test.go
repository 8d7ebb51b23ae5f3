package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/embed"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

// clusterNode is the configuration of a query node.
func clusterNode(t *testing.T, environment ...string) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Inputs{
		Environment: append([]string{"CHRONIK_ETCD_ENDPOINTS=http://127.0.0.1:1", "CHRONIK_OBJSTORE_DIR=" + t.TempDir()}, environment...),
		Roles:       []string{config.RoleQuery}, Hostname: "here",
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestEtcdIsReachedAsConfigured(t *testing.T) {
	n := &Node{cfg: clusterNode(t, "CHRONIK_ETCD_ENDPOINTS=http://a:1,http://b:2", "CHRONIK_ETCD_USERNAME=u", "CHRONIK_ETCD_PASSWORD=p", "CHRONIK_ETCD_DIAL_TIMEOUT=3s")}
	o, err := n.etcdOptions()
	if err != nil || strings.Join(o.Endpoints, " ") != "http://a:1 http://b:2" || o.Username != "u" || o.Password != "p" || o.DialTimeout != 3*time.Second || o.TLS != nil {
		t.Errorf("%+v, %v", o, err)
	}
	n.cfg = clusterNode(t, "CHRONIK_ETCD_ENDPOINTS=https://a:1", "CHRONIK_ETCD_SERVER_NAME=etcd")
	if o, err = n.etcdOptions(); err != nil || o.TLS == nil || o.TLS.VerifyConnection == nil {
		t.Errorf("https without TLS: %+v, %v", o, err)
	}
	n.cfg = clusterNode(t, "CHRONIK_ETCD_ENDPOINTS=https://a:1", "CHRONIK_ETCD_CA_FILE=/does/not/exist.pem")
	if _, err = n.etcdOptions(); err == nil || !strings.Contains(err.Error(), "exist.pem") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestARefusalOfEtcdSaysWhatToDo(t *testing.T) {
	cfg := clusterNode(t, "CHRONIK_CLUSTER=ours", "CHRONIK_ETCD_USERNAME=me", "CHRONIK_ETCD_PASSWORD=p")
	for _, test := range []struct {
		err  error
		want string
	}{
		{etcd.ErrNoPermission, `the user "me" needs to read and write /chronik/ours/`},
		{etcd.ErrNotAuthenticated, "CHRONIK_ETCD_PASSWORD"},
		{errors.New("other"), "other"},
	} {
		got := explainEtcd(fmt.Errorf("open: %w", test.err), cfg)
		if !errors.Is(got, test.err) || !strings.Contains(got.Error(), test.want) {
			t.Errorf("%v", got)
		}
	}
}

func TestAStartWaitsForEtcdAndSaysSo(t *testing.T) {
	server, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	n := &Node{cfg: clusterNode(t), log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	store, metadata, err := n.openMetadata(t.Context(), etcd.Options{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	metadata.Close()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	// Nobody listens: it waits, and says so, until it is told to stop.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n.cfg.Etcd.DialTimeout = 100 * time.Millisecond
	ended := make(chan error, 1)
	go func() {
		_, _, err := n.openMetadata(ctx, etcd.Options{Endpoints: []string{"127.0.0.1:1"}})
		ended <- err
	}()
	waiting := func() bool { return strings.Contains(strings.Join(n.reasons(), ""), "waiting for etcd at 127.0.0.1:1") }
	for deadline := time.After(20 * time.Second); !waiting(); {
		select {
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("it does not say that it waits: %v", n.reasons())
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it opened what is not there")
	}
}

func TestAClusterOfNobodyIsUnheardOf(t *testing.T) {
	k := memory.New()
	defer k.Close()
	s, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !unheardOf(s.Catalog()) {
		t.Error("an empty cluster is known")
	}
	if _, err := s.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if unheardOf(s.Catalog()) {
		t.Error("a cluster with a topic is unheard of")
	}
}
