package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the generated pages of docs/ anew")

func TestDocumentationIsCurrent(t *testing.T) {
	for page, want := range map[string]string{"configuration.md": Markdown(), "topics.md": TopicsMarkdown()} {
		name := filepath.Join("..", "..", "..", "docs", page)
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != want {
			t.Errorf("docs/%s is not what the tables say: go test ./cmd/chronik/config -update", page)
		}
	}
}

func TestEveryFieldHasExactlyOneSetting(t *testing.T) {
	c := Default()
	targets := map[uintptr]string{}
	for _, s := range c.settings() {
		to := reflect.ValueOf(s.Value).FieldByName("to").Pointer()
		if other, twice := targets[to]; twice {
			t.Errorf("%s and %s write to the same field", s.Key, other)
		}
		targets[to] = s.Key
	}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field, name := v.Field(i), path+v.Type().Field(i).Name
			switch {
			case name == "Warnings" || !v.Type().Field(i).IsExported():
			case field.Kind() == reflect.Struct:
				walk(field, name+".")
			case targets[field.Addr().Pointer()] == "":
				t.Errorf("field %s has no setting", name)
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
}

func TestEverySettingIsDescribedOnceAndReadsWhatItShows(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Default().settings() {
		for _, name := range append([]string{s.Key, s.Variable()}, s.Aliases...) {
			if seen[name] {
				t.Errorf("%s is used twice", name)
			}
			seen[name] = true
		}
		if !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("%s: its sentence has no end: %q", s.Key, s.Doc)
		}
		if _, secret := s.Value.(secretValue); secret {
			continue
		}
		if shown := s.Value.String(); shown != s.Default {
			t.Errorf("%s shows its default %q as %q", s.Key, s.Default, shown)
		}
		if s.Run == nil {
			continue
		}
		if err := s.Value.Set(*s.Run); err != nil || s.Value.String() != *s.Run || *s.Run == s.Default {
			t.Errorf("%s shows its default under chronik run, %q, as %q, %v", s.Key, *s.Run, s.Value, err)
		}
	}
}

