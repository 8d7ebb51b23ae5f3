package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what a cluster is made of. The zero value is the smallest: one
// etcd, one broker, a folder as the bucket.
type Options struct {
	Dir     string // for data and logs; made if missing
	Chronik string // the binary
	Tools   string // folder with etcd and minio; empty: .tools/bin of the repository

	Members    int  // of etcd; default 1
	MinIO      bool // an S3 bucket instead of a folder
	Brokers    int  // default 1
	Compactors int
	Queries    int

	// HAProxy is the balancer's binary; empty: there is none, and Kafka and HTTP
	// are the first broker's and the first query node's addresses.
	HAProxy string
	// HAProxyConfig is its configuration.
	HAProxyConfig string
	// Shared makes brokers tell clients the balancer's address and no other.
	Shared bool

	// Proxied makes every Chronik process reach etcd, the bucket and the other
	// brokers through proxies of its own.
	Proxied bool

	// Settings are further ones, key=value, of every Chronik process, and
	// BrokerSettings of broker i, from 1.
	Settings       []string
	BrokerSettings func(i int) []string
}

// Keys of the MinIO.
const (
	AccessKey = "minioadmin"
	SecretKey = "minioadmin"
	Bucket    = "chronik"
)

// Cluster is a running cluster.
type Cluster struct {
	Etcd       []*Process
	MinIO      *Process // nil: the bucket is a folder
	Brokers    []*Node  // broker i has id i+1
	Compactors []*Node
	Queries    []*Node
	HAProxy    *Process // nil: there is none

	Kafka     string   // for clients: the balancer's address, or all brokers'
	HTTP      string   // host:port: the balancer's, or the first query node's
	Endpoints []string // of etcd, as URLs, without proxies
	S3        string   // URL of the MinIO, without proxies
	BucketDir string   // of a bucket that is a folder

	o       Options
	proxies []*Proxy
}

// Node is a Chronik process.
type Node struct {
	*Process
	Role     string
	ID       int    // of a broker
	Kafka    string // its own address for clients, if it is a broker
	Internal string // what it tells the others to connect to, if it is a broker
	HTTP     string // its own

	// Links are the proxies that it reaches others by, if Options.Proxied.
	Links Links
}

// Links are a process's connections. All are nil unless Options.Proxied.
type Links struct {
	Etcd   Link // to all members of etcd
	Bucket Link
	Inward Link // what other processes connect to: a broker's internal listener
}

// Link is one or more proxies that are cut together.
type Link []*Proxy

// Cut lets nothing through and closes nothing.
func (l Link) Cut() { l.each((*Proxy).Cut) }

// Refuse resets everything.
func (l Link) Refuse() { l.each((*Proxy).Refuse) }

// Busy answers every request over HTTP with 503.
func (l Link) Busy() { l.each((*Proxy).Busy) }

// Heal lets everything through.
func (l Link) Heal() { l.each((*Proxy).Heal) }

// Delay holds every piece back.
func (l Link) Delay(d time.Duration) { l.each(func(p *Proxy) { p.Delay(d) }) }

func (l Link) each(f func(*Proxy)) {
	for _, p := range l {
		f(p)
	}
}

// Repository is the folder with go.mod above the working directory.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("there is no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// FindHAProxy returns the path of HAProxy's binary, or an error that says how to
// get it.
func FindHAProxy() (string, error) {
	path, err := exec.LookPath("haproxy")
	if err != nil {
		path = "/usr/sbin/haproxy" // not on everybody's PATH
		if _, err := os.Stat(path); err != nil {
			return "", errors.New("there is no haproxy on the PATH: apt-get install haproxy, or your system's way")
		}
	}
	return path, nil
}

