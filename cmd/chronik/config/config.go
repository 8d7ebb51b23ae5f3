// Package config is Chronik's configuration: one table of settings, each with
// a key, an environment variable, a default, bounds and a sentence, and the
// loader that reads a YAML file, then the environment, then flags.
//
// It promises that every value in force can be traced to where it was given,
// that an unknown key or a bad value is refused and not passed over, and that
// docs/configuration.md says what the table says. It opens nothing and knows
// none of the roles: package cli hands the values down as the roles' own types.
package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Config holds all values of a process. Load makes it.
type Config struct {
	Cluster string
	DataDir string

	Log struct {
		Level  string // debug, info, warn, error
		Format string // text, json
	}
	Admin struct {
		APIKey Secret
	}
	Drain struct {
		Delay time.Duration
	}
	Etcd struct {
		Endpoints   []string
		Username    string
		Password    Secret
		CAFile      string
		CertFile    string
		KeyFile     string
		ServerName  string
		DialTimeout time.Duration
	}
	Kafka struct {
		Listen     []Listener
		Advertised []Listener // Port 0: the one listened on
		Internal   struct {
			Listen         *Listener // nil: there is none
			Advertised     *Listener // nil: this machine's name, or the host listened on; port 0: the one listened on
			ConnectionsMax int
		}
		Advertise string // direct, shared
		Forward   struct {
			ConnectionsMax int
			IdleTimeout    time.Duration
		}
		ProxyProtocol          bool
		ProxyTrusted           []netip.Prefix // empty: everybody
		ConnectionsMax         int
		PipelineMax            int
		FrameBytes             Bytes
		FrameTimeout           time.Duration
		IdleTimeout            time.Duration
		RequestBytes           Bytes
		FetchBytes             Bytes
		FetchSessions          int
		DescribePartitions     int
		FetchSessionPartitions int
		ConnectionsIP          int
		ConnectionRate         int
		RequestsMax            int
		ConnBytes              Bytes
		WriteTimeout           time.Duration
		StallTimeout           time.Duration
		AnswerBytes            Bytes
		ColdBytes              Bytes
	}
	Quota struct {
		Burst time.Duration
	}
	HTTP struct {
		Bind string
		Port int
	}
	Broker struct {
		ID          string // BrokerID has the number
		Rack        string
		Lease       time.Duration
		StopTimeout time.Duration
	}
	Takeover struct {
		Grace time.Duration
	}
	Salvage struct {
		After time.Duration
	}
	Rebalance struct {
		Delay time.Duration
	}
	Group struct {
		InitialDelay              time.Duration
		SessionTimeoutMin         time.Duration
		SessionTimeoutMax         time.Duration
		MembersMax                int
		ConsumerSessionTimeout    time.Duration
		ConsumerHeartbeatInterval time.Duration
		ConsumerMigration         string

		OffsetsRetention      time.Duration
		OffsetsRetentionCheck time.Duration
		OffsetMetadataMax     int
	}
	Memory struct {
		Limit Bytes // 0: see node.LimitMemory
	}
	WAL struct {
		FileBytes    Bytes
		Bytes        Bytes
		BudgetWait   time.Duration
		WaitingBytes Bytes
	}
	Tail struct {
		Bytes Bytes
	}
	Producer struct {
		Expiry time.Duration
	}
	Segment struct {
		Bytes       Bytes
		Age         time.Duration
		AgeUrgent   time.Duration
		AgeEmbedded time.Duration
		Uploads     int
	}
	ObjectStore struct {
		Provider     string // local, s3, aws
		Dir          string
		Bucket       string
		Region       string
		Endpoint     string
		AccessKey    string
		SecretKey    Secret
		SessionToken Secret
		PathStyle    bool
		CAFile       string
		Prefix       string
		CreateBucket bool
		Faults       string // a plan of objstore/faults
	}
	Cache struct {
		MemoryBytes Bytes
		DiskBytes   Bytes
	}
	Compactor struct {
		FirstBytes    Bytes
		FirstAge      time.Duration
		PlainAge      time.Duration
		PassBytes     Bytes
		FileBytes     Bytes
		MergeFiles    int
		EmbedAge      time.Duration
		ShardBytes    Bytes
		CleanBytes    Bytes
		Workers       int
		LookEvery     time.Duration
		DeletionGrace time.Duration
		OrphanAge     time.Duration
		OrphanEvery   time.Duration
	}
	Iceberg struct {
		Location  string
		Every     time.Duration
		Retention time.Duration
	}
	Query struct {
		TimeoutSeconds     int
		Concurrent         int
		Waiting            int
		Wait               time.Duration
		Threads            int
		MemoryBytes        Bytes
		CacheBytes         Bytes
		TailBytes          Bytes
		WriteBytes         Bytes
		ResultsBytes       Bytes
		ResultsAnswerBytes Bytes
		ResultsAge         time.Duration
		StopTimeout        time.Duration
		Affinity           string    // topic, none
		Advertised         *Listener // nil: as HTTP.Bind says; port 0: the one listened on
	}
	Topic struct {
		AutoCreate    bool
		Partitions    int
		PartitionsMax int
	}

	Milvus Milvus

	// Default, Columnar, Embedding and Durability are the cluster's defaults of
	// topic settings. TopicDefaults has them as topics see them.
	Durability struct{ Default string }
	Default    struct{ Searchable, Columnar, VectorEnabled bool }
	Columnar   struct{ Format, Compression string }
	Embedding  Embedding

	// Warnings are for the log: settings that have no effect in this version.
	Warnings []string

	roles    []string // of `chronik run`; empty: `chronik dev`
	hostname string
	sources  map[string]Source
}