func TestContractVariablesAreKnown(t *testing.T) {
	known := map[string]bool{}
	for _, s := range Default().settings() {
		known[s.Variable()] = true
		for _, alias := range s.Aliases {
			known[alias] = true
		}
	}
	for name := range laterVariables {
		known[name] = true
	}
	for _, name := range strings.Fields(`CHRONIK_DATA_DIR CHRONIK_ADVERTISED_ADDR CHRONIK_UNIFIED_API_PORT CHRONIK_UNIFIED_API_BIND
		CHRONIK_COLUMNAR_FORMAT CHRONIK_COLUMNAR_COMPRESSION CHRONIK_EMBEDDING_PROVIDER CHRONIK_EMBEDDING_ENDPOINT CHRONIK_EMBEDDING_API_KEY
		OPENAI_API_KEY OPENAI_BASE_URL
		CHRONIK_ADMIN_API_KEY CHRONIK_DEFAULT_SEARCHABLE CHRONIK_DEFAULT_COLUMNAR CHRONIK_DEFAULT_VECTOR_ENABLED
		CHRONIK_SCHEMA_REGISTRY_AUTH_ENABLED CHRONIK_SCHEMA_REGISTRY_USERS CHRONIK_SASL_USERS CHRONIK_QUERY_TIMEOUT_SECS
		OBJECT_STORE_BACKEND S3_BUCKET S3_REGION S3_ENDPOINT AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY`) {
		if !known[name] {
			t.Errorf("%s is not known", name)
		}
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "chronik.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagsWinOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := writeFile(t, "# ours\nbroker:\n  id: 7\n  rack: a\nsegment.age: 9s\nkafka:\n  listen: [127.0.0.1:1]\n")
	c, err := Load(Inputs{
		File:        file,
		Environment: []string{"CHRONIK_BROKER_ID=8", "CHRONIK_KAFKA_LISTEN=127.0.0.1:2", "PATH=/bin"},
		Flags:       []Flag{{"kafka.listen", "127.0.0.1:3", "--kafka"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Broker.ID != "8" || c.Broker.Rack != "a" || c.Segment.Age != 9*time.Second || c.Kafka.Listen[0].Port != 3 || c.Segment.Bytes != 64<<20 {
		t.Errorf("wrong values: %+v", c)
	}
	for key, want := range map[string]Source{
		"broker.id":     {Name: "CHRONIK_BROKER_ID", Instead: []string{file + ":3"}},
		"broker.rack":   {Name: file + ":4"},
		"segment.age":   {Name: file + ":5"},
		"kafka.listen":  {Name: "--kafka", Instead: []string{"CHRONIK_KAFKA_LISTEN", file + ":7"}},
		"segment.bytes": {Name: "default"},
	} {
		if got := c.Source(key); !reflect.DeepEqual(got, want) {
			t.Errorf("source of %s: %+v, want %+v", key, got, want)
		}
	}
}

func TestTheChronikNameWinsOverItsAlias(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{
		"OBJECT_STORE_BACKEND=s3", "S3_BUCKET=theirs", "CHRONIK_OBJSTORE_BUCKET=ours", "S3_ENDPOINT=http://127.0.0.1:9000", "AWS_SECRET_ACCESS_KEY=hush",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.ObjectStore.Bucket != "ours" || c.ObjectStore.Provider != "s3" {
		t.Errorf("object store: %+v", c.ObjectStore)
	}
	if s := c.Source("objstore.bucket"); s.Name != "CHRONIK_OBJSTORE_BUCKET" || !reflect.DeepEqual(s.Instead, []string{"S3_BUCKET"}) {
		t.Errorf("source: %+v", s)
	}
	for _, s := range c.Settings() {
		if strings.Contains(s.Value.String(), "hush") {
			t.Errorf("%s shows the secret", s.Key)
		}
	}
	if c.ObjectStore.SecretKey.Reveal() != "hush" {
		t.Error("the secret got lost")
	}
}

func TestTheFileMayBeNamedByTheEnvironment(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{"CHRONIK_CONFIG=" + writeFile(t, "broker.id: 3")}})
	if err != nil || c.Broker.ID != "3" {
		t.Errorf("id %s, %v", c.Broker.ID, err)
	}
}

func TestWrongInputIsRefusedWhereItStands(t *testing.T) {
	file := writeFile(t, "kafka:\n  lisen: localhost:9092\n")
	for _, test := range []struct {
		name string
		in   Inputs
		want string
	}{
		{"unknown key in the file", Inputs{File: file}, file + `:2: unknown key "kafka.lisen"; did you mean "kafka.listen"?`},
		{"unknown variable", Inputs{Environment: []string{"CHRONIK_DATADIR=x"}}, `CHRONIK_DATADIR: unknown variable; did you mean "CHRONIK_DATA_DIR"?`},
		{"unknown flag key", Inputs{Flags: []Flag{{"segment.agee", "1s", "--set"}}}, `did you mean "segment.age"?`},
		{"duration", Inputs{Environment: []string{"CHRONIK_SEGMENT_AGE=5"}}, `CHRONIK_SEGMENT_AGE: segment.age: "5" is not a duration`},
		{"duration too short", Inputs{Environment: []string{"CHRONIK_SEGMENT_AGE=1ns"}}, "less than 10ms"},
		{"size", Inputs{Environment: []string{"CHRONIK_SEGMENT_BYTES=big"}}, "is not a size"},
		{"size too small", Inputs{Environment: []string{"CHRONIK_SEGMENT_BYTES=1KiB"}}, "less than 1MiB"},
		{"size too large", Inputs{Environment: []string{"CHRONIK_SEGMENT_BYTES=9999999999TiB"}}, "is not a size"},
		{"integer", Inputs{Environment: []string{"CHRONIK_BROKER_ID=-1"}}, "not from 0"},
		{"bool", Inputs{Environment: []string{"CHRONIK_DEFAULT_COLUMNAR=yes"}}, "neither true nor false"},
		{"choice", Inputs{Environment: []string{"OBJECT_STORE_BACKEND=gcs"}}, "is not one of local, s3, aws"},
		{"address", Inputs{Environment: []string{"CHRONIK_KAFKA_LISTEN=9092"}}, "is not an address"},
		{"listener of later", Inputs{Environment: []string{"CHRONIK_KAFKA_LISTEN=SSL://localhost:9092"}}, "serves PLAINTEXT only"},
		{"listener unheard of", Inputs{Environment: []string{"CHRONIK_KAFKA_LISTEN=TELNET://localhost:9092"}}, "no listener name"},
		{"listener twice", Inputs{Environment: []string{"CHRONIK_KAFKA_LISTEN=localhost:1,localhost:2"}}, "named twice"},
		{"wildcard", Inputs{Environment: []string{"CHRONIK_KAFKA_LISTEN=0.0.0.0:9092"}}, "CHRONIK_KAFKA_ADVERTISED=myhost:9092"},
		{"wildcard advertised", Inputs{Environment: []string{"CHRONIK_ADVERTISED_ADDR=0.0.0.0:9092"}}, "no address that a client"},
		{"s3 without bucket", Inputs{Environment: []string{"OBJECT_STORE_BACKEND=s3", "S3_ENDPOINT=http://x"}}, "S3_BUCKET"},
		{"a plan of faults", Inputs{Environment: []string{"CHRONIK_OBJSTORE_FAULTS=put * explode"}}, "objstore.faults"},
		{"SASL that would be ignored", Inputs{Environment: []string{"CHRONIK_SASL_USERS=a:b"}}, "open in spite"},
		{"no file", Inputs{File: "/does/not/exist.yaml"}, "no such file"},
		{"no mapping", Inputs{File: writeFile(t, "- a")}, "not a YAML mapping"},
		{"no YAML", Inputs{File: writeFile(t, "a: [")}, "read YAML"},
		{"nested list", Inputs{File: writeFile(t, "kafka.listen: [[a]]")}, "plain values only"},
		{"vectors without provider", Inputs{Environment: []string{"CHRONIK_DEFAULT_VECTOR_ENABLED=true"}}, "name an embedding provider"},
	} {
		_, err := Load(test.in)
		var wrong *Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", test.name, err, test.want)
		}
	}
}

func TestAVariableThatIsLikeNoneIsNotTakenForAnother(t *testing.T) {
	for _, name := range []string{"CHRONIK_NOPE", "CHRONIK_AUTH", "CHRONIK_TLS_CERT"} {
		_, err := Load(Inputs{Environment: []string{name + "=x"}})
		if err == nil || !strings.Contains(err.Error(), name+": unknown variable") || strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// node is the least that a node of a cluster is told.
func node(more ...string) []string {
	return append([]string{"CHRONIK_ETCD_ENDPOINTS=http://etcd:2379", "OBJECT_STORE_BACKEND=s3", "S3_BUCKET=b"}, more...)
}

func TestANodeOfAClusterSaysWhatItMisses(t *testing.T) {
	all := AllRoles()
	for _, test := range []struct {
		name  string
		roles []string
		env   []string
		want  string
	}{
		{"nothing", all, nil, "CHRONIK_ETCD_ENDPOINTS"},
		{"no bucket", all, []string{"CHRONIK_ETCD_ENDPOINTS=http://e:2379"}, "OBJECT_STORE_BACKEND"},
		{"no id", all, node("CHRONIK_KAFKA_ADVERTISED=b"), "CHRONIK_BROKER_ID"},
		{"no advertised address", all, node("CHRONIK_BROKER_ID=1"), "CHRONIK_KAFKA_ADVERTISED"},
		{"a role that is none", []string{"controller"}, node(), "broker, compactor, query"},
		{"no URL", all, node("CHRONIK_ETCD_ENDPOINTS=etcd:2379"), "http://etcd-0:2379"},
		{"half of it secure", all, node("CHRONIK_ETCD_ENDPOINTS=http://a:1,https://b:1"), "one of them"},
		{"a certificate for nothing", all, node("CHRONIK_ETCD_CA_FILE=ca.pem"), "no effect without https"},
		{"a certificate without its key", all, node("CHRONIK_ETCD_ENDPOINTS=https://a:1", "CHRONIK_ETCD_CERT_FILE=c"), "go together"},
		{"a user without a password", all, node("CHRONIK_ETCD_USERNAME=u"), "go together"},
		{"a host without a number", all, node("CHRONIK_BROKER_ID=auto", "CHRONIK_KAFKA_ADVERTISED=b"), `"host-b" has none`},
		{"an id with a zero in front", all, node("CHRONIK_BROKER_ID=01"), "is written 1"},
		{"the id that clients see", all, node("CHRONIK_BROKER_ID=1000000000", "CHRONIK_KAFKA_ADVERTISED=b", "CHRONIK_KAFKA_ADVERTISE=shared", "CHRONIK_KAFKA_INTERNAL_LISTEN=b:9094"), "the one node that clients see"},
		{"etcd in dev", nil, []string{"CHRONIK_ETCD_ENDPOINTS=http://e:2379"}, "chronik dev"},
		{"a user of no etcd", nil, []string{"CHRONIK_ETCD_USERNAME=u", "CHRONIK_ETCD_PASSWORD=p"}, "no effect"},
	} {
		_, err := Load(Inputs{Environment: test.env, Roles: test.roles, Hostname: "host-b"})
		var wrong *Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", test.name, err, test.want)
		}
	}
}

func TestANodeOfAClusterHasDefaultsOfItsOwn(t *testing.T) {
	c, err := Load(Inputs{
		Environment: node("CHRONIK_BROKER_ID=auto", "CHRONIK_KAFKA_ADVERTISED=b"), Roles: []string{RoleQuery, RoleBroker}, Hostname: "chronik-broker-12",
	})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := c.BrokerID(); err != nil || id != 12 {
		t.Errorf("broker %d, %v", id, err)
	}
	if c.Durability.Default != "object" || c.TopicDefaults()["durability"] != "object" || Default().Durability.Default != "wal" {
		t.Errorf("durability %s", c.Durability.Default)
	}
	if c.Source("durability.default").Name != "default" || !c.Clustered() || Default().Clustered() {
		t.Errorf("source %v", c.Source("durability.default"))
	}
	if got := strings.Join(c.Roles(), " "); got != "broker query" || c.Has(RoleCompactor) || !Default().Has(RoleCompactor) {
		t.Errorf("roles %s", got)
	}
	// What a broker needs, the others do not.
	if _, err := Load(Inputs{Environment: node(), Roles: []string{RoleCompactor}}); err != nil {
		t.Error(err)
	}
}

func TestSeveralFaultsAreReportedTogether(t *testing.T) {
	_, err := Load(Inputs{Environment: []string{"CHRONIK_BROKER_ID=x", "CHRONIK_SEGMENT_AGE=y"}})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("err = %v, want two lines", err)
	}
}

func TestKubernetesServiceVariablesAreNoSettings(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{
		"CHRONIK_SERVICE_HOST=10.0.0.1", "CHRONIK_SERVICE_PORT=9092", "CHRONIK_SERVICE_PORT_KAFKA=9092", "CHRONIK_PORT=tcp://10.0.0.1:9092",
		"CHRONIK_PORT_9092_TCP=tcp://10.0.0.1:9092", "CHRONIK_PORT_9092_TCP_ADDR=10.0.0.1", "CHRONIK_BROKER_0_SERVICE_HOST=10.0.0.2",
	}})
	if err != nil || len(c.Warnings) > 0 {
		t.Errorf("%v, %v", err, c.Warnings)
	}
}

func TestVariablesOfLaterFeaturesWarn(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{"CHRONIK_SCHEMA_REGISTRY_USERS=x"}})
	if err != nil || len(c.Warnings) != 1 || strings.Contains(c.Warnings[0], "=x") {
		t.Errorf("%v, %v", err, c.Warnings)
	}
}

