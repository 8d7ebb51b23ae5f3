package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/chronik-stream/chronik/internal/tlsfiles"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
	"github.com/chronik-stream/chronik/metastore/kv/kvtest"
)

// members are an etcd of several members, with the timing that it has as it
// comes: with less, they lose their leader on a busy machine.
type members struct {
	t       *testing.T
	configs []*embed.Config
	running []*embed.Etcd // nil: stopped
}

func startMembers(t *testing.T, n int, change func(*embed.Config)) *members {
	t.Helper()
	m := &members{t: t, running: make([]*embed.Etcd, n)}
	var initial []string
	for i := range n {
		cfg := embed.NewConfig()
		cfg.Name, cfg.Dir, cfg.LogLevel = fmt.Sprint("m", i), t.TempDir(), "fatal"
		cfg.ListenClientUrls, cfg.ListenPeerUrls = freeURL(t, "http"), freeURL(t, "http")
		cfg.WatchProgressNotifyInterval = 100 * time.Millisecond
		change(cfg)
		cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = cfg.ListenClientUrls, cfg.ListenPeerUrls
		initial = append(initial, cfg.Name+"="+cfg.ListenPeerUrls[0].String())
		m.configs = append(m.configs, cfg)
	}
	for _, cfg := range m.configs {
		cfg.InitialCluster = strings.Join(initial, ",")
	}
	all := make(chan error, n)
	for i := range n {
		go func() { all <- m.launch(i) }()
	}
	for range n {
		require.NoError(t, <-all)
	}
	t.Cleanup(func() {
		var all sync.WaitGroup
		for i := range m.running {
			all.Go(func() { m.stop(i) })
		}
		all.Wait()
	})
	return m
}

func freeURL(t *testing.T, scheme string) []url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return []url.URL{{Scheme: scheme, Host: l.Addr().String()}}
}

func (m *members) launch(i int) error {
	e, err := embed.StartEtcd(m.configs[i])
	if err != nil {
		return err
	}
	m.running[i] = e
	select {
	case <-e.Server.ReadyNotify():
		return nil
	case err := <-e.Err():
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("member %d is not ready", i)
	}
}

// stop ends a member at once: it hands nothing over.
func (m *members) stop(i int) {
	if e := m.running[i]; e != nil {
		<-m.stopping(i)
	}
}

// stopping is stop, which takes seconds to end though the member is gone at once.
func (m *members) stopping(i int) (ended chan struct{}) {
	ended = make(chan struct{})
	e := m.running[i]
	m.running[i] = nil
	e.Server.HardStop()
	go func() {
		defer close(ended)
		e.Close()
	}()
	return ended
}

func (m *members) restart(i int) {
	m.t.Helper()
	require.NoError(m.t, m.launch(i))
}

// leader is the index of the member that leads.
func (m *members) leader() int {
	m.t.Helper()
	leads := func(e *embed.Etcd) bool { return e != nil && e.Server.MemberID() == e.Server.Leader() }
	require.Eventually(m.t, func() bool { return slices.ContainsFunc(m.running, leads) }, time.Minute, 10*time.Millisecond)
	return slices.IndexFunc(m.running, leads)
}

func (m *members) endpoints() []string {
	var all []string
	for _, cfg := range m.configs {
		all = append(all, cfg.ListenClientUrls[0].String())
	}
	return all
}

func (m *members) open(o etcd.Options) *etcd.Store {
	m.t.Helper()
	o.Endpoints = m.endpoints()
	s, err := etcd.Open(m.t.Context(), o)
	require.NoError(m.t, err)
	m.t.Cleanup(func() { require.NoError(m.t, s.Close()) })
	return s
}

func plain(*embed.Config) {}

