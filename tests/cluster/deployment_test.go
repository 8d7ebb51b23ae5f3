package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// docker is the folder of what runs in containers.
const docker = "../../deployments/docker"

// composed is what compose.yaml says, with its anchors followed.
type composed struct {
	Services map[string]service     `yaml:"services"`
	Volumes  map[string]interface{} `yaml:"volumes"`
}

type service struct {
	Image       string            `yaml:"image"`
	Command     string            `yaml:"command"`
	Hostname    string            `yaml:"hostname"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Ports       []string          `yaml:"ports"`
	DependsOn   []string          `yaml:"depends_on"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
}

// given are the values that compose takes from its own environment.
var given = regexp.MustCompile(`\$\{\w+:-([^}]*)\}`)

func readCompose(t *testing.T) composed {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docker, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c composed
	if err := yaml.Unmarshal(given.ReplaceAll(text, []byte("$1")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (s service) list() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		list = append(list, name+"="+s.Environment[name])
	}
	return list
}

// nodes are the Chronik processes of the composition, by name.
func (c composed) nodes() []string {
	var names []string
	for name, s := range c.Services {
		if slices.Contains(config.AllRoles(), s.Command) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestTheCompositionIsTheTopologyOfMakeCluster(t *testing.T) {
	c := readCompose(t)
	cluster, err := harness.New(topology(t.TempDir(), os.Args[0], "/usr/sbin/haproxy"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var want []string
	for _, p := range cluster.Processes() {
		want = append(want, p.Name)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, want) {
		t.Errorf("compose.yaml starts %v\nmake cluster %v", got, want)
	}
	for name, s := range c.Services {
		for _, other := range s.DependsOn {
			if _, there := c.Services[other]; !there {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[volume]; !named && !strings.HasPrefix(volume, "./") {
				t.Errorf("%s mounts %s, which is no volume", name, volume)
			}
		}
	}
	for _, n := range cluster.Nodes() {
		theirs := settingsOf(t, c.Services[n.Name])
		ours := settingsOf(t, service{Command: n.Role, Hostname: n.Name, Environment: variables(n.Env)})
		if !slices.Equal(theirs, ours) {
			t.Errorf("%s is told other settings in a container than by make cluster:\n%v\n%v", n.Name, theirs, ours)
		}
	}
}

func variables(list []string) map[string]string {
	m := map[string]string{}
	for _, assignment := range list {
		if name, value, _ := strings.Cut(assignment, "="); name != "PATH" && name != "HOME" {
			m[name] = value
		}
	}
	return m
}

// settingsOf loads a node's configuration, which must be valid, and returns the
// keys that it gives, but for addresses, which are each one's own.
func settingsOf(t *testing.T, s service) []string {
	t.Helper()
	cfg, err := config.Load(config.Inputs{Environment: s.list(), Roles: []string{s.Command}, Hostname: s.Hostname})
	if err != nil || len(cfg.Warnings) > 0 {
		t.Errorf("%s: %v, %v", s.Hostname, err, cfg.Warnings)
		return nil
	}
	var keys []string
	for _, setting := range cfg.Settings() {
		own := []string{"kafka.listen", "kafka.internal.listen", "kafka.internal.advertised", "data_dir"}
		if cfg.Source(setting.Key).Name != "default" && !slices.Contains(own, setting.Key) {
			keys = append(keys, setting.Key)
		}
	}
	return keys
}

func TestEveryBrokerOfTheCompositionHasItsOwnIdAndDisk(t *testing.T) {
	c := readCompose(t)
	ids, disks := map[string]string{}, map[string]string{}
	for _, name := range c.nodes() {
		s := c.Services[name]
		if s.Command != config.RoleBroker {
			continue
		}
		id := s.Environment["CHRONIK_BROKER_ID"]
		if other, taken := ids[id]; taken || "broker-"+id != name {
			t.Errorf("%s and %s have the id %s", name, other, id)
		}
		if len(s.Volumes) != 1 || disks[s.Volumes[0]] != "" || !strings.HasSuffix(s.Volumes[0], ":/var/lib/chronik") {
			t.Errorf("%s keeps its write-ahead log in %v", name, s.Volumes)
			continue
		}
		ids[id], disks[s.Volumes[0]] = name, name
	}
	if len(ids) != 3 {
		t.Errorf("brokers %v", ids)
	}
}

func TestTheBalancerTakesItsConfiguration(t *testing.T) {
	haproxy, err := harness.FindHAProxy()
	if err != nil {
		t.Skip(err)
	}
	s := readCompose(t).Services["haproxy"]
	check := exec.Command(haproxy, "-c", "-f", filepath.Join(docker, "haproxy.cfg"))
	check.Env = s.list()
	out, err := check.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// Names of containers are known in their network only.
		if strings.Contains(line, "[WARNING]") && !strings.Contains(line, "could not resolve address") {
			t.Error(line)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// What it is told of must be there, under the port that it listens on.
	for name, value := range s.Environment {
		host, port, _ := strings.Cut(value, ":")
		if !strings.HasPrefix(name, "BROKER_") && !strings.HasPrefix(name, "QUERY_") || strings.HasSuffix(name, "_PORT") {
			continue
		}
		node, there := readCompose(t).Services[host]
		want := map[string]string{config.RoleBroker: "9092", config.RoleQuery: "6092"}[node.Command]
		if !there || port != want {
			t.Errorf("%s=%s: there is %v, at port %s", name, value, node.Command, want)
		}
	}
}

// TestTheImagesEntryPointRunsAsANode runs what the image would, with what the
// composition tells its query node, against stores on this machine.
func TestTheImagesEntryPointRunsAsANode(t *testing.T) {
	binary := os.Getenv("CHRONIK_BIN")
	if binary == "" {
		t.Skip("CHRONIK_BIN names no binary to run; `make e2e` does")
	}
	text, err := os.ReadFile(filepath.Join(docker, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	line := func(form string) string {
		found := regexp.MustCompile(`(?m)^` + form).FindSubmatch(text)
		if found == nil {
			t.Fatalf("the Dockerfile has no line like %s", form)
		}
		return string(found[1])
	}
	installed := line(`COPY --from=build /out/chronik (\S+)$`)
	if entry := line(`ENTRYPOINT \["([^"]+)"\]$`); entry != installed {
		t.Errorf("the entry point is %s, and the binary is at %s", entry, installed)
	}
	// Kubernetes cannot tell of a name that it is not root's.
	if user := line(`USER ([\w:]+)$`); !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("the image runs as %s, which is not known not to be root", user)
	}
	data := line(`ENV CHRONIK_DATA_DIR=(\S+)$`)
	if volume := line(`VOLUME (\S+)$`); volume != data {
		t.Errorf("the volume is %s, and the data are in %s", volume, data)
	}

	stores, err := harness.Start(t.Context(), harness.Options{Dir: t.TempDir(), Chronik: binary, MinIO: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stores.Close()
	c := readCompose(t)
	for _, name := range []string{"compactor-1", "query-1"} {
		s := c.Services[name]
		s.Environment["CHRONIK_ETCD_ENDPOINTS"], s.Environment["S3_ENDPOINT"] = stores.Endpoints[0], stores.S3
		s.Environment["CHRONIK_DATA_DIR"], s.Environment["CHRONIK_HTTP_PORT"] = t.TempDir(), "0"
		s.Environment["CHRONIK_HTTP_BIND"], s.Environment["CHRONIK_DRAIN_DELAY"] = "127.0.0.1", "0s"
		p := harness.NewProcess(name, []string{binary, s.Command}, s.list(), t.TempDir(), "ready roles="+s.Command+" ")
		t.Cleanup(p.Kill)
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The health check is the entry point's own; here the port is another.
		at := regexp.MustCompile(`(?m)^ready .*\bhttp=(\S+)`).FindStringSubmatch(p.Log(64 << 10))
		test := s.Healthcheck.Test
		if len(at) == 0 || len(test) < 2 || test[0] != "CMD" || test[1] != filepath.Base(installed) {
			t.Fatalf("%s listens at %q, and its health check is %q", name, at, test)
		}
		if out, err := exec.Command(binary, append(slices.Clone(test[2:]), "--url", at[1])...).CombinedOutput(); err != nil {
			t.Errorf("%s is not healthy: %v\n%s", name, err, out)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestSettingsOfACompositionThatIsWrongAreFound(t *testing.T) {
	for _, environment := range []map[string]string{
		{"CHRONIK_ETCD_ENDPOINT": "http://e:2379"}, // misspelt
		{"CHRONIK_ETCD_ENDPOINTS": "etcd:2379"},
	} {
		if _, err := config.Load(config.Inputs{Environment: service{Environment: environment}.list(), Roles: []string{"query"}}); err == nil {
			t.Error(fmt.Sprint(environment, " is taken"))
		}
	}
}