func TestTopicDefaultsHoldWhatWasGiven(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{"CHRONIK_DEFAULT_COLUMNAR=true", "CHRONIK_EMBEDDING_PROVIDER=local"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"durability": "wal", "columnar.enabled": "true", "vector.embedding.provider": "local"}
	if got := map[string]string(c.TopicDefaults()); !reflect.DeepEqual(got, want) {
		t.Errorf("TopicDefaults = %v, want %v", got, want)
	}
}

func TestTheKeyOfEmbeddingsIsOursBeforeOpenAIs(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{"OPENAI_API_KEY=theirs", "CHRONIK_EMBEDDING_API_KEY=ours", "OPENAI_BASE_URL=http://127.0.0.1:1/v1"}})
	if err != nil || c.Embedding.APIKey.Reveal() != "ours" || c.Embedding.OpenAIBaseURL != "http://127.0.0.1:1/v1" {
		t.Errorf("%+v, %v", c.Embedding, err)
	}
	// A process of its own is its user's; in a cluster a topic may be anybody's.
	if list := Default().Embedding.TrustedEndpoints; !reflect.DeepEqual(list, []string{"*"}) {
		t.Errorf("chronik dev trusts %q", list)
	}
	if list := defaults([]string{RoleQuery}).Embedding.TrustedEndpoints; len(list) > 0 {
		t.Errorf("chronik run trusts %q", list)
	}
}