func TestContractOfThreeMembers(t *testing.T) {
	t.Parallel()
	m := startMembers(t, 3, plain)
	client, err := clientv3.New(clientv3.Config{Endpoints: m.endpoints()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	kvtest.Run(t, func(t *testing.T) kvtest.Backend {
		s, err := etcd.Open(t.Context(), etcd.Options{Endpoints: m.endpoints()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return kvtest.Backend{
			Store: s,
			Compact: func(ctx context.Context, revision int64) error {
				_, err := client.Compact(ctx, revision)
				return err
			},
			TTL: 2 * time.Second, // etcd's least, with its own timing
		}
	})
}

// counter adds one to a key again and again, and checks that a watch sees each
// step once and in order.
type counter struct {
	t     *testing.T
	s     *etcd.Store
	seen  <-chan kv.Changes
	next  int // what the watch is to show
	value int
}

func count(t *testing.T, s *etcd.Store) *counter {
	return &counter{t: t, s: s, seen: s.Watch(t.Context(), "n", 1), next: 1}
}

// add goes on until it is known to be done, as the stores above do.
func (c *counter) add() {
	c.t.Helper()
	want := fmt.Sprint(c.value + 1)
	require.Eventually(c.t, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		now, there, err := c.s.Get(ctx, "n")
		if err != nil {
			require.ErrorIs(c.t, err, kv.ErrUnavailable)
			return false
		}
		if there && string(now.Value) == want {
			return true
		}
		_, err = c.s.Txn(ctx, kv.Txn{If: []kv.Compare{{Key: "n", ModRevision: now.ModRevision}}, Then: []kv.Op{kv.Put("n", []byte(want))}})
		if err != nil && !strings.Contains(err.Error(), kv.ErrUnavailable.Error()) {
			require.ErrorIs(c.t, err, kv.ErrUnknownOutcome)
		}
		return false // the next turn sees it
	}, time.Minute, 10*time.Millisecond)
	c.value++
}

// caughtUp waits until the watch has shown all steps.
func (c *counter) caughtUp() {
	c.t.Helper()
	deadline := time.After(time.Minute)
	for c.next <= c.value {
		select {
		case changes := <-c.seen:
			require.NoError(c.t, changes.Err)
			for _, e := range changes.Events {
				require.Equal(c.t, fmt.Sprint(c.next), string(e.Value), "a step is missing, or came twice")
				c.next++
			}
		case <-deadline:
			c.t.Fatalf("the watch has shown %d of %d steps", c.next-1, c.value)
		}
	}
}

func TestWritesAndWatchesGoOnWhileMembersComeAndGo(t *testing.T) {
	t.Parallel()
	m := startMembers(t, 3, plain)
	s := m.open(etcd.Options{})
	c := count(t, s)
	lease, err := s.Grant(t.Context(), 30*time.Second)
	require.NoError(t, err)
	_, err = s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.PutLeased("leased", nil, lease)}})
	require.NoError(t, err)
	for round := range 2 {
		c.add()
		gone := m.leader()
		if round == 1 {
			gone = (gone + 1) % 3 // a follower
		}
		began := time.Now()
		ended := m.stopping(gone)
		c.add()
		t.Logf("round %d: the next write came %v after the member went", round, time.Since(began).Round(time.Millisecond))
		c.caughtUp()
		require.Eventually(t, func() bool { return s.KeepAlive(t.Context(), lease) == nil }, time.Minute, 10*time.Millisecond)
		<-ended
		m.restart(gone)
		c.add()
		c.caughtUp()
	}
	_, there, err := s.Get(t.Context(), "leased")
	require.NoError(t, err)
	require.True(t, there, "what hangs on a lease that was renewed")
}

// authority signs certificates into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.pem and name.key.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(a.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		require.NoError(a.t, os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600))
	}
	return cert, key
}