// New prepares a cluster: folders, ports, proxies. Nothing runs yet but proxies.
func New(o Options) (*Cluster, error) {
	o.Members, o.Brokers = max(o.Members, 1), max(o.Brokers, 1)
	root, err := Repository()
	if err != nil && (o.Tools == "" || o.HAProxyConfig == "") {
		return nil, err
	}
	if o.Tools == "" {
		o.Tools = filepath.Join(root, ".tools", "bin")
	}
	if o.HAProxyConfig == "" {
		o.HAProxyConfig = filepath.Join(root, "deployments", "docker", "haproxy.cfg")
	}
	for _, path := range []*string{&o.Dir, &o.Chronik, &o.Tools, &o.HAProxyConfig} {
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	c := &Cluster{o: o}
	if err := c.prepare(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Start prepares a cluster and starts all of it. What was started is stopped
// when it fails.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Start starts all processes and waits until each answers.
func (c *Cluster) Start(ctx context.Context) error {
	stores := slices.Clone(c.Etcd)
	if c.MinIO != nil {
		stores = append(stores, c.MinIO)
	}
	if err := startAll(ctx, stores); err != nil {
		return err
	}
	var rest []*Process
	for _, n := range c.Nodes() {
		rest = append(rest, n.Process)
	}
	if err := startAll(ctx, rest); err != nil {
		return err
	}
	if c.HAProxy == nil {
		return nil
	}
	return c.HAProxy.Start(ctx)
}

func startAll(ctx context.Context, all []*Process) error {
	for _, p := range all {
		if err := p.Launch(); err != nil {
			return err
		}
	}
	for _, p := range all {
		if err := p.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Nodes are all Chronik processes: brokers, compactors, query nodes.
func (c *Cluster) Nodes() []*Node { return slices.Concat(c.Brokers, c.Compactors, c.Queries) }

// Processes are all processes, in the order of their start.
func (c *Cluster) Processes() []*Process {
	all := slices.Clone(c.Etcd)
	if c.MinIO != nil {
		all = append(all, c.MinIO)
	}
	for _, n := range c.Nodes() {
		all = append(all, n.Process)
	}
	if c.HAProxy != nil {
		all = append(all, c.HAProxy)
	}
	return all
}

// Close kills whatever runs. Data and logs stay.
func (c *Cluster) Close() error {
	for _, p := range slices.Backward(c.Processes()) {
		p.Kill()
	}
	var failed []error
	for _, p := range c.proxies {
		failed = append(failed, p.Close())
	}
	c.proxies = nil
	return errors.Join(failed...)
}

// Stop asks all Chronik processes to stop, all at once, and returns what did not
// end well.
func (c *Cluster) Stop(ctx context.Context) error {
	nodes := slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return !n.Running() })
	failed := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { failed[i] = n.Process.Stop(ctx) })
	}
	all.Wait()
	return errors.Join(failed...)
}

// ports finds free ones, all different, from below those that the system gives to
// outgoing connections: nobody else takes one before it is listened on, or while
// its process is dead.
func ports(n int) ([]string, error) {
	const lowest, highest, tries = 15_000, 32_000, 100
	var held []net.Listener
	var addresses []string
	defer func() {
		for _, l := range held {
			_ = l.Close() // only their numbers were wanted
		}
	}()
	for range n {
		var l net.Listener
		var err error
		for range tries {
			if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest))); err == nil {
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("find free ports: %w", err)
		}
		held = append(held, l)
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

func (c *Cluster) prepare() error {
	o := c.o
	if _, err := os.Stat(o.Chronik); err != nil {
		return fmt.Errorf("no chronik at %s: `make build` makes one", o.Chronik)
	}
	for _, dir := range []string{"data", "logs"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, dir), 0o750); err != nil {
			return err
		}
	}
	free, err := ports(2*o.Members + 2 + 3*o.Brokers + o.Compactors + o.Queries + 3)
	if err != nil {
		return err
	}
	next := func() string {
		address := free[0]
		free = free[1:]
		return address
	}
	if err := c.prepareEtcd(next); err != nil {
		return err
	}
	if o.MinIO {
		if err := c.prepareMinIO(next(), next()); err != nil {
			return err
		}
	} else {
		c.BucketDir = filepath.Join(o.Dir, "data", "bucket")
	}
	balancer := [3]string{next(), next(), next()}
	for i := range o.Brokers {
		if err := c.addBroker(i+1, next(), next(), next(), balancer[0]); err != nil {
			return err
		}
	}
	for i := range o.Compactors {
		if err := c.addNode(&c.Compactors, "compactor", i+1, next()); err != nil {
			return err
		}
	}
	for i := range o.Queries {
		if err := c.addNode(&c.Queries, "query", i+1, next()); err != nil {
			return err
		}
	}
	return c.prepareBalancer(balancer)
}