func TestListenersSayWhereToListenAndWhatToTell(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{"CHRONIK_KAFKA_LISTEN=0.0.0.0:9092", "CHRONIK_ADVERTISED_ADDR=kafka.example"}})
	if err != nil {
		t.Fatal(err)
	}
	l := c.Kafka.Listen[0]
	if got := c.Advertise(l, 9092); got != (Listener{"PLAINTEXT", "kafka.example", 9092}) {
		t.Errorf("advertised %v", got)
	}
	if got := l.Addresses(); !reflect.DeepEqual(got, []string{"0.0.0.0:9092"}) {
		t.Errorf("addresses %v", got)
	}
	local := Default().Kafka.Listen[0]
	if got := local.Addresses(); !reflect.DeepEqual(got, []string{"127.0.0.1:9092", "[::1]:9092"}) {
		t.Errorf("addresses of localhost %v", got)
	}
	if got := Default().Advertise(local, 1234); got != (Listener{"PLAINTEXT", "localhost", 1234}) {
		t.Errorf("advertised %v", got)
	}
}

func FuzzLoadNeverPanicsOnAFile(f *testing.F) {
	f.Add([]byte("kafka:\n  listen: localhost:9092\n"))
	f.Add([]byte("a: &x {b: *x}"))
	f.Add([]byte("segment.bytes: 1e9MiB"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := flatten(text)
		if err != nil {
			return
		}
		l := loader{config: Default()}
		l.settings = l.config.settings()
		for _, a := range list {
			l.assign(a.key, a.value, "file", "file")
		}
	})
}