// Roles, as users name them.
const (
	RoleBroker    = "broker"
	RoleCompactor = "compactor"
	RoleQuery     = "query"
)

// AllRoles returns them.
func AllRoles() []string { return []string{RoleBroker, RoleCompactor, RoleQuery} }

// Roles are those of the process, in the order of AllRoles.
func (c *Config) Roles() []string {
	if len(c.roles) == 0 {
		return AllRoles()
	}
	return slices.DeleteFunc(AllRoles(), func(role string) bool { return !c.Has(role) })
}

// Has reports whether the process has a role.
func (c *Config) Has(role string) bool { return len(c.roles) == 0 || slices.Contains(c.roles, role) }

// Clustered reports whether the process is a node of a cluster (`chronik run`)
// rather than the whole of one (`chronik dev`).
func (c *Config) Clustered() bool { return len(c.roles) > 0 }

// Source says where a setting's value was given.
type Source struct {
	Name    string   // "default", "--kafka", "CHRONIK_KAFKA_LISTEN", "chronik.yaml:7"
	Instead []string // weaker places whose value did not count
}

const sourceDefault = "default"

func (s Source) overridden() []string {
	if s.Name == "" {
		return nil
	}
	return append([]string{s.Name}, s.Instead...)
}

// Source returns where the value of a setting comes from.
func (c *Config) Source(key string) Source {
	if s, ok := c.sources[key]; ok {
		return s
	}
	return Source{Name: sourceDefault}
}

// Default returns the configuration of a `chronik dev` that was told nothing.
func Default() *Config { return defaults(nil) }

func defaults(roles []string) *Config {
	c := &Config{roles: roles}
	for _, s := range c.settings() {
		if err := s.Value.Set(c.defaultOf(s)); err != nil {
			panic("config: default of " + s.Key + ": " + err.Error()) // a mistake in the table; every default is tested
		}
	}
	return c
}

// BrokerID is the number that broker.id says, or the host's name with it.
func (c *Config) BrokerID() (int, error) {
	if c.Broker.ID != brokerIDAuto {
		return strconv.Atoi(c.Broker.ID)
	}
	digits := c.hostname[len(strings.TrimRight(c.hostname, "0123456789")):]
	id, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("broker.id=auto takes the number at the end of the host's name, and %q has none", c.hostname)
	}
	return int(id), nil
}

// Hostname is the name of the machine.
func (c *Config) Hostname() string { return c.hostname }

// Path is a place in the data folder.
func (c *Config) Path(name string) string { return filepath.Join(c.DataDir, name) }

// TopicDefaults are the cluster's defaults of topic settings: what was given,
// and the durability, whose default depends on the kind of deployment.
func (c *Config) TopicDefaults() topicconfig.Defaults {
	defaults := topicconfig.Defaults{"durability": c.Durability.Default}
	for _, s := range c.settings() {
		if s.Topic != "" && c.Source(s.Key).Name != sourceDefault {
			defaults[s.Topic] = s.Value.String()
		}
	}
	return defaults
}