// environment is what every process gets: nothing that configures it by chance.
func (c *Cluster) environment(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.o.Dir}, more...)
}

func (c *Cluster) process(name string, args, env []string, ready func(context.Context, func(string) bool) bool) *Process {
	return &Process{
		Name: name, Args: args, Env: env, Dir: c.o.Dir,
		logFile: filepath.Join(c.o.Dir, "logs", name+".log"), ready: ready,
	}
}

// tool is a binary that `make tools` builds.
func (c *Cluster) tool(name string) (string, error) {
	path := filepath.Join(c.o.Tools, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no %s: `make tools` builds it", path)
	}
	return path, nil
}

func (c *Cluster) prepareEtcd(next func() string) error {
	binary, err := c.tool("etcd")
	if err != nil {
		return err
	}
	var clients, peers, members []string
	for i := range c.o.Members {
		clients, peers = append(clients, "http://"+next()), append(peers, "http://"+next())
		members = append(members, fmt.Sprintf("etcd-%d=%s", i, peers[i]))
	}
	c.Endpoints = clients
	for i := range c.o.Members {
		name := fmt.Sprintf("etcd-%d", i)
		c.Etcd = append(c.Etcd, c.process(name, []string{
			binary, "--name", name, "--data-dir", filepath.Join(c.o.Dir, "data", name), "--log-level", "warn",
			"--listen-client-urls", clients[i], "--advertise-client-urls", clients[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new",
			"--auto-compaction-mode", "periodic", "--auto-compaction-retention", "5m",
		}, c.environment(), answers(clients[i]+"/health")))
	}
	return nil
}

func (c *Cluster) prepareMinIO(address, console string) error {
	binary, err := c.tool("minio")
	if err != nil {
		return err
	}
	c.S3 = "http://" + address
	c.MinIO = c.process("minio", []string{
		binary, "server", "--quiet", "--address", address, "--console-address", console, filepath.Join(c.o.Dir, "data", "minio"),
	}, c.environment("MINIO_ROOT_USER="+AccessKey, "MINIO_ROOT_PASSWORD="+SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "CI=true"),
		answers(c.S3+"/minio/health/cluster"))
	return nil
}

// answers looks whether a URL answers 200.
func answers(url string) func(context.Context, func(string) bool) bool {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context, _ func(string) bool) bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false
		}
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK
	}
}

// ready looks for chronik's ready line.
func ready(_ context.Context, said func(string) bool) bool { return said("ready ") }

// proxied is the address of a proxy of target, or target itself.
func (c *Cluster) proxied(link *Link, target string) (string, error) {
	if !c.o.Proxied {
		return target, nil
	}
	p, err := NewProxy(target)
	if err != nil {
		return "", err
	}
	c.proxies, *link = append(c.proxies, p), append(*link, p)
	return p.Address(), nil
}

// shared are the settings that all Chronik processes have in common, with links
// of the process's own.
func (c *Cluster) shared(links *Links) ([]string, error) {
	var endpoints []string
	for _, endpoint := range c.Endpoints {
		address, err := c.proxied(&links.Etcd, strings.TrimPrefix(endpoint, "http://"))
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, "http://"+address)
	}
	env := []string{"CHRONIK_ETCD_ENDPOINTS=" + strings.Join(endpoints, ",")}
	if !c.o.MinIO {
		return append(env, "OBJECT_STORE_BACKEND=local", "CHRONIK_OBJSTORE_DIR="+c.BucketDir), nil
	}
	s3, err := c.proxied(&links.Bucket, strings.TrimPrefix(c.S3, "http://"))
	return append(env,
		"OBJECT_STORE_BACKEND=s3", "S3_ENDPOINT=http://"+s3, "S3_BUCKET="+Bucket,
		"AWS_ACCESS_KEY_ID="+AccessKey, "AWS_SECRET_ACCESS_KEY="+SecretKey), err
}