func TestSettingsWithoutTheOneThatTheyServeAreRefused(t *testing.T) {
	for _, set := range []string{"CHRONIK_KAFKA_INTERNAL_ADVERTISED=broker-1", "CHRONIK_KAFKA_PROXY_TRUSTED=10.0.0.0/8"} {
		if _, err := Load(Inputs{Environment: []string{set}}); err == nil || !strings.Contains(err.Error(), "has no effect without") {
			t.Errorf("%s: %v", set, err)
		}
	}
}

func TestAddressesShowThemselvesSoThatTheyAreReadAgain(t *testing.T) {
	for key, texts := range map[string][]string{
		"kafka.internal.listen":     {"", ":9094", "0.0.0.0:9094", "[::1]:0", "localhost:1"},
		"kafka.internal.advertised": {"", "broker-1", "broker-1:9094", "[::1]:9094", "::1"},
		"query.advertised":          {"", "query-1", "query-1:6092"},
		"kafka.proxy_trusted":       {"", "10.0.0.0/8", "192.0.2.7,2001:db8::/32"},

		"embedding.openai_base_url":          {"", "http://127.0.0.1:1234/v1"},
		"embedding.trusted_endpoints":        {"", "*", "https://embed.example,http://10.0.0.1:8080/embed"},
		"embedding.price_per_million_tokens": {"0", "0.02", "130"},
	} {
		for _, text := range texts {
			c := Default()
			for _, s := range c.Settings() {
				if s.Key != key {
					continue
				}
				if err := s.Value.Set(text); err != nil || s.Value.String() != text {
					t.Errorf("%s=%s shows itself as %q, %v", key, text, s.Value.String(), err)
				}
			}
		}
	}
	for key, text := range map[string]string{
		"kafka.internal.listen": "9094", "kafka.internal.advertised": "0.0.0.0:9094", "kafka.proxy_trusted": "the balancer",
		"embedding.openai_base_url": "api.openai.com", "embedding.trusted_endpoints": "https://a,b", "embedding.price_per_million_tokens": "-1",
	} {
		if _, err := Load(Inputs{Flags: []Flag{{Key: key, Value: text}}}); err == nil {
			t.Errorf("%s=%s is taken", key, text)
		}
	}
}