func (a *authority) server(name string, hosts ...string) {
	a.issue(name, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: hosts,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) client(name string) {
	a.issue(name, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func TestConnectionsAreSecuredBothWays(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	ours.server("server", "etcd.example")
	ours.client("chronik")
	theirs.client("stranger")
	m := startMembers(t, 1, func(cfg *embed.Config) {
		cfg.ListenClientUrls = freeURL(t, "https")
		cfg.ClientTLSInfo = transport.TLSInfo{
			CertFile: ours.file("server.pem"), KeyFile: ours.file("server.key"), TrustedCAFile: ours.file("ca.pem"), ClientCertAuth: true,
		}
	})
	good := tlsfiles.Files{CA: ours.file("ca.pem"), Cert: ours.file("chronik.pem"), Key: ours.file("chronik.key")}
	open := func(f tlsfiles.Files, patience time.Duration) error {
		config, err := etcd.LoadTLS(f)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s, err := etcd.Open(ctx, etcd.Options{Endpoints: m.endpoints(), TLS: config})
		if err != nil {
			return err
		}
		return s.Close()
	}
	require.NoError(t, open(good, time.Minute))
	named := good
	named.ServerName = "etcd.example"
	require.NoError(t, open(named, time.Minute))
	for what, change := range map[string]func(*tlsfiles.Files){
		"no certificate of the client": func(f *tlsfiles.Files) { f.Cert, f.Key = "", "" },
		"one of strangers":             func(f *tlsfiles.Files) { f.Cert, f.Key = theirs.file("stranger.pem"), theirs.file("stranger.key") },
		"another authority":            func(f *tlsfiles.Files) { f.CA = theirs.file("ca.pem") },
		"another name":                 func(f *tlsfiles.Files) { f.ServerName = "elsewhere.example" },
	} {
		bad := good
		change(&bad)
		err := open(bad, 5*time.Second)
		require.ErrorIs(t, err, kv.ErrUnavailable, what)
		// The operator is told why, not only that it took too long.
		require.Regexp(t, "handshake failed|certificate|reset|broken pipe|EOF", err.Error(), what)
	}
	require.ErrorContains(t, open(tlsfiles.Files{CA: theirs.file("ca.pem"), Cert: good.Cert, Key: good.Key}, 5*time.Second), "unknown authority")

	// A renewed certificate needs no restart.
	config, err := etcd.LoadTLS(good)
	require.NoError(t, err)
	s := m.open(etcd.Options{TLS: config})
	ours.client("chronik")
	m.stop(0)
	m.restart(0)
	require.Eventually(t, func() bool { _, _, err := s.Get(t.Context(), "a"); return err == nil }, time.Minute, 10*time.Millisecond)
}

func TestFilesThatCannotSecureAConnectionAreRefused(t *testing.T) {
	a := newAuthority(t, "ours")
	a.client("chronik")
	for want, f := range map[string]tlsfiles.Files{
		"no such file":         {CA: a.file("nothing.pem")},
		"has no certificate":   {CA: a.file("ca.key")},
		"go together":          {Cert: a.file("chronik.pem")},
		"read the certificate": {Cert: a.file("chronik.pem"), Key: a.file("ca.key")},
	} {
		_, err := etcd.LoadTLS(f)
		require.ErrorContains(t, err, want)
	}
}

// withAuth turns authentication on: root may do all, chronik what the
// documentation says that it needs for a cluster of that name.
func withAuth(t *testing.T, m *members, cluster string) {
	admin, err := clientv3.New(clientv3.Config{Endpoints: m.endpoints()})
	require.NoError(t, err)
	defer admin.Close()
	ctx := t.Context()
	check := func(_ any, err error) { t.Helper(); require.NoError(t, err) }
	check(admin.UserAdd(ctx, "root", "secret"))
	check(admin.UserGrantRole(ctx, "root", "root"))
	check(admin.UserAdd(ctx, "chronik", "hush"))
	check(admin.RoleAdd(ctx, "chronik"))
	check(admin.RoleGrantPermission(ctx, "chronik", "/chronik", "", clientv3.PermissionType(clientv3.PermRead)))
	for _, prefix := range []string{"/chronik/" + cluster + "/", "/chronik-groups/" + cluster + "/"} {
		check(admin.RoleGrantPermission(ctx, "chronik", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	}
	check(admin.UserGrantRole(ctx, "chronik", "chronik"))
	check(admin.AuthEnable(ctx))
}

func TestUsersAreKnownByTheirPasswordAndKeepToTheirKeys(t *testing.T) {
	t.Parallel()
	m := startMembers(t, 1, plain)
	withAuth(t, m, "ours")
	for _, o := range []etcd.Options{{}, {Username: "chronik", Password: "wrong"}, {Username: "nobody", Password: "hush"}} {
		o.Endpoints = m.endpoints()
		_, err := etcd.Open(t.Context(), o)
		require.ErrorIs(t, err, etcd.ErrNotAuthenticated, o.Username)
		require.NotErrorIs(t, err, kv.ErrUnavailable)
	}
	s := m.open(etcd.Options{Username: "chronik", Password: "hush"})
	_, err := s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("/chronik/ours/a", nil), kv.Put("/chronik-groups/ours/b", nil)}})
	require.NoError(t, err)
	_, _, err = s.Range(t.Context(), "/chronik/theirs/")
	require.ErrorIs(t, err, etcd.ErrNoPermission)
	_, err = s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("/chronik/theirs/a", nil)}})
	require.ErrorIs(t, err, etcd.ErrNoPermission)
	require.NotErrorIs(t, err, kv.ErrUnknownOutcome, "it was not done")
	changes, open := <-s.Watch(t.Context(), "/chronik/theirs/", 1)
	require.True(t, open)
	require.ErrorIs(t, changes.Err, etcd.ErrNoPermission)
}

// TestRenewalsDoNotCheckThePasswordEachTime: that is meant to take a server long,
// and with some tens of nodes it would do nothing else.
func TestRenewalsDoNotCheckThePasswordEachTime(t *testing.T) {
	t.Parallel()
	var checks atomic.Int32
	m := startMembers(t, 1, func(cfg *embed.Config) {
		cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if strings.HasSuffix(info.FullMethod, "/Authenticate") {
				checks.Add(1)
			}
			return handler(ctx, req)
		})}
	})
	withAuth(t, m, "n")
	s := m.open(etcd.Options{Username: "chronik", Password: "hush"})
	lease, err := s.Grant(t.Context(), time.Minute)
	require.NoError(t, err)
	require.NoError(t, s.KeepAlive(t.Context(), lease))
	before := checks.Load()
	require.Positive(t, before)
	for range 20 {
		require.NoError(t, s.KeepAlive(t.Context(), lease))
	}
	require.Equal(t, before, checks.Load())
}

// TestTokensAreRenewed: etcd's tokens are good for minutes and known to one
// member; none of that is to be seen above.
func TestTokensAreRenewed(t *testing.T) {
	t.Parallel()
	m := startMembers(t, 3, func(cfg *embed.Config) { cfg.AuthTokenTTL = 1 })
	withAuth(t, m, "n")
	s := m.open(etcd.Options{Username: "root", Password: "secret"})
	c := count(t, s)
	c.add()
	c.caughtUp()
	for round := range 2 {
		// Until the token is surely over; nothing else tells.
		<-time.After(2500 * time.Millisecond)
		c.add()
		c.caughtUp()
		ended := m.stopping(round)
		c.add()
		<-ended
		m.restart(round)
		c.add()
		c.caughtUp()
	}
}