func (c *Cluster) addBroker(id int, kafka, internal, http, balancer string) error {
	n := &Node{Role: "broker", ID: id, Kafka: kafka, HTTP: http}
	env, err := c.shared(&n.Links)
	if err != nil {
		return err
	}
	if n.Internal, err = c.proxied(&n.Links.Inward, internal); err != nil {
		return err
	}
	env = append(env, fmt.Sprintf("CHRONIK_BROKER_ID=%d", id), "CHRONIK_KAFKA_LISTEN="+kafka,
		"CHRONIK_KAFKA_INTERNAL_LISTEN="+internal, "CHRONIK_KAFKA_INTERNAL_ADVERTISED="+n.Internal)
	if c.o.HAProxy != "" {
		env = append(env, "CHRONIK_KAFKA_PROXY_PROTOCOL=true")
	}
	if c.o.Shared {
		env = append(env, "CHRONIK_KAFKA_ADVERTISE=shared", "CHRONIK_KAFKA_ADVERTISED="+balancer)
	}
	var settings []string
	if c.o.BrokerSettings != nil {
		settings = c.o.BrokerSettings(id)
	}
	c.complete(n, id, env, settings)
	c.Brokers = append(c.Brokers, n)
	return nil
}

func (c *Cluster) addNode(to *[]*Node, role string, i int, http string) error {
	n := &Node{Role: role, HTTP: http}
	env, err := c.shared(&n.Links)
	if err != nil {
		return err
	}
	c.complete(n, i, env, nil)
	*to = append(*to, n)
	return nil
}

func (c *Cluster) complete(n *Node, i int, env, settings []string) {
	name := fmt.Sprintf("%s-%d", n.Role, i)
	args := []string{c.o.Chronik, n.Role, "--data", filepath.Join(c.o.Dir, "data", name), "--http", n.HTTP}
	// Nobody else would notice the delay: HAProxy looks each second.
	for _, s := range slices.Concat([]string{"drain.delay=2s"}, c.o.Settings, settings) {
		args = append(args, "--set", s)
	}
	n.Process = c.process(name, args, c.environment(env...), ready)
}

// prepareBalancer makes HAProxy balance Kafka, HTTP and its own page.
func (c *Cluster) prepareBalancer(at [3]string) error {
	if c.o.HAProxy == "" {
		for _, b := range c.Brokers {
			c.Kafka += "," + b.Kafka
		}
		c.Kafka = c.Kafka[1:]
		c.HTTP = c.Brokers[0].HTTP
		if len(c.Queries) > 0 {
			c.HTTP = c.Queries[0].HTTP
		}
		return nil
	}
	c.Kafka, c.HTTP = at[0], at[1]
	env := []string{"KAFKA_BIND=" + at[0], "HTTP_BIND=" + at[1], "STATS_BIND=" + at[2]}
	servers := func(prefix string, nodes []*Node, address func(*Node) string) {
		for i, n := range nodes {
			_, port, _ := strings.Cut(n.HTTP, ":")
			env = append(env, fmt.Sprintf("%s_%d=%s", prefix, i+1, address(n)), fmt.Sprintf("%s_%d_HEALTH_PORT=%s", prefix, i+1, port))
		}
	}
	servers("BROKER", c.Brokers, func(n *Node) string { return n.Kafka })
	servers("QUERY", c.Queries, func(n *Node) string { return n.HTTP })
	config := filepath.Join(c.o.Dir, "haproxy.cfg")
	if err := fitBalancer(c.o.HAProxyConfig, config, map[string]int{"BROKER": len(c.Brokers), "QUERY": len(c.Queries)}); err != nil {
		return err
	}
	c.HAProxy = c.process("haproxy", []string{c.o.HAProxy, "-db", "-f", config}, c.environment(env...), answers("http://"+c.HTTP+"/health/ready"))
	return nil
}