func TestSettingsOfMilvusGoTogether(t *testing.T) {
	for set, want := range map[string]string{
		"milvus.username=u milvus.password=p":                           "no effect without milvus.address",
		"milvus.address=m:1 milvus.username=u":                          "go together",
		"milvus.address=m:1 milvus.token=t milvus.username=u":           "milvus.token stands for a user",
		"milvus.address=m:1 milvus.ca_file=/ca":                         "milvus.ca_file has no effect without milvus.tls=true",
		"milvus.address=m:1 milvus.token=t milvus.tls=true":             "",
		"milvus.address=m:1 milvus.username=u milvus.password=p":        "",
		"milvus.address=m:1 milvus.tls=true milvus.server_name=m.local": "",
	} {
		var flags []Flag
		for _, one := range strings.Fields(set) {
			key, value, _ := strings.Cut(one, "=")
			flags = append(flags, Flag{Key: key, Value: value})
		}
		c, err := Load(Inputs{Flags: flags})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", set, err)
		}
		if err == nil && c.Milvus.Address != "m:1" {
			t.Errorf("%s: %+v", set, c.Milvus)
		}
	}
}

func TestDevListensForItselfWhenClientsAreToldAnotherAddress(t *testing.T) {
	for _, c := range []struct {
		environment []string
		want        string
	}{
		{nil, ""},
		{[]string{"CHRONIK_KAFKA_ADVERTISED=outside:19092"}, "localhost:0"},
		{[]string{"CHRONIK_KAFKA_ADVERTISED=outside:19092", "CHRONIK_KAFKA_INTERNAL_LISTEN="}, ""},
		{[]string{"CHRONIK_KAFKA_ADVERTISED=outside:19092", "CHRONIK_KAFKA_INTERNAL_LISTEN=:9094"}, ":9094"},
	} {
		loaded, err := Load(Inputs{Environment: c.environment})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if l := loaded.Kafka.Internal.Listen; l != nil {
			got = l.Address()
		}
		if got != c.want {
			t.Errorf("%v: listens for itself at %q, want %q", c.environment, got, c.want)
		}
	}
}
